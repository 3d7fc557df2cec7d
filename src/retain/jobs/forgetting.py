"""`retain forget`: one customer erased from everything that we keep, and an account of it."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from retain import actions
from retain.config import Config, load_config
from retain.errors import StoreError
from retain.jobs.progress import Listener, silent
from retain.jobs.reporting import report
from retain.jobs.store import Store, partial

__all__ = ["Forgotten", "forget"]

KEPT_WEEKS = "weeks"  # folded from the sources, folded again when missing
STORE_IN_USE = (
    "the action store is in use at this moment (by `retain review`?), so its file, or the log "
    "beside it (ending in -wal), may still hold bytes of what was erased: end what uses it, see "
    "that the disk has room for a second copy, and run this again"
)


@dataclass(frozen=True)
class Forgotten:
    """What was erased.

    Parameters
    ----------
    erased
        Where, and how many rows, entries or files.
    notes
        What we cannot erase, and who can.
    """

    erased: dict[str, int]
    notes: tuple[str, ...]


def forget(
    config: Config | str | Path,
    customer_id: str,
    *,
    actor: str = "retain forget",
    progress: Listener = silent,
) -> Forgotten:
    """Erase one customer from scored weeks, quarantine, kept weeks, metrics and the action store.

    A run that is killed is finished by running it again.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    customer_id
        As in the outputs.
    actor
        Who asks for it; kept in the trail, without saying who was forgotten.
    progress
        Told what is being done.

    Raises
    ------
    StoreError
        When nothing of this customer is kept.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    who = str(customer_id).strip()
    files = Store(settings.store)
    if not who:
        raise StoreError("forget: the customer's id is empty; expected one as in the outputs")
    erased: dict[str, int] = {}
    mentions: list[Path] = []
    with files.locked("forget"):
        every = sorted(_below(files.folder), key=lambda path: (path.suffix == ".html", path))
        for at, path in enumerate(every):
            progress(f"looking through {path.name}", at / max(len(every), 1))
            where = path.relative_to(files.folder).as_posix()
            if where.startswith(f"{KEPT_WEEKS}/"):
                continue
            if path.suffix == ".html":  # these come last: drawn from what lies beside them
                beside = f"{where.removesuffix(path.name)}"
                if any(name.startswith(beside) for name in erased) or _mentions(path, who):
                    mentions.append(path)
                continue
            if path.name == "scores.parquet":
                _correct_manifest(files, path, who)
            if n := _erase(path, who):
                erased[where] = n
        for path in mentions:  # pages of scored weeks are made again below
            path.unlink()
            erased[path.relative_to(files.folder).as_posix()] = 1
    weeks_again = [
        day for day in files.scored_weeks() if not (files.week(day) / "report.html").exists()
    ]
    for day in weeks_again:
        report(settings, as_of=day)
    with files.locked("forget"), actions.open_store(settings.database_url()) as store:
        for table, n in store.forget(who, actor=actor).items():
            erased[f"action store: {table}"] = n
        is_gone = store.is_gone
        if erased and (files.folder / KEPT_WEEKS).exists():
            count = sum(path.suffix == ".arrow" for path in _below(files.folder / KEPT_WEEKS))
            shutil.rmtree(files.folder / KEPT_WEEKS)
            erased["kept weeks, folded again from the sources"] = count
    if not erased:
        raise StoreError(
            f"forget: nothing of {who!r} is kept in {files.folder}. Give the id as it stands in "
            "the outputs." + ("" if is_gone else f" But {STORE_IN_USE}.")
        )
    notes = _notes(settings, mentions, weeks_again, files)
    return Forgotten(erased, notes if is_gone else (*notes, STORE_IN_USE))


def _notes(
    settings: Config, mentions: list[Path], weeks_again: list[date], files: Store
) -> tuple[str, ...]:
    notes = [
        "the company's own tables are not ours to change: erase the customer there, too, or the "
        "next run brings the rows back",
        "files that were handed on or written elsewhere (--out) are out of our reach",
        "models keep no customer's rows; what they learnt stays until the next training",
    ]
    remade = {files.week(day) / "report.html" for day in weeks_again}
    gone = [path for path in mentions if path not in remade]
    if gone:
        notes.append(
            f"pages that named the customer were removed ({len(gone)}); their commands make them "
            "again"
        )
    if settings.tracking_uri() is not None:
        notes.append(
            "runs are recorded on a tracking server of your own; files attached there before "
            "(metrics by customer) must be erased there"
        )
    return tuple(notes)


