"""Explain a cell: the record of every state and step, which a page shows and a file keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlbench.compiler.pipeline import PASSES, Compiled, PassStep, compile_graph, passes_named
from mlbench.compiler.schedule.program import Program
from mlbench.results.ablation import Ablation
from mlbench.results.explanation import Counts, ExplainedStep, Explanation, State
from mlbench.results.network import network_key
from mlbench.results.reasons import Reason
from mlbench.runtime import OptimizedRunner
from mlbench.studies.autotune import tune
from mlbench.studies.cases import Cell, inputs_of, model_of
from mlbench.studies.explain.counts import counts_of
from mlbench.studies.explain.flow import ROWS, flow_of
from mlbench.studies.explain.listings import executed, listings_of
from mlbench.studies.explain.questions import question_of
from mlbench.studies.explain.states import state_of, written
from mlbench.studies.explain.switches import key_of, switches_of
from mlbench.studies.network_files import AnyModel, only_batch


def explain(
    cell: Cell, passes: Sequence[str] | None = None, *, measure: str, tuned: bool = False, ablation: Ablation | None = None
) -> Explanation:
    """Return the explanation of a cell.

    Args:
        cell: the cell.
        passes: names of the optimisations to switch on; None for all.
        measure: command that measures what each pass is worth.
        tuned: search the schedule on this machine, or recall it, instead of following the heuristics.
        ablation: what each pass is worth, where it was measured.

    Raises:
        ModelError: for a name that is no optimisation.
        WrongResultError: when a runner gives something else than float64 by more than rounding explains.
    """
    model = model_of(cell)
    names = [each.name for each in PASSES] if passes is None else passes
    schedule = tune(model, cell.batch, threads=cell.threads, passes=names) if tuned else None
    compiled = compile_graph(model.graph(), cell.batch, passes_named(names), schedule, cell.threads)
    states = _States()
    steps = compiled.steps
    numbers = [states.number_of(program) for program in (written(compiled), *(step.after for step in steps))]
    counts = _counts(cell, model, compiled, steps)
    runner = OptimizedRunner(model, cell.batch, passes=compiled.passes, schedule=compiled.schedule, threads=cell.threads)
    rows = only_batch(model) or min(ROWS, cell.batch)
    flow = flow_of(model, compiled.program, runner, tuple(x[:rows] for x in inputs_of(cell)))
    explained = tuple(
        _step(step, states.all[before], states.all[after], after, count)
        for step, before, after, count in zip(steps, numbers[:-1], numbers[1:], counts[1:], strict=True)
    )
    graph = model.graph()
    switches = switches_of(graph, model.name, cell.batch, steps, states.number_of, cell.threads) if passes is None and not tuned else None
    listings, why = listings_of(compiled.program)
    if listings:
        counted = (*listings[0].counts, *executed(runner, cell.batch))
        listings = (replace(listings[0], counts=counted), *listings[1:])
    return Explanation(
        cell.id,
        model.name,
        cell.batch,
        tuple(states.all),
        counts[0],
        explained,
        flow,
        switches,
        ablation,
        measure,
        listings,
        why,
        network_key(cell.identity()),
    )


class _States:
    """The states so far; one program has one number.

    Attributes:
        all: the states.
    """

    def __init__(self) -> None:
        self.all: list[State] = []
        self._numbers: dict[str, int] = {}

    def number_of(self, program: Program) -> int:
        """Return the number of a program's state."""
        key = key_of(program)
        if key not in self._numbers:
            self._numbers[key] = len(self.all)
            self.all.append(state_of(program))
        return self._numbers[key]


def _counts(cell: Cell, model: AnyModel, compiled: Compiled, steps: Sequence[PassStep]) -> list[Counts]:
    """Return what a call of the compiled runner counts with no pass and after each; an idle pass has the counts before it."""
    xs = inputs_of(cell)
    found: list[Counts] = []
    for number in range(len(steps) + 1):
        if number and steps[number - 1].is_idle:
            found.append(found[-1])
            continue
        passes = [each.by for each in steps[:number]]
        runner = OptimizedRunner(model, cell.batch, passes=passes, schedule=compiled.schedule, threads=cell.threads)
        found.append(counts_of(runner, xs, cell.threads))
    return found


def _step(step: PassStep, before: State, after: State, number: int, counts: Counts) -> ExplainedStep:
    reasons = tuple(Reason(each.value, each.is_done, each.reason) for each in step.decisions)
    question = question_of(step, before, after)
    return ExplainedStep(
        step.by.name, step.by.summary, step.by.rule, step.note, step.idle_reason, step.is_idle, reasons, number, counts, question
    )
