"""The compiled runner: right for every model, layout and overlap, or an error that says why not; never wrong."""

from __future__ import annotations

import ctypes
import gc
import linecache
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from mlbench.compiler.memory import ALIGNMENT_BYTES
from mlbench.compiler.schedule.schedule import OpSchedule, Schedule
from mlbench.errors import BusyError, InputError, ModelError
from mlbench.ir import FloatArray
from mlbench.models import OUTPUT_ACTIVATIONS, Model, mlp
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result
from mlbench.runtime.lane import KEPT_BATCHES, KEPT_WITH_OPERANDS
from mlbench.runtime.numpy_backend.binding import BoundTile
from mlbench.runtime.numpy_backend.lowering import NAMESPACE
from support.strategies import PLAIN_RULES, batch_of, models, models_with_huge_biases, with_bias

SMALL = mlp(inputs=6, hidden=16, outputs=4)
TILED = mlp(inputs=6, hidden=256, outputs=6)
"""At 300 rows it runs in tiles of 112 with a tail of 76, and its outputs fit its inputs."""
ROWS = 300


def _close(one: FloatArray, other: FloatArray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module", autouse=True)
def _other_machine() -> Iterator[None]:
    """Let the default rules say the same wherever this runs; generated code is tested in test_codegen.py."""
    with pytest.MonkeyPatch.context() as patched:
        for name, rule in PLAIN_RULES.items():
            patched.setattr(name, rule)
        yield


def _tile_rows(runner: OptimizedRunner) -> int:
    return runner.compiled.program.schedule.tile_rows


def _is_tiled(runner: OptimizedRunner) -> bool:
    return runner.compiled.program.schedule.is_tiled


# --- right --------------------------------------------------------------------------------------------------------------


@given(st.data(), models(), st.integers(1, 40))
def test_the_output_agrees_with_the_reference(data: st.DataObject, model: Model, max_batch: int) -> None:
    """Whatever the model and the largest batch, several batches in turn agree with the float64 reference."""
    runner = OptimizedRunner(model, max_batch)
    for batch in data.draw(st.lists(st.integers(0, max_batch), min_size=1, max_size=4)):
        x = batch_of(batch, model.inputs, seed=batch)
        check_result(model, x, runner.run(x))


@given(models_with_huge_biases(), st.integers(1, 20))
def test_huge_biases_give_what_the_baseline_gives(model: Model, batch: int) -> None:
    """With a huge, infinite or NaN hidden bias, NaN and infinities stand where the baseline has them, and the rest agrees."""
    x = batch_of(batch, model.inputs)
    with np.errstate(all="ignore"):
        plain, fast = BaselineRunner(model).run(x), OptimizedRunner(model, batch).run(x)
    size = np.abs(plain[np.isfinite(plain)]).max(initial=1)
    np.testing.assert_allclose(fast, plain, rtol=1e-3, atol=1e-3 * size)


@pytest.mark.parametrize("activation", OUTPUT_ACTIVATIONS)
def test_every_batch_up_to_the_largest_is_right(activation: str) -> None:
    """Every number of rows from 0 to the largest batch: no tile, one tile, whole tiles, tails of every length."""
    model = mlp(inputs=3, hidden=(256, 5), outputs=4, output_activation=activation)
    runner = OptimizedRunner(model, max_batch=270)
    assert _tile_rows(runner) == 96
    x = batch_of(270, 3)
    for batch in range(271):
        y = runner.run(x[:batch])
        assert y.shape == (batch, 4)
        check_result(model, x[:batch], y)


@pytest.mark.parametrize("max_batch", [1, 2, 127, 128, 129, 255, 256, 257])
def test_the_boundaries_of_tiles_are_right(max_batch: int) -> None:
    """One row below, at and above a tile, the result agrees, and no more rows than those are ever held."""
    runner = OptimizedRunner(TILED, max_batch)
    assert (max_batch > 128) is _is_tiled(runner)
    x = batch_of(max_batch, 6)
    check_result(TILED, x, runner.run(x))


@pytest.mark.parametrize("activation", ["identity", "relu", "softmax"])
def test_a_batch_of_one_is_right(activation: str) -> None:
    """A runner for single rows works, whatever ends the model."""
    model = mlp(inputs=3, hidden=8, outputs=4, output_activation=activation)
    runner = OptimizedRunner(model, max_batch=1)
    x = batch_of(1, 3)
    check_result(model, x, runner.run(x))
    assert runner.run(x[:0]).shape == (0, 4)


@pytest.mark.parametrize("hidden", [4096, 4097, 5000])
def test_a_layer_wider_than_a_strip_is_right(hidden: int) -> None:
    """Where a single row fills a strip the result agrees, also with a bias that may not be folded."""
    for model in (mlp(3, hidden, 4), with_bias(mlp(3, hidden, 4), 0, 1, 1e6)):
        x = batch_of(5, 3)
        check_result(model, x, OptimizedRunner(model, 5).run(x))


def test_an_empty_batch_gives_an_empty_result() -> None:
    """No rows in, no rows out, with `out` as well."""
    runner = OptimizedRunner(SMALL, 8)
    assert runner.run(np.zeros((0, 6), np.float32)).shape == (0, 4)
    out = np.zeros((0, 4), np.float32)
    assert runner.run(np.zeros((0, 6), np.float32), out) is out


def test_more_batch_sizes_than_are_kept_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred batch sizes in turn, twice, all agree: the views that were dropped are made again."""
    monkeypatch.setattr("mlbench.runtime.lane.KEPT_BATCHES", 32)
    runner = OptimizedRunner(SMALL, 100)
    x = batch_of(100, 6)
    expected = BaselineRunner(SMALL).run(x)
    for batch in (*range(1, 101), *range(100, 0, -1)):
        assert _close(expected[:batch], runner.run(x[:batch]))
        assert len(runner._engine._batches) <= 32
        assert {rows for rows, _ in runner._engine.calls} <= set(runner._engine._batches)


@pytest.mark.parametrize(("layout", "kept"), [("rows", KEPT_BATCHES), ("features", KEPT_WITH_OPERANDS)])
def test_batch_sizes_in_turn_are_bound_once(layout: str, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that comes again finds what was made for it; fewer are kept where operands as large as values are made for each."""
    runner = OptimizedRunner(SMALL, 200, schedule=Schedule(None, (OpSchedule(layout=layout), OpSchedule(layout=layout))))
    bound: list[int] = []
    binder = runner._engine._executor.lanes[0].binder
    real = binder.bind

    def bind(rows: int) -> BoundTile:
        bound.append(rows)
        return real(rows)

    monkeypatch.setattr(binder, "bind", bind)
    sizes = range(1, min(kept, 100) + 1)
    for batch in (*sizes, *sizes, *reversed(sizes)):
        runner.run(batch_of(batch, 6))
    assert bound == list(sizes)
    if kept < 100:
        runner.run(batch_of(100, 6))
        runner.run(batch_of(1, 6))
        assert bound == [*sizes, 100, 1]


def test_the_result_is_valid_until_the_next_call() -> None:
    """The result lies in the arena: the next call writes over it."""
    runner, x = OptimizedRunner(SMALL, 8), batch_of(8, 6)
    first = runner.run(x)
    kept = first.copy()
    second = runner.run(x * 2)
    assert np.shares_memory(first, second)
    assert not np.array_equal(kept, first)


def test_the_input_is_left_alone() -> None:
    """The caller's array is read and never written, and may be read-only."""
    runner, x = OptimizedRunner(TILED, ROWS), batch_of(ROWS, 6)
    x.flags.writeable = False
    kept = x.copy()
    assert _close(BaselineRunner(TILED).run(kept), runner.run(x))
    assert np.array_equal(kept, x)


def test_a_graph_can_be_run() -> None:
    """A graph instead of a model is compiled as it is."""
    x = batch_of(5, 4)
    assert _close(BaselineRunner(mlp(4, 8, 2).graph()).run(x), OptimizedRunner(mlp(4, 8, 2).graph(), 5).run(x))


@pytest.mark.parametrize("max_batch", [0, -1, 1.5, "8", None])
def test_a_largest_batch_below_one_is_refused(max_batch: Any) -> None:  # whatever a caller may give
    """The largest batch is a whole number of 1 or more; the error repeats what was found."""
    with pytest.raises(ModelError) as caught:
        OptimizedRunner(SMALL, max_batch)
    assert f"max_batch is {max_batch!r}; expected a whole number of 1 or more" in str(caught.value)


# --- inputs in every form -----------------------------------------------------------------------------------------------


class _Subclass(np.ndarray):
    """An array class of somebody else."""


def _unaligned(x: FloatArray) -> FloatArray:
    shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    assert not shifted.flags.aligned
    return shifted


def _memmap(x: FloatArray, folder: Path) -> FloatArray:
    mapped = np.memmap(folder / "x.bin", np.float32, "w+", shape=x.shape)
    mapped[...] = x
    return mapped


FORMS: dict[str, Callable[[FloatArray, Path], npt.NDArray[np.floating]]] = {
    "float64": lambda x, _: x.astype(np.float64),
    "float16": lambda x, _: x.astype(np.float16),
    "longdouble": lambda x, _: x.astype(np.longdouble),
    "byte-swapped": lambda x, _: x.astype(x.dtype.newbyteorder()),
    "byte-swapped-float64": lambda x, _: x.astype(">f8"),
    "fortran": lambda x, _: np.asfortranarray(x),
    "every-other-row": lambda x, _: np.repeat(x, 2, axis=0)[::2],
    "every-other-column": lambda x, _: np.repeat(x, 2, axis=1)[:, ::2],
    "rows-backwards": lambda x, _: x[::-1].copy()[::-1],
    "columns-backwards": lambda x, _: x[:, ::-1].copy()[:, ::-1],
    "one-row-for-all": lambda x, _: np.broadcast_to(x[:1], x.shape),
    "wider-rows": lambda x, _: np.pad(x, ((0, 0), (1, 2)))[:, 1:-2],
    "unaligned": lambda x, _: _unaligned(x),
    "memmap": _memmap,
    "subclass": lambda x, _: x.view(np.recarray).view(_Subclass),
}  # fmt: skip
STAGED = [name for name in FORMS if name not in ("memmap", "subclass", "fortran")]
"""What cannot be read where it lies. Fortran order can, unless the kernel of BLAS reads it by its address."""


@pytest.mark.parametrize("rows", [1, 100, ROWS])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_is_right(form: str, rows: int, tmp_path: Path) -> None:
    """Any float type, byte order, alignment and layout gives the result of the same numbers in plain float32."""
    x = FORMS[form](batch_of(rows, 6), tmp_path)
    runner = OptimizedRunner(TILED, ROWS)
    expected = BaselineRunner(TILED).run(np.array(x, np.float32, order="C"))
    assert _close(expected, runner.run(x))
    assert _close(expected, runner.run(x, np.empty((rows, 6), np.float32)))
    assert _close(expected, runner.run(x))


@pytest.mark.parametrize("form", STAGED)
def test_staging_counts_once_it_is_needed(form: str, tmp_path: Path) -> None:
    """The staging buffer is made for the first such input, is as high as a tile, and counts as the runner's memory then."""
    runner = OptimizedRunner(TILED, ROWS)
    runner.run(batch_of(ROWS, 6))
    before = runner.memory
    assert before.staging_bytes == 0
    runner.run(FORMS[form](batch_of(ROWS, 6), tmp_path))
    after = runner.memory
    assert _tile_rows(runner) * 6 * 4 + ALIGNMENT_BYTES == after.staging_bytes
    assert before.total_bytes + after.staging_bytes == after.total_bytes


def test_staging_can_be_reserved() -> None:
    """Reserved ahead, the staging buffer is there before the first such input, and is made once."""
    runner = OptimizedRunner(SMALL, 8)
    runner.reserve_staging()
    reserved = runner.memory
    assert reserved.staging_bytes == 8 * 6 * 4 + ALIGNMENT_BYTES
    runner.run(batch_of(8, 6).astype(np.float64))
    runner.reserve_staging()
    assert reserved == runner.memory


def test_plain_inputs_need_no_staging() -> None:
    """float32, C-contiguous, whole or a part of the rows, with and without `out`: read where it lies."""
    runner, x = OptimizedRunner(SMALL, 8), batch_of(8, 6)
    runner.run(x)
    runner.run(x[2:5])
    runner.run(x, np.empty((8, 4), np.float32))
    assert runner.memory.staging_bytes == 0


def test_memory_is_the_sum_of_its_parts() -> None:
    """Arena, strips, staging and copies of weights and biases count together, and without the copies."""
    model = mlp(inputs=64, hidden=256, outputs=10)
    runner = OptimizedRunner(model, 64, schedule=Schedule(None, (OpSchedule(), OpSchedule(order="F"))))
    memory = runner.memory
    assert runner.plan.arena_bytes == 64 * (256 + 10) * 4
    assert memory.arena_bytes == runner.plan.arena_bytes + ALIGNMENT_BYTES
    assert memory.operand_bytes == 16 * 256 * 4 + 64 * 10 * 4
    assert memory.weight_copy_bytes == model.layers[1].weight.nbytes
    assert memory.without_copies_bytes == memory.arena_bytes + memory.operand_bytes
    assert memory.total_bytes == memory.without_copies_bytes + memory.weight_copy_bytes


def test_the_zeros_of_a_relu_are_an_operand_whatever_the_batch() -> None:
    """Zeros that a ReLU compares with are no copy of a weight, at a batch of one either."""
    model = with_bias(mlp(inputs=4, hidden=8, outputs=2), 0, 0, -1e8)
    memory = OptimizedRunner(model, 1).memory
    assert (memory.operand_bytes, memory.weight_copy_bytes) == (8 * 4, 0)


def test_a_folded_bias_is_a_copy_of_a_bias() -> None:
    """At batch 1 no strip is made; the folded biases are copies."""
    memory = OptimizedRunner(mlp(inputs=64, hidden=64, outputs=2), 1).memory
    assert (memory.operand_bytes, memory.weight_copy_bytes) == (0, (64 + 2) * 4)


# --- out ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 112, 113, ROWS])
def test_the_result_goes_where_it_is_asked(rows: int) -> None:
    """`out` is filled and returned, and the array before and after it is left alone."""
    runner, x = OptimizedRunner(TILED, ROWS), batch_of(rows, 6)
    around = np.full((rows + 2, 6), 7, np.float32)
    out = around[1:-1]
    assert runner.run(x, out=out) is out
    assert _close(BaselineRunner(TILED).run(x), out)
    assert (around[0] == 7).all()
    assert (around[-1] == 7).all()


def test_out_does_not_disturb_an_earlier_result() -> None:
    """A result in the arena survives a call with `out` of at most one tile that does not need its place."""
    runner, x = OptimizedRunner(SMALL, 8), batch_of(8, 6)
    out = np.empty((8, 4), np.float32)
    runner.run(x, out)
    kept = out.copy()
    runner.run(x * 2)
    assert np.array_equal(kept, out)


def test_an_earlier_result_may_be_out() -> None:
    """What the last call returned may be given back as `out`."""
    runner, x = OptimizedRunner(TILED, ROWS), batch_of(ROWS, 6)
    earlier = runner.run(x)
    assert runner.run(x * 2, out=earlier) is earlier
    assert _close(BaselineRunner(TILED).run(x * 2), earlier)


def _read_only() -> FloatArray:
    array = np.zeros((8, 4), np.float32)
    array.flags.writeable = False
    return array


ODD_OUTS: dict[str, tuple[Any, str]] = {
    "list": ([[0.0] * 4] * 8, "out is a list; expected a float32 array of shape (8, 4)"),
    "other-rows": (np.zeros((7, 4), np.float32), "out is float32 of shape (7, 4); expected float32 of shape (8, 4)"),
    "other-columns": (np.zeros((8, 5), np.float32), "of shape (8, 5); expected float32 of shape (8, 4)"),
    "flat": (np.zeros(32, np.float32), "of shape (32,)"),
    "float64": (np.zeros((8, 4)), "out is float64 of shape (8, 4)"),
    "byte-swapped": (np.zeros((8, 4), ">f4"), "out is >f4"),
    "read-only": (_read_only(), "out is read-only; expected a writeable"),
    "fortran": (np.zeros((8, 4), np.float32, "F"), "out has strides (4, 32); expected a writeable, C-contiguous, aligned array"),
    "wider-rows": (np.zeros((8, 5), np.float32)[:, :4], "out has strides (20, 4)"),
    "unaligned": (_unaligned(np.zeros((8, 4), np.float32)), "expected a writeable, C-contiguous, aligned array"),
}  # fmt: skip


@pytest.mark.parametrize(("out", "message"), ODD_OUTS.values(), ids=ODD_OUTS)
def test_an_out_that_does_not_fit_is_refused(out: Any, message: str) -> None:  # whatever a caller may give
    """The error says what was found and what fits."""
    with pytest.raises(InputError) as caught:
        OptimizedRunner(SMALL, 8).run(batch_of(8, 6), out)
    assert message in str(caught.value)


ODD_INPUTS: dict[str, tuple[Any, str]] = {
    "list": ([[0.0] * 6], "x is a list; this model takes a NumPy array of shape (batch, 6) with batch <= 8"),
    "none": (None, "x is a NoneType"),
    "wrong-width": (np.zeros((8, 5), np.float32), "x has shape (8, 5); this model takes (batch, 6) with batch <= 8"),
    "one-row": (np.zeros(6, np.float32), "x has shape (6,); this model takes (batch, 6) with batch <= 8; one row needs two"),
    "rank-3": (np.zeros((1, 8, 6), np.float32), "x has shape (1, 8, 6)"),
    "rank-0": (np.zeros((), np.float32), "x has shape ()"),
    "too-many-rows": (np.zeros((9, 6), np.float32), "x has shape (9, 6); this model takes (batch, 6) with batch <= 8; make"),
    "int": (np.zeros((8, 6), np.int64), "x is int64; this model takes float32"),
    "bool": (np.zeros((8, 6), np.bool_), "x is bool"),
    "complex": (np.zeros((8, 6), np.complex64), "x is complex64; this model takes float32"),
    "object": (np.zeros((8, 6), object), "x is object"),
}  # fmt: skip


@pytest.mark.parametrize(("x", "message"), ODD_INPUTS.values(), ids=ODD_INPUTS)
def test_an_input_that_does_not_fit_is_refused(x: Any, message: str) -> None:  # whatever a caller may give
    """The error says what was found and what fits, and the runner works afterwards."""
    runner = OptimizedRunner(SMALL, 8)
    right = batch_of(8, 6)
    runner.run(right)
    with pytest.raises(InputError) as caught:
        runner.run(x)
    assert message in str(caught.value)
    check_result(SMALL, right, runner.run(right))


# --- overlaps: right, or an error, never wrong --------------------------------------------------------------------------


def _right_or_refused(runner: OptimizedRunner, model: Model, x: FloatArray, out: FloatArray | None = None) -> bool:
    """Run; return whether it ran, and then it was right. What is refused leaves `out` and the runner as they were."""
    expected = BaselineRunner(model).run(x.copy())
    kept = x.copy()
    try:
        y = runner.run(x) if out is None else runner.run(x, out)
    except InputError as error:
        assert "overlaps" in str(error)  # noqa: PT017  # whether it is refused is not known before
        assert np.array_equal(kept, x)
        return False
    assert _close(expected, y)
    return True


@pytest.mark.parametrize("rows", [1, 50, 112, 113, ROWS])
def test_a_result_can_be_the_next_input(rows: int) -> None:
    """Where outputs fit inputs, `run(run(x))` is right, again and again."""
    runner, plain = OptimizedRunner(TILED, ROWS), BaselineRunner(TILED)
    x = batch_of(rows, 6)
    assert _close(plain.run(plain.run(x)), runner.run(runner.run(x)))
    y = runner.run(x)
    for _ in range(3):
        assert _right_or_refused(runner, TILED, y)


@pytest.mark.parametrize("rows", [1, 112, 113, ROWS])
def test_out_may_be_the_input(rows: int) -> None:
    """Where outputs fit inputs, the result may take the place of the input."""
    runner, x = OptimizedRunner(TILED, ROWS), batch_of(rows, 6)
    expected = BaselineRunner(TILED).run(x.copy())
    assert runner.run(x, out=x) is x
    assert _close(expected, x)


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 3), (2, 4), (4, 2), (6, 1), (1, 6)])
@pytest.mark.parametrize("rows", [20, ROWS])
def test_out_that_overlaps_the_input_is_never_wrong(rows: int, inputs: int, outputs: int, wide: bool) -> None:
    """Shifted by some floats, rows or tiles, either way, the call is right or refused; in one tile it is right."""
    model = mlp(inputs=inputs, hidden=256, outputs=outputs)
    runner = OptimizedRunner(model, rows)
    tiles = _is_tiled(runner)
    assert tiles is (rows == ROWS)
    numbers = rows * inputs * (2 if wide else 1)
    far = [shift * columns for shift in (16, 112, 113, 224) if shift < rows for columns in (inputs, outputs)]
    for shift in (*range(-14, 15), *far, *(-shift for shift in far)):
        memory = batch_of(1, 3 * max(numbers, rows * outputs))[0]
        start = memory.size // 3
        source = memory[start : start + numbers].view(np.float64) if wide else memory[start : start + numbers]
        x = source.reshape(rows, inputs)
        x[...] = batch_of(rows, inputs)
        out = memory[start + shift : start + shift + rows * outputs].reshape(rows, outputs)
        ran = _right_or_refused(runner, model, x, out)
        assert ran or tiles


