"""Call one runner with many batch sizes, and compare that with calls of one size each.

    python scripts/many_sizes.py                                # 64-64-10 with 33, 150 and 200 sizes
    python scripts/many_sizes.py --sizes 500 --hidden 256
    python scripts/many_sizes.py --activation tanh --no-code    # where NumPy computes

A server sees another number of rows in each call. For each number of sizes, the calls below take turns in one process (ABBA), with the
sizes in random order. All inputs are the first rows of one array, as a server would collect them.

    in turn     one runner, another size in each call
    alone       the same runner, eight calls of a size before the next one
    a runner a size, and the eager runner, in the order of `in turn`

The table has the time of a call in the fastest round, and its ratios to the other three (below 1 is faster; in brackets the median of the
rounds, which is the same on an idle machine). Then come the bytes that the runner holds before and after, and what the first call of a size
allocates.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mlbench import BaselineRunner, Model, OptimizedRunner, mlp
from mlbench.compiler.pipeline import PASSES
from mlbench.ir import FloatArray
from mlbench.measure import footprint, has_memray, time_interleaved

AGAIN = 8
"""Calls of a size that follow each other in `alone`."""
IN_TURN, ALONE, EACH, EAGER = "in turn", "alone", "a runner a size", "eager"
HEAD = (
    f"{'model':<12} {'sizes':>5} {'in turn':>10} {'/ alone':>20} {'/ a runner a size':>20} {'/ eager':>20}  {'bytes held':<20} first call"
)


def main() -> None:
    """Read the options, measure, and print the table."""
    options = _options()
    widths = (options.inputs, *(options.hidden,) * options.depth, options.outputs)
    model = mlp(options.inputs, (options.hidden,) * options.depth, options.outputs, activation=options.activation)
    passes = [each.name for each in PASSES if each.name != "codegen" or not options.no_code]
    print(HEAD)
    for sizes in options.sizes:
        print(f"{'-'.join(map(str, widths)):<12} {sizes:>5} {_row(model, sizes, passes, options.rounds, options.threads)}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[33, 150, 200], help="how many batch sizes: 1 to this many rows")
    for name, size in (("inputs", 64), ("hidden", 64), ("depth", 1), ("outputs", 10), ("threads", 1), ("rounds", 31)):
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
    first = _first_calls(make(), xs)
    runners = [make().run for _ in xs]

    def each() -> None:
        for run, x in zip(runners, xs, strict=True):
            run(x)

    arms = {
        IN_TURN: _calls(runner.run, xs),
        ALONE: _calls(runner.run, [x for x in xs for _ in range(AGAIN)]),
        EACH: each,
        EAGER: _calls(eager.run, xs),
    }
    found = {name: times.rounds_s for name, times in time_interleaved(arms, rounds, singles_s=0, count_faults=False).items()}
    mine = found[IN_TURN]
    ratios = (_ratio(mine, [seconds / repeats for seconds in found[name]]) for name, repeats in ((ALONE, AGAIN), (EACH, 1), (EAGER, 1)))
    held = f"{before:,} {runner.memory.total_bytes:,}"
    return f"{min(mine) / most * 1e6:>7.2f} us {' '.join(ratios)}  {held:<20} {first}"


def _calls(run: Callable[[FloatArray], object], xs: Sequence[FloatArray]) -> Callable[[], None]:
    def calls() -> None:
        for x in xs:
            run(x)

    return calls


def _ratio(mine: Sequence[float], other: Sequence[float]) -> str:
    middle = statistics.median(one / two for one, two in zip(mine, other, strict=True))
    return f"{min(mine) / min(other):.2f} ({middle:.2f})".rjust(20)


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
