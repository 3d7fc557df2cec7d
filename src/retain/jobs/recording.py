"""What a training and a scored week leave in MLflow: figures, plots, the company's own metrics.

Beside the model's figures stand the metrics of the last whole month before, as known on that day,
so that what the model did can be read next to how the company did.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from retain import tracking
from retain.errors import RetainError, StoreError
from retain.jobs.calculating import Calculating, choose
from retain.jobs.opening import Company
from retain.metrics import Period
from retain.model import Bundle
from retain.report.model_card import CARD_FILES

__all__ = ["last_month", "metrics_known", "record_run", "record_scored", "uri_of"]


def uri_of(company: Company) -> str:
    """Give the address of the company's tracking store; it may hold a password."""
    return tracking.tracking_uri(company.config.store, company.config.tracking_uri())


def last_month(day: date) -> Period:
    """Give the last month that is whole on the evening of `day`.

    Examples
    --------
    >>> last_month(date(2026, 11, 15)).label, last_month(date(2026, 11, 30)).label
    ('2026-10', '2026-11')
    """
    after = date.fromordinal(day.toordinal() + 1)
    return Period.month(f"{after:%Y-%m}").previous()


def metrics_known(company: Company, day: date) -> dict[str, float]:
    """Compute the metrics of the last whole month with what was known on the evening of `day`.

    Returns
    -------
    dict
        ``metrics.<name>.<variant>`` to value; what is undefined or lacks its table is left out.
    """
    settings = company.config.metrics
    calculating, month = Calculating(company, day), last_month(day)
    found = {}
    for one in choose(settings.variants, settings.parameters):
        try:
            metric = calculating(one, month)
        except RetainError:
            continue  # `retain metrics` says why
        if metric.value is not None:
            found[f"metrics.{metric.name}.{metric.variant}"] = float(metric.value)
    return found


def record_scored(company: Company, bundle: Bundle, day: date) -> None:
    """Add the metrics known on a scored day to the run of the model that scored it.

    A model that was scored from a folder may have no run, and a week must go out when the record
    cannot be reached: then nothing is added.
    """
    uri = uri_of(company)
    try:
        versions = tracking.list_versions(uri=uri, registered_model=company.config.model_name)
        runs = [one.run_id for one in versions if one.model_version == bundle.version]
        if runs:
            values = {f"scoring.{name}": v for name, v in metrics_known(company, day).items()}
            tracking.record_results(runs[0], values, uri=uri, as_of=day)
    except StoreError:
        return


def record_run(
    company: Company,
    bundle: Bundle,
    folder: Path,
    version: str,
    figures: Any,
    clv_figures: Any,
    by_as_of: Any,
    drawn: dict[str, Any],
    champion: bool | None,
    capacity: int,
) -> Any:
    """Keep a training in MLflow, with its plots and the metrics known on its day.

    Parameters
    ----------
    company
        Whose model it is.
    bundle, folder, version
        The model, where it was saved with its card, and its name.
    figures, clv_figures, by_as_of
        Judged out of time.
    drawn
        What the plots are drawn from: y, p by method, matrix T with its names, head.
    champion
        As for `retain.tracking.record_training`.
    capacity
        Customers that the team can act on in the weeks judged.

    Returns
    -------
    RunRef
        Where it was recorded.
    """
    from retain import explain
    from retain.report import charts

    metrics = {f"churn.{name}": v["value"] for name, v in figures.items()}
    metrics |= {f"clv.{name}": v["value"] for name, v in clv_figures.items()}
    for prefix, source in (("churn", figures), ("clv", clv_figures)):
        for name, v in source.items():
            metrics |= {f"{prefix}.{name}.low": v["low"], f"{prefix}.{name}.high": v["high"]}
    if tuning := bundle.about.get("tuning"):
        metrics |= {f"tuning.{name}": value for name, value in tuning.items()}
    metrics |= metrics_known(company, date.fromisoformat(bundle.about["as_of"]))
    with tempfile.TemporaryDirectory() as scratch:
        plots = Path(scratch) / "plots"
        plots.mkdir()
        figs = {
            "calibration": charts.calibration_figure(drawn["p"]["retain"], drawn["y"]),
            "gain": charts.gain_figure(drawn["p"], drawn["y"], capacity / max(len(drawn["y"]), 1)),
        }
        sample = drawn["T"][:2000]
        figs["shap_summary"] = explain.summary_figure(
            drawn["head"].contributions(sample)[:, :-1], sample, drawn["names"]
        )
        for name, figure in figs.items():
            charts.write_png(figure, plots / f"{name}.png")
        (Path(scratch) / "comparison.json").write_text(
            json.dumps(
                {"churn": bundle.about["comparison"], "clv": bundle.about["clv_comparison"]}
            ),
            encoding="utf-8",
        )
        cards = Path(scratch) / "model_card"
        cards.mkdir()
        for name in CARD_FILES:
            shutil.copyfile(folder / name, cards / name)
        boosters = {"churn": bundle.churn.head.booster_}
        if bundle.clv is not None:
            boosters["clv"] = bundle.clv.head.booster_
        return tracking.record_training(
            tracking.TrainingRecord(
                run_name=f"{company.config.company} {bundle.about['as_of']}",
                model_version=version,
                config_version=company.config.fingerprint(),
                settings=bundle.settings,
                metrics={k: float(v) for k, v in metrics.items()},
                bundle=folder,
                boosters=boosters,
                metrics_by_as_of={
                    day: {f"churn.{n}": v["value"] for n, v in found.items()}
                    for day, found in by_as_of.items()
                },
                fingerprints=company.tables.fingerprints,
                tags={"grade": bundle.about["grade"]["letter"]},
                artifacts={
                    "plots": plots,
                    "model_card": cards,
                    "": Path(scratch) / "comparison.json",
                },
            ),
            uri=uri_of(company),
            experiment=company.config.experiment,
            registered_model=company.config.model_name,
            champion=champion,
        )
