"""Look-ups in generated code: entries are copied, and no index leads anywhere but into its table."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest

from mlbench.compiler.pipeline import compile_graph
from mlbench.compiler.schedule.program import ROWS
from mlbench.compiler.schedule.schedule import ONE, ORDERS, SPLIT, TILES, OpSchedule, Schedule
from mlbench.compiler.x86 import AVX2, AVX512, DONE, REFUSED, Argument, Body, BodyPlan, Vectors, View, find
from mlbench.compiler.x86.body import code_of_plan
from mlbench.compiler.x86.sweeps.lookup import Lookup
from mlbench.errors import InputError
from mlbench.ir import FloatArray, Graph, Node, frozen
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.runtime.engine import engine_of
from support.emulator import OBJDUMP, Emulator
from support.machine_code import guarded

FOUND, WHY = find()
pytestmark = pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
HERE: tuple[Vectors, ...] = () if FOUND is None else (AVX2,) if FOUND is AVX2 else (AVX512, AVX2)
ANYWHERE = [pytest.param(each, id=each.name) for each in (*HERE, *(AVX512,) * (AVX512 not in HERE and OBJDUMP is not None))]
ENTRIES, TILE = 5, 4
WIDTHS = (1, 5, 8, 9, 40, 300)
BAD = (ENTRIES, -ENTRIES - 1, 1e30, -np.inf, np.nan)


def looked_up(vectors: Vectors, table: FloatArray, x: FloatArray, gap: int = 0) -> tuple[int, FloatArray, tuple[float, int]]:
    """Run a look-up of rows that are a gap apart; return what the body returned, the result, and what was refused of how many entries."""
    rows, columns = x.shape
    entries, width = table.shape
    source, result = guarded(x), np.full((rows + 1, columns * width + gap), 7, np.float32)
    stage = Lookup(
        columns, entries, width, int(table.ctypes.data), View(Argument(0), 4 * columns), View(Argument(1), 4 * (columns * width + gap))
    )
    plan = BodyPlan((stage,), (source.strides[0], result.strides[0]), TILE)
    places = np.array([source.ctypes.data, result.ctypes.data], np.uint64)
    if vectors in HERE:
        body = Body(vectors, plan)
        refusal = body.refusal
        returned = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(body.address)(places.ctypes.data, rows)
    else:
        refusal = np.zeros(2, np.uint64)
        returned = Emulator(code_of_plan(vectors, plan, refusal=refusal.ctypes.data)).call(places.ctypes.data, rows)
    assert (result[rows] == 7).all()
    assert (result[:rows, columns * width :] == 7).all()
    bits, of = refusal[1:].view(np.uint32)
    return returned, result[:rows, : columns * width], (float(bits.view(np.float32)), int(of))


@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("gap", [0, 2], ids=["close", "apart"])
@pytest.mark.parametrize("columns", [1, 18])
def test_entries_are_copied_whole(vectors: Vectors, columns: int, gap: int) -> None:
    """Of any width, from either end of the table, truncated to a whole number, and nothing else is written."""
    random = np.random.default_rng(columns)
    for width in WIDTHS:
        table = guarded(random.standard_normal((ENTRIES, width)).astype(np.float32))
        index = random.integers(-ENTRIES, ENTRIES, (6, columns))
        returned, found, _ = looked_up(vectors, table, (index + 0.25 * np.sign(index)).astype(np.float32), gap)
        assert returned == DONE
        np.testing.assert_array_equal(found, table[index].reshape(6, -1))


@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("bad", BAD)
def test_an_index_that_the_table_has_not_is_refused(vectors: Vectors, bad: float) -> None:
    """Wherever it is, the body says so, and which it was; entry 0 is read in its place."""
    table = guarded(np.arange(ENTRIES * 3.0, dtype=np.float32).reshape(ENTRIES, 3))
    for place in (0, 9, 19):
        x = np.ones((10, 2), np.float32)
        x.flat[place] = bad
        returned, found, (index, entries) = looked_up(vectors, table, x)
        assert returned == REFUSED
        np.testing.assert_array_equal([index, entries], [np.float32(bad), ENTRIES])
        np.testing.assert_array_equal(found, table[np.where(x == 1, 1, 0)].reshape(10, -1))


def bags(columns: int = 3, width: int = 8) -> Graph:
    """Return a graph that looks up, and multiplies what it found."""
    random = np.random.default_rng(0)
    constants = {
        "t": frozen(random.standard_normal((ENTRIES, 1, width))), "w": frozen(random.standard_normal((columns * width, 16)))
    }  # fmt: skip
    nodes = (
        Node("gather", ("x", "t"), "e", columns * width, attributes=(columns * width,)),
        Node("matmul", ("e", "w"), "y", 16),
    )
    return Graph({"x": columns}, constants, nodes, ("y",))


@pytest.mark.parametrize("threading", [ONE, TILES, SPLIT])
def test_a_runner_raises_and_goes_on(threading: str) -> None:
    """The call with a bad index raises, on one thread or two; the call before and the one after it are right."""
    graph, rows = bags(), 33
    schedule = Schedule(None, (OpSchedule(ROWS, ORDERS[0], 1, True),), threading)
    runner = OptimizedRunner(graph, rows, threads=1 if threading == ONE else 2, schedule=schedule)
    engine = engine_of(runner.run)
    assert engine is not None
    assert engine.compiled.program.is_generated
    x = np.random.default_rng(1).integers(-ENTRIES, ENTRIES, (rows, 3)).astype(np.float32)
    expected = BaselineRunner(graph).run(x)
    out = np.empty_like(expected)
    for bad in (ENTRIES, np.nan):
        np.testing.assert_allclose(runner.run(x), expected, rtol=1e-5, atol=1e-5)
        wrong = x.copy()
        wrong[30, 1] = bad
        for given in ((wrong,), (wrong, out), (wrong.astype(np.float64),)):
            with pytest.raises(InputError, match=rf"index {bad} of a table of 5 entries; expected 0 to 4, or from the end -5 to -1"):
                runner.run(*given)
    np.testing.assert_allclose(runner.run(x, out), expected, rtol=1e-5, atol=1e-5)


def test_beside_numpy_a_lookup_raises_too() -> None:
    """A run of generated code inside a tile of NumPy's hands on what it raised."""
    graph = bags()
    graph = replace(graph, constants={**graph.constants, "k": frozen(np.full(16, np.nan))}, outputs=("z",),
                    nodes=(*graph.nodes, Node("maximum", ("y", "k"), "z", 16)))  # fmt: skip
    assert not compile_graph(graph, 9).program.is_generated
    runner = OptimizedRunner(graph, 9)
    assert np.isnan(runner.run(np.zeros((9, 3), np.float32))).all()
    with pytest.raises(InputError, match="index 9 of a table of 5 entries"):
        runner.run(np.full((9, 3), 9, np.float32))


def test_what_a_lookup_executes_is_counted() -> None:
    """No jump depends on an index, so the counts are exact: a row more costs the same each time."""
    pytest.importorskip("capstone")
    alone = replace(bags(columns=1, width=24), outputs=("e",))
    engine = engine_of(OptimizedRunner(alone.with_nodes(alone.nodes[:1]), 64).run)
    assert engine is not None
    found = [engine.counts(rows) for rows in (9, 10, 11)]
    instructions = [each.instructions for each in found if each is not None]
    assert instructions[2] - instructions[1] == instructions[1] - instructions[0] > 0
