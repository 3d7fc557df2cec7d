"""The independent witness: when each fact was known, in words of its own, and a cut by them.

Nothing of the code under test is used here, so that a leak in it cannot hide itself: raw rows are
dropped and later fields emptied with pandas, by the literal maps below.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
from tiny import AS_OF, Frames

# when a row is known: its first date, and when it was recorded
ROW_DATES = {
    "departures": ("left_at",),
    "subscriptions": ("started_at",),
    "payments": ("paid_at",),
    "usage": ("occurred_at",),
    "interactions": ("opened_at",),
    "surveys": ("sent_at", "answered_at"),
    "referrals": ("referred_at",),
    "treatments": ("at",),
}
# what is known later than its row: a date, and the fields that are known from it
LATER_FIELDS = {
    "departures": [(("returned_at",), ())],
    "subscriptions": [(("cancelled_at",), ()), (("ended_at",), ("end_reason",))],
    "interactions": [
        (("first_response_at",), ()),
        (
            ("resolved_at", "closed_at"),
            ("reopen_count", "transfer_count", "handle_minutes", "sla_met", "messages"),
        ),
    ],
    "surveys": [(("answered_at",), ("score", "comment"))],
}


def cut(frames: Frames, as_of: dt.date = AS_OF) -> Frames:
    """Keep what was known on the evening of `as_of`, by the maps above and nothing else."""
    end = pd.Timestamp(as_of) + pd.Timedelta(days=1)
    out = {"customers": frames["customers"]} if "customers" in frames else {}
    for name, dates in ROW_DATES.items():
        if name not in frames:
            continue
        known = frames[name]
        known = known[known[list(dates)].min(axis=1) < end]
        if "recorded_at" in known:
            known = known[~(known["recorded_at"] >= end)]
        known = known.copy()
        for moments, fields in LATER_FIELDS.get(name, ()):
            moments = tuple(moment for moment in moments if moment in known)
            over = (known[list(moments)] < end).any(axis=1)
            for moment in moments:
                known[moment] = known[moment].where(known[moment] < end)
            for one in fields:
                if one in known:
                    known[one] = known[one].astype(object).where(over)
        out[name] = known.infer_objects()
    return out


def cut_copies(frame: pd.DataFrame, as_of: dt.date = AS_OF) -> pd.DataFrame:
    """Keep the copies of attributes that had been made by the evening of `as_of`."""
    return frame[frame["recorded_at"] < pd.Timestamp(as_of) + pd.Timedelta(days=1)]


def differences(expected: pd.DataFrame, got: pd.DataFrame) -> dict[str, str]:
    """Name the columns of `expected` whose cells differ in `got`, with the first such cell."""
    found = {column: "is missing" for column in expected.columns if column not in got}
    found |= {column: "is new" for column in got.columns if column not in expected}
    shared = [column for column in expected.columns if column in got]
    here, there = expected[shared], got[shared].reindex(expected.index)
    kinds = zip(here.dtypes, there.dtypes, strict=True)
    numeric = np.array([all(map(pd.api.types.is_numeric_dtype, pair)) for pair in kinds])
    same = np.ones(here.shape, dtype=bool)
    numbers = [frame.loc[:, numeric].to_numpy(dtype=np.float64) for frame in (here, there)]
    same[:, numeric] = np.isclose(*numbers, rtol=1e-9, atol=1e-9, equal_nan=True)
    texts = [frame.loc[:, ~numeric].astype(object) for frame in (here, there)]
    same[:, ~numeric] = ((texts[0] == texts[1]) | (texts[0].isna() & texts[1].isna())).to_numpy()
    for place in np.flatnonzero(~same.all(axis=0)):
        row = int(np.flatnonzero(~same[:, place])[0])
        cells = f"{here.iloc[row, place]!r} became {there.iloc[row, place]!r}"
        found[shared[place]] = f"{expected.index[row]}: {cells}"
    return found
