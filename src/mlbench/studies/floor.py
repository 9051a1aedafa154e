"""The floor of a cell: a lower bound of a call's time that contains no code under test.

The peaks of the machine come from loops in machine code that share nothing with the products (`mlbench.compiler.x86.loops`); where no
code can be generated, from NumPy's own calls. The bound itself is `mlbench.measure.peaks`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial

import numpy as np

from mlbench.compiler.x86 import find
from mlbench.compiler.x86.loops import multiply_add_loop, read_loop
from mlbench.ir import BYTES_PER_NUMBER, Graph
from mlbench.measure import Worker, caches
from mlbench.measure.ceilings import GEMM_SIZES, fastest_s, product_call
from mlbench.measure.peaks import LOOPS, NUMPY, Floor, Peaks, find_peaks, floor_of
from mlbench.studies.cases import Cell, model_of

TURNS = 2000
"""Turns of the arithmetic in a call: some 0.05 ms."""
LOOKS = 5
LEAST_READ_BYTES = 2 * 1024**2
"""A call reads its buffer so often that it is about this much at least, which takes longer than the call."""

STREAMS = (1, 4)
"""Of two ways to read the faster one counts: in four streams from memory, in one from the first cache."""


def measure_peaks() -> Peaks:
    """Measure the peaks in a process of its own, with one BLAS thread, in two or three seconds.

    Raises:
        WorkerError: when it fails.
    """
    with Worker() as worker:
        return worker.call(peaks_here)


def peaks_here() -> Peaks:
    """Measure the peaks in this process, which a worker is asked for."""
    found, call_s, vectors = caches(), _fastest_s(gc.isenabled), find()[0]
    if vectors is None:
        return find_peaks(max(_gemm_flop_per_s(*each) for each in GEMM_SIZES), _numpy_read_bytes_per_s, call_s, found, NUMPY)
    adding, loops = multiply_add_loop(vectors), [read_loop(vectors, streams) for streams in STREAMS]

    def read_bytes_per_s(size: int) -> float:
        buffer = np.ones(size // 8 + 8, np.float64)
        address = buffer.ctypes.data + -buffer.ctypes.data % 64
        turns, repeats = size // loops[0].work, max(1, LEAST_READ_BYTES // size)
        return repeats * turns * loops[0].work / min(fastest_s(partial(loop.run, address, turns, repeats)) for loop in loops)

    flop_per_s = TURNS * adding.work / _fastest_s(partial(adding.run, TURNS))
    return find_peaks(flop_per_s, read_bytes_per_s, call_s, found, LOOPS)


def _fastest_s(call: Callable[[], object]) -> float:
    """Return the shortest time of a call, looked for so long that a neighbour on the same core pauses meanwhile."""
    return min(fastest_s(call) for _ in range(LOOKS))


def floor_of_cell(cell: Cell, peaks: Peaks) -> Floor:
    """Return the floor of a cell: its products, and its constants, inputs and outputs touched once; `peaks` are of its cores."""
    return floor_of(cell.work_flop, ends_bytes(model_of(cell).graph(), cell.batch), peaks)


def ends_bytes(graph: Graph, batch: int) -> int:
    """Return the bytes that every call has to touch: the constants, the inputs that are read, and the outputs."""
    inputs = sum(columns for name, columns in graph.inputs.items() if graph.readers_of(name))
    columns = inputs + sum(map(graph.columns_of, graph.outputs))
    return sum(each.nbytes for each in graph.constants.values()) + BYTES_PER_NUMBER * batch * columns


def _gemm_flop_per_s(m: int, k: int, n: int) -> float:
    return 2.0 * m * k * n / fastest_s(product_call(m, k, n))


def _numpy_read_bytes_per_s(size: int) -> float:
    """Return the rate at which NumPy reads so much: two vectors by their inner product, or one that is copied."""
    half = np.ones(size // 8, np.float32)
    other = half.copy()
    return size / min(fastest_s(partial(half.dot, other)), fastest_s(partial(np.copyto, half, other)))
