"""What the compiler does to a model as text: the graph as written, each optimisation and its reasons, what runs, and the memory map."""

from __future__ import annotations

import itertools
import textwrap
import time
from collections.abc import Sequence

from mlbench.compiler.pipeline import PASSES, Compiled, PassStep, compile_graph, passes_named
from mlbench.compiler.schedule.printer import program_text
from mlbench.errors import MissingExtraError
from mlbench.ir import Graph, graph_text, op_named
from mlbench.results.explanation import UNMOVED, Counts, State
from mlbench.results.reasons import Reason, in_a_line, joined
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.studies.autotune import tune
from mlbench.studies.cases import Cell, inputs_of, model_of
from mlbench.studies.code import code_of_runner, levels_text
from mlbench.studies.explain.counts import counts_of
from mlbench.studies.explain.states import state_of, written
from mlbench.units import format_bytes, format_duration, format_percent, paragraph


def explanation(cell: Cell, passes: Sequence[str] | None = None, *, tuned: bool = False) -> str:
    """Return the story of a cell's model as text.

    Args:
        cell: the cell.
        passes: names of the optimisations to switch on; None for all.
        tuned: search the schedule on this machine, or recall it, instead of following the heuristics.

    Raises:
        ModelError: for a name that is no optimisation.
    """
    model = model_of(cell)
    names = [each.name for each in PASSES] if passes is None else passes
    start = time.perf_counter()
    schedule = tune(model, cell.batch, threads=cell.threads, passes=names) if tuned else None
    chosen = time.perf_counter()
    runner = OptimizedRunner(model, cell.batch, passes=names, schedule=schedule, threads=cell.threads)
    xs = inputs_of(cell)
    runner.run(*xs)
    compiled_s = time.perf_counter() - chosen
    compiled, plan, memory = runner.compiled, runner.plan, runner.memory
    # A runner forgets constants that it does not read, and a pass that looked at them again would tell another story.
    told = compile_graph(model.graph(), cell.batch, passes_named(names), schedule, cell.threads)
    counted = {
        "the eager runner": counts_of(BaselineRunner(model), xs, cell.threads),
        "the compiled runner": counts_of(runner, xs, cell.threads),
    }
    arena = (
        f"{len(plan.buffers)} buffers in an arena of {format_bytes(plan.arena_bytes)}; no plan can take less than "
        f"{format_bytes(plan.lower_bound_bytes)}. A call allocates nothing."
    )
    held = (
        f"Static memory: {format_bytes(memory.total_bytes)}: arena {format_bytes(memory.arena_bytes)}, operands "
        f"{format_bytes(memory.operand_bytes)}, copies of weights {format_bytes(memory.weight_copy_bytes)}."
    )
    parts = [
        f"The graph as written ({model.name}, batch {cell.batch})",
        _indented(f"{graph_text(compiled.source)}\n{_work(compiled.source, cell.batch)}"),
        "What each optimisation did",
        *(_step(each) for each in told.steps if not each.is_idle),
        *_idle(told.steps),
        *([_paragraph("the plan", "place everything that is left in one arena", arena)] if compiled.program.schedule.is_static else []),
        "What a call moves, at least",
        _indented(_moved(told)),
        "What was counted in a call",
        _indented("\n".join([*(_counted(who, each) for who, each in counted.items()), *_executed(runner, cell.batch)])),
        "The graph as it runs",
        _indented(program_text(compiled.program)),
        "What runs",
        _indented("\n".join(runner.sources).rstrip()),
        "The memory map",
        _indented(str(plan)),
        held,
        f"Compiled in {format_duration(compiled_s)}, the first call included"
        + (f"; the search, or its recall, took {format_duration(chosen - start)}." if tuned else "."),
    ]
    return "\n\n".join(parts)


