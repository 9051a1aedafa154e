"""What the compiler does to a model, told in order: the graph as written, each optimisation, what runs, and the memory map."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence

from mlbench.compiler.pipeline import PASSES, compile_graph, passes_named
from mlbench.compiler.schedule.printer import program_text
from mlbench.ir import Graph, graph_text, op_named
from mlbench.runtime import OptimizedRunner
from mlbench.studies.autotune import tune
from mlbench.studies.cases import Cell, inputs_of, model_of
from mlbench.units import format_bytes, format_duration, paragraph


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
    runner.run(*inputs_of(cell))
    compiled_s = time.perf_counter() - chosen
    compiled, plan, memory = runner.compiled, runner.plan, runner.memory
    # A runner forgets constants that it does not read, and a pass that looked at them again would tell another story.
    written = compile_graph(model.graph(), cell.batch, passes_named(names), schedule, cell.threads)
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
        *(_paragraph(each.name, each.summary, note) for each, note in written.notes),
        *([_paragraph("the plan", "place everything that is left in one arena", arena)] if compiled.program.schedule.is_static else []),
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


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")


def _paragraph(name: str, summary: str, note: str) -> str:
    return f"  {name}: {summary}.\n" + paragraph(f"    {note}", "    ")
