"""How a YAML file becomes settings, and how each mistake in it is told with its line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from retain.config.settings import SERVERS, Config, meaning_of, settings_at
from retain.errors import ConfigError, nearest, some

__all__ = ["load_config", "place_of"]


def load_config(path: str | Path) -> Config:
    """Read a configuration file.

    Parameters
    ----------
    path
        A YAML file. Relative paths inside it start from its folder.

    Returns
    -------
    Config
        Frozen; every default filled in.

    Raises
    ------
    ConfigError
        When the file is missing or is not YAML, or a setting is unknown, missing, repeated, of the
        wrong type or out of bounds. The message names the file, the line and the setting.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        raise ConfigError(
            f"{path}: no such file. YAML files in that folder: {some(near)}. "
            "Write one with: retain init FOLDER"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; expected a YAML file") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(
            f"{path}: is not UTF-8 text ({problem.reason}); save it as UTF-8"
        ) from None
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read ({problem.strerror})") from None
    given, lines = _parse(text, str(path))
    return build(given, path.resolve().parent, str(path), lines)


def place_of(path: str | Path, *at: str) -> str:
    """Say where a setting stands, for what is wrong with it only beside the data.

    Parameters
    ----------
    path
        The YAML file, as it was loaded.
    at
        The names that lead to the setting, a place in a list among them: ``"metrics", "by", "0"``.

    Returns
    -------
    str
        File and line, as in ``acme.yaml:12``; the file alone when the setting is not in it.
    """
    _, lines = _parse(Path(path).read_text(encoding="utf-8-sig"), str(path))
    line = next((lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in lines), None)
    return f"{path}:{line}" if line else str(path)


class _Loader(yaml.SafeLoader):
    """YAML without its two traps: repeated keys, and yes / no / on / off as truth values."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _parse(text: str, name: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """Plain data, and the line on which each setting stands."""
    lines: dict[tuple[str, ...], int] = {}
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                raise ConfigError(f"{name}: is empty; expected settings such as company and tables")
            _walk(root, (), lines, name)
            given = loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        what = getattr(problem, "problem", None) or str(problem)
        raise ConfigError(
            f"{where}: is not YAML: {what}. Check indentation, colons and quotes there"
        ) from None
    except ValueError as problem:
        if isinstance(problem, ConfigError):
            raise
        raise ConfigError(f"{name}: holds a value that cannot be read: {problem}") from None
    if not isinstance(given, dict):
        raise ConfigError(f"{name}: expected settings (name: value), found {_kind(given)}")
    return given, lines


def _walk(
    node: yaml.Node, at: tuple[str, ...], lines: dict[tuple[str, ...], int], name: str
) -> None:
    """Note the line of every setting; refuse a repeated one."""
    if isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            lines[(*at, str(number))] = child.start_mark.line + 1
            _walk(child, (*at, str(number)), lines, name)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, child in node.value:
        here = (*at, str(key.value))
        line = key.start_mark.line + 1
        if here in lines:
            raise ConfigError(
                f"{name}:{line}: {'.'.join(here)} is given twice, first on line {lines[here]}; "
                "keep one"
            )
        lines[here] = line
        _walk(child, here, lines, name)


def build(
    given: dict[str, Any], folder: Path, name: str, lines: dict[tuple[str, ...], int]
) -> Config:
    """Check the settings and make their paths absolute."""
    sections = {n for n, f in Config.model_fields.items() if f.default_factory is not None}
    given = {key: v for key, v in given.items() if not (v is None and key in sections)}
    try:
        config = Config.model_validate(_anchored(given, folder))
    except ValidationError as problem:
        told = [_tell(error, given, name, lines) for error in problem.errors()]
        raise ConfigError("\n".join(dict.fromkeys(told))) from None
    if config.features is not None and not config.features.is_file():
        raise ConfigError(
            f"{name}: features names {config.features}, which is not a file; paths are relative to "
            "the configuration file"
        )
    return config


def _anchored(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Give the same settings with every path made absolute from the file's folder."""

    def place(path: Any) -> Any:
        if isinstance(path, list | tuple):
            return tuple(place(one) for one in path)
        if not isinstance(path, str | Path) or not str(path) or str(path).startswith(SERVERS):
            return path
        file, mark, rest = str(path).partition("::")
        return os.path.normpath(folder / Path(file).expanduser()) + mark + rest

    out = {k: place(v) if k in {"store", "models", "features"} else v for k, v in given.items()}
    file = (out.get("alerts") or {}).get("file") if isinstance(out.get("alerts"), dict) else None
    if isinstance(file, dict) and "folder" in file:
        anchored = {**file, "folder": place(file["folder"])}
        out["alerts"] = {**out["alerts"], "file": anchored}
    if isinstance(out.get("tables"), dict):
        tables = dict(out["tables"])
        for table, mapping in tables.items():
            if isinstance(mapping, dict):
                mapping = dict(mapping)
                if "source" in mapping:
                    mapping["source"] = place(mapping["source"])
                if isinstance(mapping.get("sources"), dict):
                    mapping["sources"] = {k: place(v) for k, v in mapping["sources"].items()}
                tables[table] = mapping
        out["tables"] = tables
    return out


def _tell(error: Any, given: dict[str, Any], name: str, lines: dict[tuple[str, ...], int]) -> str:
    """One problem in the user's words: where, what, and what to do."""
    at = tuple(str(part) for part in error["loc"])
    while at and at not in lines and len(at) > 1 and lines:
        if error["type"] == "missing":
            break
        at = at[:-1]  # drops the parts that only name a type
    setting = ".".join(at)  # empty when settings contradict one another
    line = next((lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in lines), None)
    where = f"{name}:{line}" if line else name
    if error["type"] == "extra_forbidden":
        known = settings_at(at[:-1])
        hint = nearest(at[-1], known, f"settings here: {', '.join(known)}")
        return f"{where}: {setting} is not a setting; {hint}"
    if error["type"] == "missing":
        return f"{where}: {setting} is missing; {meaning_of(at)}"
    what = error["msg"].removeprefix("Value error, ")
    what = what[0].lower() + what[1:] if what.startswith("Input") else what
    found = error.get("input")
    is_plain = isinstance(found, str | int | float) and repr(found) not in what
    shown = f", found {found!r}" if is_plain else ""
    shown = shown or (f", found {_kind(found)}" if what.startswith("input") else "")
    meaning = meaning_of(at)
    stop = " " if what.endswith("?") and not shown else ". "
    tail = f"{stop}{meaning}" if meaning else ""
    return f"{where}: {f'{setting}: ' if setting else ''}{what}{shown}{tail}"


def _kind(value: Any) -> str:
    return {
        dict: "a mapping",
        list: "a list",
        tuple: "a list",
        str: "text",
        type(None): "nothing",
    }.get(type(value), str(value))
