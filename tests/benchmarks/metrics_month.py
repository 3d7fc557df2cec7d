"""What all metrics of a month by segment cost, beside counting and summing the same rows.

    python tests/benchmarks/metrics_month.py [--months 24 2] [--usage 20000000] [--folder DIR]

Parquet files of usage, interactions and surveys (20 : 2 : 1) are drawn over some months, with the
smaller tables of a company of 50,000 customers. Two fresh processes with the same threads and
memory read them: one lets DuckDB count, sum and group the three files by customer; the other
computes every metric of the catalogue for the last month, by segment. CPU seconds from the first
query on, their ratio, and the peak memory of the whole process are printed. The more months, the
less of the rows belong to one: two cases are run, the rows within 24 months, and all within two, of
which every metric reads one whole month and some read both.
"""

from __future__ import annotations

import argparse
import inspect
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

CUSTOMERS = 50_000
END = "2026-11-01"
SUMS = {"usage": "quantity", "interactions": "handle_minutes", "surveys": "score"}
THREADS, MEMORY = 2, "3GB"


def opened(folder: Path) -> duckdb.DuckDBPyConnection:
    """A database with the threads and memory of either side."""
    con = duckdb.connect()
    con.execute(f"SET threads = {THREADS}; SET memory_limit = '{MEMORY}'")
    con.execute(f"SET temp_directory = '{folder / 'spill'}'; SET enable_progress_bar = false")
    con.execute("SET parquet_metadata_cache = true")
    return con


