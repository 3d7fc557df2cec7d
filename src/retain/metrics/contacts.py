"""Contacts as service metrics see them: once each, with what came before and after them.

What a repeat, a switch and a hard contact are is here as in the weekly features.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from retain.errors import TableError
from retain.metrics.period import Period
from retain.metrics.rows import By, Rows

__all__ = [
    "LOOK_BACK_DAYS",
    "REPEAT_DAYS",
    "SOLVED",
    "Same",
    "contacts_sql",
    "keep_contacts",
    "sequence_sql",
    "with_chain_sql",
]

REPEAT_DAYS = 7  # as in the weekly features
LOOK_BACK_DAYS = 15  # longer than any limit for who came before
Same = Literal["issue", "any"]
SAME: tuple[Same, ...] = ("issue", "any")
SOLVED = "least(resolved_at, closed_at)"  # nulls are passed over; as in the weekly features
NEWEST = (
    "recorded_at DESC NULLS LAST, coalesce(closed_at, resolved_at) DESC NULLS LAST, "
    "reopen_count DESC NULLS LAST, transfer_count DESC NULLS LAST, opened_at, customer_id, "
    "channel, topic, first_response_at"
)


def contacts_sql(rows: Rows, period: Period, checked: Period) -> str:
    """Write the contacts opened in a period, each id once.

    Parameters
    ----------
    rows
        With interactions among them.
    period
        Of opening.
    checked
        In which ids are looked for that repeat: the period or more, the same for several questions
        so that it is done once.

    Returns
    -------
    str
        A SELECT of every column of interactions, `id`, and `repeated_because`: null for the row
        that counts, of several with one id the newest state.
    """
    within = "FROM interactions WHERE opened_at IS NULL OR {}"
    ((is_repeated,),) = rows.once(
        "SELECT count(interaction_id) > count(DISTINCT interaction_id) "
        + within.format(checked.holds("opened_at"))
    )
    # ranking every row by its state costs more than all the rest: only where ids do repeat
    place = f"""CASE WHEN interaction_id IS NULL THEN 1
        ELSE row_number() OVER (PARTITION BY interaction_id ORDER BY {NEWEST}) END"""
    return f"""
        SELECT *, interaction_id AS id,
            CASE WHEN opened_at IS NULL THEN 'no date'
                 WHEN {place if is_repeated else "1"} > 1 THEN 'repeated id' END AS repeated_because
        {within.format(period.holds("opened_at"))}"""


def keep_contacts(rows: Rows, period: Period, by: By = None) -> None:
    """Keep `contacts_sql` of a period as table `contacts`, for every metric of service."""
    checked = Period(period.start - timedelta(LOOK_BACK_DAYS), period.end)
    rows.keep("contacts", contacts_sql(rows, period, checked), by)


def sequence_sql(
    rows: Rows, period: Period, *, same: Same, days_before: int = 0, days_after: int = 0
) -> str:
    """Write, for each contact of a period, the one before and the one after it.

    Parameters
    ----------
    rows
        With interactions among them.
    period
        Of opening.
    same
        ``"issue"``: contacts of a customer with the same `case_id`, else `follows_id`, else
        `topic`; ``"any"``: contacts of a customer.
    days_before, days_after
        How far to look beyond the period.

    Returns
    -------
    str
        A SELECT of `interaction_id`, `before_at`, `before_channel`, `after_at`; null where there is
        none.

    Raises
    ------
    TableError
        When nothing tells which contacts share an issue.
    """
    tellers = [
        name for name in ("case_id", "follows_id", "topic") if rows.has("interactions", name)
    ]
    if same not in SAME:
        raise TableError(f"same should be 'issue' or 'any'; found {same!r}")
    if same == "issue" and not tellers:
        raise TableError(
            "interactions: nothing tells which contacts are about the same issue; expected "
            "case_id, follows_id or topic. Map one of them, or ask for same='any'"
        )
    issue = "'any'" if same == "any" else f"coalesce({', '.join(tellers)})"
    wide = Period(period.start - timedelta(days_before), period.end + timedelta(days_after))
    window = "(PARTITION BY customer_id, issue ORDER BY opened_at, interaction_id)"
    found = f"""
        SELECT interaction_id, opened_at, follows_id,
            lag(opened_at) OVER {window} AS before_at,
            lag(channel) OVER {window} AS before_channel,
            lead(opened_at) OVER {window} AS after_at
        FROM (SELECT *, {issue} AS issue FROM ({contacts_sql(rows, wide, wide)})
              WHERE repeated_because IS NULL)
        WHERE issue IS NOT NULL"""
    if not rows.has("interactions", "follows_id"):
        return found
    return f"""
        SELECT f.interaction_id, coalesce(f.before_at, b.opened_at) AS before_at,
            coalesce(f.before_channel, b.channel) AS before_channel,
            least(f.after_at, a.after_at) AS after_at
        FROM ({found}) AS f
        LEFT JOIN (SELECT interaction_id, min(opened_at) AS opened_at, min(channel) AS channel
                   FROM interactions GROUP BY interaction_id) AS b
            ON b.interaction_id = f.follows_id
        LEFT JOIN (SELECT follows_id, min(opened_at) AS after_at FROM interactions
                   WHERE follows_id IS NOT NULL GROUP BY follows_id) AS a
            ON a.follows_id = f.interaction_id"""


def with_chain_sql(rows: Rows) -> str:
    """Write the kept contacts of a period with their place in their case.

    Returns
    -------
    str
        The `contacts` with `is_follow_up` (an earlier contact belongs to the same case) and
        `is_followed` (a later one does).
    """
    chain, joins = ["follows_id IS NOT NULL"], ""
    after = []
    if rows.has("interactions", "case_id"):
        joins += """
        LEFT JOIN (SELECT case_id, min(struct_pack(opened_at, interaction_id)) AS first,
                       max(struct_pack(opened_at, interaction_id)) AS last
                   FROM interactions WHERE case_id IS NOT NULL GROUP BY case_id) AS chain
            USING (case_id)"""
        chain.append("chain.first.interaction_id <> c.interaction_id")
        after.append("chain.last.interaction_id <> c.interaction_id")
    if rows.has("interactions", "follows_id"):
        joins += """
        LEFT JOIN (SELECT DISTINCT follows_id AS interaction_id FROM interactions) AS followed
            ON followed.interaction_id = c.interaction_id"""
        after.append("followed.interaction_id IS NOT NULL")
    return f"""
        SELECT c.*, coalesce({" OR ".join(chain)}, false) AS is_follow_up,
            coalesce({" OR ".join(after) or "false"}, false) AS is_followed
        FROM contacts AS c{joins}"""
