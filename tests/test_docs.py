"""The README and the notebooks kept true: parts written from the code, examples that load and run.

Run as a program, this file writes the README's generated parts anew: `python tests/test_docs.py`.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_house import FLOOR, MACHINE

from retain import cli, load_config
from retain.config import Config
from retain.features import FEATURES, Feature
from retain.metrics import METRICS
from retain.tables import SPECS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OWN_FEATURES = ROOT / "configs" / "acme_features.py"
MOST_BYTES = 400_000  # of a notebook with its outputs


def rows(head: str, lines: list[tuple[str, ...]]) -> str:
    """Lay out a Markdown table."""
    names = head.split("|")
    told = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in told)


def coded(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


# ---- what is written from the code -------------------------------------------------------------


def tables_part() -> str:
    """The ten tables: grain, what a row needs, what it may have."""
    lines = []
    for spec in SPECS.values():
        needed = coded(spec.required)
        if spec.one_of:
            needed += ", " + " or ".join(f"`{name}`" for name in spec.one_of)
        optional = [n for n in spec.names if n not in (*spec.required, *spec.one_of)]
        lines.append((f"**{spec.name}**", spec.grain, needed, coded(optional)))
    return rows("table|grain|required|optional", lines)


def columns_part() -> str:
    """Every column of every table and what it means."""
    lines = [
        (f"`{spec.name}.{column.name}`", column.kind, _escaped(_meaning(column)))
        for spec in SPECS.values()
        for column in spec.columns
    ]
    return rows("column|kind|meaning", lines)


def _meaning(column: Any) -> str:
    said = column.meaning
    if column.words:
        said += f" ({', '.join(column.words)})"
    return said if column.lowest is None else f"{said}; not below {column.lowest:g}"


def features_part() -> str:
    """Every feature: theme, column, what a CS lead reads, unit."""
    lines = [(one.theme, f"`{pattern(one)}`", _escaped(label(one)), one.unit) for one in FEATURES]
    return rows("theme|column|what is read|unit", lines)


PLACES = {"attributes": "attribute", "top_features": "feature", "comment_themes": "theme"}


def pattern(one: Feature) -> str:
    """The column's name, with what varies in angle brackets."""
    if one.over is None:
        return one.name
    if isinstance(one.over, tuple) and isinstance(one.over[0], int):
        return f"{one.name}_<weeks>w"
    item = "|".join(one.over) if isinstance(one.over, tuple) else PLACES[one.over]
    if "item" in one.name:
        return one.name.replace("item", f"<{item}>").replace("|", "\\|")
    return f"{one.name}_<{item}>".replace("|", "\\|")


def label(one: Feature) -> str:
    """The sentence, windows written out, items in angle brackets."""
    if isinstance(one.over, tuple) and isinstance(one.over[0], int):
        *most, last = (str(weeks) for weeks in one.over)
        words = f"{', '.join(most)} or {last} weeks" if most else f"{last} weeks"
        return one.label.format(weeks=words)
    item = one.over if isinstance(one.over, str) else "survey"
    place = f"‹{PLACES.get(item, item)}›"
    return one.label.format(item=place, ITEM=place) if one.over else one.label


def metrics_part() -> str:
    """Every metric: theme, name, what a reader sees, unit, tables, definitions."""
    lines = [
        (
            one.theme,
            f"`{one.name}`",
            _escaped(one.label),
            one.unit,
            coded(one.needs),
            coded(one.variants),
        )
        for one in METRICS
    ]
    return rows("theme|metric|what is read|unit|tables|definitions, the first unless asked", lines)


