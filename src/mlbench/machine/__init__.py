"""Machine code: what is known of a processor, and nothing of a graph.

An assembler, the code of a matrix product with its element-wise steps, and the function that runs a chain of them. Numbers and addresses
in, a Python callable out.
"""

from mlbench.machine.blocks import MOST_OPERANDS, STEPS, Shape
from mlbench.machine.callables import IS_READABLE, Code, Guard, code_of
from mlbench.machine.processor import find
from mlbench.machine.products import MOST_SIZE, best_width, described, pack
from mlbench.machine.program import Layer, Own, Rows, X, Y, chain, columns_shared_chain, rows_shared_chain
from mlbench.machine.team import ENDED, FORKED, Team, start_helper
from mlbench.machine.vectors import AVX2, AVX512, Vectors

__all__ = [
    "AVX2",
    "AVX512",
    "ENDED",
    "FORKED",
    "IS_READABLE",
    "MOST_OPERANDS",
    "MOST_SIZE",
    "STEPS",
    "Code",
    "Guard",
    "Layer",
    "Own",
    "Rows",
    "Shape",
    "Team",
    "Vectors",
    "X",
    "Y",
    "best_width",
    "chain",
    "code_of",
    "columns_shared_chain",
    "described",
    "find",
    "pack",
    "rows_shared_chain",
    "start_helper",
]
