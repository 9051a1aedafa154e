"""Machine code: what is known of a processor, and nothing of a graph.

An assembler, the code of matrix products and of sweeps over rows, the body that runs them for any number of rows, and the Python function
in front of it. Numbers and addresses in, a Python callable out.
"""

from mlbench.compiler.x86.body import Body
from mlbench.compiler.x86.caches import Caches, find_caches
from mlbench.compiler.x86.calls.arrays import Arrays
from mlbench.compiler.x86.calls.entry import entry, inner
from mlbench.compiler.x86.calls.guard import IN_CODE, LOOKED_AT, TAKEN, Guard
from mlbench.compiler.x86.calls.results import Results
from mlbench.compiler.x86.calls.whole import DTYPES, Whole
from mlbench.compiler.x86.calls.work import Own, Work
from mlbench.compiler.x86.cpu import find
from mlbench.compiler.x86.encoding.executable import Code, code_of, known_of
from mlbench.compiler.x86.encoding.isa import AVX2, AVX512, Vectors
from mlbench.compiler.x86.layout import IS_READABLE
from mlbench.compiler.x86.products.gemm import MOST_SIZE, best_width, described, pack
from mlbench.compiler.x86.products.microkernel import MOST_OPERANDS, STEPS, Shape
from mlbench.compiler.x86.products.product import Product
from mlbench.compiler.x86.sharing import few_rows
from mlbench.compiler.x86.stages import CLOSED, DONE, REFUSED, Arena, Argument, Stage, View, Writer
from mlbench.compiler.x86.team.threads import ENDED, FORKED, Team, start_helper
from mlbench.compiler.x86.tiles import Plan as BodyPlan

__all__ = [
    "AVX2",
    "AVX512",
    "CLOSED",
    "DONE",
    "DTYPES",
    "ENDED",
    "FORKED",
    "IN_CODE",
    "IS_READABLE",
    "LOOKED_AT",
    "MOST_OPERANDS",
    "MOST_SIZE",
    "REFUSED",
    "STEPS",
    "TAKEN",
    "Arena",
    "Argument",
    "Arrays",
    "Body",
    "BodyPlan",
    "Caches",
    "Code",
    "Guard",
    "Own",
    "Product",
    "Results",
    "Shape",
    "Stage",
    "Team",
    "Vectors",
    "View",
    "Whole",
    "Work",
    "Writer",
    "best_width",
    "code_of",
    "described",
    "entry",
    "few_rows",
    "find",
    "find_caches",
    "inner",
    "known_of",
    "pack",
    "start_helper",
]
