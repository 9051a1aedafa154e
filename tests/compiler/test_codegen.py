"""Generated code in a graph: which products become code, with which steps inside, and that the runner is right, frugal and shares."""

from __future__ import annotations

import gc
import mmap
import os
import weakref
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench import BaselineRunner, Model, OptimizedRunner, mlp
from mlbench.compiler import blas
from mlbench.compiler.memory import plan_memory
from mlbench.compiler.passes import codegen, parallelize
from mlbench.compiler.pipeline import PASSES, compile_graph, passes_named
from mlbench.compiler.schedule.heuristics import heuristic_schedule
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import FEATURES, NodeSchedule, Program
from mlbench.compiler.schedule.schedule import ONE, SPLIT, TILES, OpSchedule, Schedule
from mlbench.compiler.x86 import find
from mlbench.compiler.x86.caches import ASSUMED, Caches
from mlbench.errors import CrewError, GraphError
from mlbench.ir import FloatArray, Graph, Node, Step, frozen, graph_text
from mlbench.measure import footprint, has_memray, held_bytes
from mlbench.runtime import check_result
from mlbench.runtime.x86_backend import runs_of, stages_of, whole_run
from mlbench.studies.autotune import undecided
from support.hierarchies import ONE_MIB, SAPPHIRE_RAPIDS, SMALL, ZEN_3
from support.programs import program_of
from support.strategies import batch_of, models

VECTORS, WHY = find()
needs_code = pytest.mark.skipif(VECTORS is None, reason=f"no generated code here: {WHY}")
CODE = OpSchedule(generated=True)
NAMES = [each.name for each in PASSES]
MODEL = mlp(20, 40, 12)


def runner_of(model: Model, batch: int, tile_rows: int | None = None, threading: str = ONE, threads: int = 1) -> OptimizedRunner:
    """Return a runner of generated code."""
    products = len([node for node in undecided(model.graph(), batch, threads, NAMES).graph.nodes if node.op == "matmul"])
    return OptimizedRunner(model, batch, schedule=Schedule(tile_rows, (CODE,) * products, threading), threads=threads)


# --- the pass -----------------------------------------------------------------------------------------------------------


@needs_code
def test_what_is_generated_is_a_fact_of_the_graph() -> None:
    """The printed form shows the panels, and which steps run inside the code and which behind it."""
    model = mlp(6, (8, 8), 3, activation="tanh", output_activation="relu")
    compiled = compile_graph(model.graph(), 9, passes_named(["fuse", "static", "codegen"]), Schedule(None, (CODE, CODE, CODE)))
    assert program_text(compiled.program) == (
        "graph(x: rows x 6) max_batch=9, static buffers\n"
        "  v2: rows x 8 = matmul(x, w0: 6 x 8) generated from panels of 1 vector with add(b0: 8) swept by tanh()\n"
        "  v5: rows x 8 = matmul(v2, w1: 8 x 8) generated from panels of 1 vector with add(b1: 8) swept by tanh()\n"
        "  v8: rows x 3 = matmul(v5, w2: 8 x 3) generated from panels of 1 vector with add(b2: 3) with relu()\n"
        "  return v8"
    )
    note = {each.name: text for each, text in compiled.notes}["codegen"]
    assert "v2, v5, v8 computed by generated code" in note
    assert "4 element-wise steps inside the products; 544 bytes of copies of weights" in note


@needs_code
def test_equal_weights_are_packed_once() -> None:
    """Two products of one weight share its packed copy."""
    nodes = (Node("matmul", ("x", "w"), "h", 3), Node("matmul", ("h", "w"), "y", 3))
    program = program_of(Graph({"x": 3}, {"w": frozen(np.ones((3, 3)))}, nodes, ("y",)), 4, is_static=True)
    after = codegen.choose(program, Schedule(None, (CODE, CODE)))
    assert [after.of(node).packed for node in after.graph.nodes] == ["w_packed", "w_packed"]
    assert after.graph is program.graph
    assert "36 bytes of copies" in codegen.explain(program, after)
    assert codegen.choose(after, Schedule(None, (CODE, CODE))) is after


