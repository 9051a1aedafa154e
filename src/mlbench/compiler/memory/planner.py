"""From buffers to a plan: where each one lies, so that the arena is small.

Placing buffers whose lifetimes are given is NP-hard (dynamic storage allocation: Garey and Johnson, 1979, problem SR2). A first fit in the
right order is optimal for some order, and a network has few buffers, so up to EXHAUSTIVE of them try every order; above that the
usual orders (largest first, earliest first, longest-lived first) compete, and the best of them is then improved: a buffer that ends at the
top is placed earlier, or two buffers change places, for as long as that lowers the top and at most TRIES times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.memory.liveness import buffers_of, lower_bound_bytes
from mlbench.compiler.memory.plan import Buffer, MemoryPlan
from mlbench.compiler.schedule.program import Program

EXHAUSTIVE = 6
TRIES = 400
"""Orders that are tried to improve the best one; a network of 40 buffers takes 50 ms for them."""


def plan_memory(program: Program) -> MemoryPlan:
    """Return the smallest plan found for a program."""
    return place(buffers_of(program), _labels(program))


def plan_beside_outputs(program: Program) -> MemoryPlan:
    """Return a plan whose outputs lie behind everything else, so that an arena can end before them where they are somebody else's."""
    labels = _labels(program)
    buffers = buffers_of(program)
    outputs = [buffer for buffer in buffers if set(program.graph.outputs) & set(buffer.values)]
    inner = place([buffer for buffer in buffers if buffer not in outputs], labels)
    placed, end = inner.buffers, inner.arena_bytes
    for buffer in outputs:
        placed = (*placed, replace(buffer, offset=_aligned(end)))
        end = placed[-1].offset + buffer.size_bytes
    return MemoryPlan(placed, labels, end, lower_bound_bytes(buffers, len(labels)))


def _labels(program: Program) -> tuple[str, ...]:
    return tuple(f"{position} {node.op}" for position, node in enumerate(program.graph.nodes))


def place(buffers: Sequence[Buffer], labels: Sequence[str]) -> MemoryPlan:
    """Give every buffer an offset; `labels` name the nodes."""
    bound = lower_bound_bytes(buffers, len(labels))
    best: tuple[Buffer, ...] = ()
    for order in _orders(buffers):
        placed = _first_fit(order)
        if not best or _size(placed) < _size(best):
            best = placed
        if _size(best) == bound:
            break
    if len(buffers) > EXHAUSTIVE:
        best = _improved(best, bound)
    by_lifetime = tuple(sorted(best, key=lambda buffer: (buffer.first, buffer.last, buffer.offset)))
    return MemoryPlan(by_lifetime, tuple(labels), _size(best), bound)


def _size(placed: Sequence[Buffer]) -> int:
    return max((buffer.offset + buffer.size_bytes for buffer in placed), default=0)


def _improved(best: tuple[Buffer, ...], bound: int) -> tuple[Buffer, ...]:
    """Return a plan that is at most as large; the same buffers give the same plan, because the changes are drawn from a seed."""
    random = np.random.default_rng(0)
    for _ in range(TRIES):
        size = _size(best)
        if size == bound:
            break
        order = list(best)
        top = next(index for index, buffer in enumerate(order) if buffer.offset + buffer.size_bytes == size)
        if random.integers(2):
            order.insert(int(random.integers(top + 1)), order.pop(top))
        else:
            one, other = random.integers(len(order), size=2)
            order[one], order[other] = order[other], order[one]
        placed = _first_fit(order)
        if _size(placed) <= size:
            best = placed
    return best


def _orders(buffers: Sequence[Buffer]) -> Iterable[Sequence[Buffer]]:
    yield sorted(buffers, key=lambda buffer: (-buffer.size_bytes, buffer.first))
    yield sorted(buffers, key=lambda buffer: (buffer.first, -buffer.size_bytes))
    yield sorted(buffers, key=lambda buffer: (buffer.first - buffer.last, -buffer.size_bytes))
    if len(buffers) <= EXHAUSTIVE:
        yield from permutations(buffers)


def _first_fit(order: Iterable[Buffer]) -> tuple[Buffer, ...]:
    """Put each buffer at the lowest aligned offset where it meets no buffer that lives with it."""
    placed: list[Buffer] = []
    for buffer in order:
        rivals = sorted((other for other in placed if buffer.lives_with(other)), key=lambda other: other.offset)
        offset = 0
        for rival in rivals:
            if offset + buffer.size_bytes <= rival.offset:
                break
            offset = max(offset, _aligned(rival.offset + rival.size_bytes))
        placed.append(replace(buffer, offset=offset))
    return tuple(placed)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
