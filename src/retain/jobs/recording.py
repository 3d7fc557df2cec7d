"""How a training is kept on record: its figures, plots and model, in MLflow."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from retain import tracking
from retain.jobs.opening import Company
from retain.model import Bundle

__all__ = ["record_run", "uri_of"]


def uri_of(company: Company) -> str:
    """Give the address of the company's tracking store; it may hold a password."""
    return tracking.tracking_uri(company.config.store, company.config.tracking_uri())


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
    """Keep a training in MLflow, with its plots.

    Parameters
    ----------
    company
        Whose model it is.
    bundle, folder, version
        The model, where it was saved, and its name.
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
                artifacts={"plots": plots, "": Path(scratch) / "comparison.json"},
            ),
            uri=uri_of(company),
            experiment=company.config.experiment,
            registered_model=company.config.model_name,
            champion=champion,
        )
