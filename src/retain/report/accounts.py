"""The chapters of a scorecard that are accounts rather than single numbers, laid out as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from retain.report.figures import shown
from retain.report.wording import NOTHING, clean, number

__all__ = ["chapters"]

_VENDORS = {
    "stripe": "Stripe",
    "chartmogul": "ChartMogul",
    "profitwell": "ProfitWell",
    "baremetrics": "Baremetrics",
}


def _cell(text: object, hint: str = "", tone: str = "", bar: float | None = None) -> dict[str, Any]:
    return {"text": clean(text), "hint": clean(hint), "tone": tone, "bar": bar}


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    words: Sequence[str] = (),
    note: str = "",
) -> dict[str, Any]:
    """Lay out a table; columns not named in `words` (and not the first) hold numbers."""
    return {
        "caption": caption,
        "columns": [
            {"label": label, "num": at > 0 and label not in words}
            for at, label in enumerate(columns)
        ],
        "rows": list(rows),
        "note": note,
    }


def _row(*cells: dict[str, Any], kind: str = "") -> dict[str, Any]:
    return {"cells": cells, "kind": kind}


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{clean(why)} {number(n)}" for why, n in reasons.items()) or "nothing"


def _words(name: str) -> str:
    return clean(name).replace("_", " ")


def _vendors(card: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out the same period under the rules of four vendors."""
    names, base, currency = account["vendors"], account["base"], card["currency"]
    figures = account["figures"]

    def unit(figure: str) -> str:
        said = figures[figure]["unit"]
        return currency if said == "currency" else str(said)

    rows = []
    for figure, values in figures.items():
        cells = [_cell(_words(figure).replace("mrr", "MRR").capitalize().replace("Mrr", "MRR"))]
        for name in names:
            other = values[name] != values[base]
            cells.append(_cell(shown(values[name], unit(figure)), tone="apart" if other else ""))
        rows.append(_row(*cells))
    lines = []
    for line in account["differences"]:
        ids = ", ".join(line["largest"])
        more = line["customers"] - len(line["largest"])
        lines.append(
            _row(
                _cell(_words(line["figure"]).replace("mrr", "MRR")),
                _cell(_VENDORS[line["vendor"]]),
                _cell(_words(line["rule"]).replace("->", "→")),
                _cell(_signed(line["amount"], unit(line["figure"]))),
                _cell(number(line["customers"]), f"{ids}{f' and {more:,} more' if more else ''}"),
            )
        )
    called = [_VENDORS[name] for name in names]
    return {
        "id": "vendors",
        "short": "Four rules",
        "title": "The same period under four vendors' rules",
        "about": [
            "The same contracts, read as each vendor documents it. What differs from "
            f"{_VENDORS[base]} is marked, and accounted for below: rule by rule, customer by "
            "customer, adding up exactly."
        ],
        "tables": [
            _table("Figures", ["Figure", *called], rows),
            _table(
                f"Why they differ from {_VENDORS[base]}",
                ["Figure", "Vendor", "Rule", "Amount", "Customers"],
                lines,
                words=("Vendor", "Rule"),
                note="Every customer of every line: vendors-differences.csv.",
            ),
        ],
        "how": [
            (f"Not shown: {_VENDORS[name]}", "; ".join(said))
            for name, said in account["not_shown"].items()
            if said
        ],
    }


