"""Health scores: worked examples first, then an oracle customer by customer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.errors import TableError
from retain.metrics import Period
from retain.metrics.health import (
    HealthPart,
    HealthRule,
    health_score,
    health_scores,
    version_changes,
)

OCTOBER = Period.month("2026-10")
WHOLE = HealthPart(0, 100)


def of(weights, **given):
    parts = {f"p{at}": HealthPart(0, 100, one) for at, one in enumerate(weights)}
    return HealthRule(parts, **given)


def scored(scores, rule, **columns):
    seen = pd.DataFrame({f"p{at}": [one] for at, one in enumerate(scores)}, dtype=float)
    return health_scores(seen.assign(customer_id="a", **columns), rule).iloc[0]


# ---- worked examples -----------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 10])
def test_gainsights_own_example_is_40(times):
    weights = [20 * times, 15 * times, 22 * times]
    assert 40.12 == pytest.approx(scored([47, 59, 21], of(weights)).score, abs=0.005)


@pytest.mark.parametrize("unit", [1, 60])
def test_18_between_7_and_30_is_48(unit):
    found = HealthPart(7 * unit, 30 * unit).scaled(np.array([18.0 * unit]))[0]
    assert 48 == round(found)


def test_beyond_floor_and_target_nothing_is_gained_or_lost():
    assert [0, 0, 100, 100] == HealthPart(7, 30).scaled(np.array([-5, 7, 30, 99.0])).tolist()


def test_a_floor_above_the_target_means_that_less_is_better():
    assert [100, 50, 0] == HealthPart(10, 0).scaled(np.array([0, 5, 12.0])).tolist()


@pytest.mark.parametrize(
    ("missing", "score"), [("redistribute", 65), ("zero", 52), ("neutral", 62), ("totango", 65)]
)
def test_a_missing_fifth_gives_65_or_52_or_62(missing, score):
    found = scored([80, 40, np.nan], of([50, 30, 20], missing=missing))

    assert score == found.score
    assert 0.8 == found.coverage
    assert np.isnan(found.part_p2)


def test_with_totangos_rule_one_poor_part_is_poor_and_only_all_good_is_good():
    rule = of([50, 30, 20], missing="totango", bands={"poor": 0, "average": 40, "good": 70})
    assert "poor" == scored([100, 100, 30], rule).band
    assert "good" == scored([70, 80, 90], rule).band
    assert "average" == scored([100, 100, 50], rule).band
    assert "good" == scored([70, 80, np.nan], rule).band


# ---- bands, coverage, profiles -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "band"),
    [(0, "red"), (49.999, "red"), (50, "yellow"), (50.4, "yellow"), (75, "green"), (100, "green")],
)
def test_every_score_has_one_band(score, band):
    assert band == scored([score], of([1])).band


@given(st.floats(0, 100))
def test_bands_leave_no_gap(score):
    rule = of([1], bands={"low": 0, "middle": 24, "high": 74.5})
    expected = "high" if score >= 74.5 else "middle" if score >= 24 else "low"
    assert expected == scored([score], rule).band


def test_below_the_least_coverage_there_is_no_colour_but_a_reason():
    rule = of([50, 30, 20], least_coverage=0.6)
    found = scored([80, np.nan, np.nan], rule)

    assert (80, 0.5) == (found.score, found.coverage)
    assert (None, "less than 60% is known") == (found.band, found.no_band_because)
    assert "green" == scored([80, np.nan, np.nan], of([60, 30, 10], least_coverage=0.6)).band


@pytest.mark.parametrize("missing", ["redistribute", "zero", "neutral", "totango"])
def test_where_nothing_is_known_there_is_no_score_whatever_the_rule(missing):
    found = scored([np.nan, np.nan], of([1, 1], missing=missing, least_coverage=0.0))
    assert np.isnan(found.score)
    assert (None, "nothing is known") == (found.band, found.no_band_because)


def test_a_segment_may_weigh_its_own_way():
    rule = of([1, 1], profiles={"enterprise": {"p0": 0}})
    assert 50 == scored([100, 0], rule, segment="smb").score
    assert 50 == scored([100, 0], rule, segment=None).score
    assert 0 == scored([100, 0], rule, segment="enterprise").score
    assert np.isnan(scored([100, np.nan], rule, segment="enterprise").score)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("missing", ["redistribute", "zero", "neutral"])
def test_scores_agree_with_a_walk_customer_by_customer(seed, missing):
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 5, 4) * [1, 1, 0, 1]
    seen = pd.DataFrame(rng.uniform(-20, 120, (50, 4)), columns=["p0", "p1", "p2", "p3"])
    seen = seen.mask(rng.random((50, 4)) < 0.3).assign(customer_id=range(50))
    profile = {"p1": 2.0, "p2": 7.0}
    seen["segment"] = rng.choice(["gold", "lead"], 50)
    rule = of(weights, missing=missing, profiles={"gold": profile})
    found = health_scores(seen, rule)
    for at, row in seen.iterrows():
        own = {f"p{i}": w for i, w in enumerate(weights)} | (
            profile if row.segment == "gold" else {}
        )
        there = {name: w for name, w in own.items() if not np.isnan(row[name])}
        instead = {"redistribute": None, "zero": 0, "neutral": 50}[missing]
        used = own if instead is not None else there
        points = {n: min(max(row[n], 0), 100) if n in there else instead for n in used}
        total = sum(used.values())
        if sum(there.values()) == 0:
            assert np.isnan(found.score[at])
        else:
            expected = sum(used[n] * points[n] for n in used) / total
            assert expected == pytest.approx(found.score[at])
        assert sum(there.values()) / sum(own.values()) == pytest.approx(found.coverage[at])


# ---- versions ------------------------------------------------------------------------------------


def test_every_change_of_the_rule_is_another_version_and_no_change_is_none():
    first = of([1, 2])
    others = [
        of([1, 3]),
        of([1, 2], missing="zero"),
        of([1, 2], least_coverage=0.4),
        of([1, 2], bands={"red": 0, "green": 75}),
        of([1, 2], bands={"crimson": 0, "yellow": 50, "green": 75}),
        of([1, 2], profiles={"gold": {"p0": 2}}),
        HealthRule({"p0": WHOLE, "p1": HealthPart(0, 99, 2)}),
    ]
    assert first.version == of([1.0, 2.0]).version
    assert len(others) + 1 == len({first.version, *(one.version for one in others)})
    assert first.version == scored([1, 2], first).config_version


def test_changes_are_marked_on_the_history():
    weeks = pd.DataFrame(
        {
            "as_of": ["w3", "w1", "w2", "w4", "w4"],
            "config_version": ["b", "a", "a", "a", "a"],
        }
    )
    found = version_changes(weeks)
    assert [("w3", "b", "a"), ("w4", "a", "b")] == list(found.itertuples(index=False, name=None))
    assert version_changes(weeks[:0]).empty


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: HealthRule({"a": HealthPart(3, 3)}), "floor and target of a are equal"),
        (lambda: of([1], bands={"red": 10}), "bands should begin at 0"),
        (lambda: of([1], bands={"red": 0, "green": 100}), "rise below 100"),
        (lambda: of([0, 0]), "one above 0; found \\[0, 0\\]"),
        (lambda: of([1], profiles={"gold": {"p0": -1}}), "weights of gold should be 0 or more"),
        (lambda: of([1], profiles={"gold": {"p9": 1}}), "profile gold names p9; parts are p0"),
        (lambda: of([1], missing="guess"), "missing should be one of redistribute"),
        (lambda: of([1], least_coverage=60), "least_coverage should lie between 0 and 1"),
        (lambda: HealthRule({}), "one above 0"),
        (lambda: health_scores(pd.DataFrame({"customer_id": []}), of([1])), "column p0 is missing"),
        (
            lambda: health_scores(pd.DataFrame({"customer_id": ["a", "a"], "p0": 1.0}), of([1])),
            "a come more than once",
        ),
    ],
)
def test_what_is_wrong_is_said(make, told):
    with pytest.raises(TableError, match=told):
        make()


# ---- the metric ----------------------------------------------------------------------------------


def test_the_mean_is_of_those_with_a_score_and_bands_are_counted():
    seen = pd.DataFrame({"customer_id": list("abcd"), "p0": [10, 80, np.nan, 90]})
    found = health_score(health_scores(seen, of([1])), OCTOBER)

    assert 60 == found.value
    assert {"green": 2, "red": 1} == found.parts
    assert {"no score": 1} == found.excluded
