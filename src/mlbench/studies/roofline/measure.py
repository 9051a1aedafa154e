"""What a case consists of, and how far it is from the ceilings of this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlbench.compiler.memory import strip_rows_of
from mlbench.compiler.schedule.program import Program, plain_program
from mlbench.ir import BYTES_PER_NUMBER, Node, op_named
from mlbench.measure import Worker
from mlbench.measure.ceilings import Ceilings, measure_ceilings
from mlbench.measure.peaks import Floor
from mlbench.results import BASELINE, RUNNERS, Measurement, time_of
from mlbench.results.network import network_key
from mlbench.results.roofline import Distance
from mlbench.runtime import OptimizedRunner
from mlbench.studies.cases import Case, Cell, model_of
from mlbench.studies.floor import ends_bytes, floor_of_cell, measure_peaks
from mlbench.studies.roofline.bounds import Piece, classify
from mlbench.studies.sweep import Effort, Step, measure_cell, silent


def find_ceilings(threads: int) -> Ceilings:
    """Measure the ceilings in processes of their own.

    Raises:
        WorkerError: when one fails.
    """
    peaks = measure_peaks().of_cores(threads)
    with Worker(threads) as worker:
        return worker.call(measure_ceilings, peaks)


def distances(cell: Cell, ceilings: Ceilings, effort: Effort, step: Step = silent) -> tuple[Distance, ...]:
    """Measure both runners of a cell and hold them against the ceilings.

    Raises:
        WorkerError: when a worker fails; a wrong result is among the reasons.
        KeyboardInterrupt: on Ctrl-C; there is nothing to keep of half a cell.
    """
    floor = floor_of_cell(cell, ceilings.peaks)
    return distances_of(cell, measure_cell(cell, effort, floor, step), floor, ceilings)


def distances_of(cell: Cell, measured: Sequence[Measurement], floor: Floor, ceilings: Ceilings) -> tuple[Distance, ...]:
    """Hold the measurements of a cell against the floor and the ceilings, in the order of RUNNERS."""
    found = []
    for runner, each in zip(RUNNERS, measured, strict=True):
        latency_s = time_of(each)
        assert latency_s is not None
        products = 1 / each.ratios["products_ratio"].estimate if runner == BASELINE else 0.0
        limit = classify(pieces_of(Case(cell, runner)), must_move_bytes(cell), latency_s, products, ceilings)
        found.append(Distance(each.case["id"], latency_s, floor, each.ratios["floor_ratio"], limit, network_key(each.case)))
    return tuple(found)


def must_move_bytes(cell: Cell) -> int:
    """Return the bytes that any program must move: constants, inputs and outputs once, each activation that a product reads twice."""
    graph = model_of(cell).graph()
    hidden = {node.values[0] for node in graph.nodes if op_named(node.op).is_product} - set(graph.inputs)
    return ends_bytes(graph, cell.batch) + 2 * BYTES_PER_NUMBER * cell.batch * sum(map(graph.columns_of, hidden))


def pieces_of(case: Case) -> tuple[Piece, ...]:
    """Return what a call of the case consists of, from the program that runs."""
    model, batch = model_of(case.cell), case.cell.batch
    program = plain_program(model.graph(), batch) if case.runner == BASELINE else OptimizedRunner(model, batch).compiled.program
    return tuple(piece for node in program.graph.nodes for piece in _pieces(program, node, batch))


def _pieces(program: Program, node: Node, batch: int) -> list[Piece]:
    graph, rows = program.graph, min(batch, program.schedule.tile_rows)
    tiles = math.ceil(batch / rows)
    op, inputs, constants = op_named(node.op), sum(map(graph.columns_of, node.values)), [graph.constants[name] for name in node.operands]
    pieces = []
    if op.is_product:
        width = BYTES_PER_NUMBER * (inputs + node.columns)
        weights = sum(each.nbytes for each in constants)
        flop = op.work_flop(batch, node.columns, inputs)
        calls = 0 if program.of(node).is_generated else tiles * program.of(node).parts  # a run of generated code is one call of 40 ns
        pieces.append(Piece(calls, flop, weights, batch * width, rows * width, is_product=True))
    else:
        pieces.append(_pass(len(op.into), rows, batch, inputs + node.columns, tiles))
    strips = math.ceil(rows / (strip_rows_of(graph, node) or rows))
    return pieces + [
        _pass(len(op_named(step.op).into), rows, batch, 2 * node.columns, tiles * strips) for step in program.outer_steps(node)
    ]


def _pass(lines: int, rows: int, batch: int, columns: int, times: int) -> Piece:
    """Return an operation of so many kernel lines, each of which reads and writes values of so many columns together."""
    size = BYTES_PER_NUMBER * columns
    return Piece(lines * times, 0.0, 0, lines * batch * size, rows * size)
