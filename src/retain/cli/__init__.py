"""The command line: parse, run one job, show progress, print. The only room that prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from retain import __version__
from retain.cli import printing, review
from retain.errors import ConfigError, RetainError, many

__all__ = ["main"]

_complain, _open_ended, _print = printing.complain, printing.open_ended, printing.print_it
_progress, _say, _write = printing.progress, printing.say, printing.write

DONE, FAILED, WRONG_USE = 0, 1, 2
INTERRUPTED = 130
MOST_SHOWN = 10  # customers of a scored week


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    Parameters
    ----------
    arguments
        Words after ``retain``; default: those of the process.

    Returns
    -------
    int
        0 done, 1 the data or a check failed, 2 wrong use.
    """
    # waiting threads that spin cost minutes on a shared machine; must be set before they start
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.run is None:
        parser.print_help()
        return WRONG_USE
    try:
        return int(given.run(given))
    except RetainError as problem:
        _complain(str(problem))
        return problem.exit_code
    except KeyboardInterrupt:
        _complain("stopped; nothing half-written was left behind")
        return INTERRUPTED
    except OSError as problem:  # a full disk, a folder that is not ours: no traceback helps
        where = f"{problem.filename}: " if problem.filename else ""
        _complain(f"{where}{problem.strerror or problem}. Check the path, its owner and the disk.")
        return FAILED
    finally:
        with _open_ended():
            sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    from retain.cli import team, watching

    parser = argparse.ArgumentParser(
        prog="retain",
        description="What each customer is worth, who is about to leave, why, and what it would "
        "pay to keep them.",
        epilog="Start with:  retain demo",
    )
    parser.add_argument("--version", action="version", version=f"retain {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(
        name: str, run: Callable[[Any], int], text: str, example: str
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example:  {example}",
        )
        one.set_defaults(run=run)
        return one

    def config(one: argparse.ArgumentParser) -> None:
        one.add_argument("config", metavar="CONFIG", help="the company's YAML file")

    def as_of(one: argparse.ArgumentParser) -> None:
        one.add_argument(
            "--as-of", metavar="DATE", help="last day of a week; default: the last complete one"
        )

    one = command(
        "init",
        _init,
        "look at the files in a folder and propose a commented configuration",
        "retain init exports/ > acme.yaml",
    )
    one.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="default: here")
    one.add_argument("--out", metavar="FILE", help="write there instead of printing")

    one = command(
        "demo",
        _demo,
        "make a company, train, score four weeks, compute its metrics, write the page",
        "retain demo --out retain-demo",
    )
    one.add_argument("--out", metavar="DIR", default="retain-demo", help="default: retain-demo")
    one.add_argument("--customers", metavar="N", type=int, default=2000, help="default: 2000")
    one.add_argument("--seed", metavar="N", type=int, default=7, help="same seed, same company")

    one = command(
        "check",
        _check,
        "read everything once and say how usable it is",
        "retain check acme.yaml",
    )
    config(one)
    one.add_argument("--strict", action="store_true", help="rows set aside make it fail")

    one = command(
        "metrics",
        _metrics,
        "compute the customer-success metrics of a period and write its scorecard",
        "retain metrics acme.yaml --period 2026-10 --by segment,plan",
    )
    config(one)
    one.add_argument(
        "--period", metavar="PERIOD", help="2026-10, 2026-Q4 or 2026; default: the last whole month"
    )
    one.add_argument("--from", dest="start", metavar="DATE", help="first day, instead of --period")
    one.add_argument("--to", dest="end", metavar="DATE", help="last day, included")
    one.add_argument("--by", metavar="COLUMNS", help="columns of customers, as in segment,plan")
    one.add_argument(
        "--variant",
        metavar="NAME=VARIANT",
        action="append",
        default=[],
        help="a definition instead of the first, as in nps=all (may be repeated)",
    )
    one.add_argument(
        "--ids",
        metavar="NAME",
        action="append",
        default=[],
        help="also list the rows or customers behind this metric (may be repeated)",
    )
    shown = one.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print everything as JSON")
    shown.add_argument("--csv", action="store_true", help="print every number as CSV")

    one = command(
        "train",
        _train,
        "learn, judge out of time beside baselines, save and register",
        "retain train acme.yaml",
    )
    config(one)
    as_of(one)
    one.add_argument("--seed", metavar="N", type=int, default=0, help="same seed, same bytes")
    one.add_argument(
        "--champion", action="store_true", help="let the new version score from now on"
    )
    one.add_argument(
        "--tune",
        metavar="MINUTES",
        type=float,
        help="search LightGBM settings for so long; default: choose among a few in seconds",
    )
    one.add_argument(
        "--allow-leaks", action="store_true", help="train although something gives leaving away"
    )

    one = command(
        "score",
        _score,
        "score and explain every customer for one week; safe to run twice",
        "retain score acme.yaml",
    )
    config(one)
    as_of(one)
    one.add_argument(
        "--model", metavar="NAME", help="a model's folder, version or alias; default: champion"
    )
    one.add_argument(
        "--without",
        metavar="TABLE",
        action="append",
        default=[],
        help="score although this table is absent (may be repeated)",
    )

    team.add_commands(command)
    watching.add_commands(command)

    one = command(
        "backtest",
        _backtest,
        "replay past weeks as if live: learn, score, see what happened",
        "retain backtest acme.yaml",
    )
    config(one)
    as_of(one)
    one.add_argument("--every", metavar="WEEKS", type=int, help="weeks between replayed weeks")
    one.add_argument("--most", metavar="N", type=int, help="how many weeks, newest first")
    one.add_argument("--seed", metavar="N", type=int, default=0, help="same seed, same figures")

    one = command(
        "promote",
        _promote,
        "let a challenger score when it is better than the champion beyond noise",
        "retain promote acme.yaml",
    )
    config(one)
    one.add_argument(
        "--model",
        metavar="NAME",
        default="challenger",
        help="a version or alias; default: challenger",
    )
    one.add_argument("--anyway", action="store_true", help="whatever the comparison says")

    one = command(
        "monitor",
        _monitor,
        "compare today with what the model learnt, and its promises with what happened",
        "retain monitor acme.yaml",
    )
    config(one)
    as_of(one)

    review.describe_review(
        command(
            "review",
            review.run_review,
            "open the customer-success lead's page over the scored weeks",
            "retain review acme.yaml",
        )
    )

    one = command("report", _report, "write a scored week's page again", "retain report acme.yaml")
    config(one)
    as_of(one)

    one = command(
        "config",
        _config,
        "show every setting with its default, unit and meaning",
        "retain config acme.yaml",
    )
    one.add_argument("config", metavar="CONFIG", nargs="?", help="default: the defaults")
    return parser


