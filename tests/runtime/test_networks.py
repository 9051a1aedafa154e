"""What a caller gives and gets: several inputs and outputs, by order or by name, places for results, a fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlbench.compiler.schedule.schedule import OpSchedule, Schedule, products_of
from mlbench.errors import BusyError, InputError, ModelError
from mlbench.ir import FloatArray, Graph, interpret
from mlbench.measure import footprint, has_memray
from mlbench.models import Network, mlp
from mlbench.runtime import BaselineRunner, OptimizedRunner
from support.branched import BRANCHED, INNER_OUTPUT, RESIDUAL, TWO_HEADS, TWO_INPUTS, network_of
from support.strategies import batch_of

BATCH = 8
NAMED = Network("named", TWO_INPUTS, ("images:0", "größe"), ("scores",))
HEADS = Network("heads", TWO_HEADS, ("pixels",), ("policy", "value"))
SUMS = Graph(
    TWO_INPUTS.inputs, TWO_INPUTS.constants, TWO_INPUTS.nodes[:5], ("h", "s0")
)  # fmt: skip
"""Two inputs and two outputs."""
MAKERS: dict[str, Callable[[Any], Any]] = {
    "eager": BaselineRunner,
    "compiled": lambda model: OptimizedRunner(model, BATCH),
    "tiled": lambda model: OptimizedRunner(
        model, BATCH, schedule=Schedule(3, (OpSchedule(),) * len(products_of(model if isinstance(model, Graph) else model.graph())))
    ),
    "without-an-arena": lambda model: OptimizedRunner(model, BATCH, passes=["fuse"]),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
compiled = pytest.mark.parametrize("make", list(MAKERS.values())[1:], ids=list(MAKERS)[1:])


def inputs_of(graph: Graph, rows: int = BATCH) -> tuple[FloatArray, ...]:
    """Return a batch for each input."""
    return tuple(batch_of(rows, columns, seed) for seed, columns in enumerate(graph.inputs.values()))


def check(graph: Graph, xs: tuple[FloatArray, ...], found: Any) -> None:
    """Compare what `run` gave with the float64 interpreter."""
    assert isinstance(found, tuple) == (len(graph.outputs) > 1)
    ys = found if isinstance(found, tuple) else (found,)
    for y, exact in zip(ys, interpret(graph, xs), strict=True):
        assert (y.__class__, y.dtype, y.shape) == (np.ndarray, np.float32, exact.shape)
        np.testing.assert_allclose(y, exact, rtol=1e-4, atol=1e-5)


# --- inputs and outputs -------------------------------------------------------------------------------------------------


@makers
@pytest.mark.parametrize("graph", [*BRANCHED.values(), SUMS], ids=[*BRANCHED, "sums"])
def test_inputs_come_in_order_or_by_name(make: Callable[[Any], Any], graph: Graph) -> None:
    """One array for each, or one dict; the first call and the calls after it."""
    run, xs = make(network_of(graph)).run, inputs_of(graph)
    for _ in range(3):
        check(graph, xs, run(*xs))
        check(graph, xs, run(dict(reversed(list(zip(graph.inputs, xs, strict=True))))))


@makers
def test_inputs_have_the_names_of_the_file(make: Callable[[Any], Any]) -> None:
    """Whatever the graph calls them."""
    run, xs = make(NAMED).run, inputs_of(TWO_INPUTS)
    check(TWO_INPUTS, xs, run({"größe": xs[1], "images:0": xs[0]}))
    with pytest.raises(InputError, match="found arrays for 'left', 'right'; expected them for 'images:0', 'größe'"):
        run({"left": xs[0], "right": xs[1]})
    with pytest.raises(InputError, match=r"größe has shape \(8, 6\); this model takes \(batch, 3\)"):
        run(xs[0], xs[0])


@makers
def test_a_model_of_ours_calls_its_input_x(make: Callable[[Any], Any]) -> None:
    """A dict costs nothing but the look-up."""
    model, x = mlp(6, 8, 3), batch_of(5, 6)
    run = make(model).run
    assert np.array_equal(run({"x": x}), run(x))


@makers
@pytest.mark.parametrize("rows", [0, 1, 3, BATCH])
@pytest.mark.parametrize("graph", [TWO_HEADS, SUMS], ids=["two-heads", "sums"])
def test_any_number_of_rows_is_right(make: Callable[[Any], Any], graph: Graph, rows: int) -> None:
    """Whole tiles, a tail, one row, none."""
    run, xs = make(graph).run, inputs_of(graph, rows)
    check(graph, xs, run(*xs))
    check(graph, xs, run(*xs))


@makers
@pytest.mark.parametrize("graph", [TWO_HEADS, SUMS], ids=["two-heads", "sums"])
def test_what_cannot_be_read_where_it_lies_is_converted(make: Callable[[Any], Any], graph: Graph) -> None:
    """float64, columns first, strided, and a view of somebody's array."""
    run, xs = make(graph).run, inputs_of(graph)
    forms: list[Callable[[FloatArray], Any]] = [
        lambda x: x.astype(np.float64), np.asfortranarray, lambda x: np.repeat(x, 2, axis=0)[::2], lambda x: np.vstack([x, x])[: len(x)],
    ]  # fmt: skip
    for form in forms:
        for _ in range(2):
            check(graph, xs, run(*map(form, xs)))
        check(graph, xs, run(form(xs[0]), *xs[1:]))


