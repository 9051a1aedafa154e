"""Graphs that are no chain, in both runners: several values, inputs and outputs, by every optimisation and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlbench.compiler.memory import check_plan, plan_memory
from mlbench.compiler.pipeline import PASSES, compile_graph, passes_named
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import FEATURES
from mlbench.compiler.schedule.schedule import BLAS, TILES, OpSchedule, Schedule, products_of
from mlbench.compiler.x86 import find
from mlbench.errors import PlanError
from mlbench.ir import FloatArray, Graph, graph_text, interpret, verify
from mlbench.measure import footprint, has_memray
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.runtime.x86_backend import runs_of, whole_run
from support.branched import BRANCHED, CONCATENATION, INNER_OUTPUT, RESIDUAL, TWO_HEADS, TWO_INPUTS
from support.strategies import batch_of

NAMES = [each.name for each in PASSES]
BATCH, TILE = 21, 8
needs_code = pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
graphs = pytest.mark.parametrize("graph", BRANCHED.values(), ids=BRANCHED)


def inputs_of(graph: Graph, rows: int = BATCH) -> tuple[FloatArray, ...]:
    """Return a batch for each input."""
    return tuple(batch_of(rows, columns, seed) for seed, columns in enumerate(graph.inputs.values()))


def results(found: object) -> tuple[FloatArray, ...]:
    """Return what `run` gave as a tuple, also for one output."""
    return found if isinstance(found, tuple) else (np.asarray(found),)


def check(graph: Graph, xs: tuple[FloatArray, ...], found: object) -> None:
    """Compare what `run` gave with the float64 interpreter."""
    exact, ys = interpret(graph, xs), results(found)
    assert isinstance(found, tuple) == (len(graph.outputs) > 1)
    assert [y.shape for y in ys] == [each.shape for each in exact]
    for y, each in zip(ys, exact, strict=True):
        np.testing.assert_allclose(y, each, rtol=1e-4, atol=1e-5)


# --- the graph ----------------------------------------------------------------------------------------------------------


def test_the_printed_form_shows_every_value_input_and_output() -> None:
    """All inputs stand in the head, all values in the call, and all outputs in the last line."""
    assert graph_text(TWO_INPUTS).startswith("graph(left: rows x 6, right: rows x 3)\n")
    assert "  h: rows x 14 = concat(a0, x, a1)\n" in graph_text(CONCATENATION)
    assert graph_text(TWO_HEADS).endswith("\n  return class, a2")


@graphs
def test_a_branched_graph_keeps_the_laws(graph: Graph) -> None:
    """The verifier takes it as it is written."""
    verify(graph)


def test_a_value_that_two_nodes_read_has_two_readers() -> None:
    """A second or third value of a node counts as read, so that nobody takes its storage."""
    assert RESIDUAL.readers_of("x") == (0, 5)
    assert CONCATENATION.readers_of("a1") == (6,)
    assert not INNER_OUTPUT.dies_at("a0", 3)


# --- the eager runner ---------------------------------------------------------------------------------------------------


@graphs
def test_the_eager_runner_is_right(graph: Graph) -> None:
    """What the float64 interpreter gives, for some rows, one, and none."""
    runner = BaselineRunner(graph)
    for rows in (BATCH, 1, 0):
        xs = inputs_of(graph, rows)
        check(graph, xs, runner.run(*xs))


def test_an_output_that_is_read_later_is_not_written_over() -> None:
    """The eager code gives a result of its own to what would take the place of an output."""
    x = batch_of(4, 6)
    y, hidden, logits = BaselineRunner(INNER_OUTPUT).run(x)
    check(INNER_OUTPUT, (x,), (y, hidden, logits))
    assert not np.shares_memory(y, logits)


# --- the compiled runner ------------------------------------------------------------------------------------------------


@graphs
@pytest.mark.parametrize("left_out", ["nothing", *NAMES])
def test_the_compiled_runner_is_right(graph: Graph, left_out: str) -> None:
    """With every optimisation, and without any one of them: whole tiles, a tail, one row, none."""
    names = [name for name in NAMES if name != left_out]
    schedule = Schedule(TILE, (OpSchedule(),) * len(products_of(graph)))
    runner = OptimizedRunner(graph, BATCH, passes=names, schedule=schedule)
    for rows in (BATCH, TILE, 1, 0):
        xs = inputs_of(graph, rows)
        check(graph, xs, runner.run(*xs))


@graphs
@pytest.mark.parametrize("names", [[], NAMES], ids=["none", "all"])
def test_the_heuristics_take_it(graph: Graph, names: list[str]) -> None:
    """Without a schedule of anybody's, generated code included where there is some."""
    xs = inputs_of(graph)
    check(graph, xs, OptimizedRunner(graph, BATCH, passes=names).run(*xs))


@graphs
@pytest.mark.parametrize(
    "op", [OpSchedule(FEATURES, "F", 2), OpSchedule(order="F"), OpSchedule(generated=True)], ids=["features", "F", "code"]
)
def test_every_way_of_a_product_is_right(graph: Graph, op: OpSchedule) -> None:
    """Feature-major where only products read a value, and rows where a sum or a concatenation does."""
    xs = inputs_of(graph)
    runner = OptimizedRunner(graph, BATCH, schedule=Schedule(TILE, (op,) * len(products_of(graph))))
    check(graph, xs, runner.run(*xs))


