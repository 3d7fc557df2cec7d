"""The written record of contracts: customers, subscriptions, departures and payments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retain.demo.life import Life, Record
from retain.demo.population import (
    BILLING,
    INDUSTRIES,
    LANGUAGES,
    OWNERS,
    PLANS,
    REGIONS,
    SEGMENTS,
    Bools,
    Ints,
    People,
)
from retain.demo.truth import REFUND_SHARE
from retain.demo.weekly import NOTICE, PAID, TRIAL

__all__ = ["Told", "customers", "departures", "moments", "payments", "subscriptions"]

REFUNDED_PART = 0.3
BILLING_NAMES = {months: name for name, months in BILLING.items()}


@dataclass(frozen=True)
class Told:
    """What every table is written from."""

    life: Life
    people: People
    record: Record
    ids: npt.NDArray[Any]  # customer ids by position
    visits: Ints | None = None  # (weeks, customers), where there are no contracts

    @property
    def last_day(self) -> int:
        """Day number of the export."""
        return self.life.day_of(self.life.weeks) - 1

    def events(self, *kinds: str) -> pd.DataFrame:
        """Return the happenings of the given kinds, oldest first."""
        events = self.record.events
        return events[events["kind"].isin(kinds)].sort_values(["day", "who"], kind="stable")

    def seen(self) -> Any:
        """Tell in which weeks a customer may be heard of: always, or only when visiting."""
        return True if self.visits is None else self.visits > 0

    def service(self) -> tuple[Ints, Ints]:
        """Return the first served and first unserved day offset of each week; shape (weeks, n)."""
        serves = np.isin(self.record.status, (TRIAL, PAID, NOTICE))
        first = np.where(serves, 0, 7).astype(np.int64)
        last = np.where(serves, 7, 0).astype(np.int64)
        for kinds, begins in ((("joined", "resumed"), True), (("ended", "not_converted"), False)):
            events = self.events(*kinds)
            events = events[events["week"] >= 0]
            week, who = events["week"].to_numpy(), events["who"].to_numpy()
            offset = events["day"].to_numpy() - self.life.day_of(0) - 7 * week
            if begins:
                first[week, who] = offset
            else:
                first[week, who] = 0
                last[week, who] = offset
        return first, last


def moments(day: Ints, rng: np.random.Generator) -> npt.NDArray[np.datetime64]:
    """Return instants in the working hours of the given days."""
    seconds = (3600 * rng.triangular(6.5, 11.0, 19.5, len(day))).astype(np.int64)
    return (day * 86400 + seconds).astype("datetime64[s]")


def midnight(day: Any) -> pd.Series:
    """Return the first instant of each day; nan or negative days become null."""
    day = pd.Series(np.asarray(day, dtype=float))
    return pd.Series(pd.to_datetime(day.where(day.notna()), unit="D")).astype("datetime64[s]")


def customers(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per customer, with attributes as they stand on the export day.

    Without contracts there is no plan, and nobody knows who has left.
    """
    people, final = told.people, told.record.final
    joined = told.events("joined").set_index("who")["day"].reindex(range(len(people)))
    closed = ~np.isin(final.status, (TRIAL, PAID, NOTICE)) & (told.visits is None)
    status = np.where(closed, "closed", np.where(final.status == TRIAL, "trial", "active"))
    owner = np.asarray(OWNERS, dtype=object)[people.owner]
    owner[closed & (rng.random(len(people)) < 0.8)] = None  # accounts are taken off the owner
    table = pd.DataFrame(
        {
            "customer_id": told.ids,
            "signed_up_at": midnight(joined),
            "segment": np.asarray(SEGMENTS)[people.segment],
            "plan": np.asarray(PLANS)[final.plan],
            "region": np.asarray(REGIONS)[people.region],
            "industry": np.asarray(INDUSTRIES)[people.industry],
            "language": np.asarray(LANGUAGES)[people.language],
            "account_status": status,
            "seats": people.seats,
            "acquisition_cost": people.acquisition_cost,
            "owner": pd.array(owner, dtype="str"),
        }
    )
    return table if told.visits is None else table.drop(columns=["plan", "account_status"])


