"""What a training costs: `python tests/benchmarks/training.py [--customers 19000] [--seed 1]`.

A simulated company is made, which is not timed, and trained on once. Each step is printed with its
wall and CPU seconds. Aim: 200,000 snapshots of 120 features learnt, calibrated, judged and written
on a card within 4 minutes on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not count as work


def main() -> None:
    """Make, train, print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--customers", type=int, default=19_000)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--details", action="store_true", help="a line for every detail heard")
    given = asked.parse_args()

    from retain import train
    from retain.demo import make_company

    heard: list[tuple[str, float, float]] = []

    def listen(text: str, share: float) -> None:
        step = text if given.details else text.partition(":")[0]
        if not heard or heard[-1][0] != step:
            heard.append((step, time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        config = make_company(given.customers, seed=given.seed).write(Path(folder))
        trained = train(config, record=False, progress=listen)
    heard.append(("", time.perf_counter(), time.process_time()))
    about = trained.bundle.about
    print(f"{about['rows']:,} snapshots x {len(trained.bundle.encoder.columns_)} features")
    for (step, wall, cpu), (_, wall_after, cpu_after) in itertools.pairwise(heard):
        print(f"{step:<60} {wall_after - wall:8.1f} s wall {cpu_after - cpu:8.1f} s CPU")
    begin = next(one for one in heard if one[0].startswith("learning churn"))
    wall, cpu = heard[-1][1] - begin[1], heard[-1][2] - begin[2]
    print(f"{'from the features to the card':<60} {wall:8.1f} s wall {cpu:8.1f} s CPU")


if __name__ == "__main__":
    main()