TWO_PRODUCTS = Graph(
    {"x": 3}, {"w": frozen(np.ones((3, 3)))}, (Node("matmul", ("x", "w"), "h", 3), Node("matmul", ("h", "w"), "y", 3)), ("y",)
)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (program_of(TWO_PRODUCTS, 4), "needs static buffers"),
        (
            program_of(TWO_PRODUCTS, 4, nodes={"h": NodeSchedule(FEATURES)}, is_static=True),
            "it was not chosen, or an operand does not allow it",
        ),
    ],
    ids=["no-static-buffers", "features"],
)
@needs_code
def test_what_does_not_allow_code_stays(program: Program, reason: str) -> None:
    """The program is the same object, and the note says why."""
    after = codegen.choose(program, Schedule(None, (CODE, CODE)))
    assert after is program
    assert reason in codegen.explain(program, after)


def test_without_a_processor_for_it_nothing_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner is right all the same, and says why there is no code."""
    for part in ("passes.codegen", "schedule.heuristics", "schedule.search"):
        monkeypatch.setattr(f"mlbench.compiler.{part}.find", lambda: (None, "this processor has no AVX2 with FMA"))
    for schedule in (None, Schedule(None, (CODE, CODE))):
        runner = OptimizedRunner(MODEL, 9, schedule=schedule)
        assert {node.op for node in runner.compiled.graph.nodes} == {"matmul"}
        assert {each.name: note for each, note in compile_graph(MODEL.graph(), 9, schedule=schedule).notes}["codegen"] == (
            "No code generated: this processor has no AVX2 with FMA."
        )
        check_result(MODEL, batch_of(9, 20), runner.run(batch_of(9, 20)))


def test_a_graph_from_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generated nodes in a process that cannot run them are an error with the reason, and never a crash."""
    if VECTORS is None:
        pytest.skip("no generated code here")
    monkeypatch.setattr("mlbench.runtime.x86_backend.find", lambda: (None, "it is another machine"))
    with pytest.raises(GraphError, match="this process cannot run it: it is another machine"):
        OptimizedRunner(MODEL, 9)


@needs_code
@pytest.mark.parametrize(
    ("steps", "inner"),
    [
        ((Step("add", ("row",)), Step("relu"), Step("tanh"), Step("relu")), 2),
        ((Step("maximum", ("nan",)), Step("relu")), 0),
        ((Step("add", ("nan",)), Step("relu")), 0),
        ((Step("add", ("row",)), Step("leaky_relu", ("slope",)), Step("maximum", ("row",)), Step("add", ("row",))), 3),
        ((Step("add", ("strip",)), Step("relu")), 0),
        ((Step("add", ("gaps",)), Step("relu")), 0),
        ((Step("leaky_relu", ("zero",)),), 0),
    ],
    ids=["tanh", "maximum-with-nan", "add-with-nan", "too-many-operands", "strip", "gaps", "slope-of-zero"],
)
def test_steps_without_code_stay_with_numpy(steps: tuple[Step, ...], inner: int) -> None:
    """The longest beginning there is code for runs inside, the rest behind; the result is what NumPy alone gives."""
    constants: dict[str, FloatArray] = {
        "w": frozen(np.ones((3, 5))),
        "row": frozen(np.arange(5.0)),
        "nan": frozen(np.array([1, np.nan, -1, 0, 2])),
        "slope": frozen(np.array(0.1)),
        "strip": frozen(np.ones((4, 5))),
        "gaps": frozen(np.arange(10.0))[::2],
        "zero": frozen(np.array(0.0)),
    }
    node = Node("matmul", ("x", "w"), "y", 5, epilogue=steps)
    graph = Graph({"x": 3}, {name: constants[name] for name in node.constants}, (node,), ("y",))
    names = ["static", "codegen", "strips"] if "strip" not in node.constants else ["static", "codegen"]
    runner = OptimizedRunner(graph, 4, passes=names, schedule=Schedule(None, (CODE,)))
    (made,) = runner.compiled.graph.nodes
    schedule = runner.compiled.program.of(made)
    assert (schedule.is_generated, schedule.inner) == (True, inner)
    x = batch_of(4, 3)
    plain = OptimizedRunner(graph, 4, passes=["static"])
    np.testing.assert_allclose(runner.run(x), plain.run(x), rtol=1e-5, atol=1e-6)


