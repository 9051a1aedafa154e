"""What a case consists of, and how far it is from the ceilings of this machine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mlbench.cases import BASELINE, RUNNERS, Case, Cell, model_of
from mlbench.graph import BYTES_PER_NUMBER, Graph, Node, frozen, op_named
from mlbench.limiting.bounds import Limit, Piece, classify
from mlbench.measure import Worker
from mlbench.measure.ceilings import Ceilings, Rate, fastest_s, measure_ceilings
from mlbench.measuring import Effort, Step, measure_cell, silent
from mlbench.memory import strip_rows_of
from mlbench.results import Measurement
from mlbench.runtime import OptimizedRunner
from mlbench.stats import Interval

GENERATED_GEMM = (512, 512, 512)
MOST_GENERATED_BYTES = 64 * 1024 * 1024
"""Larger weights, that come from memory, are read at the same pace whoever reads them."""


@dataclass(frozen=True, slots=True)
class Distance:
    """A case and its distance to the limit.

    Attributes:
        case: its id.
        latency_s: median time of a call.
        floor_ratio: latency / the floor, measured in the same rounds.
        limit: what the ceilings say.
    """

    case: str
    latency_s: float
    floor_ratio: Interval
    limit: Limit


def find_ceilings(threads: int) -> Ceilings:
    """Measure the ceilings in a process of its own.

    Raises:
        WorkerError: when it fails.
    """
    with Worker(threads) as worker:
        return ceilings_from_json(worker.call("mlbench.limiting.measured:ceilings_in_worker", threads=threads))


def ceilings_in_worker(threads: int) -> dict[str, Any]:
    """Measure the ceilings; what a worker process is asked to call."""
    return dataclasses.asdict(with_generated(measure_ceilings(), threads))


def with_generated(found: Ceilings, threads: int) -> Ceilings:
    """Return the ceilings, those of products raised to what generated code reaches, where it reaches more than NumPy."""
    m, k, n = GENERATED_GEMM
    gemm = 2.0 * m * k * n / fastest_s(_product_call(m, k, n, threads))
    gemv = []
    for rate in found.gemv:
        side = math.isqrt(rate.size_bytes // BYTES_PER_NUMBER)
        mine = 0.0 if rate.size_bytes > MOST_GENERATED_BYTES else rate.size_bytes / fastest_s(_product_call(1, side, side, threads))
        gemv.append(Rate(rate.size_bytes, max(rate.bytes_per_s, mine)))
    return dataclasses.replace(found, gemm_flop_per_s=max(found.gemm_flop_per_s, gemm), gemv=tuple(gemv))


def _product_call(rows: int, inputs: int, columns: int, threads: int) -> Callable[[], object]:
    """Return a bare product as the compiled runner runs it."""
    random = np.random.default_rng(0)
    weight, x = random.standard_normal((inputs, columns), dtype=np.float32), random.standard_normal((rows, inputs), dtype=np.float32)
    graph = Graph("x", inputs, {"w": frozen(weight)}, (Node("matmul", ("x", "w"), "y", columns),), "y")
    return partial(OptimizedRunner(graph, rows, threads=threads).run, x)


def ceilings_from_json(data: dict[str, Any]) -> Ceilings:
    """Return the ceilings that JSON data hold."""
    return Ceilings(**{**data, **{name: tuple(Rate(**each) for each in data[name]) for name in ("gemv", "copy")}})


def distances(cell: Cell, ceilings: Ceilings, effort: Effort, step: Step = silent) -> tuple[Distance, ...]:
    """Measure both runners of a cell and hold them against the ceilings.

    Raises:
        WorkerError: when a worker fails; a wrong result is among the reasons.
        KeyboardInterrupt: on Ctrl-C; there is nothing to keep of half a cell.
    """
    return distances_of(cell, measure_cell(cell, effort, step), ceilings)


def distances_of(cell: Cell, measured: Sequence[Measurement], ceilings: Ceilings) -> tuple[Distance, ...]:
    """Hold the measurements of a cell against the ceilings, in the order of RUNNERS."""
    found = []
    for runner, each in zip(RUNNERS, measured, strict=True):
        assert each.timing is not None
        latency_s, floor_ratio = each.timing.median_s, each.ratios["floor_ratio"]
        limit = classify(pieces_of(Case(cell, runner)), must_move_bytes(cell), latency_s, floor_ratio.estimate, ceilings)
        found.append(Distance(each.case["id"], latency_s, floor_ratio, limit))
    return tuple(found)


def must_move_bytes(cell: Cell) -> int:
    """Return the bytes that any program must move: weights and biases, input and output once, each hidden activation twice."""
    constants = sum(layer.weight.nbytes + layer.bias.nbytes for layer in model_of(cell).layers)
    return constants + BYTES_PER_NUMBER * cell.batch * (cell.inputs + cell.outputs + 2 * sum(cell.hidden))


def pieces_of(case: Case) -> tuple[Piece, ...]:
    """Return what a call of the case consists of, from the graph as it runs."""
    model, batch = model_of(case.cell), case.cell.batch
    graph = model.graph() if case.runner == BASELINE else OptimizedRunner(model, batch).compiled.graph
    return tuple(piece for node in graph.nodes for piece in _pieces(graph, node, batch))


def _pieces(graph: Graph, node: Node, batch: int) -> list[Piece]:
    rows = min(batch, graph.rows_at_once or batch)
    tiles = math.ceil(batch / rows)
    op, inputs, constants = op_named(node.op), graph.columns_of(node.inputs[0]), [graph.constants[name] for name in node.inputs[1:]]
    pieces = []
    if op.is_product:
        width = BYTES_PER_NUMBER * (inputs + node.columns)
        weights = sum(each.nbytes for each in constants)
        flop = op.work_flop(batch, node.columns, inputs)
        calls = 0 if op.generated else tiles * node.parts  # a run of generated code is one call of 40 ns
        pieces.append(Piece(calls, flop, weights, batch * width, rows * width, is_product=True))
    else:
        pieces.append(_pass(len(op.into), rows, batch, node.columns, tiles))
    strips = math.ceil(rows / (strip_rows_of(graph, node) or rows))
    return pieces + [_pass(len(op_named(step.op).into), rows, batch, node.columns, tiles * strips) for step in node.epilogue[node.inner :]]


def _pass(lines: int, rows: int, batch: int, columns: int, times: int) -> Piece:
    """Return an element-wise operation of so many kernel lines, each of which reads and writes the whole value."""
    size = BYTES_PER_NUMBER * columns
    return Piece(lines * times, 0.0, 0, 2 * lines * batch * size, 2 * rows * size)
