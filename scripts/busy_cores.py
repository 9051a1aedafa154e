"""Measure what a call on two threads takes while other work is on the cores: none, on one, on both, and a BLAS whose threads spin.

    python scripts/busy_cores.py                                        # some 20 seconds
    python scripts/busy_cores.py --models zoo:nerf 64-64-10 --batch 8

Each line has the median and the mean of a runner of one thread and of one of two, which take turns of some calls. The median is what most
calls take; the mean shows the few that wait milliseconds for a core. Busy work is a process that computes on one core for as long as the
measurement lasts. `after BLAS` makes products on the threads of NumPy's BLAS before every turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from mlbench import OptimizedRunner
from mlbench.measure.stats import median
from mlbench.studies.subjects import brought, layers

TURNS, CALLS, WARM_CALLS = 40, 50, 5
PRODUCT = np.ones((256, 256), np.float32)
LOOP = "import os, sys\nos.sched_setaffinity(0, [int(sys.argv[1])])\nwhile os.getppid() == int(sys.argv[2]):\n    sum(range(100_000))\n"
Call = Callable[[], object]


@contextmanager
def busy(cores: Sequence[int]) -> Iterator[None]:
    """Keep some cores busy meanwhile."""
    command = (sys.executable, "-c", LOOP)
    processes = [subprocess.Popen([*command, str(core), str(os.getpid())]) for core in cores]  # noqa: S603  # our own interpreter
    try:
        time.sleep(0.2)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def calls_of(name: str, batch: int) -> tuple[Call, Call]:
    """Return a call on one thread and one on two."""
    subject = layers(name) or brought(name)
    model, xs = subject.model(), subject.arrays(batch)
    one, two = (OptimizedRunner(model, batch, threads=threads) for threads in (1, 2))
    return lambda: one.run(*xs), lambda: two.run(*xs)


def timed(calls: Sequence[Call], before: Call | None) -> list[str]:
    """Return what each of the calls takes, as text."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(TURNS):
        for place in (0, 1) if turn % 2 else (1, 0):
            if before is not None:
                before()
            for number in range(WARM_CALLS + CALLS):
                start = time.perf_counter()
                calls[place]()
                took = time.perf_counter() - start
                if number >= WARM_CALLS:
                    times[place].append(took)
    return [f"{1e6 * median(each):9.1f} us {1e6 * sum(each) / len(each):9.1f} us" for each in times]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a line for each model and kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["64-64-10", "zoo:policy", "zoo:nerf"], metavar="NAME", help="MLPs, or of the zoo")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8], metavar="N", help="rows of a call (default 1 8)")
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))[:2]
    kinds: dict[str, tuple[Sequence[int], Call | None]] = {
        "idle": ((), None), "one busy": (cores[1:], None), "both busy": (cores, None), "after BLAS": ((), lambda: PRODUCT @ PRODUCT),
    }  # fmt: skip
    print(f"{'':24}{'one thread, median':>21} {'mean':>12} {'two threads, median':>22} {'mean':>12}")
    for name in options.models:
        for batch in options.batch:
            calls = calls_of(name, batch)
            for kind, (taken, before) in kinds.items():
                with busy(taken):
                    one, two = timed(calls, before)
                print(f"{f'{name} b{batch}, {kind}':28}{one:>30}  {two:>30}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
