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
)

__all__ = ["FACTS"]

REPEAT_DAYS = 7
SWITCH_DAYS = 14
LONG_RESOLUTION_HOURS = 72


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
            adds[f"features_{word}"] = bit("f.no", word)
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
            adds[f"users_{word}"] = bit("u.no", word)
            ops[f"users_{word}"] = "bits"
    stream = Stream(
        rows=f"(SELECT usage.*{', f.no AS f_no' if source.has('feature') else ''}"
        f"{', u.no AS u_no' if source.has('user_id') else ''} FROM {rows})",
        day=day,
        known=source.known(day),
        order=seconds("occurred_at"),
        adds={
            name: sql.replace("f.no", "f_no").replace("u.no", "u_no") for name, sql in adds.items()
        },
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
    finished = f"coalesce({', '.join(done)})" if done else "opened_at"
    staged = f"""(SELECT *, {opened} AS day, {source.known(opened)} AS known_day,
      {seconds("opened_at")} AS opened_s, {finished} AS finished_at,
      coalesce({case}, {follows}, {topic}) AS issue, {case} AS case_key, {follows} AS follows_key,
      {channel} AS way FROM interactions)"""
    lagged = f"(SELECT *, {source.lag()} AS lag_weeks FROM {staged})"
    partition, order = "customer_id, issue", "opened_s"
    unique = "CAST(opened_s AS DOUBLE) + (hash(interaction_id) % 1000003) / 1000004.0"
    passed = f"""(SELECT *, {source.before("opened_s", partition, order)} AS before_s,
      {source.before("way", partition, order, unique)} AS before_way FROM {lagged})"""
    signs = f"""(SELECT *,
      CASE WHEN follows_key IS NOT NULL OR (issue IS NOT NULL AND
        opened_s - before_s <= {REPEAT_DAYS * 86400}) THEN 1.0 ELSE 0.0 END AS is_repeat,
      CASE WHEN issue IS NOT NULL AND opened_s - before_s <= {SWITCH_DAYS * 86400}
        AND way <> before_way THEN 1.0 ELSE 0.0 END AS is_switch,
      CASE WHEN case_key IS NOT NULL AND before_s IS NOT NULL THEN 0.0
        WHEN follows_key IS NOT NULL THEN 0.0
        WHEN case_key IS NULL AND issue IS NOT NULL AND opened_s - before_s <= {REPEAT_DAYS * 86400}
        THEN 0.0 ELSE 1.0 END AS is_new_case FROM {passed})"""
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
        signs = (
            f'(SELECT s.*, c.no AS c_no FROM {signs} AS s LEFT JOIN "dict_interactions_channel"'
            " AS c ON c.value = s.channel)"
        )
        for word in range(source.words.get("channel", 1)):
            adds[f"channels_{word}"] = bit("c_no", word)
            ops[f"channels_{word}"] = "bits"
    streams = []
    if done:
        adds["open"] = "1.0"
        adds["open_day"] = "CAST(day AS DOUBLE)"
        ops |= {"open": "sum", "open_day": "sum"}
    streams.append(Stream(signs, "day", "known_day", "opened_s", adds))
    if source.has("first_response_at"):
        answered = day_number("first_response_at")
        ops |= {"responses": "sum", "response_hours": "sum"}
        streams.append(
            Stream(
                signs,
                answered,
                f"greatest({answered}, {source.known(answered)})",
                seconds("first_response_at"),
                {
                    "responses": "1.0",
                    "response_hours": hours_between("opened_at", "first_response_at"),
                },
                "first_response_at IS NOT NULL AND first_response_at >= opened_at",
            )
        )
    ended = day_number("finished_at")
    transfers = (
        "coalesce(CAST(transfer_count AS DOUBLE), 0.0)" if source.has("transfer_count") else "0.0"
    )
    reopens = "coalesce(CAST(reopen_count AS DOUBLE), 0.0)" if source.has("reopen_count") else "0.0"
    hours = hours_between("opened_at", "finished_at")
    hard = f"is_repeat > 0 OR is_switch > 0 OR {transfers} >= 2 OR {reopens} >= 1"
    if done:
        hard += f" OR {hours} > {LONG_RESOLUTION_HOURS}"
    closing = {
        "resolved": "1.0",
        "hard": f"CASE WHEN {hard} THEN 1.0 ELSE 0.0 END",
        **own,
    }
    ops |= {"resolved": "sum", "hard": "sum"}
    if done:
        closing |= {
            "open": "-1.0",
            "open_day": "-CAST(day AS DOUBLE)",
            "resolution_hours": hours,
        }
        ops["resolution_hours"] = "sum"
    if source.has("transfer_count"):
        closing["transfers"] = transfers
        ops["transfers"] = "sum"
    if source.has("reopen_count"):
        closing["reopens"] = reopens
        ops["reopens"] = "sum"
    if source.has("handle_minutes"):
        closing["handle_minutes"] = "CAST(handle_minutes AS DOUBLE)"
        ops["handle_minutes"] = "sum"
    if source.has("sla_met"):
        closing["sla_missed"] = "CASE WHEN sla_met THEN 0.0 ELSE 1.0 END"
        ops["sla_missed"] = "sum"
    streams.append(
        Stream(
            signs,
            ended,
            f"greatest({ended}, {source.known(ended)})",
            seconds("finished_at"),
            closing,
            "finished_at IS NOT NULL AND finished_at >= opened_at",
        )
    )
    return Facts(tuple(streams), ops)


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
    if source.has("answered_at", "sent_at"):
        stamp = "coalesce(answered_at, sent_at)"
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
    staged = f"""(SELECT *, {start} AS day, {source.known(start)} AS known_day, {trial} AS trial,
      {plan} AS plan_text, {end} AS end_day, CAST(mrr AS DOUBLE) AS price FROM subscriptions)"""
    lagged = f"(SELECT *, {source.lag()} AS lag_weeks FROM {staged})"
    partition, order = "customer_id, trial", "day"
    unique = "CAST(day AS DOUBLE) + (hash(price, plan_text, end_day) % 1000003) / 1000004.0"
    # an end after this row's own start was not known when this row started: still running
    running_until = "coalesce(end_day, 10000000)"
    passed = f"""(SELECT *, {source.before(running_until, partition, order)} AS before_until,
      {source.before(running_until, partition, order, unique)} AS before_end,
      {source.before("price", partition, order, unique)} AS before_price,
      {source.before("plan_text", partition, order, unique)} AS before_plan FROM {lagged})"""
    paid = "NOT trial"
    replaced = "before_end = day"
    same_plan = "plan_text IS NOT DISTINCT FROM before_plan"

    def when(condition: str) -> str:
        return f"CASE WHEN {paid} AND ({condition}) THEN 1.0 ELSE 0.0 END"

    adds = {
        "mrr": f"CASE WHEN {paid} THEN price ELSE 0.0 END",
        "paid": when("TRUE"),
        "trial": "CASE WHEN trial THEN 1.0 ELSE 0.0 END",
        "start_day": f"CASE WHEN {paid} THEN CAST(day AS DOUBLE) END",
        "first_day": "CAST(day AS DOUBLE)",
        "returns": when("before_until < day"),
        "price_rises": when(f"{replaced} AND price > before_price AND {same_plan}"),
        "upgrades": when(
            f"({replaced} AND price > before_price AND NOT ({same_plan}))"
            f" OR (before_until > day AND before_end <> day)"
        ),
        "downgrades": when(f"{replaced} AND price < before_price"),
    }
    ops = dict.fromkeys(
        ("mrr", "paid", "trial", "returns", "price_rises", "upgrades", "downgrades"), "sum"
    )
    ops |= {"start_day": "last", "first_day": "min"}
    dictionaries = {}
    if source.has("plan"):
        passed = (
            f'(SELECT p.*, d.no AS plan_no FROM {passed} AS p LEFT JOIN "dict_subscriptions_plan"'
            " AS d ON d.value = p.plan)"
        )
        adds["plan"] = f"CASE WHEN {paid} THEN CAST(plan_no AS DOUBLE) END"
        ops["plan"] = "last"
        dictionaries["plan"] = "plan"
    if source.has("billing_period"):
        adds["billing_months"] = (
            f"CASE WHEN {paid} THEN CASE lower(billing_period) "
            "WHEN 'weekly' THEN 12.0 / 52.0 WHEN 'monthly' THEN 1.0 WHEN 'quarterly' THEN 3.0 "
            "WHEN 'half-yearly' THEN 6.0 WHEN 'annual' THEN 12.0 WHEN 'yearly' THEN 12.0 END END"
        )
        ops["billing_months"] = "last"
    streams = [Stream(passed, "day", "known_day", seconds("started_at"), adds)]
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
    return Facts(tuple(streams), ops, dictionaries)


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
    staged = (
        f"(SELECT customer_id, {day} AS day, {source.known(day)} AS known_day FROM payments "
        f"WHERE {took})"
    )
    lagged = (
        f"(SELECT customer_id, day, min(known_day) AS known_day FROM {staged} "
        f"GROUP BY customer_id, day, {source.lag()})"
    )
    lagged = f"(SELECT *, {source.lag()} AS lag_weeks FROM {lagged})"
    passed = f"(SELECT *, {source.before('day', 'customer_id', 'day')} AS before_day FROM {lagged})"
    gap = "CAST(day - before_day AS DOUBLE)"
    ops |= {"gaps": "sum", "gap_days": "sum", "gap_squares": "sum"}
    gaps = Stream(
        passed,
        "day",
        "known_day",
        "CAST(day AS BIGINT)",
        {"gaps": "1.0", "gap_days": gap, "gap_squares": f"{gap} * {gap}"},
        "before_day IS NOT NULL",
    )
    return Facts((plain, gaps), ops)


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
