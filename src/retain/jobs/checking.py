"""`retain check`: read everything once and say how usable it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from retain.config import Config
from retain.jobs.opening import company_of, read_company
from retain.jobs.progress import Listener, silent
from retain.jobs.suspecting import findings_of_leaks
from retain.tables import Counts, Finding, write_quarantine

__all__ = ["Checked", "check"]

SEVERITIES = ("error", "warning", "advice")


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Parameters
    ----------
    findings
        One per problem, errors first.
    counts
        Rows in = used + set aside, per table.
    data_until
        Last day that the data speak of.
    quarantine
        File with the rows set aside, None when there are none.
    ok
        Whether a run is possible.
    refusal
        Why `retain train` would refuse all the same: too few customers, leavers or weeks; else
        empty.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, Counts]
    data_until: date
    quarantine: Path | None
    ok: bool
    refusal: str = ""


def check(
    config: Config | str | Path,
    *,
    tables: Mapping[str, pd.DataFrame] | None = None,
    strict: bool = False,
    progress: Listener = silent,
) -> Checked:
    """Read and check a company's tables.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    tables
        Frames that stand in for configured sources.
    strict
        Rows set aside make the check fail.
    progress
        Told what is being done.
    """
    progress("reading tables", 0.0)
    settings, store, found = read_company(config, tables)
    aside = sum(sum(counts.set_aside.values()) for counts in found.counts.values())
    path = store.folder / "quarantine.parquet"
    if aside:
        progress("writing the quarantine", 0.9)
        with store.locked("check"):
            write_quarantine(found, path)
    elif path.exists():
        with store.locked("check"):
            path.unlink(missing_ok=True)  # of an earlier check: its rows are used now
    findings, refusal = found.findings, ""
    if not found.errors:
        progress("looking for leaks", 0.5)
        with store.locked("check"):
            suspected = findings_of_leaks(company_of(settings, store, found), progress)
        refusal = suspected.refusal
        findings = tuple(
            sorted((*findings, *suspected.findings), key=lambda one: SEVERITIES.index(one.severity))
        )
    progress("done", 1.0)
    ok = not any(one.severity == "error" for one in findings) and not (strict and aside)
    return Checked(findings, found.counts, found.data_until, path if aside else None, ok, refusal)
