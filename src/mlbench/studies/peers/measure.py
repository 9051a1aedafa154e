"""Measure runtimes against ours: each in a live process of its own, interleaved, so that only one runs at any moment.

Frameworks with thread pools disturb each other in one process, and two moments of a shared machine cannot be compared. So every runtime
of a cell is built and checked first, each in its process; then they have turns of a few milliseconds, forwards and backwards (ABBA), and
another one starts each round. Before a turn is timed it runs for a moment untimed, because another process has just had the caches. One
set of processes is one replicate: it goes through all cells, and then a fresh set does so again.

A peer that can no longer be the fastest one of a cell has no turns in later sets. What compilers make is made once and loaded by every set,
and so is the schedule that a search finds for ours.

With several threads a process that has had its turn is stopped by a signal: ONNX Runtime's threads, for one, spin for 30 ms after a call.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from mlbench.errors import WorkerError
from mlbench.measure import SPIN_S, Worker, interleaved
from mlbench.results.peers import FAILED, MEASURED, OURS, SLOW, WRONG, Outcome, PeerCell, Runtime
from mlbench.studies.cases import Cell
from mlbench.studies.peers.scratch import NO_FOLDERS, Folders
from mlbench.studies.peers.worker import WARM, footprint_of, introduce, prepare, refusal, turn
from mlbench.studies.subjects import Subject

PROCESSES = 5
ROUNDS = 15
TURN_S = 3e-3
WARM_UP_S = 2e-3
ROUNDS_S = 3.0
"""Time for the rounds of a cell in one set of processes; cells with long calls get fewer rounds."""
LEAST_ROUNDS = 3
SLOW_S, SLOW_TIMES, FAR_S, FAR_TIMES = 0.05, 20.0, 1e-3, 100.0
"""A call that takes so many seconds, and so many times the fastest one's, takes no turns: it would take them from the others. Nor does one
that takes FAR_S and FAR_TIMES the fastest one's, because more rounds would say nothing new of it. Shorter ones cost little."""
BEHIND_TIMES = (10.0, 3.0)
"""After one set, and after two or more: a peer whose calls take so many times the fastest peer's has no turns in later sets."""
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PeerEffort:
    """How much is measured.

    Attributes:
        processes: sets of fresh processes; each is one replicate.
        rounds: ABBA rounds in each, at most.
        turn_s: length of a turn, in seconds.
        weigh: count bytes as well.
    """

    processes: int = PROCESSES
    rounds: int = ROUNDS
    turn_s: float = TURN_S
    weigh: bool = True