def test_what_is_computed_is_the_same_with_and_without_code() -> None:
    """Generated code is a fact of the schedule alone, so that the eager runner can run the graph of a compiled program."""
    compiled = compile_graph(MODEL.graph(), 9, passes_named(["fuse", "static", "codegen"]), Schedule(None, (CODE, CODE)))
    assert graph_text(compiled.graph) == graph_text(compile_graph(MODEL.graph(), 9, passes_named(["fuse"])).graph)
    check_result(MODEL, batch_of(9, 20), BaselineRunner(compiled.graph).run(batch_of(9, 20)))


@needs_code
@pytest.mark.parametrize(
    ("sizes", "batch", "tile_rows"),
    [
        ((64, 256, 10), 105, None),
        ((64, 256, 10), 106, 53),
        ((64, 256, 10), 107, 84),
        ((64, 1024, 64), 512, 64),
        ((64, 8192, 64), 512, 64),
        ((64, 8192, 64), 514, 102),
        ((256, 256, 256), 512, 32),
        ((784, 4096, 10), 500, None),
        ((784, 4096, 10), 5000, 500),
    ],
)
def test_the_default_tile(sizes: tuple[int, int, int], batch: int, tile_rows: int | None) -> None:
    """84 rows, more where weights are streamed, no more than the budget of memory allows; of one height, or one tile, where it may be."""
    found = heuristic_schedule(undecided(mlp(*sizes).graph(), batch, 1, NAMES), NAMES, SAPPHIRE_RAPIDS)
    assert found.tile_rows == tile_rows
    assert all(op.generated for op in found.ops)


@needs_code
@pytest.mark.parametrize(
    ("caches", "sizes", "batch", "tile_rows"),
    [
        (ZEN_3, (64, 256, 10), 500, 50),
        (ZEN_3, (64, 1024, 64), 128, 32),
        (ZEN_3, (256, 1024, 256), 400, None),
        (SAPPHIRE_RAPIDS, (64, 1024, 64), 128, 64),
        (SAPPHIRE_RAPIDS, (256, 1024, 256), 400, 80),
        (ONE_MIB, (64, 1024, 64), 128, 64),
        (SMALL, (32, 1024, 10), 128, 16),
        (SMALL, (64, 1024, 64), 128, None),
        (ASSUMED, (64, 1024, 64), 128, 32),
    ],
    ids=["zen", "zen-wide", "zen-streamed", "sapphire-rapids", "sapphire-rapids-wide", "1M", "256K", "256K-streamed", "assumed"],
)
def test_a_tile_follows_the_second_cache(caches: Caches, sizes: tuple[int, int, int], batch: int, tile_rows: int | None) -> None:
    """Its widest value takes a quarter at most; where the weights alone do not fit, a tile is as high as 504 rows."""
    assert heuristic_schedule(undecided(mlp(*sizes).graph(), batch, 1, NAMES), NAMES, caches).tile_rows == tile_rows


@needs_code
@pytest.mark.parametrize(
    ("activation", "output", "runs"),
    [
        ("relu", "identity", [(0, 3)]),
        ("relu", "softmax", [(0, 4)]),
        ("tanh", "identity", [(0, 3)]),
        ("relu", "tanh", [(0, 3)]),
    ],
)
def test_nodes_that_follow_each_other_are_one_function(activation: str, output: str, runs: list[tuple[int, int]]) -> None:
    """Products, functions and a softmax are one run of generated code."""
    program = runner_of(mlp(6, (8, 8), 3, activation=activation, output_activation=output), 9).compiled.program
    assert [(run.first, run.last) for run in runs_of(program, plan_memory(program))] == runs