def rooms_part() -> str:
    """The rooms, from the highest floor down, in their own words."""
    here = {path.stem for path in (ROOT / "src" / "retain").iterdir()}
    lines = []
    for room, floor in sorted(FLOOR.items(), key=lambda item: -item[1]):
        if room in here:
            said = importlib.import_module(f"retain.{room}").__doc__ or ""
            lines.append((str(floor), f"`{room}`", _escaped(said.split("\n")[0].rstrip("."))))
    return rows("floor|room|what it knows", lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


PARTS: dict[str, Callable[[], str]] = {
    "tables": tables_part,
    "columns": columns_part,
    "features": features_part,
    "metrics": metrics_part,
    "rooms": rooms_part,
}


def part_pattern(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"(<!-- {name}: written by tests/test_docs.py -->\n)(.*?)(\n<!-- end of {name} -->)",
        re.DOTALL,
    )


def written_anew(text: str) -> str:
    """The README with every generated part as the code has it now."""
    for name, part in PARTS.items():
        text, found = part_pattern(name).subn(lambda m, p=part: m[1] + p() + m[3], text)
        assert found == 1, f"README.md holds {found} parts called {name}; expected one"
    return text


# ---- reading the README ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[str]:
    """Fenced blocks of some languages."""
    fenced = re.findall(r"^```([a-z]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [inside for language, inside in fenced if language in languages]


def marked(text: str, name: str) -> str:
    """The fenced block right after a marker: what people, and .ci/run, copy."""
    found = re.findall(
        rf"^<!-- {name} -->\n```[a-z]*\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE
    )
    assert len(found) == 1, f"{len(found)} blocks marked {name}"
    return str(found[0]).strip()


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The commands with their options, as the program has them."""
    (commands,) = (
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(commands.choices)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings} - {"-h", "--help"}


def uses(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every command that the text shows in code: its first word and the options after it."""
    code = blocks(text, "sh", "cron", "text", "") + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    for piece in code:
        for line in piece.splitlines():
            for said in re.findall(r"(?:^|[\s/])retain ((?!\S*[.:=])[a-z]\S*[^#|&>]*)", line):
                words = said.split()
                yield words[0], [w.split("=")[0] for w in words[1:] if w.startswith("--")]


# ---- the README --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS)
def test_a_generated_part_is_as_the_code_has_it(name, readme):
    (found,) = part_pattern(name).findall(readme)

    assert PARTS[name]() == found[1], "run: python tests/test_docs.py"


def test_a_generated_part_that_is_out_of_date_is_written_anew(readme):
    stale = part_pattern("tables").sub(r"\1old\3", readme)

    assert stale != readme
    assert written_anew(stale) == written_anew(readme)


def test_every_feature_has_one_line_in_the_catalogue():
    shown = [line for line in features_part().splitlines()[2:] if line]

    assert len(FEATURES) == len(shown)
    assert len(set(shown)) == len(shown)
    assert not any("{" in line for line in shown)


def test_every_metric_has_one_line_in_the_catalogue():
    shown = [line for line in metrics_part().splitlines()[2:] if line]

    assert len(METRICS) == len(shown) == len(set(shown))
    assert all(f"`{one.name}`" in line for one, line in zip(METRICS, shown, strict=True))


def test_the_set_up_is_two_commands_of_one_line(readme):
    for name, word in (("demo", "retain demo"), ("tests", "pytest")):
        command = marked(readme, name)
        assert "\n" not in command
        assert f".venv/bin/{word}" in command


def test_commands_shown_exist_with_the_options_shown(readme):
    known = parsers()
    shown = list(uses(readme))
    assert len(shown) > len(known)
    for command, options in shown:
        assert command in known, f"retain {command} is shown and does not exist"
        assert {*options} <= {*options_of(known[command]), "--help"}, f"retain {command} {options}"


def test_every_command_and_every_option_is_told(readme):
    told = {command for command, _ in uses(readme)}
    assert set(parsers()) <= told
    for name, parser in parsers().items():
        missing = [option for option in options_of(parser) if f"{option}" not in readme]
        assert missing == [], f"retain {name}: {missing}"


def test_a_command_that_does_not_exist_would_be_found():
    assert [("fly", ["--far"])] == list(uses("Try `retain fly --far away`."))
    assert [("score", [])] == list(uses("```sh\n.venv/bin/retain score a.yaml >>log\n```\n"))
    assert [] == list(uses("The room `retain.tables` and what retain says."))


def test_the_whole_configuration_loads_and_maps_columns_of_ours(readme, tmp_path):
    path = tmp_path / "acme.yaml"
    path.write_text(marked(readme, "configuration"), encoding="utf-8")
    shutil.copy(OWN_FEATURES, tmp_path)

    config = load_config(path)

    assert config.fingerprint()
    assert config.features == tmp_path / OWN_FEATURES.name
    given = config.model_fields_set
    sections = {"tables", "churn", "clv", "snapshots", "tracking", "review", "bands", "metrics"}
    assert sections <= given
    for name, table in config.tables.items():
        assert set(table.columns) <= set(SPECS[name].names), name


def test_every_group_of_settings_is_in_the_whole_configuration(readme):
    text = marked(readme, "configuration")

    missing = [
        n for n in Config.model_fields if not re.search(rf"^#? ?{n}:", text, flags=re.MULTILINE)
    ]
    assert [] == missing


def test_python_shown_parses_and_imports_what_exists(readme):
    shown = blocks(readme, "python")
    assert shown
    for text in shown:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("retain"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_links_lead_somewhere(readme):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", readme)

    assert [] == [link for link in links if "://" not in link and not (ROOT / link).exists()]


# ---- the notebooks -----------------------------------------------------------------------------


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def faults(cells: list[dict[str, Any]]) -> list[str]:
    """What tells that a notebook was not run from top to bottom, or ended badly."""
    found = []
    for number, cell in enumerate(cells, 1):
        if cell["execution_count"] != number:
            found.append(f"cell {number}: run as number {cell['execution_count']}")
        for output in cell["outputs"]:
            if output["output_type"] == "error" or output.get("name") == "stderr":
                found.append(f"cell {number}: {json.dumps(output)[:200]}")
    return found


def test_there_are_three_notebooks():
    assert ["01", "02", "03"] == [path.name[:2] for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_it_ran_and_names_no_machine(path):
    text = path.read_text(encoding="utf-8")

    assert [] == faults(code_cells(path))
    assert not MACHINE.search(text)
    assert "/tmp/" not in text
    assert len(text) < MOST_BYTES


def test_a_notebook_run_out_of_order_or_with_an_error_is_found():
    good = {"execution_count": 1, "outputs": []}
    bad = {"execution_count": 2, "outputs": [{"output_type": "error", "ename": "KeyError"}]}

    assert [] == faults([good])
    assert ["cell 1: run as number 2", 'cell 1: {"output_type": "error", "ename": "KeyError"}'] == (
        faults([bad])
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")  # the kernel's own machinery
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_again_from_top_to_bottom(path, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path / "notebooks")}},
    )
    client.execute()

    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [] == faults(ran)
    assert len(code_cells(path)) == len(ran)


if __name__ == "__main__":
    README.write_text(written_anew(README.read_text(encoding="utf-8")), encoding="utf-8")