def make(folder: Path, usage: int, months: int) -> None:
    """Draw the tables: sessions of about eight events, cases, answers, contracts, payments."""
    con = opened(folder)
    con.execute("SET preserve_insertion_order = true")
    con.execute(f"""
        CREATE MACRO drawn(i, seed, many) AS CAST(hash(i * 64 + seed) % many AS BIGINT);
        CREATE MACRO who(i) AS 'c' || lpad(CAST(i AS VARCHAR), 6, '0');
        CREATE MACRO since(days, seconds) AS TIMESTAMP '{END}' - to_days(CAST(days AS INTEGER))
            + to_seconds(CAST(seconds AS BIGINT))""")
    days = round(months * 30.44)
    files = {
        "usage": f"""
            SELECT who(c) AS customer_id, who(c) || '-u' || drawn(s, 2, 4) AS user_id,
                since({days}, drawn(s, 3, {days * 86_400 - 7_200}) + drawn(s * 8 + e, 4, 2400))
                    AS occurred_at,
                ['login', 'export', 'search', 'report', 'admin', 'share', 'import', 'alert',
                 'invite', 'comment', 'print', 'api'][1 + drawn(s * 8 + e, 5, 12)] AS feature,
                CAST(1 + drawn(s * 8 + e, 6, 3) AS DOUBLE) AS quantity
            FROM (SELECT s, drawn(s, 1, {CUSTOMERS}) AS c FROM range({usage // 8}) AS t (s)),
                range(8) AS u (e) ORDER BY occurred_at""",
        "interactions": f"""
            SELECT who(drawn(i, 1, {CUSTOMERS})) AS customer_id, 'i' || i AS interaction_id,
                opened_at, opened_at + to_minutes(CAST(1 + drawn(i, 3, 300) AS BIGINT))
                    AS first_response_at,
                CASE WHEN drawn(i, 4, 20) > 0 THEN opened_at
                    + to_minutes(CAST(300 + drawn(i, 5, 9000) AS BIGINT)) END AS resolved_at,
                ['mail', 'phone', 'chat'][1 + drawn(i, 6, 3)] AS channel,
                ['billing', 'login', 'export', 'speed', 'other'][1 + drawn(i, 7, 5)] AS topic,
                CAST(drawn(i, 8, 9) = 0 AS DOUBLE) AS reopen_count,
                CAST(drawn(i, 9, 3) AS DOUBLE) AS transfer_count,
                CAST(2 + drawn(i, 10, 60) AS DOUBLE) AS handle_minutes,
                drawn(i, 11, 5) > 0 AS sla_met
            FROM (SELECT i, since({days}, drawn(i, 2, {days * 86_400})) AS opened_at
                FROM range({usage // 10}) AS t (i)) ORDER BY opened_at""",
        "surveys": f"""
            SELECT who(drawn(i, 1, {CUSTOMERS})) AS customer_id,
                ['nps', 'csat', 'ces'][1 + i % 3] AS kind,
                CASE WHEN drawn(i, 2, 2) = 0 THEN CAST([drawn(i, 3, 11), 1 + drawn(i, 4, 5),
                    1 + drawn(i, 5, 7)][1 + i % 3] AS DOUBLE) END AS score,
                sent_at, CASE WHEN drawn(i, 2, 2) = 0 THEN sent_at + INTERVAL 5 HOUR END
                    AS answered_at,
                CASE WHEN drawn(i, 6, 8) = 0 THEN 'it took too long to find it' END AS comment
            FROM (SELECT i, since({days}, drawn(i, 7, {days * 86_400})) AS sent_at
                FROM range({usage // 20}) AS t (i)) ORDER BY sent_at""",
        "customers": f"""
            SELECT who(i) AS customer_id, since(drawn(i, 1, 900), 0) AS signed_up_at,
                ['gold', 'silver', 'tin'][1 + drawn(i, 2, 3)] AS segment,
                CAST(100 + drawn(i, 3, 900) AS DOUBLE) AS acquisition_cost
            FROM range({CUSTOMERS}) AS t (i)""",
        "subscriptions": f"""
            SELECT who(i) AS customer_id, 's' || i || '-' || k AS subscription_id,
                since(900 - 450 * k, 0) AS started_at,
                CASE WHEN k = 0 THEN since(450, 0) WHEN drawn(i, 4, 20) = 0
                    THEN since(drawn(i, 5, 60), 0) END AS ended_at,
                CAST(20 + drawn(i * 2 + k, 6, 300) AS DOUBLE) AS mrr, false AS is_trial,
                'monthly' AS billing_period
            FROM range({CUSTOMERS}) AS t (i), range(2) AS u (k)
            UNION ALL
            SELECT who({CUSTOMERS} + i), 't' || i, since(drawn(i, 8, 90), 0), NULL, 0, true, NULL
            FROM range({CUSTOMERS // 10}) AS t (i)""",
        "scores": f"""
            SELECT who(i) AS customer_id, CAST(drawn(i, 9, 9000) AS DOUBLE) AS clv
            FROM range({CUSTOMERS}) AS t (i)""",
        "payments": f"""
            SELECT who(i) AS customer_id, 'p' || i || '-' || k AS payment_id,
                since(30 * k + drawn(i, 1, 28), 0) AS paid_at,
                CAST(20 + drawn(i, 6, 300) AS DOUBLE) AS amount, 'paid' AS status
            FROM range({CUSTOMERS}) AS t (i), range({months}) AS u (k)""",
        "costs": """
            SELECT ['support', 'retention', 'acquisition'][1 + k % 3] AS kind,
                since(k, 0) AS date, 5000.0 AS amount, NULL::VARCHAR AS customer_id,
                false AS already_in_cogs FROM range(90) AS t (k)""",
        "referrals": f"""
            SELECT who(drawn(i, 1, {CUSTOMERS})) AS referrer_id, 'n' || i AS referred_id,
                since(drawn(i, 2, 300), 0) AS referred_at,
                ['tracked', 'reference'][1 + i % 2] AS evidence, 500.0 AS value
            FROM range(5000) AS t (i)""",
    }
    for name, select in files.items():
        con.execute(f"COPY ({select}) TO '{folder / name}.parquet' (FORMAT parquet)")


def count(folder: Path) -> None:
    """Count, sum and group by customer."""
    con = opened(folder)
    for name, column in SUMS.items():
        con.execute(
            f"SELECT customer_id, count(*), sum({column}) FROM '{folder / name}.parquet' GROUP BY 1"
        ).fetchnumpy()


