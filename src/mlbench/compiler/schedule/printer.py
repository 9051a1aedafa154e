"""A program as text: its graph, one node a line, and how each node runs.

graph(x: rows x 64) max_batch=512, tiles of 128 rows
  v0: rows x 256 = matmul(x, w0: 64 x 256) then maximum(n0: 16 x 256)
  v2: rows x 10 = matmul(v0, w1: 256 x 10) then add(f1: 409 x 10)
  return v2

Steps of an epilogue that run inside a product of generated code follow `with`, those that a sweep of it runs afterwards `swept by`, and
those that NumPy runs `then`.
"""

from __future__ import annotations

from mlbench.compiler.schedule.program import COLUMNS, ROWS, Program
from mlbench.ir import Node, call_text, head_text, node_call_text, return_text


def program_text(program: Program) -> str:
    """Return the printed form of a program."""
    schedule = program.schedule
    facts = [f"max_batch={schedule.max_batch}"]
    if schedule.is_tiled:
        facts.append(f"tiles of {schedule.tile_rows} rows")
    if schedule.workers > 1:
        facts.append(f"{'each product ' if schedule.shared == COLUMNS else ''}shared by {schedule.workers} threads")
    if schedule.blas_threads:
        facts.append(f"BLAS on {schedule.blas_threads} thread{'s' if schedule.blas_threads != 1 else ''}")
    if schedule.is_static:
        facts.append("static buffers")
    lines = [f"{head_text(program.graph)} {', '.join(facts)}"]
    lines += [f"  {_node_text(program, node)}" for node in program.graph.nodes]
    return "\n".join([*lines, return_text(program.graph)])


def _node_text(program: Program, node: Node) -> str:
    graph, schedule = program.graph, program.of(node)
    outer = len(program.outer_steps(node))
    words = ["with"] * schedule.inner + ["swept by"] * (len(node.epilogue) - schedule.inner - outer) + ["then"] * outer
    steps = "".join(f" {word} {call_text(graph, step)}" for word, step in zip(words, node.epilogue, strict=True))
    place = f" in place of {node.values[schedule.taken]}" if schedule.in_place else ""
    place += f" within {schedule.within}" if schedule.within else ""
    call = node_call_text(graph, node)
    parts = f" in {schedule.parts} parts" if schedule.parts > 1 else ""
    code = f" generated from panels of {_vectors(schedule.width)}" if schedule.packed else ""
    code = code or (" swept by generated code" if schedule.swept else "")
    shape = f"rows x {node.columns}" if schedule.layout == ROWS else f"{node.columns} x rows"
    return f"{node.output}: {shape} = {call}{parts}{code}{steps}{place}"


def _vectors(number: int) -> str:
    return "1 vector" if number == 1 else f"{number} vectors"
