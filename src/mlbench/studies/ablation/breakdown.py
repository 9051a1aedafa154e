"""Where the time of the baseline's call goes: matrix products, element-wise passes, allocation and page faults, call overhead.

A profiler would disturb calls of a microsecond more than they take. So programs that differ from the baseline by one thing each are
interleaved with it, and the shares are differences:

    baseline          every operation allocates its result
    preallocated      the same operations on the same operands, each into an array that is there already
    products          of those the matrix products alone
    tiny ...          each of the three on a model whose every size is 1: the same calls, next to no work

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
from mlbench.models import Layer, Model
from mlbench.results.ablation import Shares
from mlbench.runtime import BaselineRunner
from mlbench.runtime.numpy_backend.lowering import load
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


def programs(model: Model, x: FloatArray) -> dict[str, Callable[[], object]]:
    """Return the call of each of ARMS for a model and its input, (batch, inputs) float32."""
    tiny = tiny_model(model)
    spot = np.ones((1, 1), np.float32)
    return {
        PREALLOCATED: partial(_preallocated(model.graph(), len(x)), x),
        PRODUCTS: partial(_preallocated(model.graph(), len(x), products_only=True), x),
        TINY: partial(BaselineRunner(tiny).run, spot),
        TINY_PREALLOCATED: partial(_preallocated(tiny.graph(), 1), spot),
        TINY_PRODUCTS: partial(_preallocated(tiny.graph(), 1, products_only=True), spot),
    }


def tiny_model(model: Model) -> Model:
    """Return a model with the same operations, each on a single number."""
    return Model("tiny", tuple(Layer(_one(2), _one(1), layer.activation) for layer in model.layers))


def _one(dimensions: int) -> FloatArray:
    one = np.ones((1,) * dimensions, np.float32)
    one.flags.writeable = False
    return one


def _preallocated(graph: Graph, rows: int, *, products_only: bool = False) -> Callable[[FloatArray], FloatArray]:
    """Return the baseline's lines with results that are there already.

    A result goes where the allocator would put it: into storage of its size that a dead value has left, else into new storage.
    """
    free: dict[int, list[str]] = {}
    made: dict[str, Any] = {}
    (given,), (output,) = graph.inputs, graph.outputs
    places = {given: "x"}
    lines = []
    for position, node in enumerate(graph.nodes):
        (source,) = node.values
        if products_only and not op_named(node.op).is_product:
            places[node.output] = places[source]
            continue
        place = free.get(node.columns, []).pop() if free.get(node.columns) else f"r{len(made)}"
        made.setdefault(place, np.zeros((rows, node.columns), np.float32))
        lines += _lines(node, places[source], place, rows, made)
        places[node.output] = place
        if graph.dies_at(source, position):
            free.setdefault(made[places[source]].shape[1], []).append(places[source])
    head = ["def run(x):", "    if x.__class__ is not ndarray or x.dtype is not float32 or x.ndim != 2:", "        raise TypeError"]
    source_text = "\n".join([*head, *(f"    {line}" for line in lines), f"    return {places[output]}"]) + "\n"
    run, _ = load(source_text, "run", "preallocated", graph.constants, **made)
    return run


def _lines(node: Node, value: str, place: str, rows: int, made: dict[str, Any]) -> list[str]:
    """Return the lines of a node; scratch it needs goes to `made`. The product is the baseline's own function, `@` by another name."""
    op = op_named(node.op)
    if op.is_product:
        return [f"np.matmul({value}, {node.operands[0]}, out={place})"]
    if not op.elementwise:  # softmax in place is another algorithm, so it stays as the baseline has it
        return [f"{place}[...] = {op.eager.format(*node.operands, x=value)}"]
    scratch = {f"s{index}": f"{place}_scratch{index}" for index in range(op.scratch)}
    for name in scratch.values():
        made.setdefault(name, np.zeros((rows, node.columns), np.float32))
    return [line.format(*node.operands, x=value, held=place, out=place, **scratch) for line in op.into]
