"""NPS, CSAT, CES and feedback: worked examples first, then an oracle in pandas."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from retain.metrics import Period, nps

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

    assert (None, "nobody answered", 0) == (found.value, found.undefined_because, found.n)


def test_the_ids_behind_it_can_be_read():
    ids = nps(surveys({10: 1, 8: 1, 3: 1}), OCTOBER).ids()

    assert (("c0", "c2"), ("c0", "c1", "c2")) == (ids.numerator, ids.denominator)
    assert {"promoters": ("c0",), "passives": ("c1",), "detractors": ("c2",)} == ids.parts
