"""The kernel of BLAS: packed products agree with float64, nothing is read or written beyond, and nothing unproven is called."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench import OptimizedRunner, blas, mlp
from mlbench.alignment import aligned_floats
from mlbench.errors import GraphError, PlanError
from mlbench.graph import FEATURES, Graph, Node, frozen, verify
from mlbench.measure import footprint, has_memray
from mlbench.memory import check_plan, plan_memory, room_columns, room_name
from mlbench.passes import PASSES, Choices, Way, compile_graph, passes_named, prepack
from mlbench.passes.choices import packs
from mlbench.runtime import check_result
from strategies import batch_of

KERNEL, WHY = blas.find()
needs_kernel = pytest.mark.skipif(KERNEL is None, reason=f"no kernel of BLAS here: {WHY}")
PACKED = Way(packed=True)


@pytest.fixture
def _unknown() -> Any:
    """Forget what is known about the kernel, before and after."""
    blas.find.cache_clear()
    yield
    blas.find.cache_clear()


# --- blocks -------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_blocks_cover_the_weight_once(inputs: int, columns: int) -> None:
    """Every number of the weight is in one block, blocks lie one after the other in the packed weight, and a large one is in blocks."""
    found = [block for row in blas.blocks(inputs, columns) for block in row]
    assert sum(block.inputs * block.columns for block in found) == inputs * columns
    ends = itertools.accumulate(block.inputs * block.columns for block in found)
    assert [block.offset for block in found] == [0, *ends][:-1]
    assert len({(block.first, block.column) for block in found}) == len(found)
    assert all(block.first + block.inputs <= inputs and block.column + block.columns <= columns for block in found)
    assert (len(found) > 1) == (4 * inputs * columns > blas.MOST_WHOLE_BYTES)
    assert max(block.inputs for block in found) == blas.room_inputs(inputs, columns)


# --- products -----------------------------------------------------------------------------------------------------------


@needs_kernel
@pytest.mark.parametrize("features_first", [False, True], ids=["rows", "features"])
@given(rows=st.integers(1, 60), inputs=st.integers(1, 90), columns=st.integers(1, 90))
def test_a_packed_product_is_added_to_what_is_there(features_first: bool, rows: int, inputs: int, columns: int) -> None:
    """For any sizes, result += value @ weight within what rounding explains, from both layouts of the value."""
    assert KERNEL is not None
    value, weight = batch_of(rows, inputs, 1), batch_of(inputs, columns, 2)
    exact = value.astype(np.float64) @ weight.astype(np.float64) + 3
    out, room = aligned_floats((rows, columns)), aligned_floats((rows, blas.room_inputs(inputs, columns)))
    out += 3
    lies = np.ascontiguousarray(value.T) if features_first else value
    pack_value = KERNEL.pack_features if features_first else KERNEL.pack_rows
    packed = blas.pack(KERNEL, frozen(weight))
    for step in blas.steps(packed, rows, room, features_first=features_first):
        pack_value(*step.packing.before, lies.ctypes.data + step.packing.shift, *step.packing.after)
        for call in step.multiplying:
            KERNEL.multiply_packed(*call.before, out.ctypes.data + call.shift, *call.after)
    allowed = (inputs + 2) * 2.0**-24 * (np.abs(value).astype(np.float64) @ np.abs(weight) + 3)
    assert (np.abs(out - exact) <= allowed).all()


@needs_kernel
def test_the_probe_finds_a_wrong_kernel() -> None:
    """A kernel that adds nothing, or packs nothing, does not pass."""
    assert KERNEL is not None
    assert blas._tried(KERNEL) == "works"
    assert blas._tried(replace(KERNEL, multiply_packed=lambda *_: None)).startswith("wrong for 1 x 1")
    assert blas._tried(replace(KERNEL, pack_features=lambda *_: None)).startswith("wrong for")


@needs_kernel
@pytest.mark.usefixtures("_unknown")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "exit code -6"),
        ("import ctypes; ctypes.string_at(1)", "exit code -11"),
        ("import json; print(json.dumps({'library': 'other', 'core': 'other', 'answer': 'works'}))", "the probing process loaded other"),
    ],
    ids=["aborts", "crashes", "another-library"],
)
def test_a_probe_that_fails_leaves_the_kernel_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, reason: str) -> None:
    """Where the probing process dies or saw another library, nothing is packed, the answer is right, and the reason is told."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setattr("mlbench.blas.sys.executable", str(program))
    kernel, why = blas.find()
    assert kernel is None
    assert reason in why
    runner = OptimizedRunner(mlp(64, 256, 10), 64)
    x = batch_of(64, 64)
    check_result(mlp(64, 256, 10), x, runner.run(x))
    told = {each.name: note for each, note in runner.compiled.notes}
    assert reason in told["prepack"]


