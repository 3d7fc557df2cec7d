"""Chapters of a model card: what the model learnt, from what, and what it is for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retain.errors import many
from retain.report.card_words import between, flat, number, percent
from retain.report.document import Chapter, Drawn, Grid
from retain.report.plots import Series, draw_points
from retain.report.wording import NOTHING

__all__ = ["data_chapter", "drivers_chapter", "use_chapter", "value_chapter"]

KINDS = {
    "contract": "a paid contract ends and nothing replaces it within {grace_weeks} weeks",
    "event": "the company records a departure",
    "inactivity": "no purchase and no use for the whole horizon",
}
CLV_FIGURES = (
    ("mae", "Mean error", True),
    ("rmse", "RMSE", True),
    ("spearman", "Rank correlation", False),
    ("normalised_gini", "Normalised Gini", False),
    ("sum_predicted_over_actual", "Sum predicted / actual", False),
    ("interval_coverage", "Interval coverage", False),
    ("interval_median_width", "Median interval width", True),
)
MOST_SIGNALS, MOST_MISSING, MOST_MOVED = 15, 8, 8
PURPOSE = (
    "To order customers by the probability that they leave and by what they are worth, with what "
    "goes together with it, so that a customer-success team can spend its week where it matters.",
    "Users: customer-success leads (whom to reach first), finance (value at risk), data scientists "
    "(whether to promote, retrain or withdraw it).",
    "Not for: deciding alone on price, credit, service or contract of a single customer; judging "
    "employees by their customers; showing that an action works (only a hold-out does); customers "
    "of a kind that was not learnt from; reading drivers as causes.",
)
LIMITS = (
    "Drivers are associations among past customers. Changing one need not keep anybody.",
    "What no table shows (a sponsor who leaves, a merger) is unknown to the model.",
    "Probabilities hold on average over similar customers, and as long as the company's customers, "
    "prices and habits stay like those learnt from.",
    "Customers who were contacted changed their own outcome; without a hold-out their risk is "
    "learnt as it was with the contact.",
    "Fairness: the table by segment shows where probabilities are less level. Attributes that "
    "stand for protected groups should be left out of the tables, or judged apart here.",
)


def drivers_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show what the model leans on, how steadily, and what has moved."""
    found = card["drivers"]
    signals = found["signals"]
    grids = [
        Grid(
            "What the model leans on: share of the mean absolute contribution",
            ("Signal", "Theme", "Weight", "Among the first five of refits"),
            [
                [
                    one["signal"],
                    one["theme"],
                    percent(one["weight"]),
                    percent(one["in_top_five_of_refits"]),
                ]
                for one in signals[:MOST_SIGNALS]
            ],
            f"{len(signals) - MOST_SIGNALS} further signals weigh less."
            if len(signals) > MOST_SIGNALS
            else "",
            left=2,
        ),
        Grid(
            "By theme",
            ("Theme", "Weight"),
            [[one["theme"], percent(one["weight"])] for one in found["themes"]],
        ),
    ]
    about = []
    if found["top_three_overlap"] is not None:
        about.append(
            f"Stability: {found['refits']} refits on customers drawn again name "
            f"{percent(found['top_three_overlap'])} of the same three signals for the riskiest "
            f"tenth; the first reason given is among the strongest in "
            f"{percent(found['first_reason_stability'])} of refits."
        )
    if card["drift"]:
        moved = [one for one in card["drift"] if one["reading"] != "stable"]
        about.append(
            f"Drift: {len(moved)} of {len(card['drift'])} signals of the newest week judged lie "
            "further from what was learnt before than chance explains."
        )
        grids.append(
            Grid(
                "How far the newest week judged lies from what was learnt from",
                ("Signal", "Reading", "Index", "Chance alone", "Weight", "Mean then", "Mean now"),
                [
                    [
                        one["signal"],
                        one["reading"],
                        number(one["index"], 2),
                        number(one["noise"], 2),
                        percent(one["weight"]),
                        number(one["mean_before"]),
                        number(one["mean_now"]),
                    ]
                    for one in card["drift"][:MOST_MOVED]
                ],
                "Weights are of that week. The model in use has learnt from it too: what "
                "`retain monitor` counts has moved since.",
                left=2,
            )
        )
    grids.extend(_verdicts_grid(card["verdicts"]))
    about.extend(_verdicts(card["verdicts"]))
    return Chapter(
        "drivers", "Drivers, their stability, drift", about, grids=grids, short="Drivers"
    )