def compute(folder: Path, every_variant: bool) -> dict[str, Any]:
    """Compute the catalogue for the last month, by segment."""
    from datetime import date

    import scipy.special  # noqa: F401

    from retain.metrics import (
        METRICS,
        HealthPart,
        HealthRule,
        Period,
        Selected,
        health_scores,
    )

    began = cpu()  # not counted: what importing takes, any program of this kind pays it
    con = opened(folder)
    tables: dict[str, Any] = {
        path.stem: Selected(con, f"SELECT * FROM '{path}'")
        for path in sorted(folder.glob("*.parquet"))
    }
    period = Period.month("2026-10")
    parts = con.sql(
        f"SELECT customer_id, acquisition_cost AS cost FROM '{folder}/customers.parquet'"
    )
    tables["health"] = health_scores(parts.df(), HealthRule({"cost": HealthPart(1000, 0)}))
    given = {
        "by": "segment",
        "data_until": date(2026, 10, 31),
        "kind": "nps",
        "scale_version": "2.0",
        "direction": "high is easy",
        "rate_per_minute": "0.8",
        "gross_margin": "0.8",
        "core_features": ("export", "report"),
        "value_feature": "export",
        "beyond_first_level": ("other",),
    }
    spent: dict[str, float] = {}
    done, of_counted = 0, 0.0
    for calculator in METRICS:
        takes = set(inspect.signature(calculator.compute).parameters)
        named = {name: value for name, value in {**tables, **given}.items() if name in takes}
        named = {name: value for name, value in named.items() if name not in calculator.needs}
        for variant in calculator.variants if every_variant else calculator.variants[:1]:
            start = cpu()
            found = calculator(
                *(tables[name] for name in calculator.needs), period, variant=variant, **named
            )
            spent[f"{calculator.name} {variant}"] = took = cpu() - start
            of_counted += took if {*SUMS, "customers"} >= set(calculator.needs) else 0
            if found.value is None or len(found.segments) < 3:
                print(f"note: {calculator.name} {variant}: {found.undefined_because}")
            done += 1
    return {"metrics": done, "cpu": cpu() - began, "of_counted": of_counted, "spent": spent}


def cpu() -> float:
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Most memory this process has held, in MB; ru_maxrss would be that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def fresh(side: str, folder: Path, *more: str) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), *more]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{side} ended with {run.returncode}: {run.stderr}{run.stdout}")
    *notes, last = run.stdout.strip().split("\n")
    result: dict[str, Any] = json.loads(last)
    return {**result, "notes": notes}


def case(months: int, asked: argparse.Namespace, folder: Path) -> None:
    """Make the tables where they are missing, run both sides in turn, and tell."""
    folder = folder / f"{months}-months-{asked.usage}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "referrals.parquet").exists():
        make(folder, asked.usage, months)
    more = ["--every-variant"] if asked.every_variant else []
    sides = [(fresh("count", folder), fresh("compute", folder, *more)) for _ in range(asked.runs)]
    ratios = sorted(ours["cpu"] / bare["cpu"] for bare, ours in sides)
    bare, ours = sorted(sides, key=lambda one: one[1]["cpu"] / one[0]["cpu"])[len(sides) // 2]
    print(f"{asked.usage:,} rows of usage over {months} months, {THREADS} threads")
    for name, one in (("count, sum, group", bare), (f"{ours['metrics']} metrics by segment", ours)):
        print(
            f"  {name:24} {one['cpu']:6.2f} CPU s {one['wall']:6.2f} s wall "
            f"{one['peak_mb']:6.0f} MB (whole process {one['process']:.2f} CPU s)"
        )
    dearest = sorted(ours["spent"].items(), key=lambda one: -one[1])
    print("  dearest: " + ", ".join(f"{name} {took:.2f}" for name, took in dearest[:8]))
    for note in ours["notes"]:
        print(f"  {note}")
    print(
        f"  ratio {ours['cpu'] / bare['cpu']:.2f} (aim 3; {ratios[0]:.2f} to {ratios[-1]:.2f} in "
        f"{len(sides)} runs), {ours['peak_mb']:,.0f} MB (aim 4,096); of what needs only the three "
        f"tables counted {ours['of_counted'] / bare['cpu']:.2f}; of whole processes "
        f"{ours['process'] / bare['process']:.2f}",
        flush=True,
    )


def main() -> None:
    """Run each case, or one side of one."""
    read = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    read.add_argument("--months", type=int, nargs="+", default=[24, 2], help="that rows cover")
    read.add_argument("--usage", type=int, default=20_000_000, help="rows of usage")
    read.add_argument("--folder", type=Path, help="where tables are kept; default: thrown away")
    read.add_argument("--runs", type=int, default=5, help="of each side in turn; the median counts")
    read.add_argument("--every-variant", action="store_true", help="not only the first of each")
    read.add_argument("--side", choices=("count", "compute"), help=argparse.SUPPRESS)
    asked = read.parse_args()
    if asked.side:
        start, wall = cpu(), time.perf_counter()
        done: dict[str, Any] = {}
        if asked.side == "count":
            count(asked.folder)
        else:
            done = compute(asked.folder, asked.every_variant)
        told = {"cpu": cpu() - start, "wall": time.perf_counter() - wall, **done}
        print(json.dumps({**told, "process": cpu(), "peak_mb": peak_mb()}))
        return
    with tempfile.TemporaryDirectory() as thrown_away:
        for months in asked.months:
            case(months, asked, asked.folder or Path(thrown_away))


if __name__ == "__main__":
    main()