@needs_code
@pytest.mark.parametrize(
    ("epilogue", "changes", "message"),
    [((), {"lanes": 4, "inner": 0}, "v2 is packed for vectors of 4 lanes"), ((Step("tanh"),), {"inner": 1}, "there is no code for"),
     ((Step("add", ("b0",)),) * 4, {"inner": 4}, "there is no code for so many operands")],
    ids=["lanes", "step", "operands"],
)  # fmt: skip
def test_facts_that_fit_no_code_are_refused(epilogue: tuple[Step, ...], changes: dict[str, Any], message: str) -> None:
    """What was packed for another machine, and steps that were never allowed inside, are errors and not wrong numbers."""
    program = compile_graph(MODEL.graph(), 9, passes_named(["fuse", "static", "codegen"]), Schedule(None, (CODE, CODE))).program
    first, second = program.graph.nodes
    scheduled = {**program.schedule.nodes, "v2": replace(program.of(first), **changes)}
    changed = Program(replace(program.graph, nodes=(replace(first, epilogue=epilogue), second)), replace(program.schedule, nodes=scheduled))
    plan = plan_memory(changed)
    with pytest.raises(GraphError, match=message):
        stages_of(changed, plan, {buffer.name: buffer.offset for buffer in plan.buffers}, whole_run(changed, plan))


# --- right --------------------------------------------------------------------------------------------------------------


@needs_code
@pytest.mark.parametrize("batch", [1, 2, 23, 48, 49, 130])
@pytest.mark.parametrize("hidden", [1, 7, 64, 1100])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_generated_layers_are_right(activation: str, hidden: int, batch: int) -> None:
    """For a tile, some tiles and a tail, whatever x looks like, into the arena and into `out`: what float64 gives."""
    model = mlp(20, (hidden, 9), 12, activation=activation)
    runner = runner_of(model, 130, 48)
    x = batch_of(batch, 20)
    looks = (
        x,
        2 * x,
        np.asfortranarray(3 * x),
        (4 * x).astype(np.float64),
        np.repeat(5 * x, 2, axis=0)[::2],
        np.vstack([x, 6 * x])[batch:],
    )
    for given_x in looks:
        check_result(model, np.ascontiguousarray(given_x, np.float32), runner.run(given_x))
    out = np.empty((batch, 12), np.float32)
    assert runner.run(x, out) is out
    check_result(model, x, out)
    check_result(model, x, runner.run(np.asfortranarray(x), out))


@needs_code
@given(models(), st.integers(1, 60), st.integers(1, 60))
def test_any_model_is_right(model: Model, max_batch: int, tile_rows: int) -> None:
    """Random models, tiles and batches agree with the reference."""
    runner = runner_of(model, max_batch, tile_rows)
    for batch in {1, max_batch}:
        check_result(model, batch_of(batch, model.inputs), runner.run(batch_of(batch, model.inputs)))


@needs_code
@pytest.mark.parametrize("threading", [TILES, SPLIT])
@pytest.mark.parametrize("batch", [0, 1, 2, 3, 33, 67, 100])
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_generated_code(threading: str, batch: int, threads: int) -> None:
    """Fewer rows than threads, uneven shares: what float64 gives, whatever x looks like, and again after a pause."""
    runner, x = runner_of(MODEL, 100, 16, threading, threads), batch_of(batch, 20)
    program = runner.compiled.program
    assert (program.schedule.workers, program.schedule.blas_threads) == (threads, 0)
    assert parallelize.choose(program, Schedule(None, (CODE, CODE), threading)) is program
    for given_x in (x, np.asfortranarray(2 * x), (3 * x).astype(np.float64)):
        check_result(MODEL, np.ascontiguousarray(given_x, np.float32), runner.run(given_x))
    out = np.empty((batch, 12), np.float32)
    assert runner.run(x, out) is out
    check_result(MODEL, x, out)


@needs_code
def test_columns_are_shared_of_generated_code_alone() -> None:
    """Where NumPy has a part, splitting products falls back to one thread, and the note says so."""
    model = mlp(6, 9, 3)
    runner = OptimizedRunner(model, 8, schedule=Schedule(None, (CODE, OpSchedule()), SPLIT), threads=2)
    assert runner.compiled.program.schedule.workers == 1
    compiled = compile_graph(model.graph(), 8, None, runner.compiled.schedule, 2)
    assert {each.name: note for each, note in compiled.notes}["parallelize"] == "One thread."
    check_result(model, batch_of(8, 6), runner.run(batch_of(8, 6)))


