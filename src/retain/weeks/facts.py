"""What each raw row says, and from which day it was known: the SQL before the `GROUP BY`.

Each table is one function to the `Stream`s of its rows: one kind of fact each (a case was opened, a
case was resolved), with the measures it adds to the week in which it happened.
"""

from __future__ import annotations

from collections.abc import Callable

from retain.weeks.streams import (
    Facts,
    Source,
    Stream,
    bit,
    day_number,
    hours_between,
    seconds,
    struct,
)

__all__ = ["FACTS", "LONG_RESOLUTION_HOURS", "REPEAT_DAYS"]

REPEAT_DAYS = 7
SWITCH_DAYS = 14
LONG_RESOLUTION_HOURS = 72
_BEFORE = (("s", "opened_s"), ("way", "way"))
BILLING_MONTHS = {
    "weekly": "12.0 / 52.0",
    "monthly": "1.0",
    "quarterly": "3.0",
    "semiannual": "6.0",
    "annual": "12.0",
    "biennial": "24.0",
    "triennial": "36.0",
}


def _own(source: Source) -> tuple[dict[str, str], dict[str, str]]:
    adds = {name: f'CAST("{name}" AS DOUBLE)' for name in source.measures}
    return adds, dict.fromkeys(source.measures, "sum")


def usage(source: Source) -> Facts:
    """Events, quantities, days, features and users of a week."""
    day = day_number("occurred_at")
    own, own_ops = _own(source)
    quantity = "coalesce(CAST(quantity AS DOUBLE), 1.0)" if source.has("quantity") else "1.0"
    week_day = f"(({day} + 3) % 7)"
    adds = {
        "events": "1.0",
        "quantity": quantity,
        "days": f"CAST(1 AS BIGINT) << CAST({week_day} AS INTEGER)",
        "first_day": f"CAST({day} AS DOUBLE)",
        "last_day": f"CAST({day} AS DOUBLE)",
        **own,
    }
    ops = {
        "events": "sum",
        "quantity": "sum",
        "days": "bits",
        "first_day": "min",
        "last_day": "max",
        **own_ops,
    }
    if source.has("duration_s"):
        adds["hours"] = "CAST(duration_s AS DOUBLE) / 3600.0"
        ops["hours"] = "sum"
    rows = "usage"
    if source.has("feature"):
        rows += ' LEFT JOIN "dict_usage_feature" AS f ON f.value = usage.feature'
        for word in range(source.words.get("feature", 1)):
            adds[f"features_{word}"] = bit("f_no", word)
            ops[f"features_{word}"] = "bits"
        for number, name in enumerate(source.top_features):
            text = name.replace("'", "''")
            adds[f"top_feature_{number}"] = f"CASE WHEN feature = '{text}' THEN 1.0 ELSE 0.0 END"
            ops[f"top_feature_{number}"] = "sum"
    if source.has("user_id"):
        rows += (
            ' LEFT JOIN "dict_usage_user" AS u'
            " ON u.customer_id = usage.customer_id AND u.value = usage.user_id"
        )
        for word in range(source.words.get("users", 1)):
            adds[f"users_{word}"] = bit("u_no", word)
            ops[f"users_{word}"] = "bits"
    stream = Stream(
        rows=f"(SELECT usage.*{', f.no AS f_no' if source.has('feature') else ''}"
        f"{', u.no AS u_no' if source.has('user_id') else ''} FROM {rows})",
        day=day,
        known=source.known(day),
        order=seconds("occurred_at"),
        adds=adds,
    )
    return Facts((stream,), ops)


