"""The weekly queue: worked by hand first, then what must hold from week to week."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from review_company import AS_OF, RULES, configured, write_files, written_week

from retain.actions.queue import Play, QueueRules, Standing, draw, make_queue
from retain.cli import main
from retain.jobs import queue

DAY = date(2026, 11, 15)
NO_REASONS = pd.DataFrame(
    columns=["customer_id", "target", "rank", "theme", "signal", "sentence", "contribution"]
)


def rules(**more):
    return QueueRules(**{"capacity_per_week": 2, "holdout_share": 0.0, "currency": "EUR", **more})


def people(rows):
    """customer_id: (percentile, value at risk, owner)."""
    return pd.DataFrame(
        [
            {
                "customer_id": who,
                "eligible": True,
                "not_eligible_because": None,
                "churn_probability": percentile / 200,
                "percentile": float(percentile),
                "value_at_risk": value,
                "owner": owner,
            }
            for who, (percentile, value, owner) in rows.items()
        ]
    )


FIVE = people(
    {
        "A": (95, 500.0, "ann"),
        "B": (90, 800.0, "ann"),
        "C": (70, 900.0, "bob"),
        "D": (40, 2000.0, "bob"),
        "E": (85, 100.0, None),
    }
)


def status(made):
    return dict(zip(made["customer_id"], made["status"], strict=True))


def why(made):
    return dict(zip(made["customer_id"], made["why"], strict=True))


def test_the_worthiest_above_the_threshold_are_listed_and_the_rest_is_told_why_not():
    made = make_queue(FIVE, NO_REASONS, DAY, rules())

    # D is worth most but less likely to leave than most; C and B take the two places; A comes
    # after B and E after A, but only as many as could be contacted are named: D and A
    assert {"C": "contact", "B": "contact", "D": "next", "A": "next"} == status(made)
    assert "Risk percentile 40, below the 60 that is needed to come onto the list" == why(made)["D"]
    assert (
        "The team's 2 places are taken; EUR 500 at stake, the last on the list EUR 800"
        == why(made)["A"]
    )
    assert ["C", "B"] == list(made["customer_id"][:2])


def test_an_owner_has_a_limit_of_their_own():
    made = make_queue(FIVE, NO_REASONS, DAY, rules(capacity_per_week=3, capacity_per_owner=1))

    assert {"C": "contact", "B": "contact", "E": "contact"} == {
        who: what for who, what in status(made).items() if what == "contact"
    }
    assert "ann has 1 customers on the list already" == why(made)["A"]


def test_who_is_on_the_list_stays_until_clearly_overtaken_or_below_the_lower_threshold():
    on = Standing(on_list=frozenset({"A"}))
    # A is worth 500 and counts as 625 while it is on the list: B (800) takes the place, 600 not
    close = people({"A": (55, 500.0, None), "B": (90, 600.0, None)})
    clear = people({"A": (55, 500.0, None), "B": (90, 800.0, None)})
    below = people({"A": (49, 500.0, None), "B": (90, 10.0, None)})
    one = rules(capacity_per_week=1)

    assert "contact" == status(make_queue(close, NO_REASONS, DAY, one, on))["A"]
    assert "contact" == status(make_queue(clear, NO_REASONS, DAY, one, on))["B"]
    assert "next" == status(make_queue(below, NO_REASONS, DAY, one, on))["A"]
    # without having been on the list, 55 would not have been enough
    assert "contact" == status(make_queue(close, NO_REASONS, DAY, one))["B"]


def test_the_list_does_not_flap_when_worth_wobbles():
    """Twelve weeks of noise of 10 %: the list changes rarely; without hysteresis it does often."""
    rng = np.random.default_rng(1)
    base = np.sort(rng.lognormal(6, 0.5, 60))
    names = [f"C{n}" for n in range(60)]

    def changes(factor):
        on, changed = frozenset(), 0
        for _ in range(12):
            worth = base * rng.normal(1, 0.05, 60)
            frame = people({w: (90, v, None) for w, v in zip(names, worth, strict=True)})
            made = make_queue(
                frame,
                NO_REASONS,
                DAY,
                rules(capacity_per_week=15, overtake_factor=factor),
                Standing(on_list=on),
            )
            now = frozenset(made.loc[made["status"] == "contact", "customer_id"])
            changed += len(now - on) if on else 0
            on = now
        return changed

    assert changes(1.25) <= 2
    assert changes(1.0) >= 10


def test_contact_is_followed_by_a_cool_down():
    lately = Standing(contacted_on={"B": DAY - timedelta(days=10)})
    long_ago = Standing(contacted_on={"B": DAY - timedelta(weeks=4)})

    made = make_queue(FIVE, NO_REASONS, DAY, rules(), lately)
    assert ("cooling", "Contacted on 2026-11-05; not again before 2026-12-03") == (
        status(made)["B"],
        why(made)["B"],
    )
    assert "contact" == status(make_queue(FIVE, NO_REASONS, DAY, rules(), long_ago))["B"]


def test_the_hold_out_is_a_random_share_takes_no_place_and_is_the_same_on_a_rerun():
    many = people({f"C{n}": (90, 1000.0 - n / 100, None) for n in range(6000)})
    made = make_queue(many, NO_REASONS, DAY, rules(capacity_per_week=4000, holdout_share=0.1))
    again = make_queue(
        many.iloc[::-1], NO_REASONS, DAY, rules(capacity_per_week=4000, holdout_share=0.1)
    )
    held = made["status"].eq("holdout").sum()

    assert 4000 == made["status"].eq("contact").sum()
    # 4,000 contacts with a tenth held out on the way: 444 +- 3 standard deviations of 22
    assert 444 == pytest.approx(held, abs=66)
    pd.testing.assert_frame_equal(made, again)


def test_a_draw_holds_while_it_lasts_and_no_share_means_nobody():
    held = next(f"C{n}" for n in range(99) if draw(f"C{n}", str(DAY)) < 0.1)
    one = people({held: (90, 5.0, None)})

    assert "holdout" == status(make_queue(one, NO_REASONS, DAY, rules(holdout_share=0.1)))[held]
    assert "contact" == status(make_queue(one, NO_REASONS, DAY, rules()))[held]
    free = Standing(drawn={held: False})
    kept = Standing(drawn={"A": True})
    assert (
        "contact" == status(make_queue(one, NO_REASONS, DAY, rules(holdout_share=0.1), free))[held]
    )
    assert (
        "holdout"
        == status(
            make_queue(FIVE, NO_REASONS, DAY, rules(capacity_per_week=5, holdout_share=0.001), kept)
        )["A"]
    )


def test_the_first_reason_that_a_play_answers_gives_play_owner_and_due_date():
    reasons = pd.DataFrame(
        [
            ["A", "churn", 1, "profile", "tenure", "Weeks with us: 3", 0.3],
            ["A", "churn", 2, "commercial", "failed payments", "Failed payments: 2", 0.2],
            ["A", "churn", 1, "usage", "amount of use", "Use rose", -0.4],
            ["A", "clv", 1, "usage", "amount of use", "Use rose", 9.0],
        ],
        columns=NO_REASONS.columns,
    )
    plays = (
        Play("Train", theme="usage"),
        Play("Card", signal="failed payments", owner="billing", due_days=2),
    )
    made = make_queue(people({"A": (90, 5.0, "ann")}), reasons, DAY, rules(plays=plays)).iloc[0]

    assert ("Card", "billing", "2026-11-17", "Failed payments: 2") == (
        made["play"],
        made["play_owner"],
        made["due_on"],
        made["sentence"],
    )
    bare = make_queue(people({"A": (90, 5.0, "ann")}), reasons, DAY, rules()).iloc[0]
    assert (None, "ann", "2026-11-22", "Weeks with us: 3") == (
        bare["play"],
        bare["play_owner"],
        bare["due_on"],
        bare["sentence"],
    )


def test_where_the_response_is_estimated_it_orders_and_says_whom_to_leave_alone():
    # A: 0.30 x 1,000 = 300 saved; B: 0.10 x 2,000 = 200; C: contact makes it worse; D: nothing
    frame = FIVE.assign(uplift=[0.3, 0.1, -0.2, 0.0, 0.2], clv=[1000.0, 2000.0, 9e4, 9e4, 10.0])
    made = make_queue(frame, NO_REASONS, DAY, rules())

    assert {
        **{"A": "contact", "B": "contact", "C": "leave", "D": "leave"},
        "E": "next",
    } == status(made)
    assert [300.0, 200.0] == list(made["worth"][:2])
    assert "Contact is expected to do no good" == why(made)["C"]


def test_without_any_value_risk_alone_orders():
    made = make_queue(FIVE.assign(value_at_risk=np.nan), NO_REASONS, DAY, rules())
    assert ["A", "B"] == list(made.loc[made["status"] == "contact", "customer_id"])


def test_who_is_not_eligible_is_never_listed_and_an_empty_week_gives_an_empty_list():
    assert [] == list(make_queue(FIVE.assign(eligible=False), NO_REASONS, DAY, rules())["why"])
    assert [] == list(make_queue(FIVE.iloc[:0], NO_REASONS, DAY, rules())["why"])


# ---- as it is printed ---------------------------------------------------------------------------


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """The configuration of a company with one scored week, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    store = tmp_path / "store"
    write_files(store, written_week(hostile=False))
    return configured(store, f"sqlite:///{store / 'actions.db'}")


def test_an_owners_part_of_the_list_is_told_apart_from_the_whole(scored, capsys):
    whole = queue(scored)
    mine = queue(scored, owner="Bo Li")
    counts = [(part.listed["status"] == "contact").sum() for part in (mine, whole)]

    assert 0 < counts[0] < counts[1] == RULES.capacity_per_week
    assert main(["queue", str(scored), "--owner", "Bo Li"]) == 0
    printed = capsys.readouterr().out
    assert f"for Bo Li {counts[0]} to contact" in printed
    assert f"the whole list, all owners together: {counts[1]} of 8 places taken" in printed
    assert main(["queue", str(scored)]) == 0
    assert f"{AS_OF}: {counts[1]} of 8 places taken, ordered by value" in capsys.readouterr().out


def test_an_owner_whom_no_customer_has_is_refused_with_the_nearest_name(scored, capsys):
    assert main(["queue", str(scored), "--owner", "bo lee"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--owner bo lee: no customer and no play has that owner. Did you mean Bo Li?" in said
    assert "Ana Gómez, Bo Li, Dita Novák" in said
