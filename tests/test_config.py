"""Settings: one file, one frozen object, and each mistake told with its place and its mending."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pydantic import ValidationError

from retain.config import Config, describe_config, load_config, redact
from retain.errors import ConfigError

ROOT = Path(__file__).parents[1]
WHOLE = """\
company: acme
currency: EUR
timezone: Europe/Rome
store: ../out/acme                 # everything we write
models: ../models                  # saved bundles; default: in the store
week_ends_on: sunday
tables:
  customers:
    source: ../data/accounts.parquet
    columns: {customer_id: acct_no, signed_up_at: created, segment: tier}
    attributes: [country, seats, industry]
    constant: [country, industry]
  subscriptions:
    source: ../data/contracts.parquet
    columns: {customer_id: acct_no, started_at: begin, ended_at: finish, mrr: monthly_fee}
    values: {end_reason: {payment_failed: involuntary}}
  usage:
    source: ../data/clicks/*.parquet
    columns: {customer_id: acct_no, occurred_at: ts, feature: module, recorded_at: loaded_at}
  surveys:
    source: ../data/feedback.parquet
    columns: {customer_id: acct_no, kind: kind, score: value, answered_at: answered_ts}
    values: {kind: {NPS: nps, CSAT: csat, CES: ces}}
    scales: {nps: [0, 10], csat: [1, 5], ces: [1, 7]}
    ces_high_means: easy
churn: {kind: contract, horizon_weeks: 13, gap_weeks: 0, grace_weeks: 4, active_weeks: 26}
clv: {horizon_weeks: 52, gross_margin: 0.8, annual_discount_rate: 0.10}
snapshots: {every_weeks: 4}
tracking: {uri: null, experiment: acme, model: acme-churn}
review: {capacity_per_week: 40, holdout_share: 0.1}
"""
LEAST = "company: a\ncurrency: EUR\nstore: out\n"
ORDERS = "tables: {payments: {source: p.parquet}}\nchurn: {kind: inactivity}\n"


@pytest.fixture
def save(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(text: str) -> Path:
        (tmp_path / "conf").mkdir(exist_ok=True)
        path = tmp_path / "conf" / "acme.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_whole_configuration_loads_with_paths_from_its_own_folder(save, tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = load_config(save(WHOLE))

    assert tmp_path / "out" / "acme" == config.store
    assert tmp_path / "models" == config.models_folder
    assert str(tmp_path / "data" / "clicks" / "*.parquet") == config.tables.usage.source
    assert [n for n, _ in config.tables.items()] == [
        "customers",
        "subscriptions",
        "usage",
        "surveys",
    ]
    assert config.tables.surveys.scales["nps"] == (0.0, 10.0)
    assert (config.bands.watch, config.bands.high, config.bands.by) == (0.8, 0.95, "percentile")
    assert (config.experiment, config.model_name) == ("acme", "acme-churn")


def test_the_least_configuration_has_every_default(save, tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = load_config(save(LEAST + ORDERS))

    assert (
        config.churn.horizon_weeks,
        config.churn.gap_weeks,
        config.churn.grace_weeks,
        config.churn.active_weeks,
    ) == (13, 0, 4, 26)
    assert tmp_path / "conf" / "out" / "models" == config.models_folder
    assert config.timezone == "UTC"
    assert config.tracking_uri() is None
    assert config.model_name == "a-churn"


def test_a_configuration_cannot_be_changed(save) -> None:  # type: ignore[no-untyped-def]
    config = load_config(save(LEAST + ORDERS))
    with pytest.raises(ValidationError, match="frozen"):
        config.company = "b"
    with pytest.raises(ValidationError, match="frozen"):
        config.churn.gap_weeks = 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "clv: {horizon_week: 3}",
            r":6: clv.horizon_week is not a setting; did you mean horizon_w",
        ),
        ("sanpshots: {}", r":6: sanpshots is not a setting; did you mean snapshots\?"),
        ("zzz: 1", r":6: zzz is not a setting; settings here: company, currency"),
        ("clv: {horizon_weeks: 0}", r":6: clv.horizon_weeks: input should be greater.*found 0"),
        ("clv: {horizon_weeks: true}", r":6: clv: horizon_weeks should be a number, found true"),
        ("clv: {horizon_weeks: 1.5}", r":6: clv.horizon_weeks: input should be a valid integer"),
        ("clv: {gross_margin: 80}", r":6: clv.gross_margin: .*less than or equal to 1, found 80"),
        ("review: {capacity_per_week: many}", r"capacity_per_week: .*valid integer.*found 'many'"),
        ("snapshots: [4]", r":6: snapshots: input should be a valid dictionary.*found a list"),
        ("bands: {watch: .9, high: .5}", r"watch \(0.9\) should be below high \(0.5\)"),
        (
            "timezone: Europe/Room",
            r":6: timezone: 'Europe/Room' is not a time zone; did you mean Europe/Rome\? [A-Z]",
        ),
        ("week_ends_on: sun", r":6: week_ends_on: input should be 'monday'.*found 'sun'"),
        ("data_until: someday", r":6: data_until: input should be a valid date"),
        ("tracking: {uri: 'http://a:b@c'}", r"holds a password.*uri_env"),
        ("tracking: {uri: x, uri_env: Y}", r"give `uri` or `uri_env`"),
        ("features: nowhere.py", r"features names .*nowhere.py, which is not a file"),
        ("company: b", r":6: company is given twice, first on line 1; keep one"),
        ("clv: {basis: mrr}", r"clv.basis mrr needs the subscriptions table"),
        ("models: [a", r":\d+: is not YAML: .*Check indentation"),
    ],
)
def test_a_mistake_is_told_with_file_line_setting_and_mending(save, text: str, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=told) as caught:
        load_config(save(LEAST + ORDERS + text + "\n"))
    assert "acme.yaml" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ("custmers: {source: a}", r"tables.custmers is not a setting; did you mean customers"),
        ("usage: {sorce: a}", r"tables.usage.sorce is not a setting; did you mean source"),
        ("usage: {columns: {}}", r"tables.usage: give either `source` or `query`"),
        ("usage: {source: a, query: b}", r"give either `source` or `query`"),
        ("usage: {query: SELECT 1}", r"`query` needs `sources`"),
        ("surveys: {source: a}", r"give at least one behaviour table: usage, payments"),
        ("usage: {source: a, constant: [b]}", r"constant names b, which is no attribute"),
        ("usage: {source: a, scales: {nps: [9, 1]}}", r"scales.nps should go from lowest"),
        ("usage: {source: a, scales: {mood: [1, 2]}}", r"input should be 'nps', 'csat' or 'ces'"),
        ("usage: {source: a}", r"acme.yaml: churn.kind contract needs the subscriptions table"),
    ],
)
def test_a_mistake_in_the_tables_is_told(save, tables: str, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=told):
        load_config(save(LEAST + "tables: {" + tables + "}\n"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; expected settings"),
        (b"- a\n- b\n", r"expected settings \(name: value\), found a list"),
        (b"company: caf\xe9\n", "is not UTF-8 text"),
        (b"company: a\n", r"currency is missing; The one currency"),
        (b"\tcompany: a\n", r"acme.yaml:1: is not YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "acme.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        load_config(tmp_path / "acme.yaml")


def test_a_missing_file_is_told_with_its_neighbours(save, tmp_path) -> None:  # type: ignore[no-untyped-def]
    save(WHOLE)
    with pytest.raises(ConfigError, match=r"no such file. YAML files in that folder: acme.yaml"):
        load_config(tmp_path / "conf" / "acne.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)


def test_words_such_as_yes_and_no_stay_words_and_numbers_become_text(save) -> None:  # type: ignore[no-untyped-def]
    text = LEAST + (
        "tables: {payments: {source: p, values: {status: {yes: paid, no: failed, 3: pending}}}}\n"
        "churn: {kind: inactivity}\n"
    )
    config = load_config(save(text))
    assert config.tables.payments.values["status"] == {
        "yes": "paid",
        "no": "failed",
        "3": "pending",
    }


def test_an_empty_section_means_its_defaults(save) -> None:  # type: ignore[no-untyped-def]
    assert load_config(save(LEAST + ORDERS + "snapshots:\n")).snapshots.every_weeks == 4


def test_the_fingerprint_moves_with_what_defines_the_model_and_nothing_else(tmp_path: Path) -> None:
    def of(**changed: object) -> str:
        base = {
            "company": "a",
            "currency": "EUR",
            "store": "out",
            "tables": {"payments": {"source": "p"}},
            "churn": {"kind": "inactivity"},
        }
        return Config.from_dict({**base, **changed}, folder=tmp_path).fingerprint()

    same = of()
    for changed in ({"company": "b"}, {"store": "else"}, {"review": {"capacity_per_week": 3}}):
        assert same == of(**changed)
    (tmp_path / "mine.py").write_text("# nothing yet")
    moved = [
        of(currency="USD"),
        of(timezone="Europe/Rome"),
        of(week_ends_on="friday"),
        of(clv={"gross_margin": 0.5}),
        of(snapshots={"every_weeks": 1}),
        of(churn={"kind": "inactivity", "gap_weeks": 1}),
        of(features="mine.py"),
        of(
            tables={
                "payments": {"source": "p"},
                "surveys": {"source": "s", "scales": {"ces": [1, 5]}},
            }
        ),
    ]
    (tmp_path / "mine.py").write_text("# something else")
    moved.append(of(features="mine.py"))
    assert len({same, *moved}) == 1 + len(moved)


def test_defining_settings_are_plain_data(save) -> None:  # type: ignore[no-untyped-def]
    settings = load_config(save(WHOLE)).defining_settings()
    assert settings["clv"]["gross_margin"] == 0.8
    assert settings["surveys"]["scales"] == {
        "nps": [0.0, 10.0],
        "csat": [1.0, 5.0],
        "ces": [1.0, 7.0],
    }


def test_secrets_come_from_the_environment_and_are_redacted(
    save,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    config = load_config(save(LEAST + ORDERS + "tracking: {uri_env: ACME_MLFLOW}\n"))
    monkeypatch.delenv("ACME_MLFLOW", raising=False)
    with pytest.raises(ConfigError, match="ACME_MLFLOW, which is not set"):
        config.tracking_uri()
    monkeypatch.setenv("ACME_MLFLOW", "https://mlflow/s3cr3t-path")
    assert config.tracking_uri() == "https://mlflow/s3cr3t-path"
    assert redact("went to https://mlflow/s3cr3t-path", config) == "went to ***"
    assert redact("a://u:p@h?x=1&api_key=zzz") == "a://u:***@h?x=1&api_key=***"


def test_every_setting_is_listed_with_its_default_and_meaning(save) -> None:  # type: ignore[no-untyped-def]
    listed = describe_config()
    for name in (
        "company",
        "churn.grace_weeks",
        "bands.high",
        "tables.customers.source",
        "clv.interval",
    ):
        (line,) = [line for line in listed.splitlines() if line.split()[0] == name]
        assert len(line.split()) > 4
    assert "[at least 1, at most 260]" in listed
    shown = describe_config(load_config(save(WHOLE)))
    assert "tables.usage.source" in shown
    assert "Europe/Rome" in shown


def test_every_setting_has_a_sentence_that_says_what_it_means() -> None:
    for line in describe_config().splitlines():
        assert line.rstrip("]").count(".") >= 1, line


def test_the_configurations_of_the_repository_load() -> None:
    files = sorted((ROOT / "configs").glob("*.yaml"))
    assert files
    for path in files:
        assert load_config(path).company


def test_a_date_of_the_export_is_read_as_a_date(save) -> None:  # type: ignore[no-untyped-def]
    config = load_config(save(LEAST + ORDERS + "data_until: 2024-12-31\n"))
    assert dt.date(2024, 12, 31) == config.data_until