def interactions(source: Source) -> Facts:
    """Contacts, cases and what they cost the customer: repeats, switches, transfers, waiting."""
    opened = day_number("opened_at")
    channel = "channel" if source.has("channel") else "CAST(NULL AS VARCHAR)"
    case = "case_id" if source.has("case_id") else "CAST(NULL AS VARCHAR)"
    follows = "follows_id" if source.has("follows_id") else "CAST(NULL AS VARCHAR)"
    topic = "topic" if source.has("topic") else "CAST(NULL AS VARCHAR)"
    done = [name for name in ("resolved_at", "closed_at") if source.has(name)]
    finished = f"least({', '.join(done)})" if len(done) == 2 else "".join(done) or "opened_at"
    passes = source.with_earlier(
        "pass_interactions",
        f"""SELECT *, {opened} AS day, {source.known(opened)} AS known_day,
      {seconds("opened_at")} AS opened_s, {finished} AS finished_at,
      coalesce({case}, {follows}, {topic}) AS issue, {case} AS case_key, {follows} AS follows_key,
      {channel} AS way FROM interactions""",
        ("customer_id", "issue"),
        "opened_s",
        struct(opened_s="opened_s", id="interaction_id", way="way"),
    )
    # a follow-up names the contact that it follows, which may be filed under another issue
    passes["pass_contacts"] = f"""SELECT c.*, c_no, CASE WHEN follows_key IS NOT NULL OR
        opened_s - before_s <= {REPEAT_DAYS * 86400} THEN 1.0 ELSE 0.0 END AS is_repeat,
      CASE WHEN opened_s - before_s <= {SWITCH_DAYS * 86400} AND way <> before_way
        THEN 1.0 ELSE 0.0 END AS is_switch,
      CASE WHEN follows_key IS NOT NULL OR (case_key IS NOT NULL AND before_s IS NOT NULL) OR
        (case_key IS NULL AND opened_s - before_s <= {REPEAT_DAYS * 86400})
        THEN 0.0 ELSE 1.0 END AS is_new_case
      FROM ({_with_before(source)}) AS c
      LEFT JOIN ({_channels(source)}) AS d ON d.value = c.way"""
    own, own_ops = _own(source)
    ops = {
        "contacts": "sum",
        "cases": "sum",
        "repeats": "sum",
        "switches": "sum",
        "first_day": "min",
        "last_day": "max",
        **own_ops,
    }
    adds = {
        "contacts": "1.0",
        "cases": "is_new_case",
        "repeats": "is_repeat",
        "switches": "is_switch",
        "first_day": "CAST(day AS DOUBLE)",
        "last_day": "CAST(day AS DOUBLE)",
    }
    if source.has("channel"):
        for word in range(source.words.get("channel", 1)):
            adds[f"channels_{word}"] = bit("c_no", word)
            ops[f"channels_{word}"] = "bits"
    streams = []
    if done:
        adds["open"] = "1.0"
        adds["open_day"] = "CAST(day AS DOUBLE)"
        ops |= {"open": "sum", "open_day": "sum"}
    streams.append(Stream("pass_contacts", "day", "known_day", "opened_s", adds))
    if source.has("first_response_at"):
        answered = day_number("first_response_at")
        waited = hours_between("opened_at", "first_response_at")
        ops |= {"responses": "sum", "response_hours": "sum"}
        streams.append(
            Stream(
                "pass_contacts",
                answered,
                source.known(answered),
                seconds("first_response_at"),
                {
                    "responses": "1.0",
                    # a bare date stands for its whole day, so that it may lie before the opening
                    "response_hours": f"greatest(0.0, {waited})",
                },
                f"first_response_at IS NOT NULL AND {answered} >= {opened}",
            )
        )
    ended = day_number("finished_at")
    hours = f"greatest(0.0, {hours_between('opened_at', 'finished_at')})"
    hard = "is_repeat > 0 OR is_switch > 0"
    counts: dict[str, str] = {}
    if done:
        # how a case went is known when it is over; without a date for that it is never known
        hard += f" OR {hours} > {LONG_RESOLUTION_HOURS}"
        if source.has("transfer_count"):
            counts["transfers"] = "coalesce(CAST(transfer_count AS DOUBLE), 0.0)"
            hard += f" OR {counts['transfers']} >= 2"
        if source.has("reopen_count"):
            counts["reopens"] = "coalesce(CAST(reopen_count AS DOUBLE), 0.0)"
            hard += f" OR {counts['reopens']} >= 1"
        if source.has("handle_minutes"):
            counts["handle_minutes"] = "CAST(handle_minutes AS DOUBLE)"
        if source.has("sla_met"):
            counts["sla_missed"] = "CASE WHEN NOT sla_met THEN 1.0 ELSE 0.0 END"
    closing = {
        "resolved": "1.0",
        "hard": f"CASE WHEN {hard} THEN 1.0 ELSE 0.0 END",
        **counts,
        **own,
    }
    ops |= {"resolved": "sum", "hard": "sum", **dict.fromkeys(counts, "sum")}
    if done:
        closing |= {
            "open": "-1.0",
            "open_day": "-CAST(day AS DOUBLE)",
            "resolution_hours": hours,
        }
        ops["resolution_hours"] = "sum"
    streams.append(
        Stream(
            "pass_contacts",
            ended,
            source.known(ended),
            seconds("finished_at"),
            closing,
            f"finished_at IS NOT NULL AND {ended} >= {opened}",
        )
    )
    return Facts(tuple(streams), ops, passes=passes)


