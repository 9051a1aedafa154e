"""Memory: liveness, the planner, the map, and a checker that finds the smallest violation of every law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.compiler.memory import (
    ALIGNMENT_BYTES,
    Buffer,
    MemoryPlan,
    buffers_of,
    check_plan,
    lower_bound_bytes,
    place,
    plan_memory,
    scratch_names,
    strip_rows_of,
)
from mlbench.compiler.pipeline import PASSES, Pass, compile_graph
from mlbench.compiler.schedule.program import Program
from mlbench.errors import PlanError
from mlbench.ir import Graph, Node, Step, frozen
from mlbench.models import Model, mlp
from support.programs import chain_of, program_of
from support.strategies import MOST_NODES, PLAIN_RULES, buffers, models

SMALL = mlp(inputs=4, hidden=8, outputs=2)
LABELS = tuple(f"n{index}" for index in range(MOST_NODES))


def _compiled(model: Model, max_batch: int, *passes: str) -> Program:
    chosen: list[Pass] = [each for each in PASSES if (each.name in passes if passes else each.name != "codegen")]
    with pytest.MonkeyPatch.context() as patched:
        for name, rule in PLAIN_RULES.items():
            patched.setattr(name, rule)
        return compile_graph(model.graph(), max_batch, chosen).program


def _facts(program: Program) -> list[tuple[str, int, int, int, int]]:
    return [(b.name, b.rows, b.columns, b.first, b.last) for b in buffers_of(program)]


def _blocks(*sizes_and_lives: tuple[int, int, int]) -> tuple[Buffer, ...]:
    """Return buffers from (size in cache lines, first, last)."""
    return tuple(Buffer(f"b{i}", (f"b{i}",), lines, 16, lines * 64, first, last) for i, (lines, first, last) in enumerate(sizes_and_lives))


# --- liveness -----------------------------------------------------------------------------------------------------------


def test_a_value_lives_from_its_node_to_its_last_reader() -> None:
    """Lifetimes are half-open in node positions; the output lives to the end."""
    assert _facts(program_of(SMALL, 3)) == [
        ("v0", 3, 8, 0, 2),
        ("v1", 3, 8, 1, 3),
        ("v2", 3, 8, 2, 4),
        ("v3", 3, 2, 3, 5),
        ("v4", 3, 2, 4, 5),
    ]


def test_a_value_that_two_nodes_read_lives_to_the_second() -> None:
    """The last reader decides, and a value that nobody reads lives for its own node."""
    nodes = (
        Node("tanh", ("x",), "a", 2),
        Node("relu", ("a",), "b", 2),
        Node("relu", ("x",), "c", 2),
        Node("tanh", ("a",), "y", 2),
    )
    assert _facts(program_of(chain_of(*nodes), 1)) == [("a", 1, 2, 0, 4), ("b", 1, 2, 1, 2), ("c", 1, 2, 2, 3), ("y", 1, 2, 3, 4)]


def test_an_output_that_is_not_last_lives_to_the_end() -> None:
    """The result survives every later node."""
    nodes = (Node("tanh", ("x",), "y", 2), Node("relu", ("x",), "a", 2), Node("relu", ("a",), "b", 2))
    assert _facts(program_of(chain_of(*nodes, output="y"), 1))[0] == ("y", 1, 2, 0, 3)


def test_values_in_place_share_a_buffer() -> None:
    """A node that writes over its value adds its name to that buffer and lengthens its life."""
    found = buffers_of(_compiled(SMALL, 3, "in_place"))
    assert [(b.values, b.first, b.last) for b in found] == [(("v0", "v1", "v2"), 0, 4), (("v3", "v4"), 3, 5)]


def test_with_tiles_the_output_lives_throughout_and_has_every_row() -> None:
    """Rows of an earlier tile survive the later ones; everything else has the rows of a tile."""
    graph = _compiled(mlp(inputs=4, hidden=256, outputs=2), 512)
    assert _facts(graph) == [("v2", 128, 256, 0, 2), ("v4", 512, 2, 0, 2)]


def test_scratch_lives_for_its_node_alone() -> None:
    """A softmax needs two matrices of its shape, for itself only."""
    graph = _compiled(mlp(inputs=4, hidden=(), outputs=2, output_activation="softmax"), 3)
    assert _facts(graph) == [("v1", 3, 2, 0, 2), ("v2_scratch0", 3, 2, 1, 2), ("v2_scratch1", 3, 2, 1, 2)]


def test_scratch_of_a_strip_has_the_rows_of_the_strip() -> None:
    """An epilogue that runs strip by strip needs scratch for one strip."""
    graph = _compiled(mlp(inputs=4, hidden=256, outputs=2, activation="leaky_relu"), 64)
    assert ("v2_scratch0", 16, 256, 0, 1) in _facts(graph)
    assert strip_rows_of(graph.graph, graph.graph.nodes[0]) == 16


def test_scratch_is_counted_once_for_a_node_and_its_epilogue() -> None:
    """Steps run one after the other, so the greediest decides."""
    node = Node("matmul", ("x", "w"), "y", 2, epilogue=(Step("leaky_relu", ("s",)), Step("tanh"), Step("leaky_relu", ("s",))))
    graph = Graph({"x": 2}, {"w": frozen(np.eye(2)), "s": frozen(0.5)}, (node,), ("y",))
    assert scratch_names(program_of(graph), node) == ("y_scratch0",)


@given(buffers())
def test_the_lower_bound_is_the_most_that_is_live_at_once(drawn: tuple[Buffer, ...]) -> None:
    """Counted another way, byte steps at every birth and death, the bound is the same."""
    steps = np.zeros(MOST_NODES + 1, np.int64)
    for buffer in drawn:
        steps[buffer.first] += buffer.size_bytes
        steps[buffer.last] -= buffer.size_bytes
    assert steps.cumsum().max() == lower_bound_bytes(drawn, MOST_NODES)
    assert steps.cumsum().max() == place(drawn, LABELS).lower_bound_bytes


def test_nothing_needs_no_memory() -> None:
    """No buffers give an arena of no bytes."""
    plan = place((), ())
    assert (plan.arena_bytes, plan.lower_bound_bytes, plan.buffers) == (0, 0, ())


@pytest.mark.parametrize(
    ("hidden", "max_batch", "activation", "arena_bytes"),
    [
        pytest.param(8, 16, "identity", 16 * (8 + 2) * 4, id="hidden-and-output"),
        pytest.param((8, 8), 16, "identity", 16 * (8 + 8) * 4, id="two-hidden-at-once"),
        pytest.param((8, 8, 8), 16, "softmax", 16 * (8 + 8) * 4, id="never-three-hidden"),
        pytest.param(256, 512, "identity", (128 * 256 + 512 * 2) * 4, id="one-tile-and-the-output"),
    ],
)
def test_the_arena_of_a_chain_holds_two_neighbours(
    hidden: int | tuple[int, ...], max_batch: int, activation: str, arena_bytes: int
) -> None:
    """In a chain only a value and its successor are live at once, and with tiles the output besides."""
    plan = plan_memory(_compiled(mlp(inputs=4, hidden=hidden, outputs=2, output_activation=activation), max_batch))
    assert arena_bytes == plan.arena_bytes == plan.lower_bound_bytes


# --- the planner --------------------------------------------------------------------------------------------------------


def _meet(one: Buffer, other: Buffer) -> bool:
    alive = set(range(one.first, one.last)) & set(range(other.first, other.last))
    ones = range(one.offset, one.offset + one.size_bytes)
    return bool(alive) and other.offset < ones.stop and ones.start < other.offset + other.size_bytes


@given(buffers())
def test_the_planner_keeps_live_buffers_apart(drawn: tuple[Buffer, ...]) -> None:
    """No two buffers that are live at one node share a byte; each lies aligned within the arena; none is lost or changed."""
    plan = place(drawn, LABELS)
    assert not [pair for pair in combinations(plan.buffers, 2) if _meet(*pair)]
    assert all(b.offset >= 0 and b.offset % ALIGNMENT_BYTES == 0 for b in plan.buffers)
    assert max(b.offset + b.size_bytes for b in plan.buffers) == plan.arena_bytes >= plan.lower_bound_bytes
    assert set(drawn) == {replace(b, offset=0) for b in plan.buffers}


def _smallest_arena(drawn: Sequence[Buffer]) -> int:
    """Try every offset on the grid of cache lines; written without the planner's idea of an order."""
    lines = sum(-(-b.size_bytes // ALIGNMENT_BYTES) for b in drawn)
    best = lines * ALIGNMENT_BYTES
    for offsets in product(range(0, lines * ALIGNMENT_BYTES, ALIGNMENT_BYTES), repeat=len(drawn)):
        end = max(offset + b.size_bytes for offset, b in zip(offsets, drawn, strict=True))
        if end < best:
            placed = [replace(b, offset=offset) for offset, b in zip(offsets, drawn, strict=True)]
            if not any(_meet(*pair) for pair in combinations(placed, 2)):
                best = end
    return best


@given(buffers(most=4, nodes=4, most_rows=16))
def test_small_problems_are_placed_in_the_smallest_arena(drawn: tuple[Buffer, ...]) -> None:
    """Up to four buffers, no placement that brute force can find is smaller."""
    assert _smallest_arena(drawn) >= place(drawn, LABELS).arena_bytes


def test_the_order_that_no_rule_finds_is_found() -> None:
    """Buffers that largest-first, earliest-first and longest-first all place in 10 lines still reach the lower bound of 9."""
    plan = place(_blocks((4, 1, 4), (3, 4, 6), (2, 4, 6), (4, 3, 6)), LABELS)
    assert plan.arena_bytes == plan.lower_bound_bytes == 9 * 64


def test_a_gap_between_two_live_buffers_is_used() -> None:
    """Eight buffers, too many to try every order: first fit puts one into a hole that is exactly large enough."""
    drawn = _blocks((1, 0, 4), (3, 5, 6), (3, 5, 6), (3, 5, 6), (2, 5, 6), (3, 4, 6), (3, 1, 5), (2, 2, 4))
    assert place(drawn, LABELS).arena_bytes == 14 * 64


def test_many_buffers_are_planned_too() -> None:
    """Beyond the exhaustive limit the usual orders compete, and a chain still reaches its lower bound."""
    chain = _blocks(*((1 + index % 2, index, index + 2) for index in range(40)))
    plan = place(chain, tuple(map(str, range(41))))
    assert plan.arena_bytes == plan.lower_bound_bytes == 3 * 64


@given(models(), st.integers(1, 300), st.sets(st.sampled_from(PASSES)))
def test_what_the_planner_plans_the_checker_accepts(model: Model, max_batch: int, chosen: set[Pass]) -> None:
    """Whatever the model, the batch and the passes, the plan keeps every law that the checker knows."""
    program = compile_graph(model.graph(), max_batch, [each for each in PASSES if each in chosen]).program
    check_plan(program, plan_memory(program))


# --- the memory map -----------------------------------------------------------------------------------------------------


def test_the_memory_map_is_drawn() -> None:
    """Nodes go to the right, offsets upward, a letter stands for a buffer, and the legend says what lies where."""
    plan = plan_memory(_compiled(mlp(inputs=4, hidden=(8, 4), outputs=2, output_activation="softmax"), 16))
    assert str(plan) == (
        "arena 768 bytes, lower bound 768 bytes (100.0 % of it)\n"
        "   512 | ......... BBBBBBBBB BBBBBBBBB .........\n"
        "   384 | AAAAAAAAA AAAAAAAAA ......... .........\n"
        "   256 | AAAAAAAAA AAAAAAAAA ......... EEEEEEEEE\n"
        "   128 | AAAAAAAAA AAAAAAAAA ......... DDDDDDDDD\n"
        "     0 | AAAAAAAAA AAAAAAAAA CCCCCCCCC CCCCCCCCC\n"
        "offset + --------- --------- --------- ---------\n"
        "         0 matmul  1 matmul  2 matmul  3 softmax\n"
        "A = v2: 16 x 8, 512 bytes at 0, nodes [0, 2)\n"
        "B = v5: 16 x 4, 256 bytes at 512, nodes [1, 3)\n"
        "C = v7, v8: 16 x 2, 128 bytes at 0, nodes [2, 4)\n"
        "D = scratch: 16 x 2, 128 bytes at 128, nodes [3, 4)\n"
        "E = scratch: 16 x 2, 128 bytes at 256, nodes [3, 4)"
    )


def test_the_map_says_how_far_the_arena_is_from_its_bound() -> None:
    """A plan above its lower bound says by how much."""
    plan = MemoryPlan(_blocks((1, 0, 1)), ("0 tanh",), 128, 64)
    assert str(plan).startswith("arena 128 bytes, lower bound 64 bytes (200.0 % of it)\n    64 | ......\n     0 | AAAAAA\n")


def test_the_map_of_nothing_can_be_drawn() -> None:
    """An empty plan prints its first line and an empty scale."""
    assert str(place((), ())).startswith("arena 0 bytes, lower bound 0 bytes (100.0 % of it)")


def test_the_map_runs_out_of_letters_gracefully() -> None:
    """After 62 buffers the map uses # and goes on."""
    plan = place(_blocks(*((1, index, index + 1) for index in range(70))), tuple(map(str, range(70))))
    assert "\n9 = b61: " in str(plan)
    assert "\n# = b69: " in str(plan)


# --- the checker --------------------------------------------------------------------------------------------------------

GRAPH = _compiled(mlp(inputs=4, hidden=(8, 4), outputs=2, output_activation="softmax"), 16)
PLAN = plan_memory(GRAPH)
TILED = _compiled(mlp(inputs=4, hidden=256, outputs=2), 512)
STRIPPED = _compiled(mlp(inputs=4, hidden=256, outputs=2, activation="leaky_relu"), 64)
Change = Callable[[MemoryPlan], MemoryPlan]


def _with(name: str, **changes: object) -> Change:
    """Return a change of the plan: one buffer has other facts."""

    def change(plan: MemoryPlan) -> MemoryPlan:
        found = [b for b in plan.buffers if b.name == name]
        assert len(found) == 1, f"no buffer {name}"
        return replace(plan, buffers=tuple(replace(b, **changes) if b.name == name else b for b in plan.buffers))  # type: ignore[arg-type]

    return change


def _without(name: str) -> Change:
    return lambda plan: replace(plan, buffers=tuple(b for b in plan.buffers if b.name != name))


def _split(plan: MemoryPlan) -> MemoryPlan:
    """Give v8, which the graph says is in place of v7, a buffer of its own."""
    home = plan.buffer_of("v7")
    one, other = replace(home, values=("v7",)), replace(home, name="v8", values=("v8",), offset=640, first=3)
    return replace(plan, buffers=(*(one if b is home else b for b in plan.buffers), other))


def _joined(plan: MemoryPlan) -> MemoryPlan:
    """Put v4, a sum of its own node, into the buffer of the product it reads."""
    home = plan.buffer_of("v3")
    kept = tuple(b for b in plan.buffers if b.name not in ("v3", "v4"))
    return replace(plan, buffers=(*kept, replace(home, values=("v3", "v4"), last=5)))


VIOLATIONS: dict[str, tuple[Program, Change, str]] = {
    "below-the-arena": (GRAPH, _with("v2", offset=-64), "place: v2"),
    "beyond-the-arena": (GRAPH, lambda plan: replace(plan, arena_bytes=767), "place: v5 ends at 768; the arena has 767 bytes"),
    "not-aligned": (TILED, _with("v2", size_bytes=60, offset=4), "alignment: v2 lies at 4; expected a multiple of 64"),
    "size-that-is-not-rows-times-columns": (GRAPH, _with("v2", rows=15), "size: v2 has 512 bytes for 15 x 8 float32"),
    "overlap-of-one-line": (GRAPH, _with("v5", offset=448), "overlap: v2 at 0 and v5 at 448 share bytes"),
    "overlap-of-the-same-place": (GRAPH, _with("v5", offset=0), "overlap: v2 at 0 and v5 at 0 share bytes"),
    "overlap-with-scratch": (GRAPH, _with("v8_scratch0", offset=64), "overlap: v7 at 0 and v8_scratch0 at 64 share bytes"),
    "value-without-a-buffer": (GRAPH, _without("v5"), "home: v5 has no buffer"),
    "value-in-two-buffers": (GRAPH, _with("v8_scratch0", values=("v7",)), "home: v7 lies in v7 and in v8_scratch0"),
    "born-too-late": (GRAPH, _with("v5", first=2), "lifetime: v5 is needed in [1, 3); its buffer lives in [2, 3)"),
    "dead-too-early": (GRAPH, _with("v5", last=2), "lifetime: v5 is needed in [1, 3); its buffer lives in [1, 2)"),
    "output-dead-too-early": (
        Program(replace(_compiled(SMALL, 4).graph, outputs=("v2",)), _compiled(SMALL, 4).schedule), _with("v2", last=1),
        "lifetime: v2 is needed in [0, 2); its buffer lives in [0, 1)",
    ),
    "output-of-tiles-born-too-late": (TILED, _with("v4", first=1), "lifetime: v4 is needed in [0, 2); its buffer lives in [1, "),
    "too-few-rows": (GRAPH, _with("v5", rows=15, size_bytes=240), "size: v5 needs 16 x 4; its buffer has 15 x 4"),
    "too-few-rows-of-the-output": (
        TILED, _with("v4", rows=511, size_bytes=511 * 8), "size: v4 needs 512 x 2; its buffer has 511 x 2",
    ),
    "too-few-rows-of-a-tile": (
        TILED, _with("v2", rows=127, size_bytes=127 * 1024), "size: v2 needs 128 x 256; its buffer has 127 x 256",
    ),
    "wrong-columns": (GRAPH, _with("v5", rows=32, columns=2), "size: v5 needs 16 x 4; its buffer has 32 x 2"),
    "in-place-but-apart": (GRAPH, _split, "in place: v8 does not share the buffer of v7; the schedule says in_place=True"),
    "shared-but-not-in-place": (
        program_of(SMALL, 4), _joined, "in place: v4 shares the buffer of v3; the schedule says in_place=False",
    ),
    "scratch-missing": (GRAPH, _without("v8_scratch1"), "scratch: node 3 (softmax) needs 2 scratch matrices; the plan has 1"),
    "scratch-at-the-wrong-node": (GRAPH, _with("v8_scratch1", first=2, last=3), "scratch: node 3 (softmax) needs 2"),
    "scratch-of-other-columns": (GRAPH, _with("v8_scratch1", rows=32, columns=1), "scratch: node 3 (softmax) needs 2"),
    "scratch-with-too-few-rows": (GRAPH, _with("v8_scratch1", rows=15, size_bytes=120), "scratch: node 3 (softmax) needs 2"),
    "scratch-lower-than-a-strip": (
        STRIPPED, _with("v2_scratch0", rows=15, size_bytes=15 * 1024),
        "scratch: node 0 (matmul) needs 1 scratch matrices; the plan has 0",
    ),
    "bound-too-low": (GRAPH, lambda plan: replace(plan, lower_bound_bytes=767), "bound: the plan says 767 bytes"),
    "bound-too-high": (GRAPH, lambda plan: replace(plan, lower_bound_bytes=769), "bound: the plan says 769 bytes"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "change", "message"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_law_of_plans_is_named(program: Program, change: Change, message: str) -> None:
    """A plan that breaks one law is refused; the message names the law, the buffer and what was found."""
    plan = plan_memory(program)
    check_plan(program, plan)
    with pytest.raises(PlanError) as caught:
        check_plan(program, change(plan))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("program", "change"),
    [
        pytest.param(GRAPH, lambda plan: replace(plan, arena_bytes=100_000), id="an-arena-that-is-too-large"),
        pytest.param(GRAPH, _with("v8_scratch1", offset=640), id="another-offset"),
        pytest.param(GRAPH, _with("v5", offset=512), id="neighbours-that-touch"),
        pytest.param(GRAPH, _with("v7", offset=256), id="the-place-of-a-dead-value"),
    ],
)
def test_a_plan_that_keeps_every_law_passes(program: Program, change: Change) -> None:
    """Just inside each law nothing is raised, whoever planned it."""
    plan = plan_memory(program)
    if plan.buffer_of("v7").offset != change(plan).buffer_of("v7").offset:
        change = _and(change, _with("v8_scratch0", offset=0), _with("v8_scratch1", offset=128))
    check_plan(program, change(plan))


def _and(*changes: Change) -> Change:
    def change(plan: MemoryPlan) -> MemoryPlan:
        for each in changes:
            plan = each(plan)
        return plan

    return change


def test_a_plan_without_buffers_is_no_plan() -> None:
    """The checker looks for the graph's values, not at what the plan happens to have."""
    with pytest.raises(PlanError, match="home: v2 has no buffer"):
        check_plan(GRAPH, replace(PLAN, buffers=()))


def test_sharing_is_checked_against_the_schedule_not_the_plan() -> None:
    """The same plan is refused for a schedule that does not say in place."""
    apart = GRAPH.scheduled(nodes={name: replace(each, in_place=False) for name, each in GRAPH.schedule.nodes.items()})
    with pytest.raises(PlanError, match="in place: v8 shares the buffer of v7"):
        check_plan(apart, PLAN)


def test_the_constants_of_a_wide_epilogue_do_not_count_as_memory() -> None:
    """A strip is an operand, not a buffer: it is in no plan."""
    node = Node("matmul", ("x", "w"), "y", 2, epilogue=(Step("add", ("b",)),))
    graph = Graph({"x": 2}, {"w": frozen(np.eye(2)), "b": frozen(np.ones((4, 2)))}, (node,), ("y",))
    assert plan_memory(program_of(graph, 8)).arena_bytes == 8 * 2 * 4
