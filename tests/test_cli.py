"""The command line under bad input: a clear word, the right exit code, and nothing lost."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import yaml
from small_company import UNTIL, branch_of, contents, run, trained, weekly

import retain.jobs
import retain.jobs.checking
import retain.jobs.scoring
from retain import cli
from retain.jobs.opening import open_company

HEAVY = ("pandas", "numpy", "duckdb", "lightgbm", "mlflow", "sklearn", "shap", "scipy", "pydantic")
COMMANDS = ("init", "demo", "check", "train", "score", "report", "config")


@pytest.fixture
def company(tmp_path_factory, tmp_path, capsys):
    return branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path, capsys)


@pytest.fixture(scope="session")
def two_weeks(tmp_path_factory):
    """A company after two weekly runs, to look at."""
    return weekly(tmp_path_factory.getbasetemp())


@pytest.fixture
def without_record(monkeypatch):
    """Trainings of this test fail before anything is recorded; the record need not be made."""
    monkeypatch.setattr("retain.jobs.training.tracking.check_reachable", lambda uri: None)


def python(code, *words):
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        timeout=300,
        check=False,
    )


# ---- words --------------------------------------------------------------------------------------


def test_help_and_version_load_nothing_heavy():
    code = """if True:
        import sys
        from retain.cli import main
        for words in (["--help"], ["--version"], ["score", "--help"], []):
            try:
                main(words)
            except SystemExit as left:
                assert left.code == 0
        print([name for name in sys.argv[1:] if name in sys.modules], file=sys.stderr)
    """
    ran = python(code, *HEAVY, "rich", "jinja2", "yaml")

    assert ran.returncode == 0
    assert ran.stderr == "[]\n"
    assert "retain 0.1.0" in ran.stdout


def test_a_check_loads_no_model_library(company):
    code = """if True:
        import sys
        from retain.cli import main
        assert main(["check", sys.argv[1]]) == 0
        print([name for name in sys.argv[2:] if name in sys.modules], file=sys.stderr)
    """
    ran = python(code, company.path, "sklearn", "lightgbm", "mlflow", "shap", "matplotlib")

    assert (ran.returncode, ran.stderr) == (0, "[]\n")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["scor", "acme.yaml"],
        ["score"],
        ["check", "acme.yaml", "--stict"],
        ["demo", "--customers", "many"],
        ["demo", "--customers", "12"],
        ["check", "nowhere.yaml"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    ran = run(capsys, *words)

    assert ran.code == 2
    assert ran.out + ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command, capsys):
    ran = run(capsys, command, "--help")

    assert ran.code == 0
    assert f"example: retain {command}" in ran.out


def test_a_misspelt_setting_is_met_with_the_right_one_and_its_line(company):
    company.settings["churn"]["horizon_week"] = 8

    ran = company.run("check")

    assert ran.code == 2
    assert re.search(
        r"retain\.yaml:\d+: churn\.horizon_week is not a setting; did you mean", ran.err
    )
    assert "horizon_weeks" in ran.err
    assert ran.out == ""


def test_the_settings_are_listed_with_their_values_and_without_secrets(company, monkeypatch):
    monkeypatch.setenv("ACME_MLFLOW", "postgresql://ann:pa55word@db/mlflow")
    company.settings["tracking"] = {"uri_env": "ACME_MLFLOW"}
    company.settings["churn"]["gap_weeks"] = 3

    ran = company.run("config")

    assert ran.code == 0
    (line,) = [line for line in ran.out.splitlines() if line.startswith("churn.gap_weeks")]
    assert line.split()[1] == "3"
    assert "ACME_MLFLOW" in ran.out
    assert "pa55word" not in ran.out
    assert run(company.capsys, "config").out.count("\n") > 40


# ---- files that cannot be read ------------------------------------------------------------------


def refused(company, *said, command="check", code=1, words=()):
    """Run a command that must end in one clear message, leaving no scored week behind."""
    model = ("--model", company.model) if command == "score" else ()
    ran = company.run(command, *model, *words)
    assert ran.code == code, ran
    assert ran.err.startswith("retain: ")
    for words in said:
        assert re.search(words, ran.err), (words, ran.err)
    assert not list(company.store.glob("scores/*"))
    return ran


@pytest.mark.parametrize("command", ["check", "train", "score"])
def test_a_missing_file_is_named(company, command):
    company.settings["tables"]["payments"]["source"] = str(company.folder / "payment.parquet")

    refused(company, "payments", r"payment\.parquet.*missing", command=command)


def test_a_missing_column_is_named_with_its_nearest(company):
    company.change("payments", lambda table: table.rename(columns={"paid_at": "paid_on"}))

    refused(company, r"payments.*no column 'paid_at'", "paid_on")


@pytest.mark.parametrize("spoil", ["not Parquet", "cut short", "no bytes"])
def test_a_file_that_cannot_be_read_is_named(company, spoil):
    whole = company.replace("payments", company.table("payments")).read_bytes()
    data = {"not Parquet": b"a,b\n1,2\n" * 50, "cut short": whole[:-900], "no bytes": b""}
    company.replace("payments", data[spoil])

    refused(company, "payments", r"payments\.parquet", command="score")


def test_an_empty_table_that_the_rule_needs_is_refused_and_said(company):
    company.change("subscriptions", lambda table: table.iloc[:0])

    ran = company.run("check")
    assert "subscriptions" in ran.out
    assert re.search(r"no rows|empty", ran.out)
    refused(company, "churn.kind contract takes from it who has left", command="score")


def test_an_empty_export_of_a_table_that_the_model_learnt_from_is_refused(company):
    company.change("surveys", lambda table: table.iloc[:0])

    refused(company, r"missing now: surveys \(brought, but empty\)", command="score")


def test_a_required_column_without_any_value_is_refused_or_said(company):
    company.change("payments", lambda table: table.assign(amount=None))

    ran = company.run("check")

    assert re.search(r"payments", ran.out)
    assert "missing amount" in " ".join(ran.out.split())
    refused(company, "payments", command="score")


def test_numbers_where_dates_should_be_are_refused(company):
    company.change("payments", lambda table: table.assign(paid_at=range(len(table))))

    refused(company, r"payments.*paid_at", "expected")


def test_a_refusal_says_in_its_first_line_for_what_most_rows_are_set_aside(company):
    def decimal_comma(table):
        said = table["amount"].astype(object).map(lambda amount: f"{amount}".replace(".", ","))
        said.iloc[:3] = None
        return table.assign(amount=said.astype("string"))

    company.change("payments", decimal_comma)
    rows = len(company.table("payments"))

    ran = refused(company, command="score")
    (line,) = ran.err.splitlines()
    assert f"payments.amount: None of the {rows:,} rows can be used: " in line
    assert re.search(r"amount is not a number \([\d,]+ rows, as in row \d+: -?\d+,\d+; 2?", line)
    assert "Expected digits with a decimal point" in line
    assert "below" not in line


def test_where_one_table_breaks_all_others_the_first_line_names_it(company):
    company.change("customers", lambda table: table.iloc[:0])

    ran = refused(company, command="score")
    (line,) = ran.err.splitlines()
    assert "retain: the data cannot be used: customers: " in line
    assert "customers.parquet holds no rows." in line
    assert re.search(r"\d more errors, in [\w, ]*payments[\w, ]*: see `retain check`\.$", line)


def test_a_single_row_that_is_set_aside_is_told_in_the_singular(company):
    company.change("payments", spoilt_payments)
    ran = company.run("check")
    rows = len(company.table("payments"))

    assert f"1 of {rows:,} rows is set aside: missing amount" in " ".join(ran.out.split())


def test_mixed_currencies_are_refused_with_their_counts(company):
    company.change(
        "payments",
        lambda table: table.assign(currency=["USD"] * 7 + ["EUR"] * (len(table) - 7)),
    )

    refused(company, r"EUR [\d,]+, USD 7")


# ---- rows that cannot be used -------------------------------------------------------------------


def spoilt_payments(table):
    """Five rows that cannot be used, each for its own reason, and one return."""
    clean = table.dropna().drop_duplicates("payment_id")
    clean = clean[
        clean["payment_id"].str.match(r"P\d{7}$") & ~clean["customer_id"].str.startswith("X")
    ]
    clean = clean[clean["amount"] > 0].astype({"amount": float})
    bad = clean.iloc[:6].copy()
    bad["payment_id"] = [f"bad{n}" for n in range(6)]
    bad["paid_at"] = bad["paid_at"].astype(object)
    bad.iloc[0, bad.columns.get_loc("customer_id")] = "nobody"
    bad.iloc[1, bad.columns.get_loc("paid_at")] = pd.Timestamp("2031-01-01")
    bad.iloc[2, bad.columns.get_loc("payment_id")] = clean["payment_id"].iloc[0]
    bad.iloc[3, bad.columns.get_loc("amount")] = float("nan")
    bad.iloc[4, bad.columns.get_loc("paid_at")] = None
    bad.iloc[5, bad.columns.get_loc("amount")] = -5.0  # a return: used
    bad["paid_at"] = pd.to_datetime(bad["paid_at"])
    return pd.concat([clean, bad], ignore_index=True)


REASONS = {
    "unknown customer": 1,
    "dated after the export": 1,
    "repeated payment_id": 1,
    "missing amount": 1,
    "missing paid_at": 1,
}


def test_rows_that_cannot_be_used_are_counted_kept_and_strict_refuses_them(company):
    company.change("payments", spoilt_payments)
    rows = len(company.table("payments"))

    ran = company.run("check")

    assert (ran.code, ran.err) == (0, "")
    kept = pd.read_parquet(company.store / "quarantine.parquet")
    mine = kept[kept["table_name"] == "payments"]
    assert mine["reason"].value_counts().to_dict() == REASONS
    assert mine["row_number"].tolist() == list(range(rows - 5, rows))
    assert "nobody" in {json.loads(text)["customer_id"] for text in mine["row_json"]}
    assert f"{rows:,}" in ran.out
    assert str(company.store / "quarantine.parquet") in ran.out.replace("\n", "")

    strict = company.run("check", "--strict")
    assert strict.code == 1
    assert "--strict" in strict.err


def test_a_quarantine_is_cleared_when_nothing_is_set_aside_any_more(company):
    keep = ("customers", "subscriptions", "payments")
    tables = company.settings["tables"]
    company.settings["tables"] = {name: tables[name] for name in keep}
    company.change("payments", spoilt_payments)
    company.run("check")
    assert (company.store / "quarantine.parquet").exists()
    known = None
    for name, column in (("customers", "acct_no"), ("subscriptions", "subscription_id")):
        company.change(name, lambda table, column=column: table.drop_duplicates(column))
    known = set(company.table("customers")["acct_no"])
    company.change("subscriptions", lambda table: table[table["acct_no"].isin(known)])
    company.change("payments", lambda table: table.iloc[:-6])

    ran = company.run("check", "--strict")

    assert ran.code == 0, ran
    assert not (company.store / "quarantine.parquet").exists()


@pytest.mark.slow
def test_an_nps_of_11_and_negative_minutes_are_set_aside_and_the_week_still_adds_up(company):
    def off(table):
        kinds = table.index[table["kind"] == "NPS"][:4]
        table.loc[kinds, "value"] = 11.0
        return table

    def negative(table):
        table.loc[table.index[:50], "handle_minutes"] = -1.0
        return table

    company.change("surveys", off)
    company.change("interactions", negative)
    company.change("payments", spoilt_payments)

    ran = company.run("score", "--model", company.model)

    assert ran.code == 0, ran
    sources = company.manifest()["sources"]
    assert sources["surveys"]["set_aside"]["score off its scale"] >= 4
    assert sources["interactions"]["set_aside"]["negative handle_minutes"] >= 50
    assert sources["payments"]["set_aside"] == REASONS
    for source in sources.values():
        assert source["rows_in"] == source["used"] + sum(source["set_aside"].values())


def zoned(table):
    """Write the payments' local stamps as texts in three zones by turns."""
    local = pd.to_datetime(table["paid_at"]).dt.tz_localize("Europe/Rome", ambiguous=True)
    zones = ["UTC", "Asia/Tokyo", "America/New_York"] * len(local)
    texts = [at.tz_convert(zone).isoformat() for at, zone in zip(local, zones, strict=False)]
    return table.assign(paid_at=texts)


