"""Every setting written out for people, and secrets kept out of every text."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any, get_args

from retain.config.settings import Config, Section, TableConfig, TablesConfig, field_at

__all__ = ["describe_config", "redact"]


def describe_config(config: Config | None = None) -> str:
    """List every setting with its value or default, its bounds and its meaning.

    Parameters
    ----------
    config
        Whose values to show; None shows the defaults.

    Returns
    -------
    str
        One line per setting, grouped by section; secrets are redacted.

    Examples
    --------
    >>> "churn.gap_weeks" in describe_config()
    True
    """
    lines = list(_describe(Config, config, ""))
    width = max(len(name) for name, _, _ in lines)
    return "\n".join(
        redact(f"{name:<{width}}  {value:<14}  {meaning}".rstrip())
        for name, value, meaning in lines
    )


def redact(text: str, config: Config | None = None) -> str:
    """Hide secrets in a text before it is logged, saved or shown.

    Parameters
    ----------
    text
        Any text.
    config
        Its `*_env` settings name variables whose values are hidden too.

    Returns
    -------
    str
        The text with passwords in addresses, ``password=``, ``token=``, ``secret=`` and ``key=``
        values and the values of secret variables replaced by ``***``.

    Examples
    --------
    >>> redact("postgresql://ann:pa55@db/crm?token=abc")
    'postgresql://ann:***@db/crm?token=***'
    """
    variables: tuple[str | None, ...] = ()
    if config is not None:
        variables = (config.tracking.uri_env, config.review.database_env)
        variables += tuple(mapping.password_env for _, mapping in config.tables.items())
        variables += config.alerts.secrets() if config.alerts else ()
    for variable in variables:
        if variable and (secret := os.environ.get(variable)):
            text = text.replace(secret, "***")
    text = re.sub(r"(://[^/@\s:]*:)[^/@\s]+@", r"\1***@", text)
    return re.sub(
        r"(?i)\b((?:password|passwd|pwd|token|secret|api_?key|access_?key)\s*[=:]\s*)[^\s&;,'\"]+",
        r"\1***",
        text,
    )


def _describe(
    section: type[Section], values: Section | None, prefix: str
) -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of every setting below one section."""
    for name, field in section.model_fields.items():
        inner, _ = field_at((*filter(None, prefix.split(".")), name))
        value = (
            getattr(values, name)
            if values is not None
            else field.get_default(call_default_factory=True)
        )
        if inner is not section and inner is not TableConfig and not isinstance(value, dict):
            if value is None and not field.is_required() and field.default is None:
                yield f"{prefix}{name}", "null", str(field.description)
            yield from _describe(
                inner, value if isinstance(value, Section) else None, f"{prefix}{name}."
            )
        elif inner is TableConfig and section is TablesConfig:
            if values is None and name == "customers":
                yield f"{prefix}{name}", "null", f"{field.description} The same for every table:"
                yield from _describe(TableConfig, None, f"{prefix}{name}.")
            elif value is None:
                yield f"{prefix}{name}", "null", str(field.description)
            else:
                yield from _describe(TableConfig, value, f"{prefix}{name}.")
        else:
            shown = "required" if values is None and field.is_required() else _plain(value)
            yield f"{prefix}{name}", shown, f"{field.description}{_bounds(field)}"


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | dict):
        return json.dumps(value, default=_as_plain)
    return str(value)


def _as_plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Section) else str(value)


def _bounds(field: Any) -> str:
    """Say the bounds of a setting in words, in brackets."""
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    said = [
        f"{words} {getattr(rule, sign)}"
        for rule in field.metadata
        for sign, words in signs.items()
        if getattr(rule, sign, None) is not None
    ]
    options = [
        o for kind in (field.annotation, *get_args(field.annotation)) for o in get_args(kind)
    ]
    if not options and all(isinstance(o, str) for o in get_args(field.annotation)):
        options = list(get_args(field.annotation))
    words = [o for o in options if isinstance(o, str)]
    if words:
        said.append("one of " + ", ".join(dict.fromkeys(words)))
    return f" [{', '.join(said)}]" if said else ""