class Processes:
    """One live process for each runtime; one that died is replaced when it is asked again.

    Args:
        modules: name of the runtime to its adapter; None for ours.
        threads: of each process; with more than one, a process is stopped while it is not asked.
        folders: in which is kept what a compiler made or a search found.
    """

    def __init__(self, modules: Mapping[str, str | None], threads: int, folders: Folders = NO_FOLDERS) -> None:
        self._modules = modules
        self._threads = threads
        self._folders = folders
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._workers.values():
            worker.stop()

    def introduce(self, name: str) -> Runtime:
        """Start a runtime's process afresh and return what runs in it.

        Raises:
            WorkerError: when the process fails.
        """
        if name in self._workers:
            self._workers.pop(name).stop()
        worker = self._workers[name] = Worker(self._threads)
        return worker.call(introduce, name, self._modules[name], self._threads, self._folders)

    def ask(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Let the runtime's process, and no other one, do something.

        Raises:
            WorkerError: when the process fails.
        """
        if name not in self._workers or not self._workers[name].is_alive:
            self.introduce(name)
        worker = self._workers[name]
        worker.thaw()
        answer = worker.call(function, *args, **kwargs)
        if self._threads > 1 and not worker.freeze():
            time.sleep(SPIN_S)  # until its threads have ended spinning
        return answer

    def prepare(self, name: str, cell: Cell) -> Outcome:
        """Build and check a cell; what goes wrong is an outcome, not an error."""
        try:
            return self.ask(name, prepare, self._modules[name], cell)
        except WorkerError as error:
            return Outcome(FAILED, _reason(error))

    def add_footprint(self, name: str, cell: Cell, outcome: Outcome) -> Outcome:
        """Return the outcome with its bytes, where memray can tell them."""
        try:
            answer = self.ask(name, footprint_of, self._modules[name], cell, outcome.chosen.removesuffix(WARM).removesuffix(", "))
        except WorkerError:  # bytes are an extra, and the times stand without them
            return outcome
        return dataclasses.replace(outcome, **answer)  # type: ignore[arg-type]  # its fields of bytes


def find_runtimes(modules: Mapping[str, str | None], threads: int, subject: Subject) -> tuple[Runtime, ...]:
    """Ask each runtime for its versions, what it lacks, and whether it takes this; a process that fails is a runtime that is missing."""
    found = []
    with Processes(modules, threads) as processes:
        for name in modules:
            try:
                each, module = processes.introduce(name), modules[name]
                reason = processes.ask(name, refusal, module, subject) if module is not None and each.missing is None else None
                found.append(each if reason is None else dataclasses.replace(each, missing=reason))
            except WorkerError as error:
                found.append(Runtime(name, "", "", _reason(error)))
    return tuple(found)


def measure(
    cells: Sequence[Cell],
    modules: Mapping[str, str | None],
    effort: PeerEffort,
    known: Mapping[str, PeerCell] | None = None,
    builds: Path | None = None,
) -> Iterator[PeerCell]:
    """Measure cells, one set of processes after the other, and give each cell as far as it is, as often as something was added to it.

    Args:
        cells: of one number of threads.
        modules: name of the runtime to its adapter, all of which are there; None for ours.
        effort: how much.
        known: cells measured before, by name, to go on with.
        builds: folder in which compilers keep what they made, for later runs; None for one that ends with this run.
    """
    so_far = {cell: (known or {}).get(_empty(cell).name, _empty(cell)) for cell in cells}
    with tempfile.TemporaryDirectory(prefix="mlbench-peers-", ignore_cleanup_errors=True) as own:
        folders = Folders(own, own if builds is None else str(builds.absolute()))
        for number in range(effort.processes):
            waiting = [cell for cell in cells if so_far[cell].processes <= number]
            if waiting:
                with Processes(modules, waiting[0].threads, folders) as processes:
                    for cell in waiting:
                        so_far[cell] = _replicate(processes, cell, list(modules), effort, so_far[cell])
                        yield so_far[cell]
            left = [cell for cell in cells if effort.weigh and not so_far[cell].weighed]
            if left:
                with Processes(modules, left[0].threads, folders) as processes:
                    for cell in left:
                        so_far[cell] = _with_footprints(processes, cell, so_far[cell])
                        yield so_far[cell]


def time_interleaved(
    processes: Processes, costs_s: Mapping[str, float], effort: PeerEffort
) -> tuple[dict[str, tuple[float, ...]], dict[str, str]]:
    """Time the runtimes, interleaved, at the cell that each has prepared.

    Args:
        processes: which have prepared it.
        costs_s: name of the runtime to the seconds of a call, about.
        effort: how much.

    Returns:
        seconds per call in each round by runtime, and for those that were lost on the way the reason instead.
    """
    calls = {name: max(1, round(effort.turn_s / cost)) for name, cost in costs_s.items()}
    warm_ups = {name: max(1, round(WARM_UP_S / cost)) for name, cost in costs_s.items()}
    round_s = 2 * sum(cost * (calls[name] + warm_ups[name]) for name, cost in costs_s.items())
    rounds = min(effort.rounds, max(LEAST_ROUNDS, int(ROUNDS_S / round_s))) if costs_s else 0
    times: dict[str, list[float]] = {name: [] for name in costs_s}
    lost: dict[str, str] = {}
    for turns in interleaved(list(costs_s), rounds):
        spent = {name: 0.0 for name in costs_s if name not in lost}
        for name in turns:
            if name in lost:
                continue
            try:
                spent[name] += processes.ask(name, turn, calls[name], warm_ups[name])
            except WorkerError as error:
                lost[name] = _reason(error)
        for name, took in spent.items():
            times[name].append(took / 2)
    return {name: tuple(each) for name, each in times.items() if name not in lost}, lost


def too_slow(costs_s: Mapping[str, float]) -> dict[str, str]:
    """Return the runtimes that are not timed in turns in a cell, each with the reason in a line; ours always is.

    Args:
        costs_s: name of the runtime to the seconds of a call.
    """
    fastest_s = min(costs_s.values(), default=0.0)
    most_s = min(max(SLOW_S, SLOW_TIMES * fastest_s), max(FAR_S, FAR_TIMES * fastest_s))
    return {
        name: f"a call takes {cost / fastest_s:.0f} times the fastest one's; one sample, and not timed further"
        for name, cost in costs_s.items()
        if cost > most_s and name != OURS
    }


def still_measured(cell: PeerCell, names: Sequence[str]) -> list[str]:
    """Return who has turns in the next set: ours, and each peer that was not too far behind the fastest one so far.

    Args:
        cell: as it was measured in one set of processes or more.
        names: of the runtimes.
    """
    measured = {name: cell.outcomes[name] for name in names if name in cell.outcomes and cell.outcomes[name].state == MEASURED}
    times_s = {name: each.time_s for name, each in measured.items() if name != OURS and each.time_s is not None}
    most_s = min(times_s.values(), default=0.0) * BEHIND_TIMES[min(cell.processes, len(BEHIND_TIMES)) - 1]
    return [name for name in measured if name not in cell.left and times_s.get(name, 0.0) <= most_s]


def _replicate(processes: Processes, cell: Cell, names: Sequence[str], effort: PeerEffort, before: PeerCell) -> PeerCell:
    """Return the cell with the rounds of one more set of processes."""
    is_first = before.processes == 0
    asked = names if is_first else still_measured(before, names)
    prepared = {name: processes.prepare(name, cell) for name in asked}
    costs_s = {name: each.cost_s for name, each in prepared.items() if each.cost_s is not None}
    slow = too_slow(costs_s) if is_first else {}
    times, lost = time_interleaved(processes, {name: cost for name, cost in costs_s.items() if name not in slow}, effort)
    outcomes = dict(before.outcomes)
    for name, each in prepared.items():
        new = each
        if name in slow:
            new = dataclasses.replace(each, state=SLOW, detail=slow[name])
        if name in lost:
            new = dataclasses.replace(each, state=FAILED, detail=lost[name])
        rounds = times.get(name, ())
        outcomes[name] = dataclasses.replace(new, rounds_s=(rounds,)) if is_first else _longer(before.outcomes[name], new, rounds)
    return dataclasses.replace(before, outcomes=outcomes, processes=before.processes + 1)


def _longer(before: Outcome, new: Outcome, rounds: tuple[float, ...]) -> Outcome:
    """Return the outcome with one more process; a wrong output in any process is a wrong runtime."""
    if new.state == WRONG:
        return dataclasses.replace(new, rounds_s=())
    return dataclasses.replace(before, rounds_s=(*before.rounds_s, rounds), detail=new.detail or before.detail)


def _with_footprints(processes: Processes, cell: Cell, before: PeerCell) -> PeerCell:
    outcomes = {
        name: processes.add_footprint(name, cell, each) if each.state == MEASURED else each for name, each in before.outcomes.items()
    }
    return dataclasses.replace(before, outcomes=outcomes, weighed=True)


def _empty(cell: Cell) -> PeerCell:
    return PeerCell(cell.identity(), {})


def _reason(error: WorkerError) -> str:
    """Return what happened, in one line, without where in mlbench."""
    line = str(error).splitlines()[0]
    return line.partition(" failed in a worker: ")[2] or line
