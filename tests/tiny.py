"""A tiny company written by hand, and the road from its frames to folded weeks and features.

Weeks end on Sunday. The company is looked at on the evening of `AS_OF`; its tables go on for eight
weeks after that, as the tables of a company that trains on its past do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain.jobs.panel import matrix, with_lists
from retain.tables import Mapping, Tables, read_tables
from retain.weeks import Calendar, FoldedWeeks, fold_tables

AS_OF = dt.date(2024, 6, 30)
UNTIL = dt.date(2024, 8, 25)
TODAY = dt.date(2025, 1, 1)
SUNDAY = Calendar("sunday")

Frames = dict[str, pd.DataFrame]

# two themes with three trigrams each: what training would have learnt from more comments
THEMES = {
    "names": ["too slow", "love it"],
    "grams": ["slo", "low", "ow ", "lov", "ove", "ve "],
    "weights": [1.0] * 6,
    "centres": [[0.6, 0.6, 0.6, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.6, 0.6, 0.6]],
}
LISTS = {"top_features": ("export", "search"), "comment_themes": THEMES}

# how a company that brings every column maps its tables; scores may be far off, as poison is
WIDE = {"nps": (-1e5, 1e5), "csat": (-1e5, 1e5), "ces": (-1e5, 1e5)}
EXTRAS: dict[str, dict[str, Any]] = {
    "customers": {
        "attributes": ("country", "tier", "size"),
        "constant": ("country", "size"),
    },
    "usage": {"measures": ("clicks",)},
    "interactions": {"measures": ("messages",)},
    "payments": {"measures": ("items",)},
    "surveys": {"scales": WIDE},
}


def table(columns: str, text: str = "", *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Lay out rows as text, a dash where there is nothing and _ for a blank, then further rows.

    What ends in _at or _from, or is called at, is an instant; yes and no are flags.
    """
    words = {"-": None, "yes": True, "no": False}
    named = columns.split()
    cells = [line.split() for line in text.split("\n") if line.strip()]
    told = [tuple(words.get(cell, cell) for cell in line) for line in cells]
    frame = pd.DataFrame([*told, *rows], columns=named, dtype=object)
    for name in named:
        given = frame[name].dropna()
        if name.endswith(("_at", "_from")) or name == "at":
            frame[name] = pd.to_datetime(frame[name], format="ISO8601").astype("datetime64[us]")
        elif name.endswith("_id") or given.map(lambda one: isinstance(one, bool)).any():
            continue
        elif pd.to_numeric(given, errors="coerce").notna().all():
            frame[name] = frame[name].astype("float64")
        else:
            frame[name] = given.str.replace("_", " ").reindex(frame.index)
    return frame


def uses(
    customer: str, first: str, every: int, times: int, features: str, users: str
) -> list[tuple[Any, ...]]:
    """Use the product every few days: features and users in turn, more and more of it."""
    named, people = features.split(), users.split()
    day = dt.datetime.fromisoformat(first)
    return [
        (
            f"{customer}-{first}-{n}",
            customer,
            day + dt.timedelta(days=every * n, hours=n % 5),
            named[n % len(named)],
            1.0 + n % 3,
            60.0 * (1 + n % 7),
            people[n % len(people)],
            None,
            float(n % 4),
        )
        for n in range(times)
    ]


