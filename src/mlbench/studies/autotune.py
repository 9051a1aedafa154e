"""The search with a clock: which tile, layouts, packing and threads are fastest on this machine, and remembering the answer.

The search itself (`mlbench.compiler.schedule.search`) knows no clock; here it is handed one. Candidates are timed in this process,
interleaved as everything else is. What the search found replaces the default rules only where it beats them again in a contest of fresh
rounds, twice. The answer is remembered for this machine, its BLAS and these shapes, so that the second time costs a look into a file. An
answer of a moment in which the machine was busy is not remembered.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mlbench.cache import CacheWarning, recall, remember
from mlbench.compiler.pipeline import OLDER_NAMES, PASSES, compile_graph, passes_named
from mlbench.compiler.schedule.heuristics import heuristic_schedule, memory_budget_bytes, output_bytes
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import Schedule, schedule_from_json, schedule_to_json
from mlbench.compiler.schedule.search import best_schedule, check_findable
from mlbench.errors import ModelError
from mlbench.ir import FloatArray, Graph
from mlbench.measure import kernel_key, time_interleaved, wait_for_threads
from mlbench.measure.stats import median
from mlbench.models import Model, Network
from mlbench.runtime import OptimizedRunner
from mlbench.studies.contest import CONTROL, DEFAULT, FOUND, Contest, contest
from mlbench.studies.network_files import only_batch

COMPARISON_S = 0.3
"""Time for a comparison, shared by its candidates; slow ones get LEAST_ROUNDS whatever they take."""
TRIAL_S, TURN_S = 1e-4, 3e-4
FAR_BEHIND = 1.2
"""What takes so many times the fastest trial is not compared further."""
LEAST_ROUNDS, MOST_ROUNDS = 2, 15
MOST_SEARCH_ROWS = 512
"""A call of more rows only repeats the tiles of these."""
KIND, OLDER_KIND = "schedule", "choices"
"""What the cache calls its entries, and what it called those of earlier versions."""


def tune(
    model: Model | Network, max_batch: int, *, threads: int = 1, passes: Sequence[str] | None = None, use_cache: bool = True
) -> Schedule:
    """Search the fastest schedule for calls of `max_batch` rows on this machine, or recall what was found before.

    Args:
        model: the model, or a network that somebody brought.
        max_batch: rows of a call; the schedule is for that size, smaller batches run with it too.
        threads: threads that a call may use.
        passes: names of the optimisations that will be switched on; all of them by default.
        use_cache: recall an earlier answer and remember this one, unless the machine was busy meanwhile.

    Raises:
        ModelError: for unknown names or sizes below 1.

    >>> from mlbench import OptimizedRunner, mlp, tune
    >>> model = mlp(inputs=4, hidden=8, outputs=2)
    >>> fast = OptimizedRunner(model, 16, schedule=tune(model, 16))
    """
    names = [each.name for each in (PASSES if passes is None else passes_named(passes))]
    key = _key(model, max_batch, threads, names)
    program = undecided(model.graph(), max_batch, threads, names)
    if use_cache and (known := _recalled(key, program, names)) is not None:
        return known
    found = best_schedule(program, names, partial(_compared, model, max_batch, threads, names))
    settled = settle(found, heuristic_schedule(program, names), partial(_contested, model, max_batch, threads, names))
    if use_cache and settled.may_be_remembered:
        remember(KIND, key, schedule_to_json(settled.schedule))
    return settled.schedule


@dataclass(frozen=True, slots=True)
class Settled:
    """What a search ended with.

    Attributes:
        schedule: the one that was found where it won every contest, or else the default one.
        may_be_remembered: whether the machine was quiet in every contest.
    """

    schedule: Schedule
    may_be_remembered: bool


def settle(found: Schedule, default: Schedule, compete: Callable[[Schedule, Schedule], Contest]) -> Settled:
    """Return the found schedule where it beats the default one in one contest, and again before it is remembered; or else the default.

    A default schedule competes as well, against itself, which says whether the machine was quiet while others lost to it.

    Args:
        found: by a search.
        default: what the rules say.
        compete: a contest of the first against the second, in fresh rounds.
    """
    contests = [compete(found, default)]
    if found != default and contests[0].is_won:
        contests.append(compete(found, default))
    is_won = found != default and all(each.is_won for each in contests)
    return Settled(found if is_won else default, all(each.is_quiet for each in contests))


def undecided(source: Graph, max_batch: int, threads: int, names: Sequence[str]) -> Program:
    """Return the program as it is before the first pass that takes a schedule."""
    chosen = passes_named(names)
    first = next((index for index, each in enumerate(chosen) if each.choose is not None), len(chosen))
    return compile_graph(source, max_batch, chosen[:first], threads=threads).program


def _recalled(key: dict[str, Any], program: Program, names: Sequence[str]) -> Schedule | None:
    """Return the schedule that was remembered, by this version or an earlier one, where a search could have found it for this program."""
    older = {name: older for older, name in OLDER_NAMES.items()}
    data = recall(KIND, key)
    if data is None:
        data = recall(OLDER_KIND, key | {"passes": [older.get(name, name) for name in names]})
    if data is None:
        return None
    try:
        found = schedule_from_json(data)
        check_findable(program, names, found)
    except ModelError as error:
        warnings.warn(f"a remembered schedule is ignored: {error}", CacheWarning, stacklevel=3)
        return None
    return found


def _key(model: Model | Network, max_batch: int, threads: int, names: Sequence[str]) -> dict[str, Any]:
    return {"machine": kernel_key(), **_shapes(model), "max_batch": int(max_batch), "threads": threads, "passes": list(names)}


def _shapes(model: Model | Network) -> dict[str, Any]:
    """Return what decides how long a model takes, whatever its numbers are: of a network its graph, without the names of the file."""
    if isinstance(model, Model):
        return {"layers": [[*layer.weight.shape, layer.activation] for layer in model.layers]}
    graph = model.graph()
    nodes = [[node.op, *node.inputs, node.output, node.columns, *node.attributes] for node in graph.nodes]
    shapes = {name: list(array.shape) for name, array in graph.constants.items()}
    return {"nodes": nodes, "inputs": dict(graph.inputs), "constants": shapes, "outputs": list(graph.outputs)}


def _compared(model: Model | Network, max_batch: int, threads: int, names: Sequence[str], candidates: Sequence[Schedule]) -> list[float]:
    """Return the seconds of a call of each candidate: all of them run a trial, and those that are not far behind are timed interleaved.

    A candidate that needs more memory than the budget takes for ever. Candidates that use threads in different ways are timed apart,
    after a pause: the threads of BLAS spin for a while after a call, on a core that the next one would need.
    """
    xs = _inputs(model, max_batch)
    costs = dict.fromkeys(candidates, math.inf)
    for threading in dict.fromkeys(each.threading for each in candidates):
        arms: dict[Schedule, Callable[[], object]] = {}
        for schedule in (each for each in candidates if each.threading == threading):
            runner = OptimizedRunner(model, max_batch, passes=names, schedule=schedule, threads=threads)
            runner.run(*xs)
            if is_affordable(runner):
                arms[schedule] = partial(runner.run, *xs)
        if threads > 1:
            wait_for_threads()
        costs |= _seconds(arms)
    return [costs[each] for each in candidates]


def _contested(model: Model | Network, max_batch: int, threads: int, names: Sequence[str], found: Schedule, default: Schedule) -> Contest:
    """Return how a found schedule does against the default one, with runners that are built for it."""
    xs = _inputs(model, max_batch)

    def call_of(schedule: Schedule) -> Callable[[], object]:
        return partial(OptimizedRunner(model, max_batch, passes=names, schedule=schedule, threads=threads).run, *xs)

    makers = {DEFAULT: partial(call_of, default), CONTROL: partial(call_of, default), FOUND: partial(call_of, found)}
    return contest(makers, apart=found.threading != default.threading)


def _inputs(model: Model | Network, max_batch: int) -> list[FloatArray]:
    """Return seeded inputs of as many rows as a search calls with."""
    random, rows = np.random.default_rng(1), only_batch(model) or min(max_batch, MOST_SEARCH_ROWS)
    return [random.standard_normal((rows, columns), dtype=np.float32) for columns in model.graph().inputs.values()]


def _seconds(arms: dict[Schedule, Callable[[], object]]) -> dict[Schedule, float]:
    """Return the seconds of a call of each arm, measured interleaved."""
    if not arms:
        return {}
    by_number = {str(index): call for index, call in enumerate(arms.values())}
    trials = time_interleaved(by_number, 1, TRIAL_S, 0.0, warm_up_s=TRIAL_S, count_faults=False)
    trial = {name: times.rounds_s[0] for name, times in trials.items()}
    fastest = min(trial.values())
    close = {name: call for name, call in by_number.items() if trial[name] <= FAR_BEHIND * fastest or name == "0"}
    rounds = max(LEAST_ROUNDS, min(MOST_ROUNDS, int(COMPARISON_S / (4 * len(close) * max(TURN_S, fastest)))))
    timed = time_interleaved(close, rounds, TURN_S, 0.0, warm_up_s=TURN_S, count_faults=False)
    found = [median(timed[name].rounds_s) if name in timed else trial[name] for name in by_number]
    return dict(zip(arms, found, strict=True))


def is_affordable(runner: OptimizedRunner) -> bool:
    """Whether a runner that has run keeps within the memory budget of its program, its output and copies of weights apart.

    Threads may take twice as much each: in higher tiles they wait less for the interpreter's lock.
    """
    program = runner.compiled.program
    budget = memory_budget_bytes(program, generated=program.is_generated)
    workers = program.schedule.workers
    return budget is None or runner.memory.without_copies_bytes - output_bytes(program) <= budget * (2 * workers if workers > 1 else 1)