def _roi(card: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out what customers brought and cost, and the reconciliation with the cost table."""
    currency, totals = card["currency"], account["totals"]
    as_of = account["expected_value_as_of"]

    def amount(value: float | None, tone: str = "") -> dict[str, Any]:
        return _cell(shown(value, currency), tone=tone)

    def line(label: str, value: float | None, hint: str = "", kind: str = "") -> dict[str, Any]:
        return _row(_cell(label, hint), amount(value), kind=kind)

    def rate(value: float | None) -> str:
        return shown(value, "percent")

    statement = [
        line("Revenue", totals["revenue"], "payments, net of refunds"),
        line("Cost of goods", -totals["cost_of_goods"]),
        line("Gross margin", totals["gross_margin"], kind="total"),
        line("Cost to serve", -totals["service"], "minutes, hours, fees and own cost lines"),
        line("Retention", -totals["retention"]),
        line("Share of acquisition", -totals["acquisition"], "written off over years"),
        line("Contribution", totals["contribution"], f"ROI {rate(totals['roi'])}", kind="total"),
        line("Advocacy, by its evidence", totals["advocacy"]),
        line(
            "Contribution with advocacy",
            totals["contribution_with_advocacy"],
            f"ROI {rate(totals['roi_with_advocacy'])}",
            kind="total",
        ),
    ]
    if as_of:
        beside = totals["expected_future_value"]
        statement.append(line("Expected future value (CLV)", beside, f"as scored on {as_of}"))
    checked = [
        _row(
            _cell(_words(one["purpose"]).capitalize()),
            amount(one["cost_table"]),
            amount(one["in_ledger"]),
            amount(one["residual"], "apart" if one["residual"] else ""),
        )
        for one in account["reconciliation"]
    ]
    columns = [
        "Customer",
        "Revenue",
        "Gross margin",
        "Service",
        "Retention",
        "Acquisition",
        "Contribution",
        "ROI",
        *(["CLV"] if as_of else []),
    ]

    def customer(one: Mapping[str, Any]) -> dict[str, Any]:
        names = ("revenue", "gross_margin", "service", "retention", "acquisition")
        return _row(
            _cell(one["customer_id"]),
            *(amount(one[name]) for name in names),
            amount(one["contribution"], "worse" if one["contribution"] < 0 else ""),
            _cell(rate(one["roi"])),
            *([amount(one["expected_future_value"])] if as_of else []),
        )

    left_out = sum(account["excluded"].values())
    tables = [
        _table("All customers together", ["Line", "Amount"], statement),
        _table(
            "Against the cost table",
            ["Purpose", "Cost table", "Charged to customers", "Residual"],
            checked,
            note="The residual is shown, not spread: costs that nobody in particular caused, or "
            "(negative) more charged by rate than was spent.",
        ),
        _table("Highest contribution", columns, map(customer, account["most"])),
        _table("Lowest contribution", columns, map(customer, account["least"])),
    ]
    return {
        "id": "roi",
        "short": "Customer ROI",
        "title": "What customers bring and cost",
        "about": [
            f"{account['customers']:,} customers with at least one line; {account['losing']:,} "
            "cost more than they brought. Every line of every customer, with its source row: "
            "roi-lines.csv; a line per customer: roi.csv."
        ],
        "tables": [table for table in tables if table["rows"]],
        "how": [
            ("Contribution", "gross margin − cost to serve − retention − share of acquisition"),
            ("ROI", "contribution ÷ those three costs, of the sums; undefined without costs"),
            ("Advocacy", "referral value × margin × what its evidence is worth; credited once"),
            (
                "Rows",
                f"{number(account['rows_in'])} in = {number(account['used'])} used + "
                f"{number(left_out)} left out",
            ),
            (
                "Left out",
                ", ".join(f"{clean(k)} {number(n)}" for k, n in account["excluded"].items()),
            ),
        ],
    }


def _pain(card: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out what customers came for, worst first."""
    currency = card["currency"]
    tables, how = [], []
    for of, found in account.items():
        if not found["lines"]:
            how.append((of.capitalize(), found.get("because") or "no contact in the period"))
            continue
        most = max(line["cases"] for line in found["lines"]) or 1
        rows = []
        for line in found["lines"]:
            points = None if line["difference"] is None else 100 * line["difference"]
            between = ""
            if line["low"] is not None:
                between = f"{100 * line['low']:+.1f} to {100 * line['high']:+.1f}"
            apart = line["low"] is not None and not line["low"] <= 0 <= line["high"]
            worse = "worse" if points is not None and points > 0 else "better"
            rows.append(
                _row(
                    _cell(line["name"]),
                    _cell(number(line["hard_cases"]), f"{line['hard_share']:.0%} of its contacts"),
                    _cell(
                        number(line["cases"]),
                        f"{line['share_of_cases']:.0%}, {number(line['customers'])} customers",
                        bar=round(100 * line["cases"] / most, 1),
                    ),
                    _cell(shown(line["mrr_touched"], currency)),
                    _cell(
                        NOTHING if points is None else _signed(points, "percent"),
                        between.replace("-", "−"),
                        tone=worse if apart else "",
                    ),
                )
            )
        tables.append(
            _table(
                f"By {of}",
                [of.capitalize(), "High effort", "Contacts", "MRR touched", "Leave more by"],
                rows,
            )
        )
        if found["no_churn_because"]:
            how.append((f"Leaving, by {of}", found["no_churn_because"]))
    return {
        "id": "pain",
        "short": "Pain points",
        "title": "Pain points",
        "about": [
            "What customers came for, the most high-effort contacts first. “Leave more by” "
            "compares customers who came for it with those who did not: an association, with its "
            "interval; coloured where that does not hold zero. Ranks by each column: "
            "pain-points.csv."
        ],
        "tables": tables,
        "how": [
            *how,
            (
                "High effort",
                "reopened, handed on twice, following another contact, one of several of its case, "
                "or open for more than 72 hours",
            ),
            ("MRR touched", "monthly recurring revenue of the customers who came for it"),
        ],
    }


def _comments(card: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out what customers write about."""
    rows = []
    for one in account["themes"]:
        scores = ", ".join(
            f"{kind.upper()} {mean:.1f}" for kind, mean in one["mean_scores"].items()
        )
        moved = NOTHING if one["change"] is None else f"{one['change']:+.1f}"
        rows.append(
            _row(
                _cell(one["name"], ", ".join(one["words"])),
                _cell(number(one["n"])),
                _cell(
                    shown(one["share"], "percent"),
                    f"{one['low']:.0f} to {one['high']:.0f}",
                    bar=one["share"],
                ),
                _cell(
                    moved,
                    f"{number(one['previous_n'])} comments before",
                ),
                _cell(scores or NOTHING),
            )
        )
    scales = ", ".join(
        f"{kind.upper()} {low:g} to {high:g}" for kind, (low, high) in account["scales"].items()
    )
    return {
        "id": "comments",
        "short": "Comments",
        "title": "What customers write about",
        "about": [
            "Themes are found in the comments themselves, whatever their language: comments that "
            "share rare words and word parts. Each is shown by its most typical comment."
        ],
        "tables": [
            _table(
                "Themes, the largest first",
                ["Theme", "Comments", "Share", "Change, points", "Mean score beside it"],
                rows,
                words=("Mean score beside it",),
                note="The change is from the period before. Scores stand each on its own scale: "
                f"{scales}.",
            )
        ],
        "how": [
            (
                "Comments",
                f"{number(account['comments'])} read, of which "
                f"{number(account['without_theme'])} share nothing with others; "
                f"{number(account['previous_comments'])} in the period before",
            ),
            *(("Note", clean(note)) for note in account["notes"]),
        ],
    }


def _prospects(card: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out where trials that did not convert stopped."""
    rows = [
        _row(
            _cell(line["stage"]),
            _cell(number(line["reached"])),
            _cell(number(line["converted"])),
            _cell(number(line["lost"])),
            _cell(
                NOTHING if line["share_of_lost"] is None else f"{line['share_of_lost']:.0%}",
                bar=100 * (line["share_of_lost"] or 0),
            ),
        )
        for line in account["stages"]
    ]
    aside = account["excluded"]
    return {
        "id": "prospects",
        "short": "Lost prospects",
        "title": "Lost prospects",
        "about": ["Trials that ended in the period, by how far they came before they stopped."],
        "tables": [
            _table(
                "Trials by stage",
                ["Came as far as", "Reached", "Converted", "Lost here", "Share of the lost"],
                rows,
            )
        ],
        "how": [
            (
                "Rows",
                f"{number(account['rows_in'])} in = {number(account['used'])} used + "
                f"{number(sum(aside.values()))} left out",
            ),
            *([("Left out", _counted(aside))] if aside else []),
        ],
    }


def _effort(card: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out what effort costs: as found, among customers who were alike, and as published."""
    own: dict[str, dict[str, Mapping[str, Any]]] = {}
    for line in account["lines"]:
        if line["kind"] != "literature":
            own.setdefault(line["label"], {})[line["kind"]] = line

    def cell(line: Mapping[str, Any] | None) -> dict[str, Any]:
        if line is None:
            return _cell("")
        if line["value"] is None:
            return _cell(NOTHING, line["undefined_because"])
        known = line["low"] is not None
        holds_zero = known and line["low"] <= 0 <= line["high"]
        words = f"{number(line['low'])} to {number(line['high'])}" if known else ""
        words += ", holds zero" if holds_zero else ""
        return _cell(number(line["value"]), words, tone="" if holds_zero or not known else "apart")

    rows = [
        _row(
            _cell(label, next(iter(kinds.values()))["unit"]),
            cell(kinds.get("observed")),
            cell(kinds.get("adjusted")),
            _cell((kinds.get("adjusted") or {}).get("hidden") or ""),
            _cell(number(max(line["n"] for line in kinds.values()))),
        )
        for label, kinds in own.items()
    ]
    told = [line for line in account["lines"] if line["kind"] == "literature"]
    published = [
        _row(
            _cell(line["label"]),
            _cell(f"{number(line['value'])} {line['unit']}"),
            _cell(" ".join(line["assumptions"])),
        )
        for line in told
    ]
    assumptions = dict.fromkeys(
        text
        for line in account["lines"]
        if line["kind"] != "literature"
        for text in line["assumptions"]
    )
    tables = [
        _table(
            "From this company's own data",
            [
                "Figure",
                "As found (association)",
                "Adjusted (estimate)",
                "What could explain it away",
                "Rows",
            ],
            rows,
            words=("What could explain it away",),
        ),
        _table(
            "Published elsewhere; never calculated with",
            ["Claim", "Figure", "Source"],
            published,
            words=("Source",),
        ),
    ]
    return {
        "id": "effort",
        "short": "Effort",
        "title": "What effort costs",
        "about": [
            "A difference as found is an association. An estimate compares customers who were "
            "alike in what was known before. Neither shows a cause: only a trial would. Marked "
            "where the interval does not hold zero."
        ],
        "tables": [table for table in tables if table["rows"]],
        "how": [
            *(("Here", text) for text in account["definitions"]),
            *(("Assumed", text) for text in assumptions),
            *(("Not computed", text) for text in account["not_computed"]),
        ],
    }


def _signed(value: float | None, unit: str) -> str:
    """Print a difference with its sign; between percentages it is points."""
    if value is None:
        return NOTHING
    text = shown(abs(value), unit).lstrip("+")
    if unit == "percent":
        text = text.removesuffix("%") + " pts"
    return f"{'−' if value < 0 else '+'}{text}"


def _health(card: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out what the health score is made of, and how well it would have foretold who left."""
    rule, found = account["rule"], account["foretold"]
    profiles = rule["profiles"]
    parts = [
        _row(
            _cell(_words(name).capitalize(), part["measure"]),
            _cell(f"{part['floor']:g}"),
            _cell(f"{part['target']:g}"),
            _cell(f"{part['weight']:g}"),
            *(_cell(f"{weights.get(name, part['weight']):g}") for weights in profiles.values()),
        )
        for name, part in rule["parts"].items()
    ]
    tables = []
    about = [
        "An opinion with weights, 0 to 100. The churn probability of the weekly page is learnt; "
        "they are two numbers on purpose."
    ]
    if "because" in found:
        about.append(f"How well it foretold is not known: {found['because']}.")
    else:
        auc, missed = found["figures"]["auc"], found["missed"]
        about.append(
            f"Of {found['scores']:,} scores from {found['first']} to {found['last']}, "
            f"{found['leavers']:,} were followed by leaving within {found['horizon_weeks']} weeks. "
            f"A leaver scored below a stayer with a chance of {auc['value']:.0%} "
            f"({auc['low']:.0%} to {auc['high']:.0%}; AUC; 50% is chance). {missed:,} leavers "
            f"({missed / found['leavers']:.0%}) were {found['best_band']}."
        )
        rows = []
        for name, band in found["bands"].items():
            share = band["left"] / band["scores"]
            rows.append(
                _row(
                    _cell(name),
                    _cell(number(band["scores"])),
                    _cell(number(band["left"])),
                    _cell(f"{share:.1%}", bar=round(100 * share, 1)),
                )
            )
        tables.append(
            _table(
                "How it foretold",
                ["Band", "Scores", "Followed by leaving", "Share that left"],
                rows,
            )
        )
        gone = [
            _row(_cell(one["customer_id"]), _cell(one["as_of"]), _cell(f"{one['score']:g}"))
            for one in found["missed_customers"]
        ]
        if gone:
            tables.append(
                _table(
                    f"Were {found['best_band']} and left",
                    ["Customer", "Scored on", "Score"],
                    gone,
                    words=("Scored on",),
                    note=f"The newest {len(gone)} of {missed:,}.",
                )
            )
    columns = ["Part", "Scores 0 at", "Scores 100 at", "Weight", *map(clean, profiles)]
    tables.append(_table("What it is made of", columns, parts))
    bands = list(rule["bands"].items())
    edges = [f"{name} from {edge:g}" for name, edge in bands]
    return {
        "id": "health",
        "short": "Health",
        "title": "Health score",
        "about": about,
        "tables": tables,
        "how": [
            ("Computed as", "sum of weight × part ÷ sum of weights, over the parts that are known"),
            ("Bands", f"{', '.join(edges)}; each up to the next, which it excludes"),
            ("Not known", f"{rule['missing']}; no band below {rule['least_coverage']:.0%} known"),
            ("As of", account["as_of"]),
            ("Version", account["version"]),
            *(
                (
                    "Rule changed",
                    f"{one['as_of']}: {one['earlier_version']} → {one['config_version']}",
                )
                for one in account["changes"]
            ),
        ],
    }


_CHAPTERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]] = {
    "roi": _roi,
    "health": _health,
    "effort": _effort,
    "pain": _pain,
    "comments": _comments,
    "prospects": _prospects,
    "vendors": _vendors,
}


def chapters(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lay out the accounts that a card holds, in the order in which they are read."""
    accounts = card["accounts"]
    return [
        lay_out(card, accounts[name]) for name, lay_out in _CHAPTERS.items() if name in accounts
    ]