def _work(graph: Graph, batch: int) -> str:
    """Return what the nodes compute and move at least, from the op table."""
    flop = traffic = 0
    for node in graph.nodes:
        op, inputs = op_named(node.op), sum(map(graph.columns_of, node.values))
        flop += op.work_flop(batch, node.columns, inputs)
        traffic += op.traffic_bytes(batch, node.columns, inputs, [graph.constants[name].shape for name in node.operands])
    return f"a call: {flop / 1e6:,.2f} MFLOP; its nodes read and write {format_bytes(traffic)} one by one"


def _step(step: PassStep) -> str:
    """Return a pass's rule, what it did, and for each reason the values that it is about."""
    lines = [_paragraph(step.by.name, step.by.summary, step.note)]
    for is_done, values, reason in joined(_reasons(step)):
        about = f"{'done' if is_done else 'refused'}: {', '.join(values)}:" if values else "because"
        lines.append(paragraph(f"    {about} {reason}", "      "))
    return "\n".join(lines)


def _idle(steps: Sequence[PassStep]) -> list[str]:
    """Return the passes that changed nothing, each with its reasons alone."""
    idle = [each for each in steps if each.is_idle]
    if not idle:
        return []
    lines = [f"  Changed nothing: {', '.join(each.by.name for each in idle)}."]
    lines += [paragraph(f"    {each.by.name}: {in_a_line(_reasons(each))}", "      ") for each in idle]
    return ["\n".join(lines)]


def _reasons(step: PassStep) -> list[Reason]:
    return [Reason(each.value, each.is_done, each.reason) for each in step.decisions]


def _moved(told: Compiled) -> str:
    """Return what a call moves as written and after each pass that changed something."""
    states = [("as written", state_of(written(told)))]
    states += [(step.by.name, state_of(step.after)) for step in told.steps if not step.is_idle]
    rows = [("after", "reads", "writes", "arrays made", "arena", "lower bound"), *(_row(name, state) for name, state in states)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    unmoved = [name for (_, before), (name, state) in itertools.pairwise(states) if state.is_unmoved(before)]
    lines += ["", *(paragraph(f"{name}: {UNMOVED}") for name in unmoved)] if unmoved else []
    return "\n".join(lines)


def _row(name: str, state: State) -> tuple[str, ...]:
    arena = format_bytes(state.arena_bytes) if state.is_static else "-"
    return (
        name, format_bytes(state.read_bytes), format_bytes(state.written_bytes), str(state.arrays), arena,
        format_bytes(state.lower_bound_bytes),
    )  # fmt: skip


def _counted(who: str, counts: Counts) -> str:
    allocations = "" if counts.allocations is None else f"{counts.allocations:,} allocations, "
    return (
        f"{who}: {counts.calls:,} calls from Python, {allocations}{format_bytes(counts.peak_bytes)} at the peak, "
        f"{format_bytes(counts.held_bytes)} held between calls"
    )


def _executed(runner: OptimizedRunner, rows: int) -> list[str]:
    """Return what generated code executes in a call, in a line; none where NumPy or several threads have a part in it."""
    try:
        found = code_of_runner(runner, rows)
    except MissingExtraError as error:
        return [f"generated code: not counted, because {error}"]
    if found is None:
        return []
    share = format_percent(found.multiply_adds / found.instructions)
    return [
        f"generated code: {found.instructions:,} instructions, {found.multiply_adds:,} of them multiply-adds ({share}); "
        f"{found.loads:,} loads of {format_bytes(found.load_bytes)}, {found.stores:,} stores of {format_bytes(found.store_bytes)}, "
        f"{format_bytes(found.code_bytes)} of code",
        *(
            [f"bytes by level, in a model of the caches: {levels_text(found.levels)}", f"modelled: {found.hierarchy}"]
            if found.levels
            else []
        ),
    ]


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")


def _paragraph(name: str, summary: str, note: str) -> str:
    return f"  {name}: {summary}.\n" + paragraph(f"    {note}", "    ")
