"""Run random graphs of all ops through compiled runners and the eager one, and compare each output with float64.

    python scripts/fuzz_graphs.py --graphs 10000            # about ten minutes
    python scripts/fuzz_graphs.py --first 4711 --graphs 1   # one of them again

Development only. A number, its seed, decides everything: the graph with its branches, inputs and outputs, the passes, the schedule, the
threads, and the batches. So a range of seeds can be run again, or gone on with. A run ends with 1 at a wrong output, and prints its seed.

**What is right** says `tests/support/noisy_runs.py`: what rounding explains. Every tenth graph also gets NaN and infinities among its
inputs. What comes out must be a number where the eager runner gives one, and no number where it gives none, an infinity with its sign:
two Linears that become one may give an infinity for NaN. A comparison makes a number of either, another one of each, so graphs with such
steps get none.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mlbench.compiler.pipeline import PASSES, compile_graph, passes_named
from mlbench.compiler.schedule.program import FEATURES, ROWS
from mlbench.compiler.schedule.schedule import BLAS, ONE, ORDERS, SPLIT, TILES, OpSchedule, Schedule, products_of
from mlbench.ir import FloatArray, graph_text, rounding
from mlbench.runtime import BaselineRunner, OptimizedRunner
from support.noisy_runs import expected, judge, results_of
from support.random_graphs import RandomGraph, random_graph

NAMES = tuple(each.name for each in PASSES)


@dataclass(frozen=True, slots=True)
class Case:
    """What one seed stands for.

    Attributes:
        made: the graph and its inputs.
        passes: names of the passes.
        schedule: what they are given; None for the heuristics.
        threads: that a call may use.
        poisoned: whether some inputs are NaN or infinite.
        story: all of it in some lines.
    """

    made: RandomGraph
    passes: tuple[str, ...]
    schedule: Schedule | None
    threads: int
    poisoned: bool
    story: str


def case_of(seed: int) -> Case:
    """Return the case of a seed."""
    random = np.random.default_rng([seed, 1])
    max_batch = int(random.choice([1, 2, 3, 8, 21, 64]))
    made = random_graph(seed, max_batch, int(random.choice([3, 6, 10, 20])))
    passes = NAMES
    if random.random() < 0.7:
        kept = random.random() * 1.2
        passes = tuple(name for name in NAMES if random.random() < kept)
    threads = int(random.choice([1, 1, 1, 2]))
    schedule = _schedule(random, made, max_batch, passes) if random.random() < 0.6 else None
    chosen = "heuristics" if schedule is None else f"{schedule.threading}, tiles of {schedule.tile_rows}, {schedule.ops}"
    poisoned = bool(random.random() < 0.1) and not any(node.op in rounding.STEPS for node in made.graph.nodes)
    story = f"{graph_text(made.graph)}\n  {'+'.join(passes) or 'no passes'}; {threads} threads; batch {max_batch}; {chosen}"
    return Case(made, passes, schedule, threads, poisoned, story + "; NaN" * poisoned)


def _schedule(random: np.random.Generator, made: RandomGraph, max_batch: int, passes: tuple[str, ...]) -> Schedule:
    """Return a schedule for the graph as it is where the first pass asks for one."""
    early = [name for name in passes if name in NAMES[: NAMES.index("static")]]
    products = len(products_of(compile_graph(made.graph, max_batch, passes_named(early)).graph))
    tile = random.choice([0, 1, 2, 5, 8])
    ops = []
    for _ in range(products):
        layout = FEATURES if random.random() < 0.3 else ROWS
        parts = int(random.integers(1, 4)) if layout == FEATURES else 1
        ops.append(OpSchedule(layout, str(random.choice(ORDERS)), parts, bool(random.random() < 0.5)))
    return Schedule(int(tile) or None, tuple(ops), str(random.choice([ONE, BLAS, TILES, SPLIT])))


def failure(case: Case) -> str:
    """Run a case and return what is wrong with it, or nothing."""
    made = case.made
    max_batch = len(made.xs[0])
    eager = BaselineRunner(made.graph)
    runner = OptimizedRunner(made.graph, max_batch, passes=case.passes, schedule=case.schedule, threads=case.threads)
    exact, allowed = expected(made)
    for rows in dict.fromkeys((max_batch, 1, max_batch - max_batch // 3, 0)):
        xs = tuple(x[:rows] for x in made.xs)
        for who, run in (("eager", eager.run), ("compiled", runner.run)):
            with np.errstate(all="ignore"):
                found = judge(made, rows, results_of(run(*xs)), exact, allowed)
            if found:
                return f"{who}, {rows} rows: {found}"
    return _poisoned(case, eager, runner) if case.poisoned else ""


def _poisoned(case: Case, eager: BaselineRunner, runner: OptimizedRunner) -> str:
    """Return what is wrong where some inputs are no numbers, or nothing."""
    random = np.random.default_rng(0)
    odd = np.array([np.nan, np.inf, -np.inf], np.float32)
    xs: list[FloatArray] = [np.where(random.random(x.shape) < 0.1, random.choice(odd, x.shape), x) for x in case.made.xs]
    with np.errstate(all="ignore"):
        plain, fast = results_of(eager.run(*xs)), results_of(runner.run(*xs))
    for name, one, other in zip(case.made.graph.outputs, plain, fast, strict=True):
        both_open = ~np.isfinite(one) & ~np.isfinite(other)
        alike = (np.isfinite(one) & np.isfinite(other)) | (both_open & ((one == other) | np.isnan(one) | np.isnan(other)))
        if not alike.all():
            row, column = np.argwhere(~alike)[0]
            return f"odd inputs: {name} at row {row}, column {column} is {other[row, column]}; the eager runner gives {one[row, column]}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--graphs", type=int, default=10_000, help="how many seeds to run (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds (default: no limit)")
    parser.add_argument("--keep-going", action="store_true", help="go on after a wrong output, and count them")
    parser.add_argument("--verbose", action="store_true", help="say what each seed stands for")
    options = parser.parse_args(arguments)
    start = told = time.monotonic()
    done = bad = 0
    for seed in range(options.first, options.first + options.graphs):
        if time.monotonic() - start > options.seconds or (bad and not options.keep_going):
            break
        again = f"again: python {sys.argv[0]} --first {seed} --graphs 1"
        case = case_of(seed)
        if options.verbose:
            print(f"{seed}: {case.story}", flush=True)
        try:
            found = failure(case)
        except BaseException:
            print(f"stopped at seed {seed}: {case.story}\n  {again}", flush=True)
            raise
        done += 1
        if found:
            bad += 1
            print(f"WRONG {seed}: {found}\n  {case.story}\n  {again}", flush=True)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{done} of {options.graphs} graphs, {bad} wrong, {told - start:.0f} s", file=sys.stderr, flush=True)
    print(f"{done} graphs from seed {options.first} to {options.first + done - 1}: {bad} wrong, {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