MISFITS: dict[str, tuple[Callable[[FloatArray, FloatArray], tuple[Any, ...]], str]] = {
    "none": (lambda left, right: (), "found 0 arrays; expected one for each input, left, right, or a dict by these names"),
    "too-few": (lambda left, right: (left,), "found 1 array; expected one for each input, left, right, or a dict by these names"),
    "too-many": (lambda left, right: (left, right, right), "found 3 arrays; expected one for each input, left, right"),
    "a-tuple": (lambda left, right: ((left, right),), "found 1 array; expected one for each input"),
    "columns": (lambda left, right: (left, left), r"right has shape \(8, 6\); this model takes \(batch, 3\)"),
    "rows": (lambda left, right: (left, right[:1]), "the inputs left, right have 8, 1 rows; expected the same number"),
    "dtype": (lambda left, right: (left.astype(int), right), "left is int64"),
    "list": (lambda left, right: (left, right.tolist()), "right is a list"),
    "name": (lambda left, right: ({"left": left, "wrong": right},), "found arrays for 'left', 'wrong'; expected them for 'left', 'right'"),
    "name-missing": (lambda left, right: ({"left": left},), "found arrays for 'left'; expected"),
    "no-name": (lambda left, right: ({},), "found arrays for no name; expected"),
    "masked": (lambda left, right: (left, np.ma.masked_array(right)), "right is a masked array"),
}  # fmt: skip


@makers
@pytest.mark.parametrize(("form", "message"), MISFITS.values(), ids=MISFITS)
def test_inputs_that_do_not_fit_are_refused(make: Callable[[Any], Any], form: Callable[..., tuple[Any, ...]], message: str) -> None:
    """The message names the input, what was found and what fits; also when a call that fitted came before."""
    run, xs = make(TWO_INPUTS).run, inputs_of(TWO_INPUTS)
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            run(*form(*xs))
        check(TWO_INPUTS, xs, run(*xs))


@compiled
def test_more_rows_than_the_largest_batch_are_refused(make: Callable[[Any], Any]) -> None:
    """By the name of the input."""
    with pytest.raises(InputError, match=r"left has shape \(9, 6\); this model takes \(batch, 6\) with batch <= 8"):
        make(TWO_INPUTS).run(*inputs_of(TWO_INPUTS, BATCH + 1))


# --- a fixed batch ------------------------------------------------------------------------------------------------------


@makers
@pytest.mark.parametrize("graph", [RESIDUAL, TWO_HEADS, TWO_INPUTS], ids=["one", "two-heads", "two-inputs"])
def test_a_fixed_batch_refuses_any_other(make: Callable[[Any], Any], graph: Graph) -> None:
    """The message says which batch fits, and what to do; the right one runs."""
    run = make(network_of(graph, 3)).run
    for _ in range(2):
        check(graph, inputs_of(graph, 3), run(*inputs_of(graph, 3)))
        for rows in (0, 1, 4):
            with pytest.raises(InputError, match=r"has shape \(\d, 6\); this model takes \(3, 6\); its file fixes the batch: call it on 3"):
                run(*inputs_of(graph, rows))