def tiny() -> Frames:
    """Six customers and every kind of row; the anchor opens every table."""
    customers = table(
        "customer_id signed_up_at segment plan owner seats country size tier has_left",
        """
        anchor 2023-01-02 gold pro kim 9 IT 30 a no
        ada 2023-03-08 gold pro kim 12 IT 12 b no
        bob 2023-09-04 iron basic lee 3 FR 4 a yes
        cyd 2023-02-20 iron basic lee 2 FR - c no
        dan 2024-06-11 tin basic kim 1 - 1 c no
        eve - tin pro lee 5 DE 7 b yes
        """,
    )
    # one customer-week known in three portions, and rows that are known after AS_OF only
    usage = table(
        "event_id customer_id occurred_at feature quantity duration_s user_id recorded_at clicks",
        """
        l1 ada 2024-05-08T09 import 2 50 u8 2024-05-08 1
        l2 ada 2024-05-09T09 import 2 50 u8 2024-05-15 1
        l3 ada 2024-05-09T10 audit 2 50 u9 2024-05-20 1
        l4 bob 2024-06-20T09 audit 2 50 u9 2024-07-03 1
        l5 eve 2023-10-02T09 audit 2 50 u9 2024-07-20 1
        l6 dan 2024-06-30T23:59:59 audit 2 50 u9 2024-06-30 1
        l7 dan 2024-07-01 audit 2 50 u9 2024-07-01 1
        """,
        *uses("anchor", "2023-01-02T08:00", 9, 66, "search export report", "u1 u2"),
        *uses("ada", "2023-03-09T09:00", 5, 100, "search export search admin", "u1 u2 u3 u4 u5"),
        *uses("ada", "2024-04-02T10:00", 2, 70, "export", "u6 u7"),
        *uses("bob", "2023-09-05T11:00", 3, 85, "search report", "u1 u2"),
        *uses("bob", "2024-07-10T11:00", 11, 3, "report", "u3"),
        *uses("cyd", "2023-02-21T12:00", 6, 30, "export", "u1"),
        *uses("cyd", "2024-02-12T12:00", 8, 24, "export search", "u1 u2"),
        *uses("dan", "2024-06-12T07:00", 1, 50, "search admin report", "u1 u2 u3"),
        *uses("eve", "2023-11-07T13:00", 10, 28, "search", "u1"),
    )
    interactions = table(
        "interaction_id customer_id opened_at first_response_at resolved_at closed_at "
        "channel topic case_id follows_id reopen_count transfer_count handle_minutes "
        "sla_met recorded_at messages",
        """
        x0 anchor 2023-01-03 - 2023-01-03 - mail login - - 0 0 5 yes - 1
        x1 anchor 2023-05-09 - 2023-05-09 - mail login - - 0 0 5 yes - 1
        x2 anchor 2023-09-12 - 2023-09-12 - mail login - - 0 0 5 yes - 1
        x3 anchor 2024-03-05 - 2024-03-05 - mail login - - 0 0 5 yes - 1
        a1 ada 2023-08-01T10 2023-08-01T14 2023-08-03T10 - mail billing - - 0 1 20 yes - 3
        a2 ada 2024-05-06T10 2024-05-06T11 2024-05-07T10 - mail billing - - 0 0 10 yes - 2
        a3 ada 2024-05-13T10 2024-05-13T16 2024-05-20T10 - phone billing - - 1 3 30 no - 5
        a4 ada 2024-06-18T10 - - - chat export c9 - - - - - - 1
        a5 ada 2024-06-25T10 2024-06-26T10 2024-07-09T10 - phone export c9 - 2 4 90 no - 9
        b1 bob 2024-01-10T10 2024-01-11T10 2024-01-12T10 - phone login - - 0 0 10 yes - 2
        b2 bob 2024-06-05T10 2024-06-06T10 - 2024-06-07T10 mail login - - 0 2 25 no - 2
        b3 bob 2024-06-24T10 2024-07-02T10 2024-07-03T10 - mail login - b2 0 1 45 no - 4
        b4 bob 2024-06-26T10 2024-06-27T10 2024-06-28T10 - chat price - - 0 0 15 yes 2024-07-04 4
        c1 cyd 2024-04-15T10 2024-04-15T12 2024-04-16T10 - mail login - - 0 0 10 yes 2024-04-24 1
        c2 cyd 2024-04-19T10 2024-04-19T12 2024-04-20T10 - chat login - - 0 0 10 no - 1
        c3 cyd 2023-06-19T10 2023-06-20T10 2023-06-21T10 - chat login - - 0 0 30 yes - 1
        d1 dan 2024-06-19T10 2024-06-19T10:30 2024-06-29T10 - phone setup - - 0 1 12 yes - 6
        e1 eve 2024-02-01T10 2024-02-02T10 2024-02-03T10 - mail price - - 0 0 8 yes - 1
        e2 eve 2024-07-17T10 2024-07-17T11 - - mail price - - 0 0 8 yes - 1
        """,
    )
    surveys = table(
        "customer_id kind score sent_at answered_at comment recorded_at",
        """
        anchor nps 9 2023-01-02 2023-01-03 love_it -
        anchor csat 4 2023-01-04 2023-01-05 - -
        anchor ces 6 2023-01-04 2023-01-05 - -
        anchor nps 8 2024-05-01 2024-05-02 slow_but_fine -
        ada nps 6 2023-08-01 2023-08-02 so_slow -
        ada nps 9 2024-05-20 2024-05-22 love_the_new_search -
        ada nps 10 2024-05-21 2024-05-22 we_love_it -
        ada csat 5 2024-06-20 2024-06-24 - -
        ada csat 3 2024-01-20 2024-01-24 slow -
        ada ces - 2024-06-20 - - -
        bob nps 2 2024-06-03 2024-07-02 far_too_slow -
        bob nps 7 2024-03-03 2024-03-05 - -
        bob csat 1 2024-06-10 2024-06-11 slow_slow_slow 2024-07-08
        bob ces 2 2024-05-10 2024-05-11 slow_answers 2024-05-21
        bob ces 4 2023-12-10 2023-12-11 - -
        cyd nps - 2024-05-28 - - -
        cyd csat 2 2023-10-10 2023-10-12 - -
        cyd csat 5 2024-06-12 2024-06-14 love -
        dan ces 3 2024-06-28 2024-06-30T23:59:59 slow_setup -
        dan ces 6 2024-06-28 2024-07-01 love_setup -
        eve nps 5 2024-01-08 2024-01-09 - -
        """,
    )
    # ada: a trial, the paid contract, a price rise, an upgrade, then less of it; bob gives notice
    # after AS_OF, eve before; cyd is gone and back, then pays less
    subscriptions = table(
        "subscription_id customer_id started_at ended_at mrr plan billing_period "
        "renews_at is_trial cancelled_at end_reason recorded_at",
        """
        s1 anchor 2023-01-02 - 50 pro monthly 2025-01-02 no - - -
        s2 ada 2023-03-08 2023-04-08 0 pro monthly - yes - - -
        s3 ada 2023-04-08 2023-10-08 100 basic annual - no - replaced -
        s4 ada 2023-10-08 2024-02-08 120 basic annual - no - replaced -
        s5 ada 2024-02-08 2024-07-14 200 pro quarterly - no - replaced -
        s6 ada 2024-07-14 - 150 pro quarterly 2025-07-14 no - - -
        s7 bob 2023-09-04 2024-08-04 40 basic monthly - no 2024-07-05 voluntary -
        s8 cyd 2023-02-20 2023-09-20 80 pro semiannual - no 2023-09-01 voluntary -
        s9 cyd 2024-02-11 2024-05-11 80 pro semiannual - no - replaced -
        s10 cyd 2024-05-11 - 60 pro semiannual 2024-11-11 no - - 2024-05-24
        s11 dan 2024-06-11 - 0 basic monthly - yes - - -
        s12 dan 2024-06-25 - 30 basic monthly 2024-12-25 no - - -
        s13 eve 2023-11-07 2024-07-28 70 pro monthly - no 2024-06-27 involuntary -
        """,
    )
    payments = table(
        "payment_id customer_id paid_at amount status cost recorded_at items",
        """
        r1 ada 2024-05-02 -35 refunded - - 1
        r2 ada 2024-05-15 80 paid 10 2024-05-29 1
        r3 bob 2023-09-10 40 paid 10 - 1
        r4 bob 2024-02-10 40 refunded 10 - 1
        r5 bob 2024-04-10 40 paid 10 - 1
        r6 bob 2024-06-10 40 failed 0 - 1
        r7 bob 2024-06-18 40 failed 0 2024-07-02 1
        r8 bob 2024-06-19 60 paid 10 2024-07-03 1
        r9 bob 2024-07-03 -40 refunded - - 1
        r10 cyd 2023-03-01 80 paid 10 - 1
        r11 cyd 2023-03-01 20 paid 10 2023-03-14 1
        r12 cyd 2023-06-01 90 paid 10 - 1
        r13 cyd 2024-03-01 80 failed 0 - 1
        r14 cyd 2024-06-01 -15 paid - - 1
        r15 dan 2024-06-30T23:59:59 30 paid 3 - 1
        r16 dan 2024-07-01 30 paid 3 - 1
        r17 eve 2023-12-01 70 paid 7 - 1
        r18 eve 2024-03-01 70 paid 7 - 1
        r19 eve 2024-01-12 70 paid 7 2024-04-03 1
        """,
        *(
            (f"p{n}", "anchor", day, 50.0, "paid", 20.0, None, 1)
            for n, day in enumerate(pd.date_range("2023-01-05", "2024-08-05", freq="45D"))
        ),
        *(
            (f"q{n}", "ada", day, 100.0 + 7 * n, "paid", 30.0, None, 2)
            for n, day in enumerate(pd.date_range("2023-04-10", "2024-08-10", freq="23D"))
        ),
    )
    departures = table(
        "customer_id left_at is_voluntary reason returned_at recorded_at",
        """
        anchor 2023-01-03 yes moved 2023-01-20 -
        cyd 2023-09-20 yes price 2024-02-11 -
        bob 2024-08-04 yes support - -
        eve 2024-06-28 no failed_payment - 2024-07-09
        """,
    )
    referrals = table(
        "referrer_id referred_at referred_id recorded_at",
        """
        anchor 2023-01-09 ada -
        anchor 2024-06-04 dan -
        ada 2023-09-01 bob -
        ada 2024-06-20 eve 2024-07-03
        cyd 2024-02-20 ada 2024-03-12
        bob 2024-07-20 cyd -
        """,
    )
    treatments = table(
        "customer_id at action owner is_holdout outcome",
        """
        bob 2024-06-12 call lee no no_answer
        ada 2024-07-12 mail kim no -
        """,
    )
    return {
        "customers": customers,
        "departures": departures,
        "subscriptions": subscriptions,
        "payments": payments,
        "usage": usage,
        "interactions": interactions,
        "surveys": surveys,
        "referrals": referrals,
        "treatments": treatments,
    }


