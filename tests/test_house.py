"""The house rules as tests: imports point down, each library has one door, names are kept.

Each rule is a function from a source tree to complaints; every rule is also shown a fault that it
must find, so that none of them can quietly stop biting.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "retain"
FLOORS = [
    "errors",
    "engines",
    "config metrics tables",
    "weeks",
    "snapshots features model",
    "baselines explain demo effort_value",
    "evaluate drift",
    "report tracking actions leaks",
    "jobs review",
    "cli",
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split()}
DOORS = {
    "mlflow": "tracking",
    "shap": "explain",
    "lightgbm": "model",
    "optuna": "model",
    "duckdb": "tables weeks metrics",  # others may hold a connection, none opens one
    "matplotlib": "report",
    "jinja2": "report review",
    "pydantic": "config",
    "yaml": "config",
    "filelock": "jobs",
    "joblib": "jobs",
    "cloudpickle": "jobs",
    "doubleml": "effort_value",
    "sqlalchemy": "actions tracking",  # others hold a Store; mlflow's errors are of its kind
    "psycopg": "actions",
    "sqlglot": "engines",
    "adbc_driver_postgresql": "engines",
    "econml": "actions",
    "pyspark": "engines",
    "argparse": "cli",
    "fastapi": "review",
    "starlette": "review",
    "uvicorn": "review",
    "rich": "report cli",
    "retain.config": "jobs cli __init__",  # config stops at the door
}
LAZY = ["mlflow", "shap", "lightgbm", "optuna", "sklearn", "matplotlib", "scipy", "doubleml"]
LAZY += ["econml", "sqlglot", "adbc_driver_postgresql", "pyspark"]
LAZY_BUT = {"model/heads.py": "sklearn"}  # inheriting the contract needs its base classes
HOMELESS = {"utils", "util", "helpers", "helper", "common", "base", "core", "misc", "manager"}
LONGEST = 600
FUTURE = {"churn_labels", "churned_by", "clv_labels", "later_totals"}
# training learns from labels and looks for what gives them away; results are outcomes, and effort
# is compared, a health score judged, by what came after it
SEES_FUTURE = {
    "snapshots.py",
    "jobs/observing.py",
    "jobs/horizons.py",
    "jobs/valuing.py",
    "jobs/suspecting.py",
    "jobs/outcomes.py",
    "jobs/effort.py",
    "jobs/health.py",
}


def modules(src: Path) -> list[Path]:
    return sorted(src.rglob("*.py"))


def room_of(path: Path, src: Path) -> str:
    return path.relative_to(src).with_suffix("").parts[0]


def where(path: Path, src: Path, node: ast.AST | None = None) -> str:
    return path.relative_to(src).as_posix() + (f":{node.lineno}" if node else "")


def parsed(src: Path) -> Iterator[tuple[Path, str, ast.Module]]:
    for path in modules(src):
        yield path, room_of(path, src), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Dotted names of what is imported: `from retain import tracking` is retain.tracking."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            if node.module == "retain":
                yield from ((f"retain.{alias.name}", node) for alias in node.names)
            else:
                yield node.module or "", node


def within(name: str, library: str) -> bool:
    return name == library or name.startswith(library + ".")


# ---- the rules: a source tree in, complaints out -----------------------------------------------


def imports_point_down(src: Path) -> Iterator[str]:
    for path, room, tree in parsed(src):
        for name, node in imported(tree):
            other = name.split(".")[1] if name.startswith("retain.") else room
            if room in FLOOR and other in FLOOR and other != room and FLOOR[other] >= FLOOR[room]:
                yield f"{where(path, src, node)}: {room} may not import {other}"


def rooms_have_a_floor(src: Path) -> Iterator[str]:
    for path in modules(src):
        if (room := room_of(path, src)) not in {*FLOOR, "__init__", "__main__"}:
            yield f"{where(path, src)}: {room} has no floor; draw it in the layout first"


def libraries_have_one_door(src: Path) -> Iterator[str]:
    for path, room, tree in parsed(src):
        for name, node in imported(tree):
            for library, doors in DOORS.items():
                own = library.removeprefix("retain.")
                if within(name, library) and room not in {*doors.split(), own}:
                    yield f"{where(path, src, node)}: {library} belongs to {doors}"


def heavy_imports_wait(src: Path) -> Iterator[str]:
    for path, _, tree in parsed(src):
        for statement in tree.body:
            at_once = isinstance(statement, ast.Import | ast.ImportFrom)
            for name, node in imported(statement) if at_once else ():
                library = name.split(".")[0]
                if library in LAZY and LAZY_BUT.get(where(path, src)) != library:
                    yield f"{where(path, src, node)}: import {library} where it is used"


def imports_are_absolute(src: Path) -> Iterator[str]:
    for path, _, tree in parsed(src):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{where(path, src, node)}: relative import"


def modules_are_named_after_an_idea(src: Path) -> Iterator[str]:
    for path in modules(src):
        names = {path.stem, *path.relative_to(src).parts[:-1]}
        if homeless := names & HOMELESS:
            yield f"{where(path, src)}: {homeless.pop()} names no idea"


def modules_say_what_they_know(src: Path) -> Iterator[str]:
    for path, _, tree in parsed(src):
        if not ast.get_docstring(tree):
            yield f"{where(path, src)}: says nothing about itself"


def modules_fit_a_room(src: Path) -> Iterator[str]:
    for path in modules(src):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONGEST:
            yield f"{where(path, src)}: {lines} lines, at most {LONGEST}"


def only_the_command_line_prints(src: Path) -> Iterator[str]:
    for path, room, tree in parsed(src):
        for node in ast.walk(tree):
            said = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if said and node.func.id == "print" and room != "cli":
                yield f"{where(path, src, node)}: print belongs to cli"


def one_room_looks_ahead(src: Path) -> Iterator[str]:
    for path, room, tree in parsed(src):
        for node in ast.walk(tree):
            names = {getattr(node, "id", None), getattr(node, "attr", None)}
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names}
            if names & FUTURE and where(path, src) not in SEES_FUTURE:
                yield f"{where(path, src, node)}: labels are the future; ask snapshots in training"
            # a feature that reaches behind a History could name a later week
            private = isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr)
            if private and room == "features" and where(path, src) != "features/build.py":
                yield f"{where(path, src, node)}: {node.attr} is behind the History"


def imports_are_offered(src: Path) -> Iterator[str]:
    """What one room takes from another is in the other's `__all__`."""
    listed = {}
    for path, _, tree in parsed(src):
        dotted = ".".join(("retain", *path.relative_to(src).with_suffix("").parts))
        listed[dotted.removesuffix(".__init__")] = names_listed(tree)
    for path, room, tree in parsed(src):
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.module not in listed:
                continue
            if node.module == "retain" or node.module.split(".")[1] == room:
                continue  # a package of rooms; at home everything may be used
            for alias in node.names:
                room_inside = f"{node.module}.{alias.name}" in listed
                if not room_inside and alias.name not in listed[node.module]:
                    yield f"{where(path, src, node)}: {node.module} does not offer {alias.name}"


