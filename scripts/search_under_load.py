"""Search schedules while one core is kept busy, and see whether what is remembered is slower than the default rules.

    python scripts/search_under_load.py --searches 200            # the same command goes on where it was broken off
    python scripts/search_under_load.py --searches 0              # sum up what is stored

Development only. Every search is a process of its own with an empty cache, while another process computes on the first core. Then the busy
process is stopped, and what `tune` remembered meets the default schedule in fresh processes, interleaved. What the bare search found meets
the default as well, before it had to win a contest: that is what was remembered once. A line of JSON is appended for each search.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mlbench.cache import VARIABLE, cache_folder
from mlbench.compiler.pipeline import PASSES
from mlbench.compiler.schedule.heuristics import heuristic_schedule
from mlbench.compiler.schedule.schedule import Schedule, schedule_from_json, schedule_to_json
from mlbench.compiler.schedule.search import best_schedule
from mlbench.measure import Worker, time_interleaved
from mlbench.measure.stats import Interval, median, ratio_interval
from mlbench.models import mlp
from mlbench.report import Table, render
from mlbench.runtime import OptimizedRunner
from mlbench.studies import autotune
from mlbench.studies.cases import inputs_of, mlp_cell
from mlbench.studies.contest import Contest

OUTPUT = Path("mlbench-results/search-under-load.jsonl")
CELLS = ((256, 256, 256, 512), (64, 64, 10, 1), (64, 1024, 64, 64), (256, 256, 256, 8), (784, 512, 10, 512), (1024, 4096, 1024, 8))
"""Inputs, hidden, outputs and batch; the searches take them in turn."""
NAMES = [each.name for each in PASSES]
PROCESSES, ROUNDS = 5, 15
NOISE = 1.015
"""What is slower by less is within what a search itself takes for noise."""
LOOP = "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nwhile os.getppid() == {parent}:\n    sum(range(100_000))\n"


def search(sizes: list[int], threads: int) -> dict[str, Any]:
    """Search for a cell, in this process with its empty cache, and return everything that was decided, as JSON data."""
    inputs, hidden, outputs, batch = sizes
    model, decided = mlp(inputs, hidden, outputs), dict[str, Any]()
    bare, compete = best_schedule, autotune._contested  # noqa: SLF001  # what a search consists of
    decided["default"] = schedule_to_json(heuristic_schedule(autotune.undecided(model.graph(), batch, threads, NAMES), NAMES))

    def searched(*arguments: Any) -> Schedule:
        found = bare(*arguments)
        decided["searched"] = schedule_to_json(found)
        return found

    def contested(*arguments: Any) -> Contest:
        found = compete(*arguments)
        decided.setdefault("contests", []).append([found.gain.low, found.gain.estimate, found.gain.high, found.spread])
        return found

    put = {"best_schedule": (searched, bare), "_contested": (contested, compete)}
    for name, (new, _) in put.items():
        setattr(autotune, name, new)
    try:
        start = time.perf_counter()
        used = schedule_to_json(autotune.tune(model, batch, threads=threads))
        remembered = any(cache_folder().glob("schedule-*.json")) if cache_folder().exists() else False
        return decided | {"used": used, "remembered": remembered, "search_s": time.perf_counter() - start}
    finally:
        for name, (_, old) in put.items():
            setattr(autotune, name, old)


def compare(sizes: list[int], threads: int, schedules: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
    """Return the seconds of a call in each round with each of some schedules."""
    inputs, hidden, outputs, batch = sizes
    cell = mlp_cell(batch, (hidden,), inputs, outputs, threads)
    model, xs = mlp(inputs, hidden, outputs), inputs_of(cell)
    arms: dict[str, Callable[[], object]] = {
        name: partial(OptimizedRunner(model, batch, schedule=schedule_from_json(data), threads=threads).run, *xs)
        for name, data in schedules.items()
    }
    timed = time_interleaved(arms, ROUNDS, singles_s=0.0, count_faults=False)
    return {name: list(each.rounds_s) for name, each in timed.items()}


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep the first core busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", LOOP.format(parent=os.getpid())])  # noqa: S603  # our own interpreter
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run(number: int, threads: int) -> dict[str, Any]:
    """Search once under load, compare once without, and return the line to store."""
    sizes, start = list(CELLS[number % len(CELLS)]), time.perf_counter()
    here = importlib.import_module(Path(__file__).stem)  # by a name under which a worker finds its functions
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        os.environ[VARIABLE] = folder
        os.environ["PYTHONPATH"] = str(Path(__file__).parent)
        with busy_core(), Worker(threads) as worker:
            found = worker.call(here.search, sizes, threads)
    others = {name: found[name] for name in ("searched", "used") if found[name] != found["default"]}
    rounds: list[dict[str, list[float]]] = []
    for _ in range(PROCESSES if others else 0):
        with Worker(threads) as worker:
            rounds.append(worker.call(here.compare, sizes, threads, {"default": found["default"], **others}))
    line: dict[str, Any] = {
        "number": number,
        "sizes": sizes,
        "threads": threads,
        "rounds": rounds,
        "seconds": time.perf_counter() - start,
    } | found
    return line


def against_default(line: Mapping[str, Any], name: str) -> Interval | None:
    """Return time with a schedule / time with the default one; None where they are the same."""
    if line[name] == line["default"]:
        return None
    return ratio_interval([[one / other for one, other in zip(each[name], each["default"], strict=True)] for each in line["rounds"]])


def is_slower(ratio: Interval | None) -> bool:
    """Whether a schedule is slower than the default one beyond noise."""
    return ratio is not None and ratio.low > 1 and ratio.estimate > NOISE


def summary(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Return, of what the search found, what `tune` used and what it remembered, how many are not the default, and how many are slower."""
    remembered = [line for line in lines if line["remembered"]]
    kinds = {"found by the bare search": ("searched", lines), "used": ("used", lines), "remembered": ("used", remembered)}
    rows = []
    for kind, (name, counted) in kinds.items():
        found = [each for each in (against_default(line, name) for line in counted) if each is not None]
        slower = [each for each in found if is_slower(each)]
        worst = max((each.estimate for each in found), default=1.0)
        rows.append((kind, str(len(counted)), str(len(found)), str(len(slower)), f"{worst:.3f}"))
    seconds = median([line["seconds"] for line in lines]) if lines else 0.0
    spreads = [contest[3] for line in lines for contest in line["contests"]]
    notes = (
        f"slower: the interval over {PROCESSES} fresh processes lies above 1, and the estimate above {NOISE}; worst: largest estimate of "
        f"time / time with the default. One search with its comparison takes {seconds:.0f} s in the median. Spread of the control's "
        f"rounds in the median contest: {median(spreads) if spreads else 1.0:.3f}.",
    )
    return Table("Searches with one core busy", ("schedule", "searches", "not the default", "slower", "worst"), tuple(rows), notes)


def main() -> int:
    """Search, compare, append, sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=200, metavar="N", help="as many are to be stored in the end (default 200)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the compiled runner (default 1)")
    parser.add_argument("--seconds", type=float, default=1e9, metavar="S", help="begin no search after so many seconds")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help=f"lines of JSON (default {OUTPUT})")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in options.output.read_text().splitlines()] if options.output.exists() else []
    end = time.monotonic() + options.seconds
    while len(lines) < options.searches and time.monotonic() < end:
        lines.append(run(len(lines), options.threads))
        with options.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(f"[{len(lines)}/{options.searches}] {lines[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    print(render(summary(lines), colour=sys.stdout.isatty()))
    return int(any(line["remembered"] and is_slower(against_default(line, "used")) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
