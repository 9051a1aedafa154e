"""Why generated code computes a node or leaves it to NumPy: the decisions of the pass `codegen`."""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.passes.base import Decision, Decisions, Pass
from mlbench.compiler.schedule.program import FEATURES, Program
from mlbench.compiler.schedule.schedule import weight_shape
from mlbench.compiler.sweeps import why_not
from mlbench.compiler.x86 import MOST_SIZE, find
from mlbench.ir import Node, op_named

RULE = (
    "Nodes that there is machine code for run in it, if this machine has the instructions, buffers are static and the schedule chose it; a "
    "weight is packed once for it."
)


def explained(codegen: Pass) -> Pass:
    """Return the pass with its rule and its decisions."""
    return replace(codegen, rule=RULE, decide=decide)


def decide(before: Program, after: Program) -> Decisions:
    """Return for each node whether generated code computes it, and why."""
    vectors, why = find()
    if vectors is None:
        return (Decision("", is_done=False, reason=why),)
    if not after.schedule.is_static:
        return (Decision("", is_done=False, reason="the code has addresses in it, and buffers are not static"),)
    return tuple(_of_node(before, after, node) for node in after.graph.nodes)


def _of_node(before: Program, after: Program, node: Node) -> Decision:
    """Return the decision about one node."""
    schedule = after.of(node)
    if not schedule.is_generated:
        return Decision(node.output, is_done=False, reason=_refusal(before, node))
    if not schedule.packed:
        return Decision(node.output, is_done=True, reason="there is code that sweeps its rows")
    inside = f"{schedule.inner} of {len(node.epilogue)} element-wise steps run inside"
    outer = after.outer_steps(node)
    if outer:
        inside += f"; NumPy runs what follows, because {why_not(after.graph, node, outer) or 'it was not chosen'}"
    elif schedule.swept:
        inside += "; code sweeps the rows for the others"
    return Decision(node.output, is_done=True, reason=inside if node.epilogue else "there is code for it")


def _refusal(program: Program, node: Node) -> str:
    """Return why a node is left to NumPy."""
    if not op_named(node.op).is_product:
        return why_not(program.graph, node, node.epilogue) or "the schedule left it to NumPy"
    if FEATURES in (program.of(node).layout, program.layout_of(node.values[0])):
        return "a value lies feature after feature, and the code reads row after row"
    inputs, columns = weight_shape(program.graph, node)
    if max(inputs, columns) > MOST_SIZE:
        return f"its weight is {inputs} x {columns}, and code has at most {MOST_SIZE} of either"
    return "the schedule left it to NumPy"