def copies() -> pd.DataFrame:
    """What earlier weekly runs kept of the attributes; the last of them after AS_OF."""
    return table(
        "customer_id recorded_at tier seats",
        """
        anchor 2023-12-31 a 8
        ada 2023-12-31 c 4
        bob 2023-12-31 a 3
        cyd 2023-12-31 c 2
        ada 2024-05-05 b 9
        eve 2024-05-05 b 5
        dan 2024-06-30 c 1
        ada 2024-07-07 a 12
        bob 2024-07-07 z 1
        """,
    )


def read(frames: AnyMapping[str, Any], **given: Any) -> Tables:
    """Read frames under our own column names; a `Mapping` is taken as it is."""
    mappings = {
        name: frame
        if isinstance(frame, Mapping)
        else Mapping(source=frame, **_brought(frame, EXTRAS.get(name, {})))
        for name, frame in frames.items()
    }
    settings = {"timezone": "Europe/Rome", "currency": "EUR", "data_until": UNTIL, "today": TODAY}
    return read_tables(mappings, **{**settings, **given})


def _brought(frame: pd.DataFrame, extras: dict[str, Any]) -> dict[str, Any]:
    """Leave out attributes and measures that a frame does not hold."""
    return {
        key: tuple(name for name in value if name in frame.columns)
        if isinstance(value, tuple)
        else value
        for key, value in extras.items()
    }


