"""A call of the optimized runner allocates nothing; counted by memray, in one process of its own for all cells.

Run as a program, this file prints what each cell allocates, as JSON. The tests run it once, with one BLAS thread and without
coverage, whose tracer allocates on its own, and read the answers. `test_baseline` counts with the same `footprint`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest

from mlbench.models import HIDDEN_ACTIVATIONS, OUTPUT_ACTIVATIONS, Model, mlp
from mlbench.runtime import OptimizedRunner
from support.footprints import Footprint, footprint, run_as_program

BATCHES = (1, 8, 64, 512)
HIDDEN = (64, 256, 1024)
DEPTHS = (1, 2, 3, 4)
WAYS = ("float32", "float64", "out", "tail")
WIDE = (2048, 2049, 4096, 5000)
"""Hidden widths around the one where a strip is a single row."""


NOTHING = Footprint(0, 0, 0)


def footprints_of_ways(ways: dict[str, Callable[[], object]]) -> dict[str, Footprint]:
    """Return what each call allocates; where all of them together allocate nothing, each does, and takes no recording of its own."""
    calls = tuple(ways.values())

    def call_all() -> None:
        for call in calls:
            call()

    if footprint(call_all) == NOTHING:
        return dict.fromkeys(ways, NOTHING)
    return {way: footprint(call) for way, call in ways.items()}


def _cells() -> dict[str, tuple[Model, int]]:
    cells = {
        f"{hidden}x{depth}-batch{batch}": (mlp(64, (hidden,) * depth, 10), batch)
        for hidden in HIDDEN for depth in DEPTHS for batch in BATCHES
    }  # fmt: skip
    for name in HIDDEN_ACTIVATIONS:
        cells |= {f"hidden-{name}-batch{batch}": (mlp(64, (256, 96), 10, activation=name), batch) for batch in (1, 200)}
    for name in OUTPUT_ACTIVATIONS:
        cells |= {f"output-{name}-batch{batch}": (mlp(64, 256, 10, output_activation=name), batch) for batch in (1, 200)}
    cells |= {f"wide-{hidden}-batch{batch}": (mlp(16, hidden, 4), batch) for hidden in WIDE for batch in (1, 8)}
    for name in OUTPUT_ACTIVATIONS:  # a single element in place is what NumPy mallocs for
        cells |= {f"single-{name}-batch{batch}": (mlp(8, 16, 1, output_activation=name), batch) for batch in (1, 3, 129)}
    return cells | {f"one-column-{name}-batch1": (mlp(8, 1, 1, activation=name), 1) for name in HIDDEN_ACTIVATIONS}


CELLS = list(_cells())


def _ways(model: Model, batch: int) -> dict[str, Callable[[], object]]:
    """Return calls of one runner, in every way that is promised to allocate nothing."""
    runner = OptimizedRunner(model, batch)
    x = np.random.default_rng(0).standard_normal((batch, model.inputs)).astype(np.float32)
    wide, out = x.astype(np.float64), np.empty((batch, model.outputs), np.float32)
    tail = np.ascontiguousarray(x[: max(1, batch - batch // 3)])
    return {
        "float32": lambda: runner.run(x),
        "float64": lambda: runner.run(wide),
        "out": lambda: runner.run(x, out),
        "tail": lambda: runner.run(tail),
    }


def main() -> None:
    """Print what each cell allocates in each way, and what the instrument sees in known calls."""
    a, b, c = (np.ones((128, 128), np.float32) for _ in range(3))
    calls: dict[str, Callable[[], object]] = {
        "instrument-nothing": lambda: None,
        "instrument-sum": lambda: a + b,
        "instrument-two-sums": lambda: (a + b, a + b),
        "instrument-freed-sum": lambda: (a + b) + c,
        "instrument-matmul-out": lambda: np.matmul(a, b, out=c),
        "instrument-dot-out": lambda: a.dot(b, c),
        "instrument-broadcast": lambda: np.add(a, b[0], out=c),
    }
    footprint(lambda: None)
    found = {name: footprint(call) for name, call in calls.items()}
    for cell, (model, batch) in _cells().items():
        found |= {f"{cell}/{way}": each for way, each in footprints_of_ways(_ways(model, batch)).items()}
    print(json.dumps({name: asdict(each) for name, each in found.items()}))


@pytest.fixture(scope="module")
def found() -> dict[str, Footprint]:
    """Return what every cell allocates; the program runs once for the module, and fails once."""
    pytest.importorskip("memray", reason="memray does not run on Windows")
    return run_as_program(__file__)


@pytest.mark.parametrize("cell", CELLS)
def test_a_call_allocates_nothing(found: dict[str, Footprint], cell: str) -> None:
    """No bytes and no allocations: float32, staged float64, with an array for the result, and fewer rows than the batch."""
    assert dict.fromkeys(WAYS, NOTHING) == {way: found[f"{cell}/{way}"] for way in WAYS}


@pytest.mark.parametrize(
    ("call", "least_bytes", "allocations"),
    [("sum", 65_536, 1), ("two-sums", 131_072, 2), ("freed-sum", 65_536, 1), ("matmul-out", 1, 1), ("broadcast", 1024, 1)],
)
def test_the_instrument_sees_an_allocation_where_there_is_one(
    found: dict[str, Footprint], call: str, least_bytes: int, allocations: int
) -> None:
    """What is known to allocate is seen, the 72 bytes of matmul(out=) and the buffers of a broadcast included."""
    seen = found[f"instrument-{call}"]
    assert seen.peak_bytes >= least_bytes
    assert seen.allocations >= allocations


@pytest.mark.parametrize("call", ["nothing", "dot-out"])
def test_the_instrument_sees_nothing_where_there_is_nothing(found: dict[str, Footprint], call: str) -> None:
    """An empty call and `dot` into a given array allocate nothing, so a zero is a zero."""
    assert found[f"instrument-{call}"] == NOTHING


if __name__ == "__main__":
    main()
