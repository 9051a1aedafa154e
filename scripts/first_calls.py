"""Show how long the calls of a turn take after another runner has had the caches.

    python scripts/first_calls.py                                   # dlrm-top, residual-mlp and nerf of the zoo, batch 1 and 8
    python scripts/first_calls.py --network policy --batch 1 64

Interleaved runners evict each other's weights. For each network and batch size, a compiled and an eager runner take turns of many calls.
The table has the median over the turns of the first, second, fourth, ... call, in microseconds. What the later calls take is what a program
sees that calls one network again and again, so `mlbench` starts a turn with untimed calls (`WARM_UP_S` in `mlbench.measure.latency`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from mlbench import BaselineRunner, OptimizedRunner
from mlbench.models.zoo import ZOO, load_zoo

CALLS, TURNS = 64, 30
SHOWN = (1, 2, 4, 8, 16, 32, 64)


def main() -> None:
    """Read the options, measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--network", nargs="+", choices=ZOO, default=["dlrm-top", "residual-mlp", "nerf"], help="of the zoo")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="rows of a call (default 1 and 8)")
    options = parser.parse_args()
    print(f"{'network':<18} {'batch':>5} {'runner':<10}" + "".join(f"{f'call {number}':>10}" for number in SHOWN))
    for name in options.network:
        for batch in options.batch:
            for runner, medians in measured(name, batch).items():
                shown = "".join(f"{1e6 * medians[number - 1]:>10.1f}" for number in SHOWN)
                print(f"{name:<18} {batch:>5} {runner:<10}{shown}", flush=True)


def measured(name: str, batch: int) -> dict[str, list[float]]:
    """Return for each runner the median seconds of the first call of a turn, of the second, and so on."""
    network, random = load_zoo(name), np.random.default_rng(0)
    values = [random.standard_normal((batch, columns), dtype=np.float32) for columns in network.graph().inputs.values()]
    calls: dict[str, Callable[[], object]] = {
        "optimized": partial(OptimizedRunner(network, max_batch=batch).run, *values),
        "baseline": partial(BaselineRunner(network).run, *values),
    }
    seconds: dict[str, list[list[float]]] = {runner: [] for runner in calls}
    for turn in range(TURNS):
        for runner in list(calls) if turn % 2 else list(calls)[::-1]:
            call, turn_s = calls[runner], []
            calls["baseline" if runner == "optimized" else "optimized"]()
            for _ in range(CALLS):
                begin = time.perf_counter()
                call()
                turn_s.append(time.perf_counter() - begin)
            seconds[runner].append(turn_s)
    return {runner: np.median(turns, axis=0).tolist() for runner, turns in seconds.items()}


if __name__ == "__main__":
    main()