def _with_before(source: Source) -> str:
    """Each contact with the one before it: of its issue, else the one that it follows."""
    mine = {
        f"before_{to}": f"CASE WHEN p.issue IS NOT NULL THEN p.before.{of} END"
        for to, of in _BEFORE
    }
    if not source.has("follows_id"):
        told = ", ".join(f"{sql} AS {name}" for name, sql in mine.items())
        return f"SELECT p.*, {told} FROM pass_interactions AS p"
    told = ", ".join(
        f"coalesce({mine[f'before_{to}']}, f.{of}) AS before_{to}" for to, of in _BEFORE
    )
    return (
        f"SELECT p.*, {told} FROM pass_interactions AS p LEFT JOIN pass_interactions AS f "
        "ON f.interaction_id = p.follows_key AND f.customer_id = p.customer_id "
        "AND f.known_week <= p.known_week AND f.opened_s <= p.opened_s"
    )


def _channels(source: Source) -> str:
    if source.has("channel"):
        return 'SELECT value, no AS c_no FROM "dict_interactions_channel"'
    return "SELECT CAST(NULL AS VARCHAR) AS value, CAST(NULL AS INTEGER) AS c_no"


def surveys(source: Source) -> Facts:
    """Questions sent, answers given, and the last answer of each kind."""
    ops: dict[str, str] = {}
    streams = []
    if source.has("sent_at"):
        sent = day_number("sent_at")
        ops["sent"] = "sum"
        streams.append(
            Stream(
                "surveys",
                sent,
                source.known(sent),
                seconds("sent_at"),
                {"sent": "1.0"},
                "sent_at IS NOT NULL",
            )
        )
    stamp = "answered_at" if source.has("answered_at") else "sent_at"
    answered = day_number(stamp)
    adds = {"answers": "1.0", "first_day": f"CAST({answered} AS DOUBLE)"}
    ops |= {"answers": "sum", "first_day": "min"}
    satisfaction = []
    for kind in source.kinds:
        is_kind = f"kind = '{kind}'"
        low, high = source.scales.get(kind, (0.0, 10.0))
        score = "CAST(score AS DOUBLE)"
        if kind == "ces" and source.ces_high_means == "hard":
            score = f"({low} + {high} - {score})"  # high is easy, everywhere above the fold
        adds[f"{kind}_answers"] = f"CASE WHEN {is_kind} THEN 1.0 ELSE 0.0 END"
        adds[f"{kind}_sum"] = f"CASE WHEN {is_kind} THEN {score} ELSE 0.0 END"
        adds[f"{kind}_last"] = f"CASE WHEN {is_kind} THEN {score} END"
        ops |= {f"{kind}_answers": "sum", f"{kind}_sum": "sum", f"{kind}_last": "last"}
        satisfaction.append(f"WHEN {is_kind} THEN ({score} - {low}) / {high - low}")
    if satisfaction:
        adds["satisfaction"] = f"CASE {' '.join(satisfaction)} ELSE 0.0 END"
        ops["satisfaction"] = "sum"
    if source.has("comment"):
        adds["comments"] = "CASE WHEN length(trim(comment)) > 0 THEN 1.0 ELSE 0.0 END"
        adds["comment_characters"] = "CAST(coalesce(length(trim(comment)), 0) AS DOUBLE)"
        ops |= {"comments": "sum", "comment_characters": "sum"}
    streams.append(
        Stream(
            "surveys",
            answered,
            source.known(answered),
            seconds(stamp),
            adds,
            f"score IS NOT NULL AND {stamp} IS NOT NULL",
        )
    )
    return Facts(tuple(streams), ops)