def test_stamps_with_and_without_a_zone_in_one_column_are_said(company, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    mixed = zoned(company.table("payments").dropna(subset="paid_at"))
    mixed.loc[mixed.index[:9], "paid_at"] = "2026-05-04 10:00:00"
    company.replace("payments", mixed)

    ran = company.run("check")

    assert ran.code == 0
    assert "are mixed: 9 without" in " ".join(ran.out.split())


@pytest.mark.slow
def test_stamps_in_several_zones_are_read_to_the_instant(company):
    plain = company.table("payments").dropna(subset="paid_at")
    company.replace("payments", plain)
    assert company.run("score", "--model", company.model).code == 0
    expected = contents(company.week())["scores.parquet"]
    company.replace("payments", zoned(plain))

    assert company.run("score", "--model", company.model).code == 0
    assert contents(company.week())["scores.parquet"] == expected


# ---- too little to go on ------------------------------------------------------------------------


def test_too_little_history_says_how_much_is_needed(company, without_record):
    def recent(column):
        return lambda table: table[pd.to_datetime(table[column]) >= "2026-06-01"]

    keep = ("customers", "subscriptions", "payments")
    tables = company.settings["tables"]
    company.settings["tables"] = {name: tables[name] for name in keep}
    company.change("payments", recent("paid_at"))
    company.change("subscriptions", recent("begin"))

    ran = refused(company, r"too little history: \d+ weeks", "at least 43", command="train")

    assert "churn.horizon_weeks" in ran.err


def test_a_company_that_nobody_ever_left_cannot_teach_a_model(company, without_record):
    keep = ("customers", "subscriptions", "payments")
    tables = company.settings["tables"]
    company.settings["tables"] = {name: tables[name] for name in keep}
    company.change(
        "subscriptions",
        lambda table: table.drop_duplicates("acct_no").assign(
            finish=pd.NaT, cancelled_at=pd.NaT, end_reason=None
        ),
    )

    refused(company, "too few leavers to learn from: 0 of", command="train")

    assert not list(company.store.glob("models/*"))


def test_a_week_with_nobody_eligible_is_never_a_success(company):
    company.change(
        "subscriptions",
        lambda table: table.assign(is_trial=True),
    )

    refused(company, "none of 600 customers is eligible", "no paid subscription", command="score")


IMPOSSIBLE_DAYS = [
    ("2026-11-14", 2, "is a Saturday; weeks end on sunday. Use 2026-11-08 or 2026-11-15"),
    ("2026-11-22", 1, "lies past the data, whose last complete week ends on 2026-11-15"),
    ("9999-12-31", 1, "lies past the data"),
    ("0001-01-01", 1, "lies before the data"),
    ("1980-01-06", 1, "600 x not a customer yet"),
    ("next week", 2, "not a date; expected one like 2026-11-15"),
    ("2026-02-30", 2, "not a date"),
]


def test_an_impossible_day_is_refused_with_one_that_works(company, monkeypatch):
    read_once = open_company(company.path)
    monkeypatch.setattr(retain.jobs.scoring, "open_company", lambda *_: read_once)

    for asked, code, said in IMPOSSIBLE_DAYS:
        refused(company, said, command="score", code=code, words=("--as-of", asked))
    refused(company, "no week has been scored yet", command="report")


# ---- from files to a configuration --------------------------------------------------------------


def test_init_proposes_what_check_can_read(company, tmp_path, monkeypatch):
    data = company.folder / "exports"
    data.mkdir()
    for name in ("customers", "subscriptions", "payments", "surveys"):
        company.table(name).to_parquet(data / f"{name}.parquet")
    monkeypatch.chdir(tmp_path)

    printed = run(company.capsys, "init", "exports")
    assert printed.code == 0
    (tmp_path / "acme.yaml").write_text(printed.out, encoding="utf-8")
    ran = run(company.capsys, "check", "acme.yaml")
    assert ran.code == 0, ran
    written = run(company.capsys, "init", "exports", "--out", tmp_path / "again.yaml")
    assert written.code == 0
    assert yaml.safe_load((tmp_path / "again.yaml").read_text()) == yaml.safe_load(printed.out)


def test_init_never_overwrites_and_says_where_it_cannot_write(company, tmp_path):
    (tmp_path / "acme.yaml").write_text("mine")
    data = Path(company.settings["tables"]["payments"]["source"]).parent

    there = run(company.capsys, "init", data, "--out", tmp_path / "acme.yaml")
    nowhere = run(company.capsys, "init", data, "--out", tmp_path / "no" / "acme.yaml")
    empty = run(company.capsys, "init", tmp_path / "no")

    assert (there.code, nowhere.code, empty.code) == (2, 2, 1)
    assert "is not overwritten" in there.err
    assert "is not a folder" in nowhere.err
    assert (tmp_path / "acme.yaml").read_text() == "mine"


# ---- the screen ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "wide"), [("80", 80), ("140", 140), ("wide", 120), ("0", 120)])
def test_output_to_a_file_is_quiet_on_stderr_and_as_wide_as_asked(
    two_weeks, monkeypatch, capsys, asked, wide
):
    monkeypatch.setenv("COLUMNS", asked)
    week = retain.jobs.Scored(
        UNTIL,
        two_weeks.week(),
        two_weeks.manifest(),
    )
    monkeypatch.setattr(retain.jobs, "score", lambda *_, **__: week, raising=False)

    ran = run(capsys, "score", two_weeks.path)

    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert wide - 4 <= max(len(line) for line in lines[:-1]) <= wide
    assert "602 customers = 364 eligible + " in ran.out
    assert lines[-1] == f"written to {two_weeks.week()}"


def test_ctrl_c_is_answered_in_one_line(company, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(retain.jobs.checking, "read_company", stop)

    ran = company.run("check")

    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "retain: stopped; nothing half-written was left behind\n"


def test_a_full_disk_is_told_without_a_traceback(company, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "/somewhere/store")

    monkeypatch.setattr(retain.jobs.checking, "write_quarantine", full)

    ran = company.run("check")

    assert ran.code == 1
    assert "/somewhere/store: No space left on device" in ran.err


def test_a_reader_who_stops_reading_is_no_failure():
    ran = subprocess.Popen(
        [sys.executable, "-m", "retain", "config"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ran.stdout.close()

    assert ran.stderr.read() == ""
    ran.stderr.close()
    assert ran.wait(60) == 0


def test_a_table_for_a_reader_who_left_goes_nowhere_and_the_job_goes_on(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        patch.setattr(cli, "_config", lambda given: cli._write("words " * 9999) or 1)
        assert cli.main(["config"]) == 1


# ---- the demo -----------------------------------------------------------------------------------


def test_the_demo_leaves_other_peoples_folders_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")

    folder = run(capsys, "demo", "--out", tmp_path)
    file = run(capsys, "demo", "--out", tmp_path / "thesis.txt")

    assert (folder.code, file.code) == (1, 1)
    assert "is not empty and was not made by an earlier demo" in folder.err
    assert "is a file" in file.err
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.slow
def test_the_demo_tells_the_whole_story_twice_with_the_same_figures(tmp_path, capsys):
    words = ("demo", "--out", tmp_path / "d", "--customers", "500")

    first, second = run(capsys, *words), run(capsys, *words)

    assert (first.code, first.err) == (0, "")
    assert second.out == first.out
    weeks = sorted(path.name for path in (tmp_path / "d" / "store" / "scores").iterdir())
    assert weeks == [f"as_of={UNTIL - dt.timedelta(days=7 * n)}" for n in (3, 2, 1, 0)]
    assert "retain score" in first.out
    assert list((tmp_path / "d" / "store" / "metrics").glob("*/roi.csv"))  # ledgers for the page
    assert (
        duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/d/store/scores/*/scores.parquet'").fetchall()[
            0
        ][0]
        >= 4 * 400
    )