def test_a_runner_of_a_fixed_batch_is_made_for_that_batch() -> None:
    """A larger max_batch makes no larger arena, and a smaller one is refused."""
    runner = OptimizedRunner(network_of(RESIDUAL, 3), 100)
    assert runner.max_batch == 3
    assert runner.plan.arena_bytes == OptimizedRunner(RESIDUAL, 3).plan.arena_bytes
    with pytest.raises(ModelError, match="max_batch is 2; this network has a fixed batch of 3"):
        OptimizedRunner(network_of(RESIDUAL, 3), 2)


# --- where results go ---------------------------------------------------------------------------------------------------


def places_of(graph: Graph, rows: int = BATCH) -> tuple[FloatArray, ...]:
    """Return an array for each output."""
    return tuple(np.full((rows, graph.columns_of(name)), np.nan, np.float32) for name in graph.outputs)


@compiled
@pytest.mark.parametrize("graph", [TWO_HEADS, INNER_OUTPUT, SUMS], ids=["two-heads", "inner-output", "sums"])
@pytest.mark.parametrize("as_", [tuple, list])
def test_results_go_where_the_caller_says(make: Callable[[Any], Any], graph: Graph, as_: type) -> None:
    """Into a tuple of arrays, which is returned as well."""
    run, xs, places = make(graph).run, inputs_of(graph), places_of(graph)
    found = run(*xs, out=as_(places))
    assert all(one is other for one, other in zip(found, places, strict=True))
    check(graph, xs, found)


@compiled
def test_one_result_of_several_inputs_goes_where_the_caller_says(make: Callable[[Any], Any]) -> None:
    """One array, as for one input."""
    run, xs, (place,) = make(TWO_INPUTS).run, inputs_of(TWO_INPUTS), places_of(TWO_INPUTS)
    assert run(*xs, out=place) is place
    check(TWO_INPUTS, xs, place)
    assert run({"left": xs[0], "right": xs[1]}, out=place) is place


BAD_PLACES: dict[str, tuple[Callable[[FloatArray, FloatArray], Any], str]] = {
    "one-array": (lambda one, other: one, "out is a ndarray; expected a tuple of one array for each output: policy, value"),
    "too-few": (lambda one, other: (one,), "out is 1 array; expected a tuple of one array for each output: policy, value"),
    "exchanged": (lambda one, other: (other, one), r"out for policy is float32 of shape \(8, 1\); expected float32 of shape \(8, 4\)"),
    "rows": (lambda one, other: (one, other[:3]), r"out for value is float32 of shape \(3, 1\)"),
    "float64": (lambda one, other: (one, other.astype(float)), "out for value is float64"),
    "nothing": (lambda one, other: (one, None), "out for value is a NoneType"),
    "columns-first": (lambda one, other: (np.asfortranarray(one), other), "out for policy has strides"),
    "overlapping": (lambda one, other: (one, one.ravel()[:8].reshape(8, 1)), "out for value overlaps another one"),
}  # fmt: skip


@compiled
@pytest.mark.parametrize(("form", "message"), BAD_PLACES.values(), ids=BAD_PLACES)
def test_places_that_do_not_fit_are_refused(make: Callable[[Any], Any], form: Callable[..., Any], message: str) -> None:
    """The message names the output as the file does."""
    with pytest.raises(InputError, match=message):
        make(HEADS).run(*inputs_of(TWO_HEADS), out=form(*places_of(TWO_HEADS)))


def test_the_arena_is_no_place_for_results_but_where_they_lie() -> None:
    """What the last call returned may be given again; anything else of the arena would be overwritten."""
    runner, xs = OptimizedRunner(TWO_HEADS, BATCH), inputs_of(TWO_HEADS)
    views = runner.run(*xs)
    check(TWO_HEADS, xs, runner.run(*xs, out=views))
    with pytest.raises(InputError, match="out overlaps a buffer of this runner"):
        runner.run(*xs, out=(places_of(TWO_HEADS)[0], runner._engine._arena[:32].view(np.float32).reshape(8, 1)))


@compiled
def test_an_input_may_lie_where_results_go(make: Callable[[Any], Any]) -> None:
    """It is copied before anything is written: the place of a result, shifted rows of it, or the arena itself."""
    runner = make(INNER_OUTPUT)
    memory = np.zeros((BATCH + 1, 9), np.float32)
    for first in (0, 1):
        x = memory.ravel()[: BATCH * 6].reshape(BATCH, 6)
        x[:] = inputs_of(INNER_OUTPUT)[0]
        kept = x.copy()
        places = places_of(INNER_OUTPUT)
        check(INNER_OUTPUT, (kept,), runner.run(x, out=(places[0], memory[first : first + BATCH], places[2])))
    own = runner.run(kept)[1][:, :6]
    expected = own.copy()
    check(INNER_OUTPUT, (expected,), runner.run(own))