def _verdicts(told: Mapping[str, Any]) -> Iterator[str]:
    """Say what people made of the drivers as reasons, and name those that they keep rejecting."""
    if told["not_known_because"]:
        yield f"Verdicts on reasons are not known: {told['not_known_because']}"
        return
    if not told["given"]:
        yield "Verdicts: nobody has judged a reason on the review page yet."
        return
    yield (
        f"Verdicts: {told['given']:,} on reasons of {told['customers']:,} customers by "
        f"{told['people']:,} people, in weeks scored until this training."
    )
    rejected = [one for one in told["signals"] if one["is_rejected"]]
    if rejected:
        named = "; ".join(
            f"{one['signal']} (right or known {one['right'] + one['already_known']} of "
            f"{one['right'] + one['already_known'] + one['wrong']}, {between(one, percent)})"
            for one in rejected
        )
        yield (
            f"Kept being rejected by those who know the customers, beyond chance: {named}. Look at "
            "how these are measured, or leave them out, before the next training."
        )
    else:
        yield "None of the drivers is rejected beyond chance."


def _verdicts_grid(told: Mapping[str, Any]) -> Iterator[Grid]:
    if told["signals"]:
        shown = told["signals"][:MOST_SIGNALS]
        yield Grid(
            "What people said of them as reasons",
            ("Signal", "Right", "Known", "Wrong", "Not useful", "Right or known", "Rejected"),
            [
                [
                    one["signal"],
                    f"{one['right']:,}",
                    f"{one['already_known']:,}",
                    f"{one['wrong']:,}",
                    f"{one['not_useful']:,}",
                    (percent(one["agreement"]), between(one, percent)),
                    "yes" if one["is_rejected"] else "no",
                ]
                for one in shown
            ],
            "Right or known: of those and wrong, with its 90 % interval. Rejected: five customers "
            "or more, and the whole interval below one half.",
            marked=[at for at, one in enumerate(shown) if one["is_rejected"]],
        )


def value_chapter(card: Mapping[str, Any]) -> Iterator[Chapter]:
    """Show how CLV held."""
    clv = card["clv"]
    if clv is None:
        yield Chapter("value", "Value", ("No CLV: there are neither payments nor subscriptions.",))
        return
    about = [
        f"Expected discounted margin within {card['definition']['clv_horizon_weeks']} weeks, in "
        f"{card['currency']}; judged on {clv['learnt_weeks']} weeks of outcomes."
    ]
    if not clv["figures"]:
        about.append("Too little history to judge it out of time.")
    grids = [
        Grid(
            "Beside simpler methods",
            ("Method", *(name for _, name, _ in CLV_FIGURES)),
            [
                [row["name"], *(flat(row, key, False) for key, _, _ in CLV_FIGURES)]
                for row in clv["comparison"]
            ],
            f"The interval is to hold {clv['interval']:.0%} of the outcomes.",
            marked=[0],
        )
    ]
    drawings = []
    if clv["deciles"]:
        rows = clv["deciles"]
        nothing = [math.nan] * len(rows)
        series = [
            Series(
                name,
                [row["decile"] for row in rows],
                [row[key] for row in rows],
                nothing,
                nothing,
                tone,
            )
            for name, key, tone in (
                ("predicted", "predicted", "ours"),
                ("actual", "actual", "other"),
            )
        ]
        drawings.append(
            Drawn(
                "Mean value by tenth of prediction",
                draw_points(
                    series,
                    says="Predicted and actual mean value by tenth; the table below holds them",
                    first="highest tenth",
                    last="lowest",
                    show=lambda value: number(value, 0),
                ),
            )
        )
        grids.append(
            Grid(
                f"Tenths of prediction, mean {card['currency']}",
                ("Tenth", "Customers", "Predicted", "Actual", "Predicted / actual"),
                [
                    [
                        f"{row['decile']}",
                        f"{row['n']:,}",
                        number(row["predicted"], 1),
                        number(row["actual"], 1),
                        number(row["predicted"] / row["actual"], 2) if row["actual"] else NOTHING,
                    ]
                    for row in rows
                ],
            )
        )
    yield Chapter("value", "Value", about, drawings, grids if clv["comparison"] else [])