def _init(given: Any) -> int:
    from retain.tables import propose_config

    if given.out is None:
        # printed to be saved here, as in `retain init exports/ > acme.yaml`
        _say(propose_config(Path(given.folder), relative_to=Path()).rstrip("\n"))
        return DONE
    path = Path(given.out)
    if path.exists():
        raise ConfigError(f"init: {path} exists and is not overwritten. Name another file.")
    if not path.parent.is_dir():
        raise ConfigError(f"init: {path.parent} is not a folder. Make it, or name another file.")
    path.write_text(propose_config(Path(given.folder), relative_to=path.parent), encoding="utf-8")
    _say(f"wrote {path}; read it through, then: retain check {path}")
    return DONE


def _demo(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import demo

        made = demo(given.out, customers=given.customers, seed=given.seed, progress=listener)
    week = made.weeks[-1]
    _show_training(made.trained)
    _say("")
    _show_week(week)
    store = week.folder.parent.parent
    _say("")
    _say(f"  page           {week.folder / 'report.html'}")
    _say(f"  scored weeks   {week.folder.parent}")
    _say(f"  metrics        {made.measured.folder / 'scorecard.html'}")
    _say(f"  model          {made.trained.folder}")
    _say(f"  experiments    mlflow ui --backend-store-uri sqlite:///{store / 'mlflow.db'}")
    _say(f"  configuration  {made.config}")
    _say(f"\nNext:  retain review {made.config}      the page to check, contradict and act on it")
    _say(f"       retain score {made.config}      every week, from cron")
    _say(f"       retain metrics {made.config}    the numbers that finance asks for")
    return DONE


def _check(given: Any) -> int:
    from retain.jobs import check

    with _progress() as listener:
        found = check(given.config, strict=given.strict, progress=listener)
    from retain.report import terminal

    _print(terminal.findings_table(found.findings))
    _say("")
    _print(terminal.counts_table(found.counts))
    _say(f"\ndata until {found.data_until}")
    if found.quarantine is not None:
        _say(f"rows set aside, with their reasons: {found.quarantine}")
    if found.ok:
        _say(f"usable, but not to train on: {found.refusal}" if found.refusal else "usable")
        return DONE
    errors = sum(finding.severity == "error" for finding in found.findings)
    _complain(many(errors, "error", "errors") if errors else "rows were set aside (--strict)")
    return FAILED


def _metrics(given: Any) -> int:
    variants: dict[str, list[str]] = {}
    for said in given.variant:
        name, found, variant = said.partition("=")
        if not found:
            raise ConfigError(f"--variant {said}: expected NAME=VARIANT, as in nps=all")
        variants.setdefault(name.strip(), []).append(variant.strip())
    with _progress() as listener:
        from retain.jobs import measure

        made = measure(
            given.config,
            period=given.period,
            start=given.start,
            end=given.end,
            by=given.by,
            variants=variants,
            ids=given.ids,
            progress=listener,
        )
    if given.json or given.csv:
        name = "metrics.json" if given.json else "metrics.csv"
        _say((made.folder / name).read_text(encoding="utf-8").rstrip("\n"))
        return DONE
    from retain.report.scoreboard import scoreboard

    _print(scoreboard(made.card))
    _say("")
    for note in made.card["notes"]:
        _write(f"note: {note}")
    _say(f"written to {made.folder}")
    return DONE


def _train(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import train

        made = train(
            given.config,
            as_of=given.as_of,
            seed=given.seed,
            champion=True if given.champion else None,
            allow_leaks=given.allow_leaks,
            tune_minutes=given.tune,
            progress=listener,
        )
    _show_training(made)
    role = "champion: it scores from now on" if made.run.is_champion else "challenger"
    if made.promotion:
        _write(made.promotion)
    _say(f"\ncard {made.folder / 'model_card.html'}")
    _say(f"version {made.bundle.version} saved in {made.folder}, registered as {role}")
    return DONE


def _score(given: Any) -> int:
    from retain.cli import watching

    with _progress() as listener:
        from retain.jobs import score

        week = score(
            given.config,
            as_of=given.as_of,
            model=given.model,
            without=tuple(given.without),
            progress=listener,
        )
    _show_week(week)
    _say(f"\nwritten to {week.folder}")
    return DONE if week.alerts is None else watching.show_watched(week.alerts)


def _backtest(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import backtest

        found = backtest(
            given.config,
            as_of=given.as_of,
            every_weeks=given.every,
            most=given.most,
            seed=given.seed,
            progress=listener,
        )
    from retain.report import terminal
    from retain.report.backtest import PROFIT_OF_ONE_LIST, weeks_table

    _print(weeks_table(found.weeks, found.learnt, found.best_baseline))
    if found.overall:
        shown = (
            *("auc", "average_precision", "brier", "log_loss"),
            *("capture_at_capacity", "capture_by_value", "value_captured", "profit_per_week"),
        )
        _say("")
        _print(
            terminal.metrics_table(
                [_only(row, shown) for row in found.overall], title="All known weeks together"
            )
        )
    _say("")
    if found.chosen:
        _write(f"note: {found.chosen}")
    _write(found.profit or PROFIT_OF_ONE_LIST.format(horizon=found.horizon_weeks))
    _say(f"page           {found.folder / 'backtest.html'}")
    return DONE


def _promote(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import promote

        found = promote(given.config, model=given.model, anyway=given.anyway, progress=listener)
    from retain.report import terminal, watching

    if found.comparison:
        days = ", ".join(one["as_of"] for one in found.weeks)
        shown = ("auc", "average_precision", "log_loss", "calibration_error", "capture_at_capacity")
        _print(
            terminal.metrics_table(
                [_only(row, shown) for row in found.comparison], title=f"Judged on {days}"
            )
        )
        _say("")
        _print(watching.differences_table(found.differences))
        _say("")
    _write(found.why)
    champion = found.challenger if found.promoted else found.champion
    _say(f"champion: {champion}\nwritten to {found.file}")
    return DONE if found.promoted else FAILED


def _monitor(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import monitor

        found = monitor(given.config, as_of=given.as_of, progress=listener)
    from retain.report import watching

    if len(found.weeks):
        _print(watching.results_table(found.weeks))
        _say("")
    if found.hindsight:
        _write(f"note: {watching.hindsight_line(found.hindsight)}")
        _say("")
    _print(watching.drift_table(found.features))
    _say("")
    _print(watching.advice_table(found.advice))
    _say("")
    verdict = "train again" if found.retrain else "no need to train again"
    _say(f"{found.as_of}: {verdict}; written to {found.folder}")
    return DONE


def _report(given: Any) -> int:
    from retain.jobs import report

    _say(str(report(given.config, as_of=given.as_of)))
    return DONE


def _config(given: Any) -> int:
    from retain.config import describe_config, load_config

    _say(describe_config(None if given.config is None else load_config(given.config)))
    return DONE


def _show_training(made: Any) -> None:
    from retain.report import terminal

    days = made.bundle.about["test_snapshots"]
    shown: tuple[str, ...] = (
        "auc",
        "average_precision",
        "brier",
        "log_loss",
        "calibration_error",
    )
    _print(
        terminal.metrics_table(
            [_only(row, shown) for row in made.comparison],
            title=f"Churn, judged out of time on {', '.join(days)}",
        )
    )
    if made.clv_comparison:
        _say("")
        shown = ("mae", "normalised_gini", "spearman", "sum_predicted_over_actual")
        _print(
            terminal.metrics_table(
                [_only(row, shown) for row in made.clv_comparison],
                title=f"Value in {made.bundle.clv.learnt_weeks} weeks, judged out of time",
            )
        )
    _say("")
    if tuning := made.bundle.about["tuning"]:
        _write(
            f"Tuned: {tuning['trials']} trials, log loss {tuning['log_loss']:.4f} against "
            f"{tuning['log_loss_default']:.4f} of the defaults, forward in time."
        )
    grade = made.bundle.about["grade"]
    _write(f"Grade {grade['letter']}, {grade['meaning']}. Decided by: {grade['reason']}.")


def _only(row: dict[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    ends = ("", "_low", "_high")
    kept = {f"{name}{end}": row[f"{name}{end}"] for name in shown for end in ends if name in row}
    return {"name": row["name"], **kept}


def _show_week(week: Any) -> None:
    from retain.report import terminal

    scores, drivers = week.first(MOST_SHOWN)
    _print(
        terminal.riskiest_table(
            scores, n=MOST_SHOWN, currency=week.manifest["currency"], drivers=drivers
        )
    )
    people = week.manifest["customers"]
    parts = [f"{people['eligible']:,} eligible"]
    parts += [f"{n:,} {reason}" for reason, n in people["not_eligible"].items()]
    if people["set_aside"]:
        parts.append(f"{people['set_aside']:,} set aside")
    _say("")
    _write(f"{week.as_of}: {people['in']:,} customers = " + " + ".join(parts))
    for note in week.manifest["notes"]:
        _write(f"note: {note}")


if __name__ == "__main__":
    raise SystemExit(main())