# --- one call at a time, without allocations ----------------------------------------------------------------------------


@pytest.mark.skipif(not has_memray(), reason="no memray")
@pytest.mark.parametrize("graph", [TWO_HEADS, TWO_INPUTS, SUMS], ids=["two-heads", "two-inputs", "sums"])
@pytest.mark.parametrize("form", ["plain", "out", "float64", "dict"])
@pytest.mark.parametrize("make", [MAKERS["compiled"], MAKERS["tiled"]], ids=["compiled", "tiled"])
def test_a_call_allocates_nothing(graph: Graph, form: str, make: Callable[[Any], Any]) -> None:
    """Nor when it writes elsewhere, or copies its inputs, or gets them by name."""
    runner, xs = make(graph), inputs_of(graph)
    places = places_of(graph)
    out = None if form != "out" else places if len(places) > 1 else places[0]
    given: tuple[Any, ...] = tuple(x.astype(np.float64) for x in xs) if form == "float64" else xs
    if form == "dict":
        given = (dict(zip(graph.inputs, xs, strict=True)),)
    found = footprint(lambda: runner.run(*given, out=out))
    assert (found.peak_bytes, found.allocations) == (0, 0)


def test_inputs_that_are_copied_count_as_memory() -> None:
    """Their copies are made at the first one that needs it, or before on request."""
    runner, xs = OptimizedRunner(TWO_INPUTS, BATCH), inputs_of(TWO_INPUTS)
    runner.run(*xs)
    assert runner.memory.staging_bytes == 0
    runner.run(xs[0], xs[1].astype(np.float64))
    one = runner.memory.staging_bytes
    assert one >= BATCH * 3 * 4
    runner.reserve_staging()
    assert runner.memory.staging_bytes >= one + BATCH * 6 * 4


@pytest.mark.parametrize("graph", [TWO_HEADS, TWO_INPUTS, SUMS], ids=["two-heads", "two-inputs", "sums"])
def test_several_inputs_or_outputs_take_the_shortest_way(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain arrays of a batch that came before are neither checked nor looked at again, and nothing is kept of old batches."""
    monkeypatch.setattr("mlbench.runtime.lane.KEPT_BATCHES", 32)
    runner = OptimizedRunner(graph, 100, passes=["fuse", "static"])
    for rows in range(1, 40):
        runner.run(*inputs_of(graph, rows))
    shapes = tuple((39, columns) for columns in graph.inputs.values())
    assert (shapes if len(shapes) > 1 else shapes[0]) in runner._engine.calls
    assert len(runner._engine.calls) == 32


class _Nosy(np.ndarray):
    """An array that does something when the checks look at it, in the middle of `run`."""

    act: Callable[[], None]

    @property
    def ndim(self) -> int:
        self.act()
        return 2


@pytest.mark.parametrize("graph", [TWO_HEADS, TWO_INPUTS, SUMS], ids=["two-heads", "two-inputs", "sums"])
@pytest.mark.parametrize("form", [lambda x: x, lambda x: x.astype(np.float64)], ids=["plain", "float64"])
def test_one_call_runs_at_a_time(graph: Graph, form: Callable[[FloatArray], Any]) -> None:
    """A call from within another one of the same runner is refused, and the outer one is right."""
    runner, xs = OptimizedRunner(graph, BATCH), inputs_of(graph)
    runner.run(*xs)
    seen: list[str] = []

    def act() -> None:
        with pytest.raises(BusyError) as caught:
            runner.run(*map(form, xs))
        seen.append(str(caught.value))

    nosy = xs[0].view(_Nosy)
    nosy.act = act
    check(graph, xs, runner.run(nosy, *xs[1:]))
    assert seen[0].startswith("this runner is running")
    check(graph, xs, runner.run(*xs))


def test_a_network_runs_as_its_graph_does() -> None:
    """To the bit, by both runners."""
    xs = inputs_of(TWO_INPUTS)
    for make in MAKERS.values():
        assert np.array_equal(make(NAMED).run(*xs), make(replace(NAMED).graph()).run(*xs))
