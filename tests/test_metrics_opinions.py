"""NPS, CSAT, CES and feedback: worked examples first, then an oracle in pandas."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from retain.errors import TableError
from retain.metrics import Period, ces, csat, nps

OCTOBER = Period.month("2026-10")


def surveys(counts, kind="nps", **columns):
    """Answers from ``{score: how many}``, each by a customer of its own."""
    scores = [score for score, many in counts.items() for _ in range(many)]
    ids = [f"c{at}" for at in range(len(scores))]
    when = pd.Timestamp("2026-10-05")
    given = {"customer_id": ids, "kind": kind, "score": scores, "answered_at": when}
    return pd.DataFrame({**given, **columns})


# ---- NPS -----------------------------------------------------------------------------------------


def test_fifty_promoters_and_twenty_detractors_of_a_hundred_are_plus_thirty():
    found = nps(surveys({10: 30, 9: 20, 8: 20, 7: 10, 6: 15, 0: 5}), OCTOBER)

    assert Fraction(30) == found.value
    assert (30, 100, 100) == (found.numerator, found.denominator, found.n)
    assert {"promoters": 50, "passives": 30, "detractors": 20} == found.parts
    assert 15.3 == pytest.approx(float(found.high - found.value), abs=0.01)
    assert 15.3 == pytest.approx(float(found.value - found.low), abs=0.01)
    assert "100 x (50 promoters - 20 detractors) / 100 answers" == found.formula


def test_it_is_rounded_after_subtracting():
    found = nps(surveys({9: 7, 8: 2, 0: 2}), OCTOBER)

    assert Fraction(500, 11) == found.value
    assert "45" == found.display()  # 64 - 18 of rounded shares would be 46


def test_the_standard_error_at_324_answers_is_four_points():
    found = nps(surveys({9: 162, 7: 108, 6: 54}), OCTOBER, level=0.6826895)

    assert Fraction(100, 3) == found.value
    assert 4.1 == pytest.approx(float(found.high - found.value), abs=0.05)


def test_the_latest_answer_of_a_customer_counts_and_all_of_them_when_asked():
    days = pd.to_datetime(["2026-10-01", "2026-10-20", "2026-10-20"])
    given = surveys({0: 1, 10: 1, 9: 1}, customer_id=["a", "a", "b"], answered_at=days)

    assert Fraction(100) == nps(given, OCTOBER).value
    assert {"a later answer counts": 1} == nps(given, OCTOBER).excluded
    assert Fraction(100, 3) == nps(given, OCTOBER, variant="all").value


def test_answers_about_two_cases_are_two_surveys():
    given = surveys({0: 1, 10: 1}, customer_id="a", interaction_id=["case 1", "case 2"])

    assert 2 == nps(given, OCTOBER).n


def test_of_two_answers_at_one_instant_the_lower_counts():
    given = surveys({10: 1, 0: 1}, customer_id="a")

    assert Fraction(-100) == nps(given, OCTOBER).value == nps(given[::-1], OCTOBER).value


def test_what_is_no_whole_number_from_0_to_10_is_refused_and_counted():
    found = nps(surveys({11: 1, -1: 1, 9.5: 1, np.inf: 1, np.nan: 1, 10: 1}), OCTOBER)

    assert Fraction(100) == found.value
    assert {"no answer": 1, "off the scale": 4} == found.excluded
    assert ("c0", "c1", "c2", "c3") == found.ids().excluded["off the scale"]


def test_without_answers_it_is_undefined_and_says_so():
    found = nps(surveys({np.nan: 3}), OCTOBER)

    assert (None, "no answers", 0) == (found.value, found.undefined_because, found.n)


def test_the_ids_behind_it_can_be_read():
    ids = nps(surveys({10: 1, 8: 1, 3: 1}), OCTOBER).ids()

    assert (("c0", "c2"), ("c0", "c1", "c2")) == (ids.numerator, ids.denominator)
    assert {"promoters": ("c0",), "passives": ("c1",), "detractors": ("c2",)} == ids.parts


def test_every_customer_weighs_the_same_when_asked():
    given = surveys({10: 3, 0: 1}, customer_id=["a", "a", "a", "b"])

    assert Fraction(50) == nps(given, OCTOBER, variant="all").value
    found = nps(given, OCTOBER, variant="customer")
    assert (Fraction(0), 0, 2) == (found.value, found.numerator, found.denominator)


def test_the_interval_covers_the_truth_as_often_as_it_says_even_where_it_is_hardest():
    from retain.metrics.intervals import net_interval

    rng = np.random.default_rng(7)
    for n, p, d in ((12, 0.85, 0.05), (25, 0.9, 0.02), (40, 0.5, 0.2), (200, 0.6, 0.1)):
        draws = rng.multinomial(n, [p, d, 1 - p - d], size=4000)
        ends = [net_interval(int(plus), int(minus), n)[:2] for plus, minus, _ in draws]
        covered = np.mean([low <= p - d <= high for low, high in ends])
        assert 0.925 <= covered, (n, p, d)


# ---- CSAT ----------------------------------------------------------------------------------------

RATINGS = {1: 5, 2: 5, 3: 10, 4: 30, 5: 50}


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (Fraction(80), {}),
        (Fraction(50), {"variant": "top_box"}),
        (Fraction(415, 100), {"variant": "mean"}),
        (Fraction(7875, 100), {"variant": "mean_rescaled"}),
        (Fraction(90), {"variant": "not_unhappy"}),
        (Fraction(8000, 90), {"neutrals": "left out"}),
        (Fraction(90), {"satisfied_from": 3}),
    ],
)
def test_a_hundred_ratings_under_each_rule(value, given):
    assert value == csat(surveys(RATINGS, "csat"), OCTOBER, **given).value


@pytest.mark.parametrize(
    ("scale", "satisfied"), [((1, 2), 1), ((1, 3), 1), ((1, 4), 2), ((1, 5), 2), ((0, 10), 2)]
)
def test_the_satisfied_are_the_best_two_or_on_short_scales_the_best(scale, satisfied):
    low, high = scale
    each = surveys(dict.fromkeys(range(low, high + 1), 1), "csat")
    found = csat(each, OCTOBER, scale=scale)

    assert satisfied == found.numerator == found.parts["unhappy"]


def test_neutrals_that_are_left_out_are_counted_as_such():
    found = csat(surveys(RATINGS, "csat"), OCTOBER, neutrals="left out")

    assert ({"neutral": 10}, 90) == (found.excluded, found.denominator)


def test_an_answer_on_another_scale_is_never_mixed_in():
    scales = ["1-5", "1 to 5", "1-10", "0..100", "faces", None]
    found = csat(surveys({5: 6}, "csat", scale=scales), OCTOBER)

    assert (3, {"another scale": 3}) == (found.used, found.excluded)


def test_ratings_are_one_per_case_not_one_per_customer():
    given = surveys({5: 1, 1: 1}, "csat", customer_id="a", interaction_id=["1", "2"])

    assert Fraction(50) == csat(given, OCTOBER).value


def test_the_interval_of_a_mean_stays_on_the_scale():
    found = csat(surveys({5: 3, 4: 1}, "csat"), OCTOBER, variant="mean")

    assert (5, "score") == (found.high, found.unit)


def test_a_scale_that_makes_no_sense_is_refused():
    with pytest.raises(TableError, match="lowest to a highest whole number"):
        csat(surveys(RATINGS, "csat"), OCTOBER, scale=(5, 1))
    with pytest.raises(TableError, match="should follow each other"):
        csat(surveys(RATINGS, "csat"), OCTOBER, satisfied_from=2)


# ---- CES -----------------------------------------------------------------------------------------

EFFORT = {1: 2, 2: 3, 3: 5, 4: 10, 5: 20, 6: 30, 7: 30}
EASE = {"scale_version": "2.0", "direction": "high is easy"}
WORK = {"scale_version": "1.0", "direction": "high is hard"}


@pytest.mark.parametrize(
    ("value", "unit", "variant"),
    [
        (Fraction(553, 100), "score", "mean"),
        (Fraction(80), "percent", "share_easy"),
        (Fraction(70), "points", "net_easy"),
    ],
)
def test_a_hundred_answers_to_version_two(value, unit, variant):
    found = ces(surveys(EFFORT, "ces"), OCTOBER, variant=variant, **EASE)

    assert (value, unit, "higher is better") == (found.value, found.unit, found.direction)
    assert {"easy": 80, "neither": 10, "hard": 10} == found.parts


def test_in_version_one_a_lower_mean_is_better_and_low_answers_are_easy():
    asked = surveys({1: 6, 2: 2, 3: 1, 5: 1}, "ces")
    mean = ces(asked, OCTOBER, variant="mean", **WORK)

    assert (Fraction(18, 10), "lower is better") == (mean.value, mean.direction)
    assert Fraction(80) == ces(asked, OCTOBER, variant="share_easy", **WORK).value
    assert Fraction(70) == ces(asked, OCTOBER, variant="net_easy", **WORK).value


@pytest.mark.parametrize("variant", ["mean", "share_easy", "net_easy"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_answers_recorded_the_other_way_round_are_turned(version, variant):
    low, high = (1, 5) if version == "1.0" else (1, 7)
    counts = {score: many for score, many in EFFORT.items() if score <= high}
    ways = ["high is hard", "high is easy"]
    natural, other = ways if version == "1.0" else ways[::-1]
    turned = {low + high - score: many for score, many in counts.items()}
    given = {"scale_version": version, "variant": variant}

    assert (
        ces(surveys(counts, "ces"), OCTOBER, direction=natural, **given).value
        == ces(surveys(turned, "ces"), OCTOBER, direction=other, **given).value
    )


def test_version_direction_and_statistic_must_be_said():
    for missing in ("scale_version", "direction", "variant"):
        given = {**EASE, "variant": "mean"}
        del given[missing]
        with pytest.raises(TypeError, match=missing):
            ces(surveys(EFFORT, "ces"), OCTOBER, **given)
    with pytest.raises(TableError, match="scale_version should be"):
        ces(surveys(EFFORT, "ces"), OCTOBER, variant="mean", **{**EASE, "scale_version": "3.0"})


def test_versions_on_their_own_scales_are_never_pooled():
    both = pd.concat(
        [
            surveys({7: 4}, "ces", scale="1-7"),
            surveys({1: 4}, "ces", scale="1-5", customer_id=["a", "b", "c", "d"]),
        ]
    )

    assert 7 == ces(both, OCTOBER, variant="mean", **EASE).value
    assert 1 == ces(both, OCTOBER, variant="mean", **WORK).value
    assert {"another scale": 4} == ces(both, OCTOBER, variant="mean", **WORK).excluded


# ---- an oracle of a few lines in pandas ----------------------------------------------------------


def oracle(table, kind, scale, start, end):
    """The latest valid answer of each customer to each case: a Series of scores."""
    t = table[table.kind == kind].assign(at=lambda t: t.answered_at.fillna(t.sent_at))
    t = t[(t["at"] >= start) & (t["at"] < end) & t.score.between(*scale) & (t.score % 1 == 0)]
    t = t.sort_values(["at", "score"], ascending=[True, False])
    return t.drop_duplicates(["customer_id", "interaction_id"], keep="last").score


def messy(seed, many):
    """Answers with every kind of dirt."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["nps", "csat", "ces"], many)
    sent = pd.Timestamp("2026-08-20") + pd.to_timedelta(rng.integers(0, 100, many), unit="D")
    score = rng.integers(-1, 12, many) + np.where(rng.random(many) < 0.05, 0.5, 0.0)
    return pd.DataFrame(
        {
            "customer_id": rng.integers(0, many // 3 + 1, many).astype(str),
            "kind": kind,
            "score": np.where(rng.random(many) < 0.2, np.nan, score),
            "sent_at": sent,
            "answered_at": (sent + pd.Timedelta("3D")).where(rng.random(many) < 0.7),
            "interaction_id": np.where(rng.random(many) < 0.5, None, rng.integers(0, 3, many)),
        }
    )


def shifted(table):
    back = pd.DateOffset(months=1)
    return table.assign(sent_at=table.sent_at - back, answered_at=table.answered_at - back)


def scaled(table):
    """Three companies like this one."""
    return pd.concat([table.assign(customer_id=table.customer_id + f" of {at}") for at in range(3)])


WORLDS = {
    "as it is": lambda t: t,
    "scaled": scaled,
    "shifted": shifted,
    "resampled": lambda t: t.sample(frac=1, replace=True, random_state=5),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("seed", "many"), [(1, 200), (2, 400), (3, 3000)])
def test_scores_agree_with_the_oracle_in_every_world(world, seed, many):
    table = WORLDS[world](messy(seed, many))
    month = OCTOBER.previous() if world == "shifted" else OCTOBER
    ends = (pd.Timestamp(month.start), pd.Timestamp(month.end))

    of = oracle(table, "nps", (0, 10), *ends)
    assert len(of) == nps(table, month).used
    expected = Fraction(100 * int((of >= 9).sum() - (of <= 6).sum()), len(of))
    assert expected == nps(table, month).value

    of = oracle(table, "csat", (1, 5), *ends)
    assert Fraction(100 * int((of >= 4).sum()), len(of)) == csat(table, month).value
    mean = csat(table, month, variant="mean")
    assert (Fraction(int(of.sum()), len(of)), len(of)) == (mean.value, mean.n)
    assert of.std() / len(of) ** 0.5 * 1.96 <= float(mean.value - mean.low) * 1.001 + 1e-9 or (
        mean.low == 1
    )

    of = oracle(table, "ces", (1, 7), *ends)
    easy, hard = int((of >= 5).sum()), int((of <= 3).sum())
    values = [ces(table, month, variant=one, **EASE).value for one in ces.variants]
    assert [
        Fraction(int(of.sum()), len(of)),
        Fraction(100 * easy, len(of)),
        Fraction(100 * (easy - hard), len(of)),
    ] == values
