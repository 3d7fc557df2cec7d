"""The terminal's tables: what they show in 80 and 140 columns, and on a machine without letters."""

import io
from dataclasses import dataclass

import pandas as pd
import pytest
from report_week import HOSTILE, make_week
from rich.console import Console

from retain.report.fitting import Column, Laid, cell
from retain.report.queues import queue_table
from retain.report.terminal import counts_table, findings_table, metrics_table, riskiest_table
from retain.report.watching import advice_table, results_table


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


@pytest.mark.parametrize("width", [40, 60, 80, 140])
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


def test_a_change_is_that_of_the_figures_before_they_are_rounded(week):
    scores = week["scores"].assign(churn_probability=0.0497, previous_probability=0.0424)

    text = shown(riskiest_table(scores, n=3), 140)

    assert text.count("+0.7") == 3  # 5.0 less 4.2 is 0.8
    assert "+0.8" not in text


def test_a_sentence_of_two_signals_is_said_once_in_the_terminal(week):
    same = week["scores"].assign(driver_1="Use fell", driver_2="Use fell", driver_3="No NPS")

    text = shown(riskiest_table(same, n=1), 160)

    assert (1, 1) == (text.count("Use fell"), text.count("No NPS"))


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

    assert "0.830 ●" in lines["Roc auc"]
    assert "0.061 ●" in lines["Brier score"]
    assert "0.100 ●" in lines["Bias"]
    assert "0.810 – 0.850" in shown(metrics_table(METRICS))


def test_a_week_without_eligible_customers_is_said(week):
    nobody = week["scores"].assign(eligible=False)

    assert "Nobody was eligible" in shown(riskiest_table(nobody))


REASON = (
    "Recent high-effort cases, older ones fading every 4 weeks rose from 8.2 to 9.7; "
    "similar customers: 0.0"
)


def queue_of(*names):
    rows = [
        {
            **{"status": "contact", "name": None, "customer_id": name, "churn_probability": 0.477},
            **{"worth": 35354.0, "play_owner": "Ada", "due_on": "2026-11-22"},
            **{"play": "Call", "main_sentence": REASON},
            "reason": "what was said when the customer came onto the list, weeks ago",
        }
        for name in names
    ]
    return queue_table(pd.DataFrame(rows), currency="EUR")


def sentence(text, name):
    """What stands in the last column, or below the lines, put together again."""
    lines = text.splitlines()
    (head,) = (line for line in lines if "Customer" in line)
    at = head.find(name) if name in head else 0
    return " ".join(" ".join(line[at:] for line in lines).split())


@pytest.mark.parametrize("width", [30, 40, 50, 64, 80, 100, 120, 200])
def test_a_queue_loses_no_letter_and_keeps_rank_and_customer(width):
    text = shown(queue_of("C00465", "C01748"), width)

    assert REASON in sentence(text, "Associated with")
    for rank, who in ((1, "C00465"), (2, "C01748")):
        assert any(line.split()[:2] == [str(rank), who] for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_name_longer_than_the_terminal_is_folded_and_not_cut():
    text = shown(queue_of("N" * 60), 30)

    assert 60 == text.count("N")


@pytest.mark.parametrize("width", [40, 50, 80, 140])
def test_what_a_check_found_is_told_to_the_last_word_at_any_width(width):
    said = "2 of 2,002 rows are set aside: repeated customer_id, rows 2001 and 2002"
    todo = "Export each once, or map the column that tells them apart."
    text = shown(findings_table([Found("customers", "id", "warning", 2, said, (), todo)]), width)

    words = text.split()
    for whole in (said, todo):
        assert all(words.count(word) >= whole.split().count(word) for word in whole.split())


def laid(**more):
    names = ("week", "AUC", "customers", "Lift, top")
    columns = [Column(name, rank, is_right=rank > 0) for rank, name in enumerate(names)]
    rows = [[cell(one, False) for one in ("2026-11-15", "0.745", "1,070", "3.3")]]
    return Laid("Weeks", columns, rows, False, **more)


def test_columns_without_room_go_as_a_whole_and_are_named_with_where_they_are():
    text = shown(laid(elsewhere="weeks.csv"), 20)

    assert "2026-11-15  0.745" in text
    assert "1,070" not in text
    assert "no room here for customers; Lift, top; all are in weeks.csv" in " ".join(text.split())
    assert "no room" not in shown(laid(elsewhere="weeks.csv"), 80)


def test_columns_that_may_not_be_left_out_follow_below_behind_the_first_one():
    text = shown(laid(is_spread=True), 22)

    assert ["2026-11-15  0.745", "2026-11-15      1,070", "2026-11-15    3.3"] == [
        line.rstrip() for line in text.splitlines() if line.startswith("2026")
    ]


def test_every_method_is_shown_in_a_narrow_terminal_too():
    text = shown(metrics_table(METRICS), 50)

    for one in METRICS:
        assert all(word in text for word in one["name"].split())
        assert f"{one['brier']:.3f}" in text


def test_a_week_without_final_outcomes_has_nobody_who_left():
    week = {"as_of": "2026-10-25", "model": "b09857a1c55c", "customers": 1065, "auc": 0.745}
    figures = {"mean_predicted": 0.081, "observed": 0.081, "capture_at_capacity": 0.158}
    rows = [{**week, **figures, "known": known} for known in (False, True)]
    expected, known = (
        line for line in shown(results_table(pd.DataFrame(rows))).splitlines() if "2026" in line
    )

    assert expected.split()[-2:] == ["8.1%", "–"]
    assert known.split()[-2:] == ["8.1%", "8.1%"]
    assert "riskiest first" in shown(results_table(pd.DataFrame(rows)))


def test_advice_stands_under_its_title_without_an_empty_header():
    @dataclass(frozen=True)
    class Advice:
        kind: str
        severity: str
        message: str

    text = shown(advice_table([Advice("level", "fine", "In that week 9.6% left.")]))

    assert ["What to do about the model", "·  level  In that week 9.6% left."] == [
        line.rstrip() for line in text.splitlines()
    ]