@pytest.mark.parametrize("rows", [20, ROWS])
def test_an_input_that_looks_back_over_out_is_never_wrong(rows: int) -> None:
    """Windows that slide backwards have the address and row stride of `out`, and read rows that are already written."""
    for columns in (2, 4, 7):
        model = mlp(inputs=columns, hidden=256, outputs=1)
        runner = OptimizedRunner(model, rows)
        for step in (-1, 1):
            memory = batch_of(1, rows + columns - 1)[0]
            x = sliding_window_view(memory, columns)[:, ::step]
            for first in range(columns):
                out = memory[first : first + rows].reshape(rows, 1)
                _right_or_refused(runner, model, x, out)
                memory[:] = batch_of(1, memory.size)[0]


def _arena_of(runner: OptimizedRunner, model: Model, rows: int) -> FloatArray:
    """Return a flat view of all whole floats in the memory that the result lies in."""
    y = runner.run(batch_of(rows, model.inputs))
    owner = y
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    memory = owner.view(np.uint8).reshape(-1)
    start = (y.ctypes.data - memory.ctypes.data) % 4
    flat: FloatArray = memory[start : start + (memory.size - start) // 4 * 4].view(np.float32)
    return flat


def _through_frombuffer(array: FloatArray) -> FloatArray:
    return np.frombuffer(array.data.cast("B"), np.float32).reshape(array.shape)


def _through_ctypes(array: FloatArray) -> FloatArray:
    raw = (ctypes.c_float * array.size).from_address(array.ctypes.data)
    return np.ctypeslib.as_array(raw).reshape(array.shape)


def _through_interface(array: FloatArray) -> FloatArray:
    class Foreign:
        __array_interface__ = array.__array_interface__

    return np.asarray(Foreign())


def _through_dlpack(array: FloatArray) -> FloatArray:
    return np.from_dlpack(array).view(np.float32)


PATHS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "slice": lambda array: array,
    "memoryview": lambda array: np.asarray(array.data),
    "frombuffer": _through_frombuffer,
    "as_strided": lambda array: as_strided(array, array.shape, array.strides),
    "ctypes": _through_ctypes,
    "array-interface": _through_interface,
    "dlpack": _through_dlpack,
    "subclass": lambda array: array.view(_Subclass),
}


