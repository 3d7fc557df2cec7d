"""What must hold for every metric, tried over the catalogue.

Each law is a function of a calculator and its example that raises when the law is broken; each is
shown a calculator with a planted fault that it must catch, so that none can quietly stop biting.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from fractions import Fraction
from math import isfinite

import pandas as pd
import pytest
from metric_examples import CUSTOMERS, EXAMPLES, Example, answers, off_the_scale

from retain.metrics import METRICS, NO_SEGMENT, THEMES, Metric, metric

CASES = [
    pytest.param(calculator, variant, id=f"{calculator.name}-{variant}")
    for calculator in METRICS
    for variant in calculator.variants
]


def ask(calculator, variant, example, tables=None, **given):
    """Call it as the catalogue says: tables that it can do without go by name."""
    tables = {**example.tables, **(tables or {})}
    given = {**example.given, **example.variants.get(variant, {}), "variant": variant, **given}
    takes = set(inspect.signature(calculator.compute).parameters) - set(calculator.needs)
    given |= {name: table for name, table in tables.items() if name in takes}
    return calculator(*(tables[name] for name in calculator.needs), example.period, **given)


def asked(calculator, variant, example, is_cut=False):
    """Ask about the example as it is: once, because every law compares with it."""
    key = (calculator, variant, id(example), is_cut)
    if key not in ANSWERS:
        ANSWERS[key] = ask(calculator, variant, example, **(cut(example) if is_cut else {}))
    return ANSWERS[key]


ANSWERS: dict[tuple, Metric] = {}


def cut(example):
    return {"by": "segment"} if example.is_cut else {}


def changed(example, change):
    return {name: change(table) for name, table in example.tables.items()}


def added(example, rows):
    return {name: pd.concat([example.tables[name], more]) for name, more in rows.items()}


# ---- the laws ------------------------------------------------------------------------------------


def order_of_rows_never_matters(calculator, variant, example):
    first = asked(calculator, variant, example, is_cut=True)
    mixed = changed(example, lambda t: t.sample(frac=1, random_state=2))  # their index is mixed too
    assert first == ask(calculator, variant, example, mixed, **cut(example))


def duplicates_change_no_rate(calculator, variant, example):
    once = asked(calculator, variant, example)
    doubled = {
        name: table if name == "customers" else pd.concat([table, table])
        for name, table in example.tables.items()
    }
    times = {"same": 1, "twice": 2, "half": Fraction(1, 2)}[example.doubled]

    assert times * once.value == ask(calculator, variant, example, doubled).value


def what_is_refused_is_counted_and_changes_nothing(calculator, variant, example):
    if not example.refused:
        return
    clean = asked(calculator, variant, example)
    dirty = ask(calculator, variant, example, added(example, example.refused))
    many = sum(map(len, example.refused.values()))
    assert clean.value == dirty.value
    assert clean.used == dirty.used
    assert clean.rows_in + many == dirty.rows_in
    before = clean.excluded.get(example.refused_because, 0)
    assert before + many == dirty.excluded[example.refused_because]
    assert before + many == len(dirty.ids().excluded[example.refused_because])


def another_question_changes_nothing(calculator, variant, example):
    if not example.foreign:
        return
    dirty = ask(calculator, variant, example, added(example, example.foreign))
    assert asked(calculator, variant, example) == dirty


def nothing_in_gives_the_documented_answer(calculator, variant, example):
    empty = changed(example, lambda t: t[:0])
    found = ask(calculator, variant, example, empty, **cut(example))

    assert example.empty == found.value
    assert (found.value is None) == bool(found.undefined_because)
    assert (0, 0, {}) == (found.rows_in, found.used, dict(found.excluded))
    assert () == found.segments


def one_row_gives_a_number_or_a_reason(calculator, variant, example):
    longest = max(map(len, example.tables.values()))
    for at in (0, longest // 2):
        one = {
            name: table if name == "customers" else table[at : at + 1]
            for name, table in example.tables.items()
        }
        found = ask(calculator, variant, example, one)
        if found.value is None:
            assert found.undefined_because
        else:
            assert isfinite(found.value)
            assert found.used > 0 or example.empty == found.value


def segments_add_up_to_the_whole(calculator, variant, example):
    if not example.is_cut:
        return
    whole = asked(calculator, variant, example, is_cut=True)
    assert replace(whole, segments=()) == asked(calculator, variant, example)
    assert NO_SEGMENT in {one.by["segment"] for one in whole.segments}
    for what in ("rows_in", "used", "numerator", "denominator"):
        pieces = [getattr(one, what) for one in whole.segments]
        if None not in pieces and not isinstance(getattr(whole, what), float):
            assert getattr(whole, what) == sum(pieces)


def every_row_is_used_or_left_out_by_id(calculator, variant, example):
    found = asked(calculator, variant, example, is_cut=True)
    for one in (found, *found.segments):
        ids = one.ids()
        assert one.rows_in == one.used + sum(one.excluded.values())
        assert dict(one.excluded) == {reason: len(of) for reason, of in ids.excluded.items()}
        assert set(ids.numerator) <= set(ids.denominator)
        assert list(ids.denominator) == sorted(ids.denominator)
        assert ids.denominator or one.used == 0


def the_interval_holds_the_value(calculator, variant, example):
    found = asked(calculator, variant, example)
    if found.low is not None:
        assert found.low <= found.value <= found.high
        assert found.level


LAWS = (
    order_of_rows_never_matters,
    duplicates_change_no_rate,
    what_is_refused_is_counted_and_changes_nothing,
    another_question_changes_nothing,
    nothing_in_gives_the_documented_answer,
    one_row_gives_a_number_or_a_reason,
    segments_add_up_to_the_whole,
    every_row_is_used_or_left_out_by_id,
    the_interval_holds_the_value,
)


@pytest.mark.parametrize(("calculator", "variant"), CASES)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_every_metric_keeps_the_law(law, calculator, variant):
    law(calculator, variant, EXAMPLES[calculator.name])


# ---- the catalogue -------------------------------------------------------------------------------


def test_every_metric_has_an_example_and_a_name_of_its_own():
    assert [one.name for one in METRICS] == list(dict.fromkeys(one.name for one in METRICS))
    assert set() == {one.name for one in METRICS} - set(EXAMPLES)


@pytest.mark.parametrize("calculator", METRICS, ids=lambda one: one.name)
def test_every_metric_speaks_plainly(calculator):
    assert calculator.theme in THEMES
    assert 1 <= len(calculator.label.split()) <= 10
    found = ask(calculator, calculator.variants[0], EXAMPLES[calculator.name])
    assert (calculator.name, calculator.variants[0]) == (found.name, found.variant)
    assert calculator.direction == found.direction
    assert found.formula
    assert found.value is not None, "the example should give the metric something to say"


# ---- every law has been seen to bite -------------------------------------------------------------


def planted(compute):
    """A mean of scores from 0 to 10, with the fault that `compute` plants."""

    def mean_score(surveys, period, *, by=None, customers=None, variant="mean"):
        return compute(surveys, customers, by)

    return metric(
        label="Mean score",
        unit="score",
        direction="neither",
        needs=("surveys",),
        variants=("mean",),
        theme="opinions",
    )(mean_score)


def mean_of(surveys, customers=None, by=None, **wrong):
    """The same without a fault, but for what `wrong` says."""
    asked = surveys[surveys.kind == "nps"]
    good = asked[asked.score.between(0, 10)]
    total, n = Fraction(int(good.score.sum())), len(good)
    given = {
        "value": total / n if n else None,
        "undefined_because": None if n else "nobody answered",
        "numerator": total,
        "denominator": n,
        "rows_in": len(asked),
        "used": n,
        "excluded": {"off the scale": len(asked) - n} if len(asked) - n else {},
        "ids": lambda: _ids(asked, good),
        **wrong,
    }
    whole = Metric(
        name="mean_score",
        variant="mean",
        unit="score",
        direction="neither",
        formula="sum / n",
        **given,
    )
    if by is None or not len(asked):
        return whole
    known = customers.set_index("customer_id").segment
    labels = asked.customer_id.map(known).astype("object").fillna(NO_SEGMENT)
    parts = [replace(mean_of(rows), by={"segment": label}) for label, rows in asked.groupby(labels)]
    return replace(whole, segments=tuple(parts))


def _ids(asked, good):
    from retain.metrics import Ids

    bad = tuple(sorted(set(asked.customer_id) - set(good.customer_id)))
    inside = tuple(sorted(good.customer_id))
    return Ids(inside, inside, {"off the scale": bad} if bad else {})


def good(surveys, customers, by):
    return mean_of(surveys, customers, by)


def takes_the_first(surveys, customers, by):
    return mean_of(surveys, customers, by, value=Fraction(int(surveys.score.iloc[0])))


def divides_by_customers(surveys, customers, by):
    good = surveys[surveys.score.between(0, 10) & (surveys.kind == "nps")]
    value = Fraction(int(good.score.sum()), max(good.customer_id.nunique(), 1))
    return mean_of(surveys, customers, by, value=value)


def clips(surveys, customers, by):
    return mean_of(surveys.assign(score=surveys.score.clip(0, 10)), customers, by)


def drops_silently(surveys, customers, by):
    return mean_of(surveys[surveys.score.between(0, 10)], customers, by)


def pools(surveys, customers, by):
    return mean_of(surveys.assign(kind="nps"), customers, by)


def says_zero(surveys, customers, by):
    zero = {} if len(surveys) else {"value": 0, "undefined_because": None}
    return mean_of(surveys, customers, by, **zero)


def needs_two(surveys, customers, by):
    spread = 1 / (len(surveys) - 1)  # of one row there is no spread
    return mean_of(surveys, customers, by, parts={"spread": spread})


def forgets_those_without_a_segment(surveys, customers, by):
    whole = mean_of(surveys, customers, by)
    kept = tuple(one for one in whole.segments if one.by["segment"] != NO_SEGMENT)
    return replace(whole, segments=kept)


def loses_an_id(surveys, customers, by):
    from retain.metrics import Ids

    return mean_of(surveys, customers, by, ids=lambda: Ids(("c00",), ()))


def misplaces_its_interval(surveys, customers, by):
    return mean_of(surveys, customers, by, low=100, high=101, level=0.9)


PLANTED = Example(
    {"surveys": answers("nps", [10, 0, 5, 6, 7, 3, 9, 9]), "customers": CUSTOMERS},
    refused={"surveys": off_the_scale("nps", [11, -4])},
    refused_because="off the scale",
    foreign={"surveys": off_the_scale("csat", [1, 2])},
)
FAULTS = [
    (order_of_rows_never_matters, takes_the_first),
    (duplicates_change_no_rate, divides_by_customers),
    (what_is_refused_is_counted_and_changes_nothing, clips),
    (what_is_refused_is_counted_and_changes_nothing, drops_silently),
    (another_question_changes_nothing, pools),
    (nothing_in_gives_the_documented_answer, says_zero),
    (one_row_gives_a_number_or_a_reason, needs_two),
    (segments_add_up_to_the_whole, forgets_those_without_a_segment),
    (every_row_is_used_or_left_out_by_id, loses_an_id),
    (the_interval_holds_the_value, misplaces_its_interval),
]


@pytest.mark.parametrize(("law", "fault"), FAULTS, ids=lambda one: one.__name__)
def test_a_planted_fault_breaks_its_law(law, fault):
    with pytest.raises((AssertionError, ZeroDivisionError), match=r"assert|division by zero"):
        law(planted(fault), "mean", PLANTED)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_without_a_fault_every_law_is_kept_and_each_has_a_fault_to_catch(law):
    law(planted(good), "mean", PLANTED)
    assert law in [one for one, _ in FAULTS]
