"""What a program is: frozen nodes in execution order, the op table, the laws, the printed form."""

from mlbench.ir.copies import shared_copy
from mlbench.ir.graph import COLUMNS, FEATURES, LAYOUTS, ROWS, SHARED, FloatArray, Graph, Node, Step, frozen, new_name
from mlbench.ir.ops import BYTES_PER_NUMBER, OPS, Op, op_named
from mlbench.ir.printer import graph_text
from mlbench.ir.verify import verify

__all__ = [
    "BYTES_PER_NUMBER",
    "COLUMNS",
    "FEATURES",
    "LAYOUTS",
    "OPS",
    "ROWS",
    "SHARED",
    "FloatArray",
    "Graph",
    "Node",
    "Op",
    "Step",
    "frozen",
    "graph_text",
    "new_name",
    "op_named",
    "shared_copy",
    "verify",
]
