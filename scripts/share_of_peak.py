"""Measure which share of the core's peak, and of NumPy's best matrix product, the compiled runner reaches on one thread.

    python scripts/share_of_peak.py                                    # some minutes: the shapes of `mlbench peers` and the zoo
    python scripts/share_of_peak.py --models 512-512-512 zoo:nerf --batch 64 512

The runner, multiply-adds in registers and NumPy's product of two matrices of SIZE x SIZE take turns, so that a busy moment, or a slower
clock, hits all of them alike. `mlbench roofline` measures the ceilings before the cases and keeps the best of them, so on a machine with
neighbours its shares are smaller. Only the operations of matrix products are counted: activations and norms cost a share, too. A line has
the median over the rounds and the middle half of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from mlbench import OptimizedRunner
from mlbench.compiler.x86 import find
from mlbench.compiler.x86.loops import multiply_add_loop
from mlbench.measure import time_interleaved
from mlbench.measure.stats import median, quantile
from mlbench.models.zoo import ZOO
from mlbench.studies.subjects import brought, layers

SHAPES = ("64-64-10", "256-256-256", "64-1024-64", "784-512-10", "1024-4096-1024", "512-512-512")
SIZE, TURNS, ROUNDS, TURN_S = 512, 20_000, 15, 3e-3


def shares(name: str, rows: int) -> str:
    """Return what a runner reaches, as text."""
    vectors, why = find()
    if vectors is None:
        raise SystemExit(f"no generated code here: {why}")
    loop, subject, random = multiply_add_loop(vectors), layers(name) or brought(name), np.random.default_rng(0)
    one, other = (random.standard_normal((SIZE, SIZE), dtype=np.float32) for _ in range(2))
    arms: dict[str, Callable[[], object]] = {
        "runner": partial(OptimizedRunner(subject.model(), rows).run, *subject.arrays(rows)),
        "loop": partial(loop.run, TURNS),
        "product": partial(one.dot, other, np.empty_like(one)),
    }
    flop = {"runner": subject.work_flop(rows), "loop": TURNS * loop.work, "product": 2 * SIZE**3}
    times = time_interleaved(arms, ROUNDS, TURN_S, 0.0, count_faults=False)
    rates = {arm: [flop[arm] / each for each in times[arm].rounds_s] for arm in arms}
    parts = [f"{median(rates['runner']) / 1e9:7.1f} GFLOP/s"]
    for ceiling in ("loop", "product"):
        ratios = [100 * mine / most for mine, most in zip(rates["runner"], rates[ceiling], strict=True)]
        parts.append(f"{median(ratios):5.0f} % ({quantile(ratios, 0.25):.0f} to {quantile(ratios, 0.75):.0f})")
    return "   ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a line for each model and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", default=[*SHAPES, *(f"zoo:{each}" for each in ZOO)], metavar="NAME", help="MLPs, or of the zoo"
    )
    parser.add_argument("--batch", nargs="+", type=int, default=[64, 512], metavar="N", help="rows of a call (default 64 512)")
    options = parser.parse_args(arguments)
    print(f"{'':28}{'products':>15}   {'of the peak':>17}   {'of NumPy':>17}")
    with threadpool_limits(1):
        for name in options.models:
            for rows in options.batch:
                print(f"{f'{name} b{rows}':28}{shares(name, rows)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