def fold(
    tables: Tables,
    attributes: pd.DataFrame | None = None,
    *,
    lists: dict[str, Any] | None = None,
    calendar: Calendar = SUNDAY,
    store: Path | None = None,
    last_week: int | None = None,
) -> FoldedWeeks:
    """Fold tables as the jobs do, with lists fixed beforehand."""
    lists = LISTS if lists is None else lists
    folded = fold_tables(
        tables,
        calendar,
        store=store,
        top_features=tuple(lists.get("top_features", ())),
        attribute_copies=attributes,
        last_week=last_week,
    )
    return with_lists(folded, lists)


def features(
    folded: FoldedWeeks,
    *as_ofs: dt.date,
    own: tuple[Any, ...] = (),
    known_by: tuple[dt.date, ...] | None = None,
    only: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """Build the features of all customers as training and scoring do: by as_of day and customer."""
    calendar = folded.calendar
    weeks = [calendar.week_of(day) for day in as_ofs]
    assert [calendar.last_day(week) for week in weeks] == list(as_ofs), "as_of must end a week"
    built = matrix(
        folded,
        weeks,
        np.ones((len(weeks), len(folded.customers)), dtype=bool),
        own,
        known_by=None if known_by is None else [calendar.week_of(day) for day in known_by],
        only=only,
    )
    days = np.repeat(np.array(as_ofs, dtype=object), len(folded.customers))
    names = [str(folded.customers[at]) for at in built.customer]
    index = pd.MultiIndex.from_arrays([days, names], names=["as_of", "customer_id"])
    return built.X.set_axis(index)


def value(frame: pd.DataFrame, customer: str, column: str, as_of: dt.date | None = None) -> Any:
    """Return one cell: the only as_of, or the one asked for."""
    rows = frame.xs(customer, level="customer_id")
    return rows[column].iloc[0] if as_of is None else rows[column].loc[as_of]