def subscriptions(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per contract span; `renews_at` as a system would overwrite it on the export day."""
    people, final = told.people, told.record.final
    events = told.events("joined", "converted", "resumed", "changed", "cancelled", "ended")
    events = pd.concat([events, told.events("not_converted")])
    opens_kinds = ["joined", "converted", "resumed", "changed"]
    rank = {"cancelled": 0, "ended": 1, "not_converted": 1}
    events["rank"] = events["kind"].astype("str").map(rank).fillna(2)
    events = events.sort_values(["who", "day", "rank"], kind="stable").reset_index(drop=True)
    events["span"] = events["kind"].isin(opens_kinds).cumsum()
    spans = events[events["kind"].isin(opens_kinds)].set_index("span")
    ended = events[events["kind"].isin(["ended", "not_converted"])].set_index("span")
    cancelled = events[events["kind"] == "cancelled"].set_index("span")["day"].reindex(spans.index)
    end_day = ended["day"].reindex(spans.index).astype(float)
    forced = ended["involuntary"].reindex(spans.index) == True  # noqa: E712  (null is not forced)
    next_day = spans["day"].shift(-1).where(spans["who"].shift(-1) == spans["who"])
    replaced = end_day.isna() & next_day.notna()
    reason = np.where(end_day.notna(), np.where(forced, "involuntary", "voluntary"), "")
    reason = np.where(replaced, "replaced", reason)
    who = spans["who"].to_numpy()
    is_trial = (spans["kind"] == "joined").to_numpy() & (people.trial_weeks[who] > 0)
    running = end_day.isna() & ~replaced
    said_no = (final.status == NOTICE)[who]
    renews = np.where(running & ~is_trial & ~said_no, final.renews[who], np.nan)
    renews = np.where(replaced & ~is_trial, next_day, renews)
    cancel_at = cancelled.notna().to_numpy()
    cancelled_at = np.full(len(spans), np.datetime64("NaT"), dtype="datetime64[s]")
    cancelled_at[cancel_at] = moments(cancelled[cancel_at].to_numpy().astype(np.int64), rng)
    billing = np.asarray([BILLING_NAMES[m] for m in people.months])
    return pd.DataFrame(
        {
            "subscription_id": [f"S{number:06d}" for number in range(1, len(spans) + 1)],
            "customer_id": told.ids[who],
            "plan": np.asarray(PLANS)[spans["plan"].to_numpy()],
            "billing_period": billing[who],
            "mrr": np.where(is_trial, 0.0, spans["mrr"].to_numpy()),
            "is_trial": is_trial,
            "started_at": midnight(spans["day"]),
            "ended_at": midnight(end_day.where(~replaced, next_day)),
            "renews_at": midnight(renews),
            "cancelled_at": cancelled_at,
            "end_reason": pd.Series(reason, dtype="str").where(reason != ""),
        }
    )


def departures(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per customer who left for good or came back only after the grace weeks; the last."""
    ends = told.events("ended")
    back = told.events("resumed")[["who", "day"]].rename(columns={"day": "back"})
    ends = ends.merge(back, on="who", how="left")
    ends["back"] = ends["back"].where(ends["back"] >= ends["day"])
    ends = ends.groupby(["who", "day"], as_index=False).agg(
        involuntary=("involuntary", "first"), back=("back", "min"), week=("week", "first")
    )
    ends = ends[~(ends["back"] - ends["day"] <= 28)]
    ends = ends.drop_duplicates("who", keep="last").reset_index(drop=True)
    who = ends["who"].to_numpy()
    week = np.maximum(ends["week"].to_numpy(), 0)
    terms = told.record.terms[week, :4, who] + rng.gumbel(0, 0.5, (len(ends), 4))
    said = np.asarray(["not_used", "support", "product", "price"])[terms.argmax(axis=1)]
    said = np.where(rng.random(len(ends)) < 0.25, "other", said)
    said = np.where(ends["involuntary"], "payment_failed", said)
    left = midnight(ends["day"])
    recorded = left + pd.to_timedelta(rng.integers(1, 6, len(ends)), unit="D")
    table = pd.DataFrame(
        {
            "customer_id": told.ids[who],
            "is_voluntary": ~ends["involuntary"].to_numpy(),
            "reason": said,
            "left_at": left,
            "returned_at": midnight(ends["back"]),
            "recorded_at": recorded,
        }
    )
    known = recorded < pd.Timestamp(told.last_day + 1, unit="D")
    return table[known].reset_index(drop=True)


def payments(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per invoice, per further try of an unpaid one, and per refund (negative)."""
    rows = told.events("invoiced", "retried")
    rows = rows[rows["day"] >= told.life.first_day]
    paid = rows["collected"].to_numpy() > 0
    table = pd.DataFrame(
        {
            "who": rows["who"].to_numpy(),
            "amount": np.where(paid, rows["collected"], rows["failed"]),
            "status": np.where(paid, "paid", "failed"),
            "paid_at": moments(rows["day"].to_numpy(), rng),
        }
    )
    back: Bools = paid & (rng.random(len(table)) < REFUND_SHARE / REFUNDED_PART)
    refunds = table[back].copy()
    refunds["amount"] = -(refunds["amount"] * REFUNDED_PART).round(2)
    refunds["status"] = "refunded"
    later = pd.to_timedelta(rng.integers(3, 21, len(refunds)), unit="D")
    refunds["paid_at"] = (refunds["paid_at"] + later).astype("datetime64[s]")
    table = pd.concat([table, refunds], ignore_index=True).sort_values("paid_at", kind="stable")
    table = table[table["paid_at"] < pd.Timestamp(told.last_day + 1, unit="D")]
    table = table[table["amount"] != 0]
    table.insert(0, "payment_id", [f"P{number:07d}" for number in range(1, len(table) + 1)])
    table.insert(1, "customer_id", told.ids[table.pop("who").to_numpy()])
    return table.assign(currency="EUR").reset_index(drop=True)
