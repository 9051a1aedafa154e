"""Programs: a graph joined with its schedule, the printed form, and one smallest violation for every law of schedules."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import COLUMNS, FEATURES, NodeSchedule, Program, plain_program
from mlbench.compiler.schedule.verify import verify_program
from mlbench.errors import GraphError
from mlbench.ir import FloatArray, Graph, Node, Step, frozen
from mlbench.models import mlp
from support.programs import program_of

WEIGHT = frozen(np.ones((3, 3)))
TANH_X = Node("tanh", ("x",), "h", 3)
TANH = Graph({"x": 3}, {}, (TANH_X,), ("h",))
CODE = NodeSchedule(packed="w_packed", width=1, lanes=8)
PACKED = {"w_packed": WEIGHT}


def _graph(*nodes: Node, output: str = "", **constants: FloatArray) -> Graph:
    pool = {"w": WEIGHT, **constants}
    used = {name for node in nodes for name in node.constants}
    return Graph({"x": 3}, {name: pool[name] for name in used}, nodes, (output or nodes[-1].output,))


def _product(*epilogue: Step, source: str = "x", output: str = "y") -> Node:
    return Node("matmul", (source, "w"), output, 3, epilogue)


def _generated(*epilogue: Step, schedule: NodeSchedule = CODE, gaps: FloatArray = WEIGHT) -> Program:
    return program_of(_graph(_product(*epilogue), gaps=gaps), nodes={"y": schedule}, packed=PACKED, is_static=True)


PAIR = _graph(TANH_X, Node("tanh", ("h",), "y", 3))
BRANCHED = _graph(TANH_X, Node("tanh", ("h",), "y", 3), Node("relu", ("h",), "z", 3))
TWO_HEADS = replace(BRANCHED, outputs=("y", "z"))
IN_PLACE = {"y": NodeSchedule(in_place=True)}
VIOLATIONS = {
    "broken-graph": (program_of(replace(TANH, outputs=("z",))), "output: 'z' is bound by no node"),
    "batch-of-none": (program_of(TANH, 0), "sizes: max_batch is 0; expected 1 or more"),
    "tile-of-none": (program_of(TANH, tile_rows=0), "sizes: tile_rows is 0; expected 1 or more"),
    "tile-higher-than-the-batch": (program_of(TANH, 4, tile_rows=5), "sizes: tiles of 5 rows with max_batch 4; expected no more rows"),
    "no-threads": (program_of(TANH, threads=0), "sizes: threads is 0; expected 1 or more"),
    "no-workers": (program_of(TANH, threads=2, workers=0), "sizes: 0 workers with 2 threads allowed"),
    "more-workers-than-threads": (program_of(TANH, threads=2, workers=3), "sizes: 3 workers with 2 threads allowed"),
    "fewer-threads-of-blas-than-none": (program_of(TANH, blas_threads=-1), "sizes: BLAS on -1 threads"),
    "shared-by-nobody-knows-what": (program_of(TANH, shared="all"), "sizes: the workers share 'all'; expected one of rows, columns"),
    "shared-columns-of-numpy": (
        program_of(TANH, threads=2, workers=2, shared=COLUMNS),
        "sizes: the workers share columns of a graph that NumPy has a part in; only generated code can share them",
    ),
    "workers-beside-any-number-of-threads-of-blas": (
        program_of(TANH, threads=2, workers=2), "sizes: 2 workers that run NumPy, and BLAS as it is; expected a number of threads for BLAS",
    ),
    "schedule-of-another-graph": (
        Program(PAIR, program_of(TANH).schedule), "schedule: it is for h; the graph binds h, y",
    ),
    "workers-for-two-outputs": (
        program_of(TWO_HEADS, threads=2, workers=2, blas_threads=1), "schedule: workers with rows of their own for several",
    ),
    "unknown-layout": (program_of(TANH, nodes={"h": NodeSchedule("all")}), "node 0 (h = tanh): the layout is 'all'; expected rows or"),
    "no-parts": (program_of(TANH, nodes={"h": NodeSchedule(parts=0)}), "node 0 (h = tanh): 0 parts of 3 columns, rows; only features"),
    "parts-of-rows": (program_of(TANH, nodes={"h": NodeSchedule(parts=2)}), "node 0 (h = tanh): 2 parts of 3 columns, rows"),
    "more-parts-than-features": (
        program_of(_graph(_product(output="h"), _product(source="h")), nodes={"h": NodeSchedule(FEATURES, 4)}),
        "node 0 (h = matmul): 4 parts of 3 columns, features",
    ),
    "op-that-cannot-be-transposed": (program_of(TANH, nodes={"h": NodeSchedule(FEATURES)}), "node 0 (h = tanh): tanh cannot write feature"),
    "strip-over-features": (
        program_of(
            _graph(_product(Step("add", ("b",)), output="h"), _product(source="h"), b=frozen(np.ones((2, 3)))),
            nodes={"h": NodeSchedule(FEATURES)},
        ),
        "node 0 (h = matmul): a strip in the epilogue of a value that lies feature after feature",
    ),
    "features-read-by-no-product": (
        program_of(_graph(_product(output="h"), Node("tanh", ("h",), "y", 3)), nodes={"h": NodeSchedule(FEATURES)}),
        "node 1 (y = tanh): reads h, which lies feature after feature; only a matrix product can",
    ),
    "features-read-second": (
        program_of(_graph(_product(output="h"), Node("concat", ("x", "h"), "y", 6)), nodes={"h": NodeSchedule(FEATURES)}),
        "node 1 (y = concat): reads h, which lies feature after feature; only a matrix product can",
    ),
    "output-in-features": (
        program_of(_graph(_product()), nodes={"y": NodeSchedule(FEATURES)}),
        "output: 'y' lies feature after feature; the caller expects rows",
    ),
    "generated-without-panels": (
        _generated(schedule=replace(CODE, width=0, lanes=0)), "node 0 (y = matmul): panels of 0 vectors of 0 lanes; expected 1",
    ),
    "generated-from-no-weight": (
        _generated(schedule=replace(CODE, packed="v")), "node 0 (y = matmul): generated from 'v'; expected a product, and one of",
    ),
    "generated-without-static-buffers": (
        _generated().scheduled(is_static=False),
        "node 0 (y = matmul): the graph has no static buffers; generated code has addresses in it",
    ),
    "generated-features": (
        program_of(
            _graph(_product(output="h"), _product(source="h")),
            nodes={"h": replace(CODE, layout=FEATURES)}, packed=PACKED, is_static=True,
        ),
        "node 0 (h = matmul): generated code reads or writes feature after feature; it knows rows alone",
    ),
    "more-steps-inside-than-there-are": (
        _generated(schedule=replace(CODE, inner=1)),
        "node 0 (y = matmul): 1 of 0 steps inside the code; expected no more than there are",
    ),
    "a-strip-inside": (
        _generated(Step("add", ("w",)), schedule=replace(CODE, inner=1)),
        "node 0 (y = matmul): a strip in a step inside the code; expected a row or a scalar",
    ),
    "an-operand-with-gaps-inside": (
        _generated(Step("add", ("gaps",)), schedule=replace(CODE, inner=1), gaps=frozen(np.ones(6))[::2]),
        "node 0 (y = matmul): an operand of add with gaps in a step inside the code; expected number after number",
    ),
    "panels-of-numpy": (
        program_of(_graph(_product()), nodes={"y": NodeSchedule(width=2)}),
        "node 0 (y = matmul): panels of 2 vectors and 0 steps inside; only generated code has them",
    ),
    "steps-inside-numpy": (
        program_of(_graph(_product(Step("relu"))), nodes={"y": NodeSchedule(inner=1)}),
        "node 0 (y = matmul): panels of 0 vectors and 1 steps inside; only generated code has them",
    ),
    "product-in-place": (
        program_of(_graph(TANH_X, _product(source="h")), nodes=IN_PLACE), "node 1 (y = matmul, in place): matmul cannot write over what",
    ),
    "concatenation-in-place": (
        program_of(_graph(TANH_X, Node("concat", ("h",), "y", 3)), nodes=IN_PLACE), "node 1 (y = concat, in place): concat cannot write",
    ),
    "in-place-of-the-input": (
        program_of(_graph(Node("tanh", ("x",), "y", 3)), nodes=IN_PLACE),
        "node 0 (y = tanh, in place): would write over an input, which belongs to the caller",
    ),
    "in-place-of-a-value-read-later": (program_of(BRANCHED, nodes=IN_PLACE), "node 1 (y = tanh, in place): h is still read afterwards"),
    "in-place-of-a-value-read-second-later": (
        program_of(_graph(TANH_X, Node("relu", ("h",), "y", 3), Node("add_values", ("y", "h"), "z", 3)), nodes=IN_PLACE),
        "node 1 (y = relu, in place): h is still read afterwards",
    ),
    "in-place-of-an-output": (
        program_of(replace(PAIR, outputs=("y", "h")), nodes=IN_PLACE), "node 1 (y = tanh, in place): h is still read afterwards",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("program", "message"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_law_is_named_with_its_place(program: Program, message: str) -> None:
    """A program that breaks one law is refused; the message names the law and the place."""
    with pytest.raises(GraphError) as caught:
        verify_program(program)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(program_of(TANH, 1), id="batch-of-one"),
        pytest.param(program_of(TANH, 2, tile_rows=1), id="tile-one-below-the-batch"),
        pytest.param(program_of(TANH, threads=2, workers=2, blas_threads=1), id="as-many-workers-as-threads"),
        pytest.param(program_of(PAIR, nodes=IN_PLACE), id="in-place-of-a-dead-value"),
        pytest.param(program_of(BRANCHED, nodes={"z": NodeSchedule(in_place=True)}), id="in-place-at-the-last-reader"),
        pytest.param(
            program_of(_graph(TANH_X, Node("add_values", ("h", "x"), "y", 3)), nodes=IN_PLACE), id="sum-in-place-of-its-first-value"
        ),
        pytest.param(program_of(TWO_HEADS, nodes={"z": NodeSchedule(in_place=True)}), id="two-outputs"),
    ],
)
def test_a_program_that_keeps_every_law_passes(program: Program) -> None:
    """Just inside each law nothing is raised."""
    verify_program(program)


def test_a_program_that_no_pass_has_touched_is_complete() -> None:
    """Its schedule has no gap: one tile, one thread, BLAS as it is, and every node in rows."""
    schedule = plain_program(mlp().graph(), 9).schedule
    assert (schedule.tile_rows, schedule.workers, schedule.blas_threads, schedule.is_tiled) == (9, 1, 0, False)
    assert set(schedule.nodes.values()) == {NodeSchedule()}


def test_a_program_cannot_be_changed() -> None:
    """Programs and schedules are frozen."""
    with pytest.raises(FrozenInstanceError):
        program_of(TANH).graph = PAIR  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        program_of(TANH).schedule.threads = 3  # type: ignore[misc]


def test_a_node_that_stays_keeps_its_schedule() -> None:
    """With another graph, a node that binds the same value by the same op runs as before; one of another op, and a new one, run plainly."""
    program = program_of(PAIR, nodes=IN_PLACE)
    same = program.with_graph(replace(PAIR, nodes=(replace(TANH_X, op="relu"), PAIR.nodes[1])))
    other = program.with_graph(replace(PAIR, nodes=(TANH_X, replace(PAIR.nodes[1], op="relu"), Node("tanh", ("y",), "z", 3))))
    assert same.schedule.nodes == {"h": NodeSchedule(), "y": NodeSchedule(in_place=True)}
    assert set(other.schedule.nodes.values()) == {NodeSchedule()}
    assert program.with_graph(PAIR) is program


def test_the_printed_form_shows_the_schedule() -> None:
    """Batch, tiles, and nodes in place are in the text; their epilogue runs afterwards."""
    constants = {"w": frozen(np.ones((4, 3))), "s": frozen(0.5), "b": frozen(np.ones((2, 3)))}
    product = Node("matmul", ("x", "w"), "h", 3, (Step("add", ("b",)), Step("leaky_relu", ("s",)), Step("tanh")))
    graph = Graph({"x": 4}, constants, (product, Node("softmax", ("h",), "y", 3)), ("y",))
    assert program_text(program_of(graph, 9, tile_rows=4, nodes=IN_PLACE)) == (
        "graph(x: rows x 4) max_batch=9, tiles of 4 rows\n"
        "  h: rows x 3 = matmul(x, w: 4 x 3) then add(b: 2 x 3) then leaky_relu(s: scalar) then tanh()\n"
        "  y: rows x 3 = softmax(h) in place of h\n"
        "  return y"
    )


def test_the_printed_form_shows_layouts_and_threads() -> None:
    """Feature-major values, parts, Fortran order, static buffers, workers and BLAS threads are in the text as well."""
    nodes = (Node("matmul", ("x", "w"), "h", 4), Node("matmul", ("h", "w"), "y", 4))
    graph = Graph({"x": 4}, {"w": frozen(np.ones((4, 4)), "F")}, nodes, ("y",))
    facts = {"is_static": True, "threads": 2, "workers": 2, "blas_threads": 1}
    assert program_text(program_of(graph, 9, nodes={"h": NodeSchedule(FEATURES, 2)}, **facts)) == (
        "graph(x: rows x 4) max_batch=9, shared by 2 threads, BLAS on 1 thread, static buffers\n"
        "  h: 4 x rows = matmul(x, w: 4 x 4 Fortran) in 2 parts\n"
        "  y: rows x 4 = matmul(h, w: 4 x 4 Fortran)\n"
        "  return y"
    )
