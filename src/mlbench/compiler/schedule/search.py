"""The search for the fastest schedule, by a cost function that is handed in: this side of the house knows no clock.

A product may run in some ten ways, the batch in half a dozen tiles, on one thread or several: too many to try all together, and they are
nearly independent. So the search starts from the best of some starting points and changes one decision at a time, product by product, until
a whole round brings nothing (coordinate descent). All candidates for a decision are handed to the cost function together, so that it can
compare them side by side; a candidate must win by more than MARGIN, or noise would choose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mlbench.compiler.schedule.heuristics import heuristic_schedule
from mlbench.compiler.schedule.program import FEATURES, Program
from mlbench.compiler.schedule.schedule import (
    BLAS,
    ONE,
    ORDERS,
    SPLIT,
    TILES,
    OpSchedule,
    Schedule,
    check_schedule,
    products_of,
    weight_shape,
)
from mlbench.compiler.x86 import find
from mlbench.errors import ModelError
from mlbench.ir import op_named

MARGIN = 0.015
"""A candidate replaces what is held only if it takes this much less time."""
LEAVING_CODE = 1.05
"""What takes a product away from generated code must be so much faster: BLAS's time for a product of few rows differs by as much from
process to process, with where its operands lie."""
MOST_ROUNDS = 2
MOST_WHOLE_ROWS = 512
"""Larger batches are always tiled: nothing is gained by more rows at once, and they cost memory."""
TILE_ROWS = (28, 56, 84, 126, 252)
PART_WORK = 100.0**3
"""Parts are as large as what OpenBLAS multiplies without packing."""

Cost = Callable[[Sequence[Schedule]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Space:
    """What there is to choose from.

    Attributes:
        tiles: rows of a tile, None for the whole batch.
        ops: for each product, the ways it may run.
        threadings: who may run it.
    """

    tiles: tuple[int | None, ...]
    ops: tuple[tuple[OpSchedule, ...], ...]
    threadings: tuple[str, ...]


def space_of(program: Program, switched_on: Sequence[str]) -> Space:
    """Return what may be chosen for a graph.

    Args:
        program: up to the first pass that takes a schedule.
        switched_on: names of the passes that will run.
    """
    batch = program.schedule.max_batch
    tiles: tuple[int | None, ...] = (None,)
    if "tile" in switched_on:
        tiles = (*(rows for rows in TILE_ROWS if rows < batch), *((None,) if batch <= MOST_WHOLE_ROWS else ()))
    threadings = (ONE, BLAS, TILES, SPLIT) if "parallelize" in switched_on and program.schedule.threads > 1 else (ONE,)
    return Space(tiles, tuple(tuple(_ops(program, position, switched_on)) for position in products_of(program.graph)), threadings)


def best_schedule(program: Program, switched_on: Sequence[str], cost: Cost) -> Schedule:
    """Search the cheapest schedule.

    Args:
        program: up to the first pass that takes a schedule.
        switched_on: names of the passes that will run.
        cost: seconds of each of some schedules, measured together.
    """
    space = space_of(program, switched_on)
    held = _cheapest(_starts(program, space, switched_on), cost)
    for _ in range(MOST_ROUNDS):
        before = held
        for candidates in _coordinates(space):
            held = _cheapest([held, *(each for each in candidates(held) if each != held)], cost)
        if held == before:
            break
    return held


def check_findable(program: Program, switched_on: Sequence[str], schedule: Schedule) -> None:
    """Refuse a schedule that no search for this graph can find, whatever its cost: it comes from a damaged memory.

    Args:
        program: up to the first pass that takes a schedule.
        switched_on: names of the passes that will run.
        schedule: what is said to have been found.

    Raises:
        ModelError: with what was found and what may be chosen.
    """
    check_schedule(program.graph, schedule)
    space = space_of(program, switched_on)
    starts = _starts(program, space, switched_on)
    tiles = {*space.tiles, *(start.tile_rows for start in starts)}
    if schedule.tile_rows not in tiles:
        raise ModelError(f"tiles of {schedule.tile_rows} rows; this batch may have {', '.join(map(str, sorted(map(str, tiles))))}")
    for index, (op, ops) in enumerate(zip(schedule.ops, space.ops, strict=True)):
        if op not in {*ops, *(start.ops[index] for start in starts)}:
            raise ModelError(f"product {index} as {op}; it may be one of {', '.join(map(str, ops))}")
    if schedule.threading not in space.threadings:
        raise ModelError(
            f"threading {schedule.threading!r} with {program.schedule.threads} threads; expected one of {', '.join(space.threadings)}"
        )


def _cheapest(candidates: Sequence[Schedule], cost: Cost) -> Schedule:
    """Return the cheapest of the candidates, or the first where none is cheaper by more than MARGIN."""
    distinct = tuple(dict.fromkeys(candidates))
    if len(distinct) == 1:
        return distinct[0]
    most = _generated(distinct[0])
    costs = [each * (LEAVING_CODE if _generated(held) < most else 1) for held, each in zip(distinct, cost(distinct), strict=True)]
    best = min(range(len(distinct)), key=lambda index: costs[index])
    return distinct[best] if costs[best] < (1 - MARGIN) * costs[0] else distinct[0]


def _generated(schedule: Schedule) -> int:
    return sum(op.generated for op in schedule.ops)


def _starts(program: Program, space: Space, switched_on: Sequence[str]) -> list[Schedule]:
    """Return the default, the default without generated code, and everything feature-major."""
    default = heuristic_schedule(program, switched_on)
    plain = heuristic_schedule(program, [name for name in switched_on if name != "codegen"])
    transposed = tuple(next((op for op in ops if op.layout == FEATURES and op.parts > 1), ops[0]) for ops in space.ops)
    starts = [
        default,
        plain,
        replace(plain, ops=transposed),
        replace(default, tile_rows=space.tiles[min(2, len(space.tiles) - 1)], ops=transposed),
    ]
    return [replace(start, threading=threading) for start in starts for threading in space.threadings]


def _coordinates(space: Space) -> Iterator[Callable[[Schedule], list[Schedule]]]:
    """Return, for each thing that may be chosen, a function from what is held to what else there is."""
    yield lambda held: [replace(held, tile_rows=rows) for rows in space.tiles]
    for index, ops in enumerate(space.ops):
        yield (
            lambda held, index=index, ops=ops: [  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
                replace(held, ops=(*held.ops[:index], op, *held.ops[index + 1 :])) for op in ops
            ]
        )
    yield lambda held: [replace(held, threading=threading) for threading in space.threadings]


def _ops(program: Program, position: int, switched_on: Sequence[str]) -> Iterator[OpSchedule]:
    graph = program.graph
    node = graph.nodes[position]
    inputs, columns = weight_shape(graph, node)
    batch = program.schedule.max_batch
    yield OpSchedule()
    if "layout" in switched_on:
        yield OpSchedule(order="F")
        readers = [graph.nodes[reader] for reader in graph.readers_of(node.output)]
        if readers and node.output not in graph.outputs and all(op_named(reader.op).is_product for reader in readers):
            yield from (OpSchedule(FEATURES, order, parts) for order in ORDERS for parts in _parts(inputs, columns, batch))
    if {"codegen", "static"} <= set(switched_on) and find()[0] is not None:
        yield OpSchedule(generated=True)


def _parts(inputs: int, columns: int, batch: int) -> list[int]:
    """Return the numbers of parts to try: one, and so many that a part of a usual tile is a small product."""
    found = {1}
    for rows in {min(batch, rows) for rows in (TILE_ROWS[1], TILE_ROWS[2], batch)}:
        parts = math.ceil(rows * inputs * columns / PART_WORK)
        if 1 < parts <= columns // 4:
            found.add(parts)
    return sorted(found)
