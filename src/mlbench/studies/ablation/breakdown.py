"""Where the time of the baseline's call goes: matrix products, element-wise passes, allocation and page faults, call overhead.

A profiler would disturb calls of a microsecond more than they take. So programs that differ from the baseline by one thing each are
interleaved with it, and the shares are differences:

    baseline          every operation allocates its result
    preallocated      the same operations on the same operands, each into an array that is there already
    products          of those the matrix products alone
    tiny ...          each of the three on a graph whose every size is as small as it can be: the same calls, next to no work

    call overhead     = tiny baseline
    allocation        = (baseline - preallocated) - (tiny baseline - tiny preallocated)
    products          = products - tiny products
    element-wise      = (preallocated - products) - (tiny preallocated - tiny products)

The four add up to the baseline, whatever was measured. A small array is made by every call, so making it is call overhead; allocation
is what large results cost beyond that: malloc, page faults, and the first touch of memory that is in no cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mlbench.ir import FloatArray, Graph, Node, op_named
from mlbench.measure import ArmTimes
from mlbench.measure.stats import median
from mlbench.results.ablation import Shares
from mlbench.runtime import BaselineRunner
from mlbench.runtime.numpy_backend.lowering import argument_names, attribute_fields, load, value_fields
from mlbench.studies.ablation.tiny import tiny_graph
from mlbench.studies.products import is_carried
from mlbench.studies.sweep import per_round

PREALLOCATED = "preallocated"
PRODUCTS = "products"
TINY = "tiny baseline"
TINY_PREALLOCATED = "tiny preallocated"
TINY_PRODUCTS = "tiny products"
ARMS = (PREALLOCATED, PRODUCTS, TINY, TINY_PREALLOCATED, TINY_PRODUCTS)


def shares_of(times: Mapping[str, float]) -> Shares:
    """Return the shares.

    Args:
        times: for each of ARMS, its time / the baseline's time.

    >>> found = shares_of({"preallocated": 0.7, "products": 0.4, "tiny baseline": 0.1, "tiny preallocated": 0.1, "tiny products": 0.05})
    >>> [round(each, 2) for each in (found.products, found.elementwise, found.allocation, found.calls)]
    [0.35, 0.25, 0.3, 0.1]
    """
    raw = {
        "products": times[PRODUCTS] - times[TINY_PRODUCTS],
        "elementwise": times[PREALLOCATED] - times[PRODUCTS] - (times[TINY_PREALLOCATED] - times[TINY_PRODUCTS]),
        "allocation": 1 - times[PREALLOCATED] - (times[TINY] - times[TINY_PREALLOCATED]),
        "calls": times[TINY],
    }
    whole = sum(max(0.0, share) for share in raw.values())
    return Shares(
        **{name: max(0.0, share) / whole for name, share in raw.items()},
        below_zero={name: share for name, share in raw.items() if share < 0},
    )


def measured_shares(baseline: Sequence[ArmTimes], arms: Mapping[str, Sequence[ArmTimes]]) -> Shares:
    """Return the shares from interleaved rounds: of each arm the median ratio to the baseline within a round."""
    return shares_of({name: median([ratio for process in per_round(arms[name], baseline) for ratio in process]) for name in ARMS})


def programs(graph: Graph, xs: Sequence[FloatArray]) -> dict[str, Callable[[], object]]:
    """Return the call of each of ARMS for a graph and its inputs, (batch, columns) float32 each."""
    tiny = tiny_graph(graph)
    spots = [np.ones((1, columns), np.float32) for columns in tiny.inputs.values()]
    rows = len(xs[0])
    return {
        PREALLOCATED: partial(_preallocated(graph, rows), *xs),
        PRODUCTS: partial(_preallocated(graph, rows, products_only=True), *xs),
        TINY: partial(BaselineRunner(tiny).run, *spots),
        TINY_PREALLOCATED: partial(_preallocated(tiny, 1), *spots),
        TINY_PRODUCTS: partial(_preallocated(tiny, 1, products_only=True), *spots),
    }


def _preallocated(graph: Graph, rows: int, *, products_only: bool = False) -> Callable[..., object]:
    """Return the baseline's lines with results that are there already.

    A result goes where the allocator would put it: into storage of its size that a dead value has left, else into new storage.
    """
    free: dict[int, list[str]] = {}
    made: dict[str, Any] = {}
    arguments = argument_names("x", len(graph.inputs), is_single=len(graph.inputs) == 1)
    names = dict(zip(graph.inputs, arguments, strict=True))
    places = dict(names)
    lines: list[str] = []
    for position, node in enumerate(graph.nodes):
        op, source = op_named(node.op), node.values[0]
        if is_carried(graph, node) if products_only else op.is_view:  # it has no storage of its own
            places[node.output] = places[source]
            names[node.output] = names[source] if products_only else f"v{position}"
            lines += [] if products_only else [f"v{position} = {_eager(node, [names[source]])}"]
            continue
        is_run = not products_only or op.is_product
        place = free.get(node.columns, []).pop() if is_run and free.get(node.columns) else f"r{len(made)}"
        made.setdefault(place, (np.zeros if is_run else np.ones)((rows, node.columns), np.float32))
        lines += _lines(node, [names[value] for value in node.values], place, rows, made) if is_run else []
        names[node.output] = places[node.output] = place
        for value in dict.fromkeys(node.values):
            if graph.dies_at(value, position) and not _is_needed(graph, places, places[value], position):
                free.setdefault(made[places[value]].shape[1], []).append(places[value])
    checks = [
        line
        for name in arguments
        for line in (f"if {name}.__class__ is not ndarray or {name}.dtype is not float32 or {name}.ndim != 2:", "    raise TypeError")
    ]
    results = ", ".join(names[output] for output in graph.outputs)
    source_text = (
        "\n".join([f"def run({', '.join(arguments)}):", *(f"    {line}" for line in [*checks, *lines, f"return {results}"])]) + "\n"
    )
    run, _ = load(source_text, "run", "preallocated", graph.constants, **made)
    return run


def _is_needed(graph: Graph, places: Mapping[str, str], place: str, position: int) -> bool:
    """Whether a place holds an input, or a value that is read after a position or is a result: several values may share it."""
    values = [name for name, where in places.items() if where == place]
    return any(name in graph.inputs or name in graph.outputs or max(graph.readers_of(name), default=-1) > position for name in values)


def _lines(node: Node, values: Sequence[str], place: str, rows: int, made: dict[str, Any]) -> list[str]:
    """Return the lines of a node; scratch it needs goes to `made`. The product is the baseline's own function, `@` by another name."""
    op = op_named(node.op)
    if op.is_product:
        return [f"np.matmul({values[0]}, {node.operands[0]}, out={place})"]
    if not op.elementwise and op.values == 1:  # softmax in place is another algorithm, so it stays as the baseline has it
        return [f"{place}[...] = {_eager(node, values)}"]
    scratch = {f"s{index}": f"{place}_scratch{index}" for index in range(op.scratch)}
    for name in scratch.values():
        made.setdefault(name, np.zeros((rows, node.columns), np.float32))
    return [line.format(*node.operands, **value_fields(values), out=place, **scratch) for line in op.into]


def _eager(node: Node, values: Sequence[str]) -> str:
    return op_named(node.op).eager.format(*node.operands, **value_fields(values), **attribute_fields(node.attributes))