@pytest.mark.parametrize(("rows", "outputs"), [(20, 6), (ROWS, 6), (ROWS, 200)], ids=["one-tile", "tiles", "tiles-output-below-hidden"])
@pytest.mark.parametrize("path", PATHS)
def test_an_input_in_the_arena_is_never_wrong(path: str, rows: int, outputs: int) -> None:
    """Whatever path led into the arena, and wherever the input lies in it: right or refused; in one tile right."""
    model = mlp(inputs=6, hidden=256, outputs=outputs)
    runner = OptimizedRunner(model, rows)
    arena = _arena_of(runner, model, rows)
    size = rows * 6
    starts = {0, 1, 16, 37, arena.size // 2, *range(arena.size - size - 40, arena.size - size, 7)}
    for start in sorted(starts):
        arena[:] = batch_of(1, arena.size)[0]
        ran = _right_or_refused(runner, model, PATHS[path](arena[start : start + size].reshape(rows, 6)))
        assert ran or _is_tiled(runner)


@pytest.mark.parametrize("outputs", [1, 6, 200])
def test_strides_over_the_arena_are_never_wrong(outputs: int) -> None:
    """Any strides, overlapping, backwards and zero, from the start of the result or near it: right or refused."""
    model = mlp(inputs=3, hidden=256, outputs=outputs)
    runner = OptimizedRunner(model, ROWS)
    arena = _arena_of(runner, model, ROWS)
    home = (runner.run(batch_of(ROWS, 3)).ctypes.data - arena.ctypes.data) // 4
    for start in (home, home + 1, max(0, home - 1), home + 5):
        for row in (0, 1, 2, outputs, outputs + 1, -1, -outputs):
            for column in (0, 1, 3, -1, -2, outputs, -outputs, 40 * outputs, -40 * outputs):
                corners = [start + row * i + column * j for i in (0, ROWS - 1) for j in (0, 2)]
                if min(corners) < 0 or max(corners) >= arena.size:
                    continue
                arena[:] = batch_of(1, arena.size)[0]
                _right_or_refused(runner, model, as_strided(arena[start:], (ROWS, 3), (4 * row, 4 * column)))


@pytest.mark.parametrize("rows", [20, ROWS])
def test_out_in_the_arena_is_refused_unless_it_is_the_result(rows: int) -> None:
    """An `out` that overlaps the arena anywhere but at the result's own place is refused, and nothing is written."""
    runner = OptimizedRunner(TILED, rows)
    arena = _arena_of(runner, TILED, rows)
    home = (runner.run(batch_of(rows, 6)).ctypes.data - arena.ctypes.data) // 4
    size = rows * 6
    for start in {0, 1, home - 1, home - 6, home, home + 1, home + 6, arena.size - size}:
        if not 0 <= start <= arena.size - size:
            continue
        out = arena[start : start + size].reshape(rows, 6)
        x = batch_of(rows, 6)
        if start == home:
            assert runner.run(x, out) is out
            assert _close(BaselineRunner(TILED).run(x), out)
            continue
        kept = arena.copy()
        if not np.shares_memory(out, arena[home : home + size]) and start > home:
            continue
        with pytest.raises(InputError, match="out overlaps a buffer of this runner"):
            runner.run(x, out)
        assert np.array_equal(kept, arena)


# --- NaN and infinities -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", OUTPUT_ACTIVATIONS)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "minus-inf"])
def test_an_odd_number_comes_out_as_the_baseline_gives_it(number: float, activation: str) -> None:
    """NaN and infinities of the input come out at the same places as from the baseline; rows beside them stay clean."""
    model = mlp(inputs=6, hidden=(256, 12), outputs=5, output_activation=activation)
    runner, x = OptimizedRunner(model, ROWS), batch_of(ROWS, 6)
    rows = (0, 15, 111, 112, 299)
    x[rows, 3] = number
    with np.errstate(all="ignore"):
        plain, fast = BaselineRunner(model).run(x), runner.run(x)
    np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-5)
    clean = np.setdiff1d(np.arange(ROWS), rows)
    check_result(model, x[clean], fast[clean])