def subscriptions(source: Source) -> Facts:
    """Paid service, its price and changes; an end is known from its notice, else on the day."""
    start, end = day_number("started_at"), day_number("ended_at")
    trial = "coalesce(is_trial, FALSE)" if source.has("is_trial") else "FALSE"
    plan = "plan" if source.has("plan") else "CAST(NULL AS VARCHAR)"
    # an end after a later span's start was not known when that started: still running then
    passes = source.with_earlier(
        "pass_subscriptions",
        f"""SELECT *, {start} AS day, {source.known(start)} AS known_day, {trial} AS trial,
      {plan} AS plan_text, {end} AS end_day, CAST(mrr AS DOUBLE) AS price FROM subscriptions""",
        ("customer_id", "trial"),
        "day",
        "day",
        "coalesce(end_day, 10000000)",
    )
    # what a span replaces ended on the very day on which it starts
    row = "s.customer_id, s.trial, s.day, s.known_week"
    passes["pass_replaced"] = f"""SELECT {row}, max({struct(price="e.price", plan="e.plan_text")})
      AS old FROM (SELECT DISTINCT customer_id, trial, day, known_week FROM pass_subscriptions) AS s
      JOIN pass_subscriptions AS e ON e.customer_id = s.customer_id AND e.trial = s.trial
      AND e.end_day = s.day AND e.day < s.day AND e.known_week <= s.known_week GROUP BY {row}"""
    passes["pass_spans"] = f"""SELECT s.*, r.old IS NOT NULL AS is_replacing, r.old.price AS
      old_price, r.old.plan AS old_plan{", d.no AS plan_no" if source.has("plan") else ""}
      FROM pass_subscriptions AS s LEFT JOIN pass_replaced AS r ON r.customer_id = s.customer_id
      AND r.trial = s.trial AND r.day = s.day AND r.known_week = s.known_week"""
    paid = "NOT trial"
    same_plan = "plan_text IS NOT DISTINCT FROM old_plan"

    def when(condition: str) -> str:
        return f"CASE WHEN {paid} AND ({condition}) THEN 1.0 ELSE 0.0 END"

    adds = {
        "mrr": f"CASE WHEN {paid} THEN price ELSE 0.0 END",
        "paid": when("TRUE"),
        "trial": "CASE WHEN trial THEN 1.0 ELSE 0.0 END",
        "start_day": f"CASE WHEN {paid} THEN CAST(day AS DOUBLE) END",
        "first_day": "CAST(day AS DOUBLE)",
        "returns": when("before_most < day"),
        "price_rises": when(f"is_replacing AND price > old_price AND {same_plan}"),
        "upgrades": when(
            f"(is_replacing AND price > old_price AND NOT ({same_plan}))"
            " OR (before_most > day AND NOT is_replacing)"
        ),
        "downgrades": when("is_replacing AND price < old_price"),
    }
    ops = dict.fromkeys(
        ("mrr", "paid", "trial", "returns", "price_rises", "upgrades", "downgrades"), "sum"
    )
    ops |= {"start_day": "last", "first_day": "min"}
    dictionaries = {}
    if source.has("plan"):
        passes["pass_spans"] += ' LEFT JOIN "dict_subscriptions_plan" AS d ON d.value = s.plan'
        adds["plan"] = f"CASE WHEN {paid} THEN CAST(plan_no AS DOUBLE) END"
        ops["plan"] = "last"
        dictionaries["plan"] = "plan"
    if source.has("billing_period"):
        adds["billing_months"] = (
            f"CASE WHEN {paid} THEN CASE lower(billing_period) "
            + " ".join(f"WHEN '{name}' THEN {months}" for name, months in BILLING_MONTHS.items())
            + " END END"
        )
        ops["billing_months"] = "last"
    streams = [Stream("pass_spans", "day", "known_day", seconds("started_at"), adds)]
    # the end of a span that was recorded late is known late too
    ended = source.known(f"greatest({end}, {start})")
    ends = {
        "mrr": f"CASE WHEN {trial} THEN 0.0 ELSE -CAST(mrr AS DOUBLE) END",
        "paid": f"CASE WHEN {trial} THEN 0.0 ELSE -1.0 END",
        "trial": f"CASE WHEN {trial} THEN -1.0 ELSE 0.0 END",
    }
    if source.has("cancelled_at"):
        notice = day_number("cancelled_at")
        given = (
            f"NOT {trial} AND cancelled_at IS NOT NULL AND (ended_at IS NULL OR {notice} <= {end})"
        )
        ends["notice"] = f"CASE WHEN {given} THEN -1.0 ELSE 0.0 END"
        ops["notice"] = "sum"
        streams.append(
            Stream(
                "subscriptions",
                notice,
                source.known(f"greatest({notice}, {start})"),
                seconds("cancelled_at"),
                {"notice": "1.0"},
                given,
            )
        )
    if source.has("end_reason"):  # written when it ended, for labels only
        ends["involuntary"] = (
            f"CASE WHEN NOT {trial} AND end_reason = 'involuntary' THEN 1.0 ELSE 0.0 END"
        )
        ops["involuntary"] = "sum"
    streams.append(
        Stream("subscriptions", end, ended, seconds("ended_at"), ends, "ended_at IS NOT NULL")
    )
    return Facts(tuple(streams), ops, dictionaries, passes)


