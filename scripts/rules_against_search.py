"""How far the default rules are from the best schedule: an exhaustive search over tiles and kinds of code, for 60 shapes.

    python scripts/rules_against_search.py                  # some ten minutes on an idle machine
    python scripts/rules_against_search.py --shapes 64-300-200-10 --batch 512 --rounds 30

Every candidate runs a trial. The FINALISTS fastest then take turns in short rounds, and the best of them is chosen. The fastest of many is
often the luckiest, and where operands lie in memory is worth some per cent. So the best one and the default meet in fresh rounds, with
runners that are built anew for each of SETS sets. What is printed is the default's time / the best one's with an interval over the sets; a
candidate that needs more memory than the budget is left out, as the search leaves it out. Ctrl-C prints what is there.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from mlbench import OptimizedRunner, mlp
from mlbench.compiler.schedule.schedule import OpSchedule, Schedule
from mlbench.compiler.x86 import find
from mlbench.ir import FloatArray
from mlbench.measure import time_interleaved
from mlbench.measure.stats import Interval, median, ratio_interval
from mlbench.models import Model
from mlbench.studies.autotune import is_affordable

SHAPES = ("64-64-10", "64-256-10", "64-1024-10", "256-256-256", "784-128-10", "784-512-256-10", "256-1024-256", "1024-1024-1024",
          "64-300-200-10", "128-128-128-128-128", "64-64-64-64-64-64-64-64", "512-2048-512")  # fmt: skip
BATCHES = (32, 64, 128, 512, 2048)
TILES = (8, 12, 16, 24, 32, 48, 64, 84, 96, 128, 168, 192, 256, 336, 512, 1024)
FINALISTS, SETS = 4, 5
TRIAL_S, TURN_S = 2e-4, 5e-4
WITHIN = 1.03


def candidates(model: Model, batch: int) -> Iterator[Schedule]:
    """Give every tile with generated code for all products, and with NumPy for the last one or for all."""
    products = len(model.layers)
    mine, theirs = OpSchedule(generated=True), OpSchedule()
    kinds = [(theirs,) * products]
    if find()[0] is not None:
        kinds += [(mine,) * products, (*(mine,) * (products - 1), theirs)]
    for ops, tile in itertools.product(kinds, (None, *TILES)):
        if tile is None or tile < batch:
            yield Schedule(tile, ops)


def best_of(model: Model, x: FloatArray, rounds: int) -> Schedule:
    """Return the fastest of all candidates: every one runs a trial, and the finalists meet."""
    found = [(each, OptimizedRunner(model, len(x), schedule=each)) for each in candidates(model, len(x))]
    calls = {str(number): partial(runner.run, x) for number, (_, runner) in enumerate(found)}
    for call in calls.values():
        call()  # what a runner needs is known then
    fitting = {name: call for name, call in calls.items() if is_affordable(found[int(name)][1])}
    trial = time_interleaved(fitting, 2, TRIAL_S, 0.0, count_faults=False)
    finalists = sorted(fitting, key=lambda name: min(trial[name].rounds_s))[:FINALISTS]
    times = time_interleaved({name: fitting[name] for name in finalists}, rounds, TURN_S, 0.0, count_faults=False)
    return found[int(min(finalists, key=lambda name: median(times[name].rounds_s)))][0]


def measured(sizes: Sequence[int], batch: int, rounds: int) -> tuple[Interval, str]:
    """Return the default's time / the best candidate's, and what that one is."""
    model = mlp(inputs=sizes[0], hidden=sizes[1:-1], outputs=sizes[-1])
    x = np.random.default_rng(0).standard_normal((batch, sizes[0]), dtype=np.float32)
    best = best_of(model, x, rounds)
    schedules, sets = {"default": None, "best": best}, []
    for number in range(SETS):
        names = sorted(schedules, reverse=number % 2 == 1)  # the first runner that is built lies elsewhere
        arms = {name: partial(OptimizedRunner(model, batch, schedule=schedules[name]).run, x) for name in names}
        times = time_interleaved(arms, rounds, TURN_S, 0.0, count_faults=False)
        sets.append([one / other for one, other in zip(times["default"].rounds_s, times["best"].rounds_s, strict=True)])
    return ratio_interval(sets), f"tile {best.tile_rows}, {_text(best)}"


def _text(schedule: Schedule) -> str:
    generated = sum(op.generated for op in schedule.ops)
    return f"generated code for {generated} of {len(schedule.ops)} products"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the shapes and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shapes", default=",".join(SHAPES), help="sizes of the layers, joined by '-' (default: %(default)s)")
    parser.add_argument("--batch", default=",".join(map(str, BATCHES)), help="rows of a call (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of the finalists, and of each set (default: %(default)s)")
    options = parser.parse_args(arguments)
    cells = list(itertools.product(options.shapes.split(","), map(int, options.batch.split(","))))
    found: list[float] = []
    print("shape, batch: default / best (95 % interval), the best")
    try:
        for shape, batch in cells:
            with threadpool_limits(1):  # what is compared has one thread
                interval, text = measured(tuple(map(int, shape.split("-"))), batch, options.rounds)
            found.append(interval.estimate)
            print(f"{shape}, {batch}: {interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f}), {text}", flush=True)
    except KeyboardInterrupt:
        print(f"stopped after {len(found)} of {len(cells)}")
    if found:
        within = sum(each <= WITHIN for each in found)
        mean = math.exp(sum(map(math.log, found)) / len(found))
        print(f"{within} of {len(found)} within {WITHIN - 1:.0%} of the best; geometric mean {mean:.3f}, worst {max(found):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
