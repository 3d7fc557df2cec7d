"""What people say of reasons reaches whoever builds the model: counted, with intervals, by name."""

from __future__ import annotations

from datetime import date

import pytest
from action_weeks import bring, day
from review_company import configured

from retain.actions import open_store
from retain.config import load_config
from retain.jobs.acting import verdicts_on_reasons
from retain.jobs.monitoring import _of_verdicts
from retain.report.card_learnt import drivers_chapter
from retain.report.document import Document, render_document

LEARNT = {"signals": [], "themes": [], "top_three_overlap": None}


@pytest.fixture
def config(tmp_path):
    return load_config(configured(tmp_path, f"sqlite:///{tmp_path / 'actions.db'}"))


def say(config, week, signal, verdicts, person="ann"):
    with open_store(config.database_url()) as store, store.writing(person) as write:
        for n, verdict in enumerate(verdicts):
            key = {"customer_id": f"C{n}", "as_of": str(day(week)), "target": "churn"}
            write.save(
                "verdicts",
                key | {"signal": signal, "person": person},
                {"verdict": verdict, "theme": "usage", "model_version": "m1"},
                version=0,
            )


def page_of(told):
    chapter = drivers_chapter({"drivers": LEARNT, "drift": [], "verdicts": told})
    return render_document(
        Document("acme", "Model card", "", "", "", [], [chapter], [], (), "", None)
    )


def test_a_signal_that_people_keep_rejecting_is_named_with_its_counts_and_interval(config):
    """Seen to fail when the card took every verdict for agreement."""
    with open_store(config.database_url()) as store:
        bring(store, 0)
    say(config, 0, "amount of use", ["wrong"] * 9 + ["right"])
    say(config, 0, "open cases", ["right"] * 4 + ["wrong"])
    say(config, 3, "survey answers", ["wrong"] * 9)  # of a week after the training
    told = verdicts_on_reasons(config, day(1))

    assert (15, 10, 1, None) == tuple(
        told[name] for name in ("given", "customers", "people", "not_known_because")
    )
    flagged = {one["signal"]: one["is_rejected"] for one in told["signals"]}
    assert {"amount of use": True, "open cases": False} == flagged
    page = page_of(told)
    # Wilson, 90 %, of 1 in 10: 2.3 % to 34.8 %
    assert "Kept being rejected" in page
    assert "amount of use (right or known 1 of 10, 2.3% – 34.8%)" in page
    assert "open cases (right" not in page
    (advice,) = _of_verdicts(told)
    assert "watch" == advice.severity
    assert "people keep rejecting amount of use (right or known 1 of 10, 2% to 35%)" in (
        advice.message
    )


def test_where_nobody_has_judged_a_reason_it_says_so_and_makes_no_store(config, tmp_path):
    told = verdicts_on_reasons(config, date(2026, 11, 15))

    assert (0, None) == (told["given"], told["not_known_because"])
    assert not (tmp_path / "actions.db").exists()
    assert "nobody has judged a reason" in page_of(told)
    assert [] == _of_verdicts(told)


def test_a_store_that_cannot_be_reached_is_said_and_stops_no_training(tmp_path):
    address = "postgresql://ann@127.0.0.1:1/nowhere"
    told = verdicts_on_reasons(load_config(configured(tmp_path, address)), date(2026, 11, 15))

    assert 0 == told["given"]
    assert "Verdicts on reasons are not known: store: postgresql" in page_of(told)
    assert "watch" == _of_verdicts(told)[0].severity