def payments(source: Source) -> Facts:
    """Orders, money in and out, failures, and the gaps between purchase days."""
    day = day_number("paid_at")
    status = "coalesce(status, 'paid')" if source.has("status") else "'paid'"
    amount = "CAST(amount AS DOUBLE)"
    took = f"{status} IN ('paid', 'refunded') AND {amount} >= 0"
    # a positive row marked refunded was overwritten: its payment counted when it was made
    gave = f"{amount} < 0 AND {status} <> 'failed' AND {status} <> 'pending'"
    own, own_ops = _own(source)
    adds = {
        "orders": f"CASE WHEN {took} THEN 1.0 ELSE 0.0 END",
        "spend": f"CASE WHEN {took} THEN {amount} ELSE 0.0 END",
        "returns": f"CASE WHEN {gave} THEN 1.0 ELSE 0.0 END",
        "returned": f"CASE WHEN {gave} THEN -{amount} ELSE 0.0 END",
        "first_day": f"CASE WHEN {took} THEN CAST({day} AS DOUBLE) END",
        "last_day": f"CASE WHEN {took} THEN CAST({day} AS DOUBLE) END",
        **own,
    }
    ops = {
        "orders": "sum",
        "spend": "sum",
        "returns": "sum",
        "returned": "sum",
        "first_day": "min",
        "last_day": "max",
        **own_ops,
    }
    if source.has("status"):
        adds["failed"] = f"CASE WHEN {status} = 'failed' THEN 1.0 ELSE 0.0 END"
        ops["failed"] = "sum"
    if source.has("cost"):
        adds["cost"] = f"CASE WHEN {took} THEN coalesce(CAST(cost AS DOUBLE), 0.0) ELSE 0.0 END"
        ops["cost"] = "sum"
    plain = Stream("payments", day, source.known(day), seconds("paid_at"), adds)
    bought = (
        f"SELECT customer_id, {day} AS day, {source.known(day)} AS known_day FROM payments "
        f"WHERE {took}"
    )
    passes = source.with_earlier(
        "pass_purchases", bought, ("customer_id",), "day", "day", is_once=True
    )
    # a purchase day that turns up late splits a gap that had counted as one
    later = (
        "SELECT p.customer_id, p.day, min(n.day) AS next_day FROM pass_purchases AS p "
        "JOIN pass_purchases AS n ON n.customer_id = p.customer_id AND n.day > p.day "
        "AND n.known_week < p.known_week "
        f"WHERE p.known_week > {source.calendar.week_sql('p.day')} GROUP BY p.customer_id, p.day"
        if source.has("recorded_at")
        else "SELECT customer_id, day, day AS next_day FROM pass_purchases WHERE FALSE"
    )
    passes["pass_gaps"] = (
        "SELECT p.*, p.before AS last_day, n.next_day FROM pass_purchases AS p LEFT JOIN "
        f"({later}) AS n ON n.customer_id = p.customer_id AND n.day = p.day"
    )
    pieces = {"day - last_day": "+", "next_day - day": "+", "next_day - last_day": "-"}
    days = [(sign, f"CAST({sql} AS DOUBLE)") for sql, sign in pieces.items()]
    ops |= {"gaps": "sum", "gap_days": "sum", "gap_squares": "sum"}
    gaps = Stream(
        "pass_gaps",
        "day",
        "known_day",
        "CAST(day AS BIGINT)",
        {
            "gaps": "1.0",
            "gap_days": " ".join(f"{sign} coalesce({one}, 0.0)" for sign, one in days),
            "gap_squares": " ".join(f"{sign} coalesce({one} * {one}, 0.0)" for sign, one in days),
        },
        "last_day IS NOT NULL OR next_day IS NOT NULL",
    )
    once = {} if source.has("recorded_at") else {"pass_purchases": bought}
    return Facts((plain, gaps), ops, passes=passes, once=once)


