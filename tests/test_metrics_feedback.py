"""Who answers, who comments, and what about."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from retain.errors import TableError
from retain.metrics import Period, answer_rate, comment_rate, comment_themes

OCTOBER = Period.month("2026-10")
END = date(2026, 11, 30)


def asked(sent, answered, **columns):
    answered = pd.to_datetime(pd.Series(answered))
    return pd.DataFrame(
        {
            "customer_id": [f"c{at}" for at in range(len(sent))],
            "kind": "nps",
            "score": np.where(answered.notna(), 9.0, np.nan),
            "sent_at": pd.to_datetime(pd.Series(sent)),
            "answered_at": answered,
            **columns,
        }
    )


def test_two_of_five_questions_are_answered_in_time():
    given = asked(
        ["2026-10-01"] * 5, ["2026-10-02", "2026-10-15", "2026-10-16", None, None]
    )  # after 1, 14 and 15 days
    found = answer_rate(given, OCTOBER, data_until=END)

    assert Fraction(40) == found.value
    assert (2, 5) == (found.numerator, found.denominator)
    assert Fraction(60) == answer_rate(given, OCTOBER, data_until=END, wait_days=15).value


def test_questions_that_can_still_be_answered_are_left_out_even_when_they_were():
    given = asked(["2026-10-01", "2026-10-20", "2026-10-20"], ["2026-10-02", "2026-10-21", None])
    found = answer_rate(given, OCTOBER, data_until=date(2026, 10, 31))

    assert (Fraction(100), {"younger than 14 days": 2}) == (found.value, found.excluded)


def test_without_being_told_the_data_end_with_their_newest_day():
    given = asked(["2026-10-01", "2026-10-15"], ["2026-10-02", None])

    found = answer_rate(given, OCTOBER)
    assert "2026-10-15" == found.parameters["data_until"]
    assert {"younger than 14 days": 1} == found.excluded


def test_an_answer_before_its_question_is_left_out():
    given = asked(["2026-10-05", "2026-10-05"], ["2026-10-04", "2026-10-06"])

    assert {"answered before it was sent": 1} == answer_rate(
        given, OCTOBER, data_until=END
    ).excluded


def test_without_dates_of_sending_nobody_knows_who_was_asked():
    given = asked(["2026-10-05"], ["2026-10-06"]).drop(columns="sent_at")
    with pytest.raises(TableError, match="surveys: column sent_at is missing"):
        answer_rate(given, OCTOBER)


def test_a_comment_of_blanks_is_none_and_one_without_a_score_is_an_answer():
    given = asked(["2026-10-05"] * 5, ["2026-10-05"] * 5)
    given = given.assign(comment=["fine", " ", None, "no score", None], score=[9, 8, 7, None, None])
    found = comment_rate(given, OCTOBER)

    assert (Fraction(50), {"no answer": 1}) == (found.value, found.excluded)
    assert ("c0", "c3") == found.ids().numerator


# ---- themes --------------------------------------------------------------------------------------

SAID = {
    "price": (
        "the {price} is too high for {us}",
        "{price} went up again without notice, too expensive for {us}",
        "too expensive, the {price} is hard to justify",
        "cheaper elsewhere, the {price} is too high",
    ),
    "bugs": (
        "the {thing} crashes after the update",
        "errors in the {thing} since the last update",
        "after the update the {thing} crashes with errors",
        "{thing} shows errors and crashes",
    ),
    "support": (
        "support took {days} days to answer my question",
        "waited {days} days for an answer from support",
        "no answer from support after {days} days of waiting",
        "support asked the same question again after {days} days",
    ),
}
SLOTS = {
    "price": ["price", "monthly price", "subscription price"],
    "us": ["us", "a small team", "our use"],
    "thing": ["report", "dashboard", "export", "mobile app"],
    "days": ["two", "three", "nine", "ten"],
}


def comments(many, seed=3, shares=(0.5, 0.3, 0.2), day="2026-10-07"):
    rng = np.random.default_rng(seed)
    topics = rng.choice(list(SAID), many, p=shares)
    said = [
        SAID[topic][rng.integers(4)].format(**{k: rng.choice(v) for k, v in SLOTS.items()})
        for topic in topics
    ]
    return pd.DataFrame(
        {
            "customer_id": [f"{day}-{at}" for at in range(many)],
            "kind": "nps",
            "score": np.where(topics == "price", 3.0, 6.0),
            "answered_at": pd.Timestamp(day),
            "comment": said,
            "topic": topics,
        }
    )


def test_comments_fall_into_the_themes_that_they_were_written_about():
    given = comments(400)
    found = comment_themes(given, OCTOBER, themes=3)

    assert (3, 400, 0) == (len(found.themes), found.comments, found.without_theme)
    truth = given.set_index("customer_id").topic
    met = []
    for theme in found.themes:
        inside = truth[list(theme.ids())].value_counts()
        met.append(inside.index[0])
        assert inside.iloc[0] >= 0.9 * theme.n
    assert ["price", "bugs", "support"] == met
    price = found.themes[0]
    assert any("pric" in one or "expens" in one for one in price.words)
    assert 3.2 > float(price.mean_scores["nps"])
    assert 100 == sum(theme.share for theme in found.themes)
    assert all(theme.low <= theme.share <= theme.high for theme in found.themes)


def test_the_change_is_against_the_period_before():
    given = pd.concat(
        [
            comments(400, shares=(0.6, 0.3, 0.1)),
            comments(300, seed=4, shares=(0.2, 0.3, 0.5), day="2026-09-07"),
        ]
    )
    found = comment_themes(given, OCTOBER, themes=3)
    (price,) = [theme for theme in found.themes if "pric" in " ".join(theme.words)]

    assert 300 == found.previous_comments
    assert price.change == price.share - price.previous_share
    assert 40 == pytest.approx(float(price.change), abs=8)


def test_themes_do_not_depend_on_order_or_duplicates():
    given = comments(200)
    first = comment_themes(given, OCTOBER)

    assert first == comment_themes(given.sample(frac=1, random_state=1), OCTOBER)
    twice = comment_themes(pd.concat([given, given]), OCTOBER)
    assert [one.share for one in first.themes] == [one.share for one in twice.themes]
    assert [one.name for one in first.themes] == [one.name for one in twice.themes]


def test_scripts_without_spaces_find_themes_too():
    said = ["価格が高すぎます{}", "アプリがよく落ちます{}"]
    text = [said[at % 2].format("。" * (at // 2 % 20) + "本当に" * (at // 40)) for at in range(80)]
    given = comments(80).assign(comment=text)
    found = comment_themes(given, OCTOBER, themes=2)

    assert {"価格", "アプ"} == {theme.name[:2] for theme in found.themes}


def test_few_comments_have_no_themes_and_say_so():
    found = comment_themes(comments(5), OCTOBER)

    assert ((), 5) == (found.themes, found.comments)
    assert "fewer than 30" in found.undefined_because
    assert () == comment_themes(comments(5)[:0], OCTOBER).themes


def test_scores_off_their_scale_enter_no_mean():
    given = comments(200).assign(score=lambda t: t.score.where(t.index % 2 == 0, 1e6))

    assert all(theme.mean_scores["nps"] <= 6 for theme in comment_themes(given, OCTOBER).themes)