@pytest.mark.parametrize("activation", OUTPUT_ACTIVATIONS)
def test_nothing_odd_is_left_behind(activation: str) -> None:
    """After a batch of NaN and infinities the next batch is right: nothing of the arena's old content is read."""
    model = mlp(inputs=6, hidden=(256, 12), outputs=5, activation="leaky_relu", output_activation=activation)
    runner, x = OptimizedRunner(model, ROWS), batch_of(ROWS, 6)
    for number in (np.nan, np.inf):
        with np.errstate(all="ignore"):
            runner.run(np.full((ROWS, 6), number, np.float32))
            runner.run(np.full((ROWS, 6), number))
        check_result(model, x[:77], runner.run(x[:77]))
        check_result(model, x, runner.run(x.astype(np.float64)))


# --- threads ------------------------------------------------------------------------------------------------------------


class _Gate(np.ndarray):
    """An array that stops the thread that looks at it, in the middle of `run`, until it may go on."""

    entered: threading.Event
    leave: threading.Event

    @property
    def ndim(self) -> int:
        self.entered.set()
        assert self.leave.wait(timeout=30)
        return 2


def _gate(x: FloatArray) -> _Gate:
    gate = x.view(_Gate)
    gate.entered, gate.leave = threading.Event(), threading.Event()
    return gate