def departures(source: Source) -> Facts:
    """Leaving and coming back."""
    left = day_number("left_at")
    ops = {"left": "sum", "departures": "sum", "involuntary": "sum"}
    streams = [
        Stream(
            "departures",
            left,
            source.known(left),
            seconds("left_at"),
            {
                "left": "1.0",
                "departures": "1.0",
                "involuntary": "CASE WHEN is_voluntary THEN 0.0 WHEN NOT is_voluntary THEN 1.0 END"
                if source.has("is_voluntary")
                else "0.0",
            },
        )
    ]
    if source.has("returned_at"):
        back = day_number("returned_at")
        ops["returns"] = "sum"
        streams.append(
            Stream(
                "departures",
                back,
                source.known(back),
                seconds("returned_at"),
                {"left": "-1.0", "returns": "1.0"},
                "returned_at IS NOT NULL",
            )
        )
    return Facts(tuple(streams), ops)


def referrals(source: Source) -> Facts:
    """Referrals that a customer made."""
    day = day_number("referred_at")
    stream = Stream(
        "(SELECT *, referrer_id AS customer_id FROM referrals)",
        day,
        source.known(day),
        seconds("referred_at"),
        {"referrals": "1.0"},
    )
    return Facts((stream,), {"referrals": "sum"})


FACTS: dict[str, Callable[[Source], Facts]] = {
    "usage": usage,
    "interactions": interactions,
    "surveys": surveys,
    "subscriptions": subscriptions,
    "payments": payments,
    "departures": departures,
    "referrals": referrals,
}
