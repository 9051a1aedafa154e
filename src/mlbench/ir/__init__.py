"""What a program is: frozen nodes in execution order, the op table, the verifier, the printed form, the float64 reference."""

from mlbench.ir.graph import FloatArray, Graph, Node, Step, frozen, new_name
from mlbench.ir.lookups import index_error, table_entries
from mlbench.ir.ops import BYTES_PER_NUMBER, OPS, Op, op_named
from mlbench.ir.printer import call_text, graph_text, head_text, node_call_text, return_text
from mlbench.ir.reference import REFERENCES, interpret
from mlbench.ir.rounding import deviations
from mlbench.ir.verify import verify

__all__ = [
    "BYTES_PER_NUMBER",
    "OPS",
    "REFERENCES",
    "FloatArray",
    "Graph",
    "Node",
    "Op",
    "Step",
    "call_text",
    "deviations",
    "frozen",
    "graph_text",
    "head_text",
    "index_error",
    "interpret",
    "new_name",
    "node_call_text",
    "op_named",
    "return_text",
    "table_entries",
    "verify",
]