@pytest.fixture
def inside() -> Iterator[tuple[OptimizedRunner, _Gate, threading.Thread, list[FloatArray]]]:
    """Give a runner that another thread is in the middle of running."""
    runner, gate = OptimizedRunner(SMALL, 8), _gate(batch_of(8, 6))
    results: list[FloatArray] = []
    thread = threading.Thread(target=lambda: results.append(runner.run(gate).copy()))
    thread.start()
    assert gate.entered.wait(timeout=30)
    yield runner, gate, thread, results
    gate.leave.set()
    thread.join(timeout=30)


Inside = tuple[OptimizedRunner, _Gate, threading.Thread, list[FloatArray]]


@pytest.mark.parametrize("with_out", [False, True])
def test_a_second_thread_is_turned_away(inside: Inside, with_out: bool) -> None:
    """While one thread runs, another gets a BusyError that says what to do, at once."""
    runner = inside[0]
    with pytest.raises(BusyError, match="make one runner per thread from the same model, weights are shared"):
        runner.run(batch_of(8, 6), np.empty((8, 4), np.float32) if with_out else None)


def test_turning_a_thread_away_harms_nobody(inside: Inside) -> None:
    """The thread that was first gets its result, and afterwards the runner is free."""
    runner, gate, thread, results = inside
    for _ in range(3):
        with pytest.raises(BusyError):
            runner.run(batch_of(8, 6))
    gate.leave.set()
    thread.join(timeout=30)
    (result,) = results
    assert _close(BaselineRunner(SMALL).run(batch_of(8, 6)), result)
    check_result(SMALL, batch_of(3, 6), runner.run(batch_of(3, 6)))