@needs_code
def test_an_input_over_the_output_is_copied_first() -> None:
    """Threads would overwrite what others still read: the result is still right."""
    model = mlp(6, 8, 6)
    for threading in (ONE, TILES, SPLIT):
        runner = runner_of(model, 90, None, threading, 1 if threading == ONE else 3)
        x = batch_of(90, 6)
        expected = runner.run(x).copy()
        room = np.zeros((91, 6), np.float32)
        room[1:] = x
        np.testing.assert_allclose(runner.run(room[1:], room[:-1]), expected, rtol=1e-6, atol=1e-6)
        runner.run(x)
        own = runner.run(x)
        own[:] = x
        np.testing.assert_allclose(runner.run(own), expected, rtol=1e-6, atol=1e-6)


@needs_code
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("threading", [TILES, SPLIT])
def test_a_fork_is_survived_with_an_error(threading: str) -> None:
    """The child says what to do instead of waiting for ever, in a usual call and in one that stages its input; the parent goes on."""
    runner, x = runner_of(MODEL, 100, None, threading, 2), batch_of(100, 20)
    runner.run(x)
    child = os.fork()
    if child == 0:
        code = 0
        for given_x in (x, x.astype(np.float64)):
            try:
                runner.run(given_x)
                code = 1
            except CrewError as error:
                code |= 0 if "make the runner in the process that uses it" in str(error) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    check_result(MODEL, x, runner.run(x))


# --- memory -------------------------------------------------------------------------------------------------------------


@needs_code
@pytest.mark.skipif(not has_memray(), reason="memray counts allocations")
@pytest.mark.parametrize(("threading", "threads"), [(ONE, 1), (TILES, 2), (SPLIT, 2)])
@pytest.mark.parametrize("batch", [1, 60])
def test_a_call_allocates_nothing(threading: str, threads: int, batch: int) -> None:
    """Not with one thread, and not with two."""
    runner = runner_of(mlp(128, 256, 128), 60, 24, threading, threads)
    found = footprint(partial(runner.run, batch_of(batch, 128)))
    assert (found.peak_bytes, found.allocations) == (0, 0)


