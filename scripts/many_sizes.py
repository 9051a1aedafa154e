"""Call one runner with many batch sizes, and compare that with calls of one size each.

    python scripts/many_sizes.py                                # 64-64-10 with 33, 150 and 200 sizes
    python scripts/many_sizes.py --sizes 500 --hidden 256
    python scripts/many_sizes.py --activation tanh --no-code    # where NumPy computes

A server sees another number of rows in each call. For each number of sizes, four ways take turns in one process, with the sizes in random
order. All inputs are the first rows of one array, as a server would collect them.

    in turn            one runner, another size in each call
    alone              the same runner, eight calls of a size before the next one
    a runner a size    one size for each of many runners
    eager              the eager runner, another size in each call

Every call is timed, and of each size the fastest one counts, because other work on the machine only adds to a time. The table has the mean
of these over the sizes, the clock's own time left out, and the ratios of `in turn` to the other three (below 1 is faster). Then come the
bytes that the runner holds before and after, and what the first call of a size allocates.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mlbench import BaselineRunner, Model, OptimizedRunner, mlp
from mlbench.compiler.pipeline import PASSES
from mlbench.ir import FloatArray
from mlbench.measure import footprint, has_memray, interleaved

AGAIN = 8
"""Calls of a size that follow each other in `alone`."""
IN_TURN, ALONE, EACH, EAGER = "in turn", "alone", "a runner a size", "eager"
OTHERS = (ALONE, EACH, EAGER)
HEAD = f"{'model':<12} {'sizes':>5} {IN_TURN:>12} {'/ alone':>10} {'/ a runner a size':>18} {'/ eager':>10}  {'bytes held':<18} first call"
Run = Callable[[FloatArray], object]
Calls = Sequence[tuple[Run, FloatArray]]


def main() -> None:
    """Read the options, measure, and print the table."""
    options = _options()
    hidden = (options.hidden,) * options.depth
    model = mlp(options.inputs, hidden, options.outputs, activation=options.activation)
    passes = [each.name for each in PASSES if each.name != "codegen" or not options.no_code]
    name = "-".join(map(str, (options.inputs, *hidden, options.outputs)))
    print(HEAD)
    for sizes in options.sizes:
        print(f"{name:<12} {sizes:>5} {_row(model, sizes, passes, options.rounds, options.threads)}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[33, 150, 200], help="how many batch sizes: 1 to this many rows")
    for name, size in (("inputs", 64), ("hidden", 64), ("depth", 1), ("outputs", 10), ("threads", 1), ("rounds", 61)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"default {size}")
    parser.add_argument("--activation", default="relu", help="of the hidden layers (default relu)")
    parser.add_argument("--no-code", action="store_true", help="let NumPy compute: leave out the optimisation codegen")
    return parser.parse_args()


def _row(model: Model, most: int, passes: Sequence[str], rounds: int, threads: int) -> str:
    """Measure one number of sizes."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((most, model.inputs), dtype=np.float32)
    xs = [rows[: int(size) + 1] for size in generator.permutation(most)]

    def make() -> OptimizedRunner:
        return OptimizedRunner(model, most, passes=passes, threads=threads)

    runner, eager = make(), BaselineRunner(model)
    runner.run(xs[0])
    before = runner.memory.total_bytes
    ways = {
        IN_TURN: [(runner.run, x) for x in xs],
        ALONE: [(runner.run, x) for x in xs for _ in range(AGAIN)],
        EACH: [(make().run, x) for x in xs],
        EAGER: [(eager.run, x) for x in xs],
    }
    mean_s = _fastest_s(ways, rounds)
    ratios = (f"{mean_s[IN_TURN] / mean_s[name]:>{width}.2f}" for name, width in zip(OTHERS, (10, 18, 10), strict=True))
    held = f"{before:,} {runner.memory.total_bytes:,}"
    return f"{mean_s[IN_TURN] * 1e6:>9.2f} us {' '.join(ratios)}  {held:<18} {_first_calls(make(), xs)}"


def _fastest_s(ways: Mapping[str, Calls], rounds: int) -> dict[str, float]:
    """Return the mean over the sizes of the fastest call of each, for each way."""
    fastest = {name: {len(x): float("inf") for _, x in calls} for name, calls in ways.items()}
    for turns in interleaved(list(ways), rounds):
        for name in turns:
            _time(ways[name], fastest[name])
    clock_s = min(_clock_s() for _ in range(1000))
    return {name: statistics.mean(found.values()) - clock_s for name, found in fastest.items()}


def _time(calls: Calls, fastest_s: dict[int, float]) -> None:
    """Time each call, and keep the fastest of each number of rows."""
    clock = time.perf_counter
    for run, x in calls:
        start = clock()
        run(x)
        spent_s = clock() - start
        fastest_s[len(x)] = min(fastest_s[len(x)], spent_s)


def _clock_s() -> float:
    start = time.perf_counter()
    return time.perf_counter() - start


def _first_calls(runner: OptimizedRunner, xs: Sequence[FloatArray]) -> str:
    """Return what the first call of a size allocates; each repeat of the measurement is the first call of another one."""
    if not has_memray():
        return "memray is not installed"
    left: Iterator[FloatArray] = iter(xs)
    runner.run(next(left))
    found = footprint(lambda: runner.run(next(left)))
    return f"{found.allocations} allocations, {found.peak_bytes} bytes"


if __name__ == "__main__":
    main()