def _broken(*_operands: object, **_options: object) -> None:
    raise FloatingPointError("broken on purpose")


def test_an_exception_sets_the_runner_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a call that failed, in the checks or in the middle of the work, the next one runs."""
    runner = OptimizedRunner(SMALL, 8)
    with pytest.raises(InputError):
        runner.run(np.zeros((8, 5), np.float32))
    runner.run(batch_of(8, 6))
    ((tile, _, _),) = runner._engine._executor.lanes[0].cuts(8)
    with monkeypatch.context() as patched:
        patched.setitem(tile.__globals__, "maximum", _broken)
        with pytest.raises(FloatingPointError):
            runner.run(batch_of(8, 6))
    check_result(SMALL, batch_of(8, 6), runner.run(batch_of(8, 6)))


def test_runners_of_one_model_run_in_parallel() -> None:
    """One runner a thread, all from one model: each gets its own right results, and the weights are not copied."""
    model = mlp(inputs=6, hidden=(256, 32), outputs=6, output_activation="softmax")
    barrier, wrong = threading.Barrier(4), list[str]()
    done = list[int]()

    def work(seed: int) -> None:
        runner, x = OptimizedRunner(model, ROWS), batch_of(ROWS, 6, seed)
        expected = BaselineRunner(model).run(x)
        barrier.wait(timeout=30)
        for batch in [ROWS, 1, 113] * 10:
            if not _close(expected[:batch], runner.run(x[:batch])):
                wrong.append(f"thread {seed}, batch {batch}")
        assert runner.compiled.graph.constants["w0"] is model.layers[0].weight
        done.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not wrong
    assert sorted(done) == [0, 1, 2, 3]


# --- what a person can look at ------------------------------------------------------------------------------------------


def test_the_source_can_be_read() -> None:
    """After a call, the Python that runs is there: in-place kernels and nothing else."""
    runner = OptimizedRunner(mlp(inputs=64, hidden=64, outputs=2), 16)
    assert not runner.sources
    runner.run(batch_of(16, 64))
    assert runner.sources == (
        "def bind(w0, v2, b0_negated_strip_rows, w1, b1_folded_strip_rows):\n"
        "    def tile(x, y):\n"
        "        x.dot(w0, v2)\n"
        "        maximum(v2, b0_negated_strip_rows, out=v2)\n"
        "        v2.dot(w1, y)\n"
        "        add(y, b1_folded_strip_rows, out=y)\n"
        "    return tile\n",
    )


def test_lines_are_forgotten_with_the_runner() -> None:
    """`linecache` has the lines of a runner while it lives and drops them when it is collected."""
    gc.collect()
    before = set(linecache.cache)
    runner = OptimizedRunner(TILED, ROWS)
    for batch in (1, 20, ROWS):
        runner.run(batch_of(batch, 6))
    own = set(linecache.cache) - before
    assert len(own) == len(runner.sources) >= 2
    del runner
    gc.collect()
    assert not own & set(linecache.cache)


def test_a_traceback_shows_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error inside a kernel names the kernel's line."""
    runner = OptimizedRunner(SMALL, 8)
    monkeypatch.setitem(NAMESPACE, "maximum", _broken)
    with pytest.raises(FloatingPointError) as caught:
        runner.run(batch_of(8, 6))
    assert str(caught.traceback[-2].statement).strip().startswith("maximum(v2")
