"""`retain demo`: make a company, train, score four weeks, compute its metrics: the whole story."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from retain.config import load_config
from retain.errors import ConfigError, StoreError
from retain.jobs.measuring import Measured, measure
from retain.jobs.progress import Listener, silent
from retain.jobs.scoring import Scored, score
from retain.jobs.training import Trained, train

__all__ = ["Demonstrated", "demo"]

SCORED_WEEKS = 4
TREND_MONTHS = 3
LEAST_CUSTOMERS = 500
MARK = ".retain-demo"
# what MLflow keeps open while this process lives, and its pages still show: not deleted
EXPERIMENTS = ("mlflow", "mlartifacts")


@dataclass(frozen=True)
class Demonstrated:
    """What the demo made.

    Parameters
    ----------
    config
        The simulated company's configuration file.
    trained
        The training.
    weeks
        The scored weeks, oldest first.
    measured
        The metrics of the last whole month.
    """

    config: Path
    trained: Trained
    weeks: list[Scored]
    measured: Measured


def demo(
    out: str | Path = "retain-demo",
    *,
    customers: int = 2000,
    seed: int = 7,
    progress: Listener = silent,
) -> Demonstrated:
    """Simulate a company and run the main job on it.

    Parameters
    ----------
    out
        Folder to write into: new, empty, or made by an earlier demo.
    customers
        How many customers to simulate.
    seed
        Same seed, same company.
    progress
        Told what is being done.

    Raises
    ------
    ConfigError
        When there are too few customers to learn from.
    StoreError
        When the folder holds something else.
    """
    import shutil

    from retain.demo import make_company

    if customers < LEAST_CUSTOMERS:
        raise ConfigError(
            f"--customers {customers}: too few to learn from. Ask for at least {LEAST_CUSTOMERS}."
        )
    folder = Path(out).resolve()
    is_free = not folder.exists() or (folder / MARK).exists()
    if not is_free and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise StoreError(
            f"demo: {folder} {what} and was not made by an earlier demo. Name a new folder with "
            "--out."
        )
    made = [folder / "data", *(folder / "store").glob("*")]
    for path in made:
        if not path.name.startswith(EXPERIMENTS):
            shutil.rmtree(path, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("made by `retain demo`; safe to delete\n", encoding="utf-8")
    progress("simulating a company", 0.0)
    company = make_company(customers, seed=seed)
    path = company.write(folder)
    config = load_config(path)

    def part(first: float, last: float, said: str = "") -> Listener:
        return lambda text, share: progress(said + text, first + (last - first) * share)

    # as it would have been four weeks ago: train, then score week by week
    newest = company.until
    start = newest - timedelta(days=7 * (SCORED_WEEKS - 1))
    trained = train(config, as_of=start, progress=part(0.1, 0.6))
    weeks = []
    for number in range(SCORED_WEEKS):
        day = start + timedelta(days=7 * number)
        width = 0.3 / SCORED_WEEKS
        listener = part(0.6 + width * number, 0.6 + width * (number + 1), f"{day}: ")
        weeks.append(score(config, as_of=day, progress=listener))
    # for the review page's pain points, ledgers and metrics; a short trend, to be quick
    short = config.metrics.model_copy(update={"periods": TREND_MONTHS})
    measured = measure(
        config.model_copy(update={"metrics": short}), progress=part(0.9, 1.0, "metrics: ")
    )
    progress("done", 1.0)
    return Demonstrated(path, trained, weeks, measured)
