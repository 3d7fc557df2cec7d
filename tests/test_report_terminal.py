"""The terminal's tables: what they show in 80 and 140 columns, and on a machine without letters."""

import io
from dataclasses import dataclass

import pytest
from report_week import HOSTILE, make_week
from rich.console import Console

from retain.report.terminal import counts_table, findings_table, metrics_table, riskiest_table


@dataclass(frozen=True)
class Found:
    table: str
    column: str
    severity: str
    count: int
    message: str
    examples: tuple[str, ...] = ()
    todo: str = ""


@dataclass(frozen=True)
class Rows:
    rows_in: int
    used: int
    set_aside: dict[str, int]


FINDINGS = [
    Found(
        "usage", "occurred_at", "warning", 131, "dated after the export", ("2030-05-05",), "Cut."
    ),
    Found("surveys", "score", "error", 2_210, "off the scale", ("[bold]70",), "Give the scale."),
    Found("customers", "", "advice", 0, "derived from usage", (), "Map one."),
]
METRICS = [
    {"name": "model", "roc_auc": 0.83, "roc_auc_low": 0.81, "roc_auc_high": 0.85, "brier": 0.061},
    {"name": "recency rule", "roc_auc": 0.70, "brier": 0.08, "bias": -0.2},
    {"name": "logistic", "roc_auc": 0.79, "brier": 0.066, "bias": 0.1},
]


def shown(renderable, width=80, encoding="utf-8"):
    """What a pipe, and not a terminal, of this width and encoding receives."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    Console(file=out, width=width, force_terminal=False).print(renderable)
    out.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture(scope="module")
def week():
    return make_week()


def all_tables(week):
    return [
        riskiest_table(week["scores"], 10, "EUR", week["drivers"]),
        findings_table(FINDINGS),
        counts_table({"usage": Rows(140, 131, {"unknown customer": 9}), "surveys": Rows(2, 2, {})}),
        metrics_table(METRICS),
    ]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_longer_than_the_terminal_and_no_code_gets_into_a_pipe(week, width):
    for table in all_tables(week):
        text = shown(table, width)

        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text


def test_a_terminal_with_plain_letters_only_gets_plain_letters(week):
    for table in all_tables(week):
        assert shown(table, encoding="ascii").isascii()


def test_the_riskiest_come_first_with_the_signals_that_go_with_them(week):
    text = shown(riskiest_table(week["scores"], n=3), 140)
    best = week["scores"].sort_values("value_at_risk", ascending=False).iloc[0]

    assert "3 of 54 customers, by value at risk" in text
    assert text.index(best["customer_id"]) < text.index("54 eligible, 6 not")
    assert best["driver_1"].split(";")[0] in text
    assert f"{best['churn_probability']:.1%}" in text


def test_an_unsteady_first_driver_is_not_named_in_the_terminal_either(week):
    shaky = week["drivers"].assign(stability=0.2)

    text = shown(riskiest_table(week["scores"], 5, drivers=shaky), 140)

    assert text.count("No stable single reason") == 5


def test_markup_in_names_is_shown_as_it_is(week):
    tagged = week["scores"].assign(driver_1="[red]odd[/red] [/]", owner=HOSTILE)

    assert "[red]odd[/red] [/]" in shown(riskiest_table(tagged, 2), 140)
    assert "[bold]70" in shown(findings_table(FINDINGS))


def test_findings_come_errors_first_with_what_to_do():
    text = shown(findings_table(FINDINGS), 140)

    assert "1 error   1 warning   1 advice" in text
    assert "Count" in text  # of rows, customers or cells, as the text says
    assert "Rows" not in text
    assert text.index("surveys.score") < text.index("usage.occurred_at") < text.index("customers")
    assert "Give the scale." in text
    assert "Nothing to mend" in shown(findings_table([]))


def test_counts_show_every_reason_and_the_sum():
    text = shown(counts_table({"a": Rows(140, 131, {"x": 2, "y": 7}), "b": Rows(2, 2, {})}))

    assert "y 7, x 2" in text
    assert text.splitlines()[-1].split() == ["together", "142", "133", "9"]


def test_the_best_of_each_metric_is_marked_in_its_own_direction():
    lines = {line.split("  ")[0]: line for line in shown(metrics_table(METRICS)).splitlines()}

    assert "0.830 ●" in lines["roc auc"]
    assert "0.061 ●" in lines["brier"]
    assert "0.100 ●" in lines["bias"]
    assert "0.810 – 0.850" in shown(metrics_table(METRICS))


def test_a_week_without_eligible_customers_is_said(week):
    nobody = week["scores"].assign(eligible=False)

    assert "Nobody was eligible" in shown(riskiest_table(nobody))