@graphs
@pytest.mark.parametrize("threading", [BLAS, TILES])
def test_threads_are_right(graph: Graph, threading: str) -> None:
    """Threads share the rows of one input and one output; with more of them the calling thread does it."""
    xs = inputs_of(graph)
    schedule = Schedule(TILE, (OpSchedule(),) * len(products_of(graph)), threading)
    runner = OptimizedRunner(graph, BATCH, schedule=schedule, threads=2)
    check(graph, xs, runner.run(*xs))
    workers = 2 if threading == TILES and graph.is_single else 1
    assert runner.compiled.program.schedule.workers == workers


@needs_code
@graphs
@pytest.mark.parametrize("tile", [None, TILE])
def test_generated_products_are_right_wherever_they_stand(graph: Graph, tile: int | None) -> None:
    """With several inputs and outputs too, which the code of a run gets as it is called."""
    xs = inputs_of(graph)
    products = len(products_of(graph))
    runner = OptimizedRunner(graph, BATCH, schedule=Schedule(tile, (OpSchedule(generated=True),) * products))
    program = runner.compiled.program
    assert program.is_generated
    for rows in (BATCH, 1, TILE + 1):
        check(graph, tuple(x[:rows] for x in xs), runner.run(*(x[:rows] for x in xs)))


@needs_code
@pytest.mark.parametrize("graph", [TWO_HEADS, INNER_OUTPUT, TWO_INPUTS], ids=["two-heads", "inner-output", "two-inputs"])
def test_a_run_has_several_inputs_and_outputs(graph: Graph) -> None:
    """All inputs and outputs come with the call of one function."""
    code = (OpSchedule(generated=True),) * len(products_of(graph))
    program = compile_graph(graph, 8, schedule=Schedule(None, code)).program
    plan = plan_memory(program)
    assert runs_of(program, plan) == (whole_run(program, plan),)
    assert program.is_generated


def test_a_sum_is_fused_with_nothing_and_runs_in_place() -> None:
    """A node of two values stays a node of its own, which may write over the first."""
    program = compile_graph(BRANCHED["inner-residual"], 8, passes_named(["fuse", "in_place"])).program
    assert "  h: rows x 9 = add_values(a1, a0) in place of a1\n" in program_text(program)


@graphs
def test_the_plan_of_a_branched_graph_is_checked(graph: Graph) -> None:
    """Every value is apart from those that are needed with it, and every output lives to the end with all its rows."""
    program = compile_graph(graph, BATCH, schedule=Schedule(TILE, (OpSchedule(),) * len(products_of(graph)))).program
    plan = plan_memory(program)
    check_plan(program, plan)
    for name in graph.outputs:
        home = plan.buffer_of(name)
        assert (home.rows, home.first, home.last) == (BATCH, 0, len(program.graph.nodes))


def test_a_plan_that_mixes_branches_is_refused() -> None:
    """Two values in one buffer, neither of which is in place of the other, are no plan, whatever their lifetimes."""
    program = compile_graph(TWO_INPUTS, 4, passes_named(["fuse"])).program
    plan = plan_memory(program)
    one, other = plan.buffer_of("s0"), plan.buffer_of("s1")
    mixed = replace(one, values=("s0", "s1"), first=min(one.first, other.first), last=max(one.last, other.last))
    wrong = replace(plan, buffers=tuple(mixed if each is one else each for each in plan.buffers if each is not other))
    with pytest.raises(PlanError, match="s0 and s1 lie in s0, and neither is in place of the other"):
        check_plan(program, wrong)


def test_results_are_views_of_one_arena() -> None:
    """A call of several outputs gives the same memory each time, and without static buffers new arrays."""
    xs = inputs_of(TWO_HEADS)
    fast, plain = OptimizedRunner(TWO_HEADS, BATCH), OptimizedRunner(TWO_HEADS, BATCH, passes=["fuse"])
    assert all(np.shares_memory(one, other) for one, other in zip(fast.run(*xs), fast.run(*xs), strict=True))
    assert not any(np.shares_memory(one, other) for one, other in zip(plain.run(*xs), plain.run(*xs), strict=True))


def test_a_result_may_be_the_next_input() -> None:
    """What the last call returned, a strided view, and float64 are copied before anything is written."""
    runner = OptimizedRunner(INNER_OUTPUT, BATCH, schedule=Schedule(TILE, (OpSchedule(),) * 2))
    x = batch_of(BATCH, 6)
    views = runner.run(x)
    own = views[1][:, :6]
    expected = own.copy()
    check(INNER_OUTPUT, (expected,), runner.run(own))
    for given in (x.astype(np.float64), np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        check(INNER_OUTPUT, (x,), runner.run(given))


@pytest.mark.skipif(not has_memray(), reason="no memray")
@pytest.mark.parametrize("name", ["residual", "inner-residual", "concatenation", "two-heads", "two-inputs"])
def test_a_call_allocates_nothing(name: str) -> None:
    """Sums, concatenations and several outputs are written into the arena."""
    graph = BRANCHED[name]
    schedule = Schedule(TILE, (OpSchedule(),) * len(products_of(graph)))
    runner, xs = OptimizedRunner(graph, BATCH, schedule=schedule), inputs_of(graph)
    found = footprint(lambda: runner.run(*xs))
    assert (found.peak_bytes, found.allocations) == (0, 0)