def names_listed(tree: ast.Module) -> set[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return set(ast.literal_eval(node.value))
    return set()


RULES: tuple[Callable[[Path], Iterator[str]], ...] = (
    imports_point_down,
    rooms_have_a_floor,
    libraries_have_one_door,
    heavy_imports_wait,
    imports_are_absolute,
    modules_are_named_after_an_idea,
    modules_say_what_they_know,
    modules_fit_a_room,
    only_the_command_line_prints,
    one_room_looks_ahead,
    imports_are_offered,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_rule_is_kept(rule):
    assert list(rule(SRC)) == []


FAULTS = [
    (imports_point_down, "model/heads.py", "from retain.jobs import train", "may not import jobs"),
    (imports_point_down, "weeks/fold.py", "import retain.model.heads", "may not import model"),
    (imports_point_down, "model/heads.py", "from retain.features import Column", "import features"),
    (imports_point_down, "tables/sql.py", "from retain import tracking", "may not import tracking"),
    (
        imports_point_down,
        "explain/drivers.py",
        "def late():\n    from retain.report import page",
        "may not import report",
    ),
    (rooms_have_a_floor, "forecast.py", "", "forecast has no floor"),
    (libraries_have_one_door, "jobs/observing.py", "import mlflow.lightgbm", "mlflow belongs to"),
    (libraries_have_one_door, "model/heads.py", "from retain.config import Config", "jobs cli"),
    (libraries_have_one_door, "model/heads.py", "from retain import config", "jobs cli"),
    (libraries_have_one_door, "jobs/observing.py", "def f():\n    import shap", "shap belongs to"),
    (libraries_have_one_door, "explain/drivers.py", "import lightgbm", "lightgbm belongs to"),
    (libraries_have_one_door, "jobs/scoring.py", "import duckdb", "duckdb belongs to"),
    (
        libraries_have_one_door,
        "weeks/fold.py",
        "def f():\n    import sqlglot",
        "belongs to engines",
    ),
    (libraries_have_one_door, "explain/draw.py", "from matplotlib import pyplot", "matplotlib"),
    (libraries_have_one_door, "tables/spec.py", "import pydantic", "pydantic belongs to config"),
    (libraries_have_one_door, "tables/spec.py", "import yaml", "yaml belongs to config"),
    (libraries_have_one_door, "jobs/scoring.py", "import argparse", "argparse belongs to cli"),
    (libraries_have_one_door, "jobs/scoring.py", "from rich.progress import Live", "rich belongs"),
    (heavy_imports_wait, "model/fitting.py", "import lightgbm as lgb", "where it is used"),
    (heavy_imports_wait, "evaluate.py", "from scipy.stats import rankdata", "where it is used"),
    (imports_are_absolute, "model/heads.py", "from .encoding import Encoder", "relative import"),
    (modules_are_named_after_an_idea, "model/utils.py", "", "utils names no idea"),
    (modules_are_named_after_an_idea, "common/dates.py", "", "common names no idea"),
    (modules_say_what_they_know, "model/silent.py", None, "says nothing about itself"),
    (modules_fit_a_room, "model/long.py", "\n" * LONGEST, "at most 600"),
    (only_the_command_line_prints, "jobs/observing.py", "print('done')", "print belongs to cli"),
    (
        one_room_looks_ahead,
        "features/usage.py",
        "def f(rows):\n    return clv_labels(rows)",
        "futur",
    ),
    (
        one_room_looks_ahead,
        "jobs/scoring.py",
        "from retain.snapshots import churn_labels",
        "labels are the future",
    ),
    (
        one_room_looks_ahead,
        "jobs/scoring.py",
        "from retain import snapshots\nsnapshots.clv_labels(1)",
        "labels are the future",
    ),
    (one_room_looks_ahead, "features/usage.py", "def f(h):\n    return h._now", "behind the Hist"),
    (
        imports_are_offered,
        "jobs/scoring.py",
        "from retain.errors import hidden",
        "not offer hidden",
    ),
]


def planted(folder: Path, at: str, text: str | None) -> Path:
    """A small sound house with one module more, or one instead."""
    files = {
        "__init__.py": '"""The house."""\n',
        "errors.py": '"""E."""\n__all__ = ["RetainError"]\nclass RetainError(ValueError): ...\n',
        "model/__init__.py": '"""Models."""\nfrom retain.errors import RetainError\n',
        "model/heads.py": '"""Heads."""\ndef fit():\n    import lightgbm\n',
        "cli.py": '"""Command line."""\nimport argparse\nprint("hello")\n',
        "snapshots.py": '"""Labels."""\n__all__ = ["churn_labels"]\ndef churn_labels(): ...\n',
        "jobs/observing.py": '"""T."""\nfrom retain.snapshots import churn_labels\n',
        "jobs/opening.py": '"""Opening."""\nimport retain.config\n',
    }
    files[at] = "x = 1\n" if text is None else f'"""Planted."""\n{text}\n'
    for name, content in files.items():
        path = folder / "retain" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder / "retain"


@pytest.mark.parametrize(("rule", "at", "text", "complaint"), FAULTS, ids=lambda value: None)
def test_a_planted_fault_is_found(rule, at, text, complaint, tmp_path):
    found = list(rule(planted(tmp_path, at, text)))

    assert len(found) == 1, found
    assert found[0].startswith(at)
    assert complaint in found[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_house_has_no_complaints_and_every_rule_is_tried(rule, tmp_path):
    assert list(rule(planted(tmp_path, "evaluate.py", "import math"))) == []
    assert rule in {tried for tried, *_ in FAULTS}


# ---- what a module offers ----------------------------------------------------------------------


def dotted_names() -> list[str]:
    names = []
    for path in modules(SRC):
        parts = ("retain", *path.relative_to(SRC).with_suffix("").parts)
        names.append(".".join(parts).removesuffix(".__init__"))
    return [name for name in names if name != "retain.__main__"]


def badly_offered(module: types.ModuleType) -> list[str]:
    """What `__all__` lists and the module has not, and what the module has and does not list."""
    listed = getattr(module, "__all__", None)
    if listed is None:
        return ["no __all__"]
    complaints = [f"{name} twice" for name in sorted(set(listed)) if listed.count(name) > 1]
    for name in listed:
        if not hasattr(module, name):
            complaints.append(f"{name} is listed but cannot be imported")
        elif isinstance(getattr(module, name), types.ModuleType):
            complaints.append(f"{name} is listed but hides behind the room of that name")
    if hasattr(module, "__path__"):  # of a package everything in sight is offered
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", "").startswith(module.__name__ + ".")
            if ours and not name.startswith("_") and name not in listed:
                complaints.append(f"{name} can be imported but is not listed")
    return complaints


@pytest.mark.parametrize("name", dotted_names())
def test_what_is_listed_is_what_can_be_imported(name):
    assert badly_offered(importlib.import_module(name)) == []


def test_a_wrong_listing_is_found():
    module = types.ModuleType("retain.made_up")
    module.__path__ = []
    assert badly_offered(module) == ["no __all__"]

    class Stray: ...

    Stray.__module__ = "retain.made_up.somewhere"
    module.Stray, module.json = Stray, json
    module.__all__ = ["gone", "json", "json"]

    assert badly_offered(module) == [
        "json twice",
        "gone is listed but cannot be imported",
        "json is listed but hides behind the room of that name",
        "json is listed but hides behind the room of that name",
        "Stray can be imported but is not listed",
    ]


def test_importing_the_package_loads_nothing_heavy():
    heavy = [*LAZY, "pandas", "duckdb", "retain.jobs"]
    code = f"import sys, retain, retain.cli; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


# ---- notebooks, the README, machines -----------------------------------------------------------


def definitions_in(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    complaints = []
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        text = "".join(cell["source"])
        plain = "\n".join(
            line for line in text.split("\n") if not line.lstrip().startswith(("%", "!"))
        )
        for node in ast.walk(ast.parse(plain)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
                name = getattr(node, "name", "a lambda")
                complaints.append(f"{notebook.name}, cell {number}: {name} belongs into src")
    return complaints


def test_notebooks_import_and_define_nothing():
    notebooks = sorted((ROOT / "notebooks").rglob("*.ipynb"))
    if not notebooks:
        pytest.skip("no notebooks yet")
    assert [complaint for path in notebooks for complaint in definitions_in(path)] == []


def test_a_function_born_in_a_notebook_is_found(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["def of effort"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "from retain import train\n"]},
        {"cell_type": "code", "source": ["def lost():\n", "    return 1\n"]},
    ]
    path = tmp_path / "walk.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")

    assert definitions_in(path) == ["walk.ipynb, cell 2: lost belongs into src"]


def commands() -> list[str]:
    """The commands as the program itself lists them."""
    from retain.cli import main

    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), pytest.raises(SystemExit):
        main(["--help"])
    listed = heard.getvalue().split("COMMAND", 1)[1]
    return re.findall(r"^    ([a-z]+)(?:\s|$)", listed, flags=re.MULTILINE)


def setting_groups() -> list[str]:
    from pydantic import BaseModel

    from retain.config import Config

    return [
        name
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    ]


def unmentioned(text: str) -> list[str]:
    missing = [f"retain {name}" for name in commands() if not re.search(rf"retain {name}\b", text)]
    return missing + [
        f"{name}:" for name in setting_groups() if not re.search(rf"(`|\b){name}(`|:|\.)", text)
    ]


def test_the_readme_names_every_command_and_every_group_of_settings():
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("no README yet")
    assert unmentioned(readme.read_text(encoding="utf-8")) == []


def test_a_command_or_group_that_the_readme_forgets_is_found():
    assert {"retain demo", "retain score", "churn:", "tables:"} <= set(unmentioned("Hello."))
    assert "retain demo" not in unmentioned("Try `retain demo`.")
    assert "churn:" not in unmentioned("Under `churn` you say what leaving means.")


# written so that this file does not find itself
MACHINE = re.compile(
    r"(?<![\w.])/(?:[h]ome|[U]sers|[w]ork|[r]oot|tmp/[w])/\w|[A-Z]:\\[U]sers"
    r"|[p]ypi\.org|[p]ythonhosted|--(?:extra-)?[i]ndex-url|[r]egistry\.npmjs|[a]rtifactory|[n]exus/"
)


def tracked_files() -> list[Path]:
    try:
        run = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in run.stdout.split("\0") if name]


def machine_traces(paths: list[Path]) -> list[str]:
    complaints = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or deleted and not yet committed
        for number, line in enumerate(lines, 1):
            if found := MACHINE.search(line):
                complaints.append(f"{path.name}:{number}: {found.group()}")
    return complaints


def test_no_tracked_file_names_a_machine_or_a_registry():
    assert machine_traces(tracked_files()) == []


@pytest.mark.parametrize(
    "text",
    [
        "store: /ho" + "me/ann/store",
        "see /wo" + "rk/main",
        "C:" + "\\Us" + "ers\\ann",
        "pip install --ind" + "ex-url http://x",
        "https://py" + "pi.org/simple",
    ],
)
def test_a_trace_of_a_machine_is_found(text, tmp_path):
    path = tmp_path / "note.md"
    path.write_text(f"fine\n{text}\n", encoding="utf-8")

    (complaint,) = machine_traces([path])
    assert complaint.startswith("note.md:2")


def test_paths_that_name_no_machine_are_let_pass(tmp_path):
    path = tmp_path / "note.md"
    path.write_text("../shared/data, /store/week, a/home/b, homework/x\n", encoding="utf-8")

    assert machine_traces([path]) == []