@needs_kernel
@pytest.mark.usefixtures("_unknown")
def test_the_probe_runs_once_for_a_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the probe found is remembered: the next process asks no other."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    assert blas.find()[0] is not None
    blas.find.cache_clear()
    monkeypatch.setattr("mlbench.blas._probe", lambda *_: pytest.fail("probed a second time"))
    assert blas.find()[0] is not None


@pytest.mark.usefixtures("_unknown")
@pytest.mark.parametrize(("system", "machine"), [("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")])
def test_other_systems_have_no_kernel(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    """Where nobody tried it, nothing is called."""
    monkeypatch.setattr("mlbench.blas.sys.platform", system)
    monkeypatch.setattr("mlbench.blas.platform.machine", lambda: machine)
    kernel, why = blas.find()
    assert (kernel, "not tried on" in why) == (None, True)


# --- in a graph ---------------------------------------------------------------------------------------------------------


@needs_kernel
@pytest.mark.parametrize("batch", [1, 2, 23, 48, 49, 130])
@pytest.mark.parametrize("hidden", [1, 7, 64, 1100])
def test_packed_layers_are_right(monkeypatch: pytest.MonkeyPatch, hidden: int, batch: int) -> None:
    """Both products packed, of few and of many inputs, for a tile, some tiles and a tail: what float64 gives."""
    monkeypatch.setattr(blas, "MOST_WHOLE_BYTES", 32 * 1024)  # so that the larger ones come in blocks
    model = mlp(20, hidden, 12)
    runner = OptimizedRunner(model, 130, choices=Choices(48, (PACKED, PACKED)))
    x = batch_of(batch, 20)
    for given_x in (x, x, np.asfortranarray(x), x.astype(np.float64), np.repeat(x, 2, axis=0)[::2]):
        check_result(model, x, runner.run(given_x))
    out = np.empty((batch, 12), np.float32)
    check_result(model, x, runner.run(x, out))


@needs_kernel
@pytest.mark.skipif(not has_memray(), reason="memray counts allocations")
def test_a_weight_in_many_blocks_allocates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dozens of blocks are dozens of calls, and none of them allocates, nor the frame that makes them."""
    monkeypatch.setattr(blas, "MOST_WHOLE_BYTES", 4096)
    monkeypatch.setattr(blas, "BLOCK_INPUTS", 16)
    monkeypatch.setattr(blas, "BLOCK_COLUMNS", 64)
    runner = OptimizedRunner(mlp(128, 256, 128), 60, choices=Choices(24, (PACKED, PACKED)))
    found = footprint(partial(runner.run, batch_of(60, 128)))
    assert (found.peak_bytes, found.allocations) == (0, 0)


@needs_kernel
def test_the_bias_is_where_the_result_starts() -> None:
    """A bias that the epilogue adds first becomes the start of the packed product; one that comes later stays."""
    names = ["fuse", "static", "prepack"]
    graph = compile_graph(mlp(8, 16, 4, activation="tanh").graph(), 9, passes_named(names), Choices(None, (PACKED, PACKED))).graph
    assert [(node.op, [step.op for step in node.epilogue]) for node in graph.nodes] == [("linear_packed", ["tanh"]), ("linear_packed", [])]
    folded = compile_graph(mlp(8, 16, 4).graph(), 9, passes_named([*names, "fold_bias"]), Choices(None, (PACKED, PACKED))).graph
    assert [(node.op, [step.op for step in node.epilogue]) for node in folded.nodes] == [
        ("linear_packed", ["maximum"]),
        ("linear_packed", []),
    ]


@needs_kernel
def test_packing_needs_static_buffers() -> None:
    """The kernel takes addresses: without static buffers the pass changes nothing and says why."""
    graph = compile_graph(mlp(8, 16, 4).graph(), 9, passes_named(["fuse"])).graph
    after = prepack.choose(graph, Choices(None, (PACKED, PACKED)))
    assert after is graph
    assert "needs static buffers" in prepack.explain(graph, after)


@needs_kernel
def test_packed_weights_are_counted_as_copies() -> None:
    """Both packed weights are copies of weights, and no part of the runner's memory."""
    model = mlp(64, 256, 32)
    memory = OptimizedRunner(model, 64, choices=Choices(None, (PACKED, PACKED))).memory
    weights = sum(layer.weight.nbytes for layer in model.layers)
    assert weights <= memory.weight_copy_bytes <= weights + 2 * (256 + 32) * 4
    assert memory.operand_bytes < weights


@needs_kernel
def test_a_small_product_is_not_packed_by_the_rule() -> None:
    """One row never, and what BLAS multiplies without packing neither; above it, yes."""
    assert KERNEL is not None
    assert not packs(4096, 4096, 1)
    rows = int(KERNEL.unpacked_work) // (64 * 64)
    assert not packs(64, 64, rows)
    assert packs(64, 64, rows + 2)


@needs_kernel
def test_the_room_for_a_packed_value_is_checked() -> None:
    """A plan without room for the packed value, or with too little, is refused by name."""
    graph = compile_graph(mlp(8, 16, 4).graph(), 9, PASSES, Choices(None, (PACKED, PACKED))).graph
    plan = plan_memory(graph)
    assert room_columns(graph, graph.nodes[0]) == 8
    check_plan(graph, plan)
    name = room_name(graph.nodes[0])
    without = replace(plan, buffers=tuple(buffer for buffer in plan.buffers if buffer.name != name))
    low = replace(plan, buffers=tuple(replace(buffer, rows=8, size_bytes=8 * buffer.columns * 4) if buffer.name == name else buffer
                                      for buffer in plan.buffers))  # fmt: skip
    for broken in (without, low):
        with pytest.raises(PlanError, match=r"room: node 0 .* packs 9 x 8 of its value"):
            check_plan(graph, broken)


def test_a_packed_op_runs_in_the_compiled_runner_only() -> None:
    """The eager runner refuses a graph with packed weights."""
    from mlbench import BaselineRunner  # noqa: PLC0415  # beside its only use

    graph = Graph(
        "x", 3, {"w0": frozen(np.ones((3, 2))), "b0": frozen(np.ones(2))}, (Node("linear_packed", ("x", "w0", "b0"), "y", 2),), "y"
    )
    verify(graph)
    with pytest.raises(GraphError, match="only the compiled runner has this op"):
        BaselineRunner(graph)


@needs_kernel
def test_a_packed_product_cannot_write_features() -> None:
    """The kernel writes rows; a graph that says otherwise is refused."""
    nodes = (Node("linear_packed", ("x", "w0", "b0"), "h", 3, layout=FEATURES), Node("matmul", ("h", "w0"), "y", 3))
    with pytest.raises(GraphError, match="linear_packed cannot write feature after feature"):
        verify(Graph("x", 3, {"w0": frozen(np.ones((3, 3))), "b0": frozen(np.ones(3))}, nodes, "y"))