@needs_code
@pytest.mark.parametrize(("threading", "threads"), [(ONE, 1), (TILES, 2), (SPLIT, 2)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_packed_weights_and_code_are_counted(activation: str, threading: str, threads: int) -> None:
    """Packed weights are copies of weights; code is the runner's memory, from the beginning, whatever batch sizes come."""
    model = mlp(64, 256, 32, activation=activation)
    runner = runner_of(model, 64, None, threading, threads)
    weights = sum(layer.weight.nbytes for layer in model.layers)
    assert weights <= runner.memory.weight_copy_bytes <= weights + 2 * (256 + 32) * 4
    before = runner.memory
    assert mmap.PAGESIZE < before.operand_bytes < 256 * 1024
    for batch in range(65):
        runner.run(batch_of(batch, 64))
    assert runner.memory == before


def packed_of(runner: OptimizedRunner) -> list[FloatArray]:
    """Return the packed weights that a runner reads."""
    return list(runner.compiled.program.schedule.packed.values())


@needs_code
def test_runners_of_a_model_share_packed_weights() -> None:
    """Two runners of one model whose tiles are alike hold the same arrays; those of an equal model hold their own."""
    model = mlp(64, 128, 32)
    one, other, foreign = runner_of(model, 96, 16), runner_of(model, 512, 16), runner_of(mlp(64, 128, 32), 96, 16)
    assert [a is b for a, b in zip(packed_of(one), packed_of(other), strict=True)] == [True, True]
    assert [a is b for a, b in zip(packed_of(one), packed_of(foreign), strict=True)] == [False, False]
    check_result(model, batch_of(96, 64), other.run(batch_of(96, 64)))


@needs_code
def test_packed_weights_go_with_the_last_runner() -> None:
    """What is shared keeps nothing alive: neither a copy that no runner holds, nor a model's weights."""
    model = mlp(64, 128, 32)
    one, other = runner_of(model, 96, 16), runner_of(model, 512, 16)
    gone = [weakref.ref(array) for array in packed_of(one)]
    del one
    gc.collect()
    assert all(each() is not None for each in gone)
    del other
    gc.collect()
    assert [each() for each in gone] == [None, None]


@needs_code
@pytest.mark.parametrize(("threading", "threads"), [(ONE, 1), (TILES, 2), (SPLIT, 2)])
def test_a_runner_whose_products_are_generated_keeps_no_weight_of_the_model(threading: str, threads: int) -> None:
    """A program that drops its model holds the packed weights alone, and the runner goes on as before."""
    model, x = mlp(64, 128, 32, output_activation="softmax"), batch_of(60, 64)
    expected = BaselineRunner(model).run(x)
    runner = runner_of(model, 60, 16, threading, threads)
    runner.run(x)
    gone = [weakref.ref(layer.weight) for layer in model.layers]
    del model
    gc.collect()
    assert [each() for each in gone] == [None, None]
    np.testing.assert_allclose(expected, runner.run(x), rtol=1e-4, atol=1e-5)
    assert graph_text(runner.compiled.source).startswith("graph(x: rows x 64)\n  v0: rows x 128 = matmul(x, w0: 64 x 128)\n")


@needs_code
@pytest.mark.skipif(not has_memray(), reason="memray sees what is held")
@pytest.mark.parametrize("passes", [NAMES, [name for name in NAMES if name != "codegen"]], ids=["generated", "numpy"])
def test_what_a_runner_says_it_holds_is_what_it_holds(passes: list[str]) -> None:
    """The bytes of all parts together are those that memray finds after making and running it, but for Python's own objects."""
    blas.set_up()
    model, x = mlp(256, 512, 256), batch_of(200, 256)
    OptimizedRunner(model, 200, passes=passes).run(x)
    kept: list[OptimizedRunner] = []

    def make() -> None:
        kept.append(OptimizedRunner(model, 200, passes=passes))
        kept[0].run(x)

    held_bytes(make)  # tables of the interpreter and of memray grow by tens of kilobytes the first time
    kept.clear()
    gc.collect()
    found = held_bytes(make)
    assert abs(found - kept[0].memory.total_bytes) < 32 * 1024


@needs_code
@pytest.mark.skipif(not has_memray(), reason="memray counts allocations")
@pytest.mark.parametrize(("threading", "threads"), [(ONE, 1), (TILES, 2), (SPLIT, 2)])
def test_the_first_call_of_a_batch_size_makes_nothing(threading: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No code, no view and no allocation, up to the number of rows whose results are made with the runner."""
    runner = runner_of(MODEL, 100, 16, threading, threads)
    left = iter([batch_of(batch, 20) for batch in range(1, 101)])

    def no(*_: object) -> None:
        raise AssertionError("code is written")

    monkeypatch.setattr("mlbench.compiler.x86.encoding.executable.Code.__init__", no)
    for _ in range(5):
        found = footprint(lambda: runner.run(next(left)))
        assert (found.peak_bytes, found.allocations) == (0, 0)


@needs_code
def test_threads_of_rows_have_arenas_of_their_own() -> None:
    """Sharing rows takes a hidden buffer for each thread; splitting products takes one for all."""
    one, rows, split = (
        runner_of(MODEL, 96, 16, threading, threads).memory.arena_bytes for threading, threads in ((ONE, 1), (TILES, 3), (SPLIT, 3))
    )
    assert one == split
    assert rows > one + 16 * 40 * 4


def test_the_module_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner without the pass never asks for machine code."""
    asked: list[Any] = []
    monkeypatch.setattr("mlbench.runtime.x86_backend.find", lambda: asked.append(1))
    runner = OptimizedRunner(MODEL, 9, passes=[name for name in NAMES if name != "codegen"])
    check_result(MODEL, batch_of(9, 20), runner.run(batch_of(9, 20)))
    assert asked == []


@needs_code
def test_a_merged_weight_that_is_packed_is_not_held() -> None:
    """What two Linears became is held in its packed form alone, and counted once."""
    model = mlp(8, 16, 4, activation="identity")
    runner = OptimizedRunner(model, 4, schedule=Schedule(None, (CODE,)))
    (packed,) = packed_of(runner)
    biases = runner.compiled.graph.constants["b0_b1"].nbytes
    assert runner.memory.weight_copy_bytes == packed.nbytes + biases
    assert not any(np.isfinite(array).all() for array in runner.compiled.graph.constants.values() if array.ndim == 2)