def _correct_manifest(files: Store, scores: Path, who: str) -> None:
    """Take the customer out of the counts and totals of its week."""
    frame = pd.read_parquet(scores)
    mine = frame[frame["customer_id"].astype(str) == who]
    path = scores.with_name("manifest.json")
    if mine.empty or not path.exists():
        return
    manifest = json.loads(path.read_text(encoding="utf-8"))
    people, totals = manifest["customers"], manifest["totals"]
    left = frame[frame["customer_id"].astype(str) != who]
    people["eligible"] = int(left["eligible"].sum())
    for reason in set(mine["not_eligible_because"].dropna()):
        people["not_eligible"][reason] = int(left["not_eligible_because"].eq(reason).sum())
    # said anew, not counted down: a run that is killed here may be run again
    people["in"] = people["eligible"] + sum(people["not_eligible"].values()) + people["set_aside"]
    shown = left[left["eligible"]]
    for name, column in (("mrr", "mrr"), ("value_at_risk", "value_at_risk")):
        if totals[name] is not None:
            totals[name] = round(float(shown[column].sum()), 2)
    totals["expected_churners"] = round(float(shown["churn_probability"].sum()), 2)
    if totals["clv"] is not None:
        totals["clv"] = round(float(left["clv"].sum()), 2)
    files.write_json(path, manifest)


def _erase(path: Path, who: str) -> int:
    """Erase a customer from one file; give how many rows or entries went."""
    if path.suffix == ".parquet":
        return _erase_parquet(path, who)
    if path.suffix == ".csv":
        return _erase_csv(path, who)
    if path.suffix == ".json":
        return _erase_json(path, who)
    return 0


def _erase_parquet(path: Path, who: str) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read()
    gone = None
    for name in table.column_names:
        column = table.column(name)
        kind = str(column.type)
        if name == "row_json":  # of the quarantine: the source's row as it came
            hit = [_names(text, who) for text in column.to_pylist()]
            mask = pa.array(hit)
        elif not _is_id(name):
            continue
        elif "string" in kind:
            mask = pc.fill_null(pc.equal(column, who), False)
        elif "int" in kind and who.lstrip("-").isdigit():
            mask = pc.fill_null(pc.equal(column, int(who)), False)
        else:
            continue
        gone = mask if gone is None else pc.or_(gone, mask)
    if gone is None or not (n := int(pc.sum(gone).as_py() or 0)):
        return 0
    aside = partial(path)
    pq.write_table(table.filter(pc.invert(gone)), aside, compression="zstd")
    aside.replace(path)
    return n


def _is_id(column: str) -> bool:
    """Tell a column of ids from others, in which the same text may mean something else."""
    return column in ("id", "ids", "customer", "customers") or column.endswith(("_id", "_ids"))


def _names(text: str | None, who: str) -> bool:
    """Tell whether a row as JSON has the customer's id as one of its values."""
    try:
        row = json.loads(text or "")
    except ValueError:
        return bool(re.search(rf"(?<!\w){re.escape(who)}(?!\w)", text or ""))
    values = row.values() if isinstance(row, dict) else [row]
    return any(str(value) == who or str(value) == f"{who}.0" for value in values)


def _erase_csv(path: Path, who: str) -> int:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    at = [n for n, name in enumerate(rows[0]) if _is_id(name)] if rows else []
    kept = rows[:1] + [row for row in rows[1:] if not any(row[n : n + 1] == [who] for n in at)]
    if len(kept) == len(rows):
        return 0
    aside = partial(path)
    with aside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(kept)
    aside.replace(path)
    return len(rows) - len(kept)


def _erase_json(path: Path, who: str) -> int:
    text = path.read_text(encoding="utf-8")
    if who not in text:
        return 0
    try:
        content, n = _without(json.loads(text), who)
    except ValueError:
        return 0  # not JSON after all
    if n:
        Store(path.parent).write_json(path, content)
    return n


def _without(content: Any, who: str, under: str = "") -> tuple[Any, int]:
    """Give nested values without the customer's entries, and how many went."""
    if isinstance(content, dict):
        made, n = {}, 0
        for key, value in content.items():
            if key == who and _is_id(under):
                n += 1
                continue
            made[key], more = _without(value, who, key)
            n += more
        return made, n
    if isinstance(content, list):
        listed, n = [], 0
        for value in content:
            about = value.get("customer_id") if isinstance(value, dict) else value
            if about == who and (isinstance(value, dict) or _is_id(under)):
                n += 1
                continue
            kept, more = _without(value, who, under)
            listed.append(kept)
            n += more
        return listed, n
    return content, 0


def _mentions(path: Path, who: str) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    shown = {who, html.escape(who), json.dumps(who)[1:-1]}
    return any(re.search(rf"(?<![\w-]){re.escape(one)}(?![\w-])", text) for one in shown)


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