def data_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show what leaving means here and what was learnt from."""
    data, split, churn = card["data"], card["split"], card["definition"]
    away = "; ".join(f"{n:,} {why}" for why, n in data["not_eligible"].items()) or "none"
    leaves = KINDS[churn["kind"]].format(**churn)
    about = [
        f"Leaving: {leaves}, within {churn['horizon_weeks']} weeks, {churn['gap_weeks']} weeks "
        "after the day of observation. "
        + (
            "Endings that the customer did not choose count. "
            if churn["include_involuntary"]
            else "Endings that the customer did not choose are left out. "
        )
        + (
            f"Eligible: active within {churn['active_weeks']} weeks."
            if churn["active_weeks"]
            else "Eligible: there, paying, and no cancellation known yet."
        ),
        f"Data from {data['from']} to {data['until']}: {data['customers']:,} customers, "
        f"{len(split['snapshots'])} weeks of observation, {data['rows']:,} snapshots with a final "
        f"outcome, {data['left_rows']:,} of them followed by leaving (base rate "
        f"{percent(data['base_rate'])}; in the weeks judged {percent(data['base_rate_judged'])}; "
        f"{percent(data['involuntary_share'])} of leaving was involuntary). "
        f"{data['features']:,} columns.",
        f"Not eligible, snapshots: {away}. Without a final label: "
        f"{data['rows_without_final_label']:,}.",
        f"Split: forward in time. Judged on {len(split['test_snapshots'])} weeks "
        f"({', '.join(split['test_snapshots'])}), learnt for that from weeks at least "
        f"{split['purge_weeks']} weeks earlier; afterwards learnt once more from everything.",
        _leaks(card["leaks"]),
        *_learning(card["learning"]),
        *_treated(card["treatments"]),
    ]
    sources = Grid(
        "Tables",
        ("Table", "Rows", "Used", "Set aside", "Newest", "Learnt from", "Fingerprint"),
        [
            [
                one["table"],
                f"{one['rows_in']:,}",
                f"{one['used']:,}",
                (
                    f"{sum(one['set_aside'].values()):,}",
                    "; ".join(f"{n:,} {why}" for why, n in one["set_aside"].items()),
                ),
                one["newest"] or NOTHING,
                "yes" if one["is_learnt_from"] else "no",
                (one["fingerprint"] or NOTHING)[:12],
            ]
            for one in data["sources"]
        ],
        "Rows of the whole export; the model saw what was known on the evening of "
        f"{data['until']}.",
    )
    gaps = Grid(
        "Most often unknown, share of the snapshots judged",
        ("Signal", "Unknown"),
        [[one["signal"], percent(one["share"])] for one in data["missing"][:MOST_MISSING]],
    )
    return Chapter(
        "data",
        "Definition, data, split, leaks",
        about,
        grids=[sources, gaps] if data["missing"] else [sources],
        short="Data",
    )


def _leaks(leaks: Sequence[Mapping[str, Any]]) -> str:
    if not leaks:
        return "Leak check: nothing was found that gives the outcome away."
    told = "; ".join(f"{one['where']} ({one['severity']}): {one['message']}" for one in leaks[:5])
    more = f"; and {len(leaks) - 5} more" if len(leaks) > 5 else ""
    return f"Leak check, {many(len(leaks), 'finding', 'findings')}: {told}{more}"


def _learning(learning: Mapping[str, Any]) -> Iterator[str]:
    chosen = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in learning["chosen"].items()
        if name != "found_on_rows"
    )
    yield f"LightGBM, settings chosen forward in time: {chosen}."
    if learning["tuning"]:
        one = learning["tuning"]
        yield (
            f"Tuned: {one['trials']} trials in at most {one['minutes']:g} minutes, log loss "
            f"{number(one['log_loss'], 4)} against {number(one['log_loss_default'], 4)} of the "
            "defaults, forward in time."
        )


def _treated(told: Mapping[str, Any] | None) -> Iterator[str]:
    if told:
        yield str(told["says"])


def use_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show what the model is for, its limits, and the lines to sign."""
    where = card["tracking"]
    return Chapter(
        "use",
        "Purpose, limits, approval",
        (
            *PURPOSE,
            *LIMITS,
            f"Train again when: {'; '.join(card['retrain'])}. `retain monitor` watches these.",
            f"MLflow: experiment {where['experiment']}, registered model "
            f"{where['registered_model']}, {where['tag']}; the run's link is in {where['file']}.",
        ),
        grids=[
            Grid(
                "Approval",
                ("Approved by", "On", "For"),
                [
                    [
                        card["approved_by"] or "………………………………",
                        card["approved_on"] or "……………………",
                        "………………………………",
                    ]
                ],
                "To be filled in by whoever lets this model score.",
                left=3,
            )
        ],
        short="Use and limits",
    )
