"""Passes: text in, text out; each says what it did; every subset gives a valid graph and the right output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.compiler.passes import fold_bias, fuse, in_place, strips, tile
from mlbench.compiler.pipeline import PASSES, Pass, compile_graph, graph_pass, passes_named
from mlbench.compiler.schedule.heuristics import heuristic_schedule
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import OpSchedule, Schedule
from mlbench.compiler.schedule.verify import verify_program
from mlbench.compiler.x86 import find
from mlbench.errors import GraphError
from mlbench.ir import FloatArray, Graph, Node, Step, frozen, graph_text
from mlbench.models import HIDDEN_ACTIVATIONS, Layer, Model, mlp
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result
from support.exhaustive import subsets
from support.programs import program_of
from support.strategies import HUGE_BIASES, PLAIN_RULES, batch_of, floats, models, models_with_huge_biases, with_bias

SWITCHED = [each for each in PASSES if each.name != "parallelize"]
"""All but one that changes nothing for one thread."""
SUBSETS = subsets(SWITCHED)
SMALL = mlp(inputs=4, hidden=8, outputs=2)
WIDE = mlp(inputs=64, hidden=64, outputs=2)
"""Wide enough for its bias to be folded."""


@pytest.fixture(scope="module", autouse=True)
def _other_machine() -> Iterator[None]:
    """Let the default rules say the same wherever this runs; generated code is tested in test_codegen.py."""
    with pytest.MonkeyPatch.context() as patched:
        for name, rule in PLAIN_RULES.items():
            patched.setattr(name, rule)
        yield


def _id(subset: Sequence[Pass]) -> str:
    return "+".join(each.name for each in subset) or "none"


def _fused(model: Model, max_batch: int) -> Program:
    return program_of(fuse.apply(model.graph()), max_batch)


def _tiled(program: Program) -> Program:
    """Return a program after the pass `tile`, as the heuristics have it."""
    return tile.choose(program, heuristic_schedule(program, ()))


def _ones(columns: int, *steps: Step, max_batch: int = 64, tile_rows: int = 0, **constants: FloatArray) -> Program:
    """Return a fused Linear of `columns` columns with an epilogue of `steps`."""
    weight = {"w": frozen(np.ones((4, columns)))}
    graph = Graph({"x": 4}, weight | constants, (Node("matmul", ("x", "w"), "y", columns, epilogue=steps),), ("y",))
    return program_of(graph, max_batch, tile_rows=tile_rows or max_batch)


# --- each pass, text in and text out ------------------------------------------------------------------------------------


def test_folding_moves_a_hidden_bias_into_the_next_layer() -> None:
    """Linear -> ReLU -> Linear loses one node: the sum and the ReLU become a maximum with the negated bias."""
    before = WIDE.graph()
    assert graph_text(before) == (
        "graph(x: rows x 64)\n"
        "  v0: rows x 64 = matmul(x, w0: 64 x 64)\n"
        "  v1: rows x 64 = add(v0, b0: 64)\n"
        "  v2: rows x 64 = relu(v1)\n"
        "  v3: rows x 2 = matmul(v2, w1: 64 x 2)\n"
        "  v4: rows x 2 = add(v3, b1: 2)\n"
        "  return v4"
    )
    assert graph_text(fold_bias.fold(before)) == (
        "graph(x: rows x 64)\n"
        "  v0: rows x 64 = matmul(x, w0: 64 x 64)\n"
        "  v1: rows x 64 = maximum(v0, b0_negated: 64)\n"
        "  v3: rows x 2 = matmul(v1, w1: 64 x 2)\n"
        "  v4: rows x 2 = add(v3, b1_folded: 2)\n"
        "  return v4"
    )


def test_folding_works_within_epilogues() -> None:
    """After fusion the same steps stand in epilogues."""
    assert graph_text(fold_bias.fold(fuse.apply(WIDE.graph()))) == (
        "graph(x: rows x 64)\n"
        "  v2: rows x 64 = matmul(x, w0: 64 x 64) then maximum(b0_negated: 64)\n"
        "  v4: rows x 2 = matmul(v2, w1: 64 x 2) then add(b1_folded: 2)\n"
        "  return v4"
    )


def test_folding_goes_through_every_layer() -> None:
    """A bias that was folded into a hidden layer moves on with that layer's own."""
    assert graph_text(fold_bias.fold(mlp(inputs=64, hidden=(64, 64), outputs=2).graph())) == (
        "graph(x: rows x 64)\n"
        "  v0: rows x 64 = matmul(x, w0: 64 x 64)\n"
        "  v1: rows x 64 = maximum(v0, b0_negated: 64)\n"
        "  v3: rows x 64 = matmul(v1, w1: 64 x 64)\n"
        "  v4: rows x 64 = maximum(v3, b1_folded_negated: 64)\n"
        "  v6: rows x 2 = matmul(v4, w2: 64 x 2)\n"
        "  v7: rows x 2 = add(v6, b2_folded: 2)\n"
        "  return v7"
    )


def test_the_folded_bias_is_computed_in_float64() -> None:
    """The next layer's bias is b @ W + c, summed in float64 and rounded once."""
    first, second = WIDE.layers
    folded = fold_bias.fold(WIDE.graph()).constants
    exact = floats(first.bias) @ floats(second.weight) + floats(second.bias)
    assert np.array_equal(-first.bias, folded["b0_negated"])
    assert np.array_equal(exact.astype(np.float32), folded["b1_folded"])


@pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
def test_generated_code_keeps_its_biases() -> None:
    """Where machine code computes the product, its bias is added in registers, and nothing is folded."""
    schedule = Schedule(None, (OpSchedule(generated=True), OpSchedule(generated=True)))
    graph = compile_graph(WIDE.graph(), 8, schedule=schedule).graph
    assert [[step.op for step in node.epilogue] for node in graph.nodes] == [["add", "relu"], ["add"]]


def test_fusion_makes_a_linear_and_its_activation_one_node() -> None:
    """Every element-wise node moves into the epilogue of the product before it."""
    assert graph_text(fuse.apply(SMALL.graph())) == (
        "graph(x: rows x 4)\n"
        "  v2: rows x 8 = matmul(x, w0: 4 x 8) then add(b0: 8) then relu()\n"
        "  v4: rows x 2 = matmul(v2, w1: 8 x 2) then add(b1: 2)\n"
        "  return v4"
    )


def test_fusion_leaves_softmax_a_node_of_its_own() -> None:
    """A softmax looks along the row, so it stays behind the Linear."""
    model = mlp(inputs=4, hidden=(), outputs=2, output_activation="softmax")
    assert graph_text(fuse.apply(model.graph())) == (
        "graph(x: rows x 4)\n  v1: rows x 2 = matmul(x, w0: 4 x 2) then add(b0: 2)\n  v2: rows x 2 = softmax(v1)\n  return v2"
    )


def test_fusion_keeps_a_value_that_somebody_else_reads() -> None:
    """A product that two nodes read is needed as it is."""
    nodes = (
        Node("matmul", ("x", "w"), "h", 2),
        Node("tanh", ("h",), "t", 2),
        Node("relu", ("h",), "y", 2),
    )
    graph = Graph({"x": 2}, {"w": frozen(np.eye(2))}, nodes, ("y",))
    assert fuse.apply(graph) is graph


def test_fusion_keeps_the_output() -> None:
    """A product that is the result is needed as it is."""
    nodes = (Node("matmul", ("x", "w"), "y", 2), Node("tanh", ("y",), "t", 2))
    graph = Graph({"x": 2}, {"w": frozen(np.eye(2))}, nodes, ("y",))
    assert fuse.apply(graph) is graph


def test_tiling_is_one_fact_of_the_schedule() -> None:
    """The nodes stay as they are; only the tile's rows are new."""
    before = _fused(mlp(inputs=4, hidden=256, outputs=2), 512)
    assert program_text(_tiled(before)) == program_text(before).replace("max_batch=512", "max_batch=512, tiles of 128 rows")


@pytest.mark.parametrize(
    ("hidden", "max_batch", "tile_rows"),
    [
        pytest.param(256, 128, None, id="one-tile-fits"),
        pytest.param(256, 129, 80, id="one-row-more-makes-two-even-tiles"),
        pytest.param(256, 512, 128, id="four-tiles"),
        pytest.param(1024, 512, 128, id="wide-layers-keep-the-least-rows"),
        pytest.param(64, 512, None, id="narrow-layers-take-the-most-rows"),
        pytest.param(8, 513, 272, id="never-above-the-most-rows"),
        pytest.param(128, 4096, 256, id="widest-intermediate-of-128-KiB"),
        pytest.param((8, 256), 256, 128, id="the-widest-layer-decides"),
        pytest.param((), 4096, None, id="no-hidden-layer-no-tile"),
        pytest.param(256, 1, None, id="batch-of-one"),
    ],
)
def test_the_heuristic_tile_follows_its_rule(hidden: int | tuple[int, ...], max_batch: int, tile_rows: int | None) -> None:
    """The widest intermediate of a tile takes 128 KiB, in 128 to 512 rows, in tiles of about equal height."""
    program = _tiled(_fused(mlp(inputs=4, hidden=hidden, outputs=2), max_batch))
    assert program.schedule.tile_rows == (tile_rows or max_batch)


def test_strips_repeat_a_row_operand() -> None:
    """A row operand in an epilogue gets as many rows as fit into 16 KiB, and at most those of the batch."""
    graph = fuse.apply(fold_bias.fold(mlp(inputs=64, hidden=256, outputs=2).graph()))
    assert program_text(strips.apply(program_of(graph, 64))) == (
        "graph(x: rows x 64) max_batch=64\n"
        "  v1: rows x 256 = matmul(x, w0: 64 x 256) then maximum(b0_negated_strip: 16 x 256)\n"
        "  v4: rows x 2 = matmul(v1, w1: 256 x 2) then add(b1_folded_strip: 64 x 2)\n"
        "  return v4"
    )


def test_strips_of_a_tile_are_no_higher_than_the_tile() -> None:
    """With tiles, the rows that are seen at once are those of a tile."""
    program = _ones(2, Step("add", ("b",)), b=frozen([1, 2]), tile_rows=5)
    assert strips.apply(program).graph.constants["b_strip"].shape == (5, 2)


def test_every_row_of_a_strip_is_the_operand() -> None:
    """A strip repeats the row, and is read-only float32 like every constant."""
    strip = strips.apply(_ones(2, Step("add", ("b",)), b=frozen([1, 2]))).graph.constants["b_strip"]
    assert np.array_equal(np.tile(frozen([1, 2]), (64, 1)), strip)
    assert not strip.flags.writeable


def test_relu_compares_with_a_strip_of_zeros() -> None:
    """A ReLU in an epilogue becomes a maximum with zeros of the height of the other strips."""
    after = strips.apply(_ones(256, Step("add", ("b",)), Step("relu"), b=frozen(np.ones(256)))).graph
    assert "then add(b_strip: 16 x 256) then maximum(zeros_256_strip: 16 x 256)" in graph_text(after)
    assert not after.constants["zeros_256_strip"].any()


@pytest.mark.parametrize("columns", [1, 4096, 4097, 5000])
def test_a_relu_of_one_row_compares_with_zeros(columns: int) -> None:
    """At batch 1, and where a strip is one row high, the ReLU's zeros are one row, and the pass can say so."""
    program = _ones(columns, Step("relu"), max_batch=1)
    after = strips.apply(program)
    verify_program(after)
    assert after.graph.nodes[0].epilogue[0].op == "maximum"
    assert str(columns) in strips.explain(program, after)


def test_in_place_marks_the_nodes_that_may_write_over_a_dead_value() -> None:
    """An unfused graph: sums and activations take the storage of the product; products never take any."""
    assert program_text(in_place.apply(program_of(SMALL))) == (
        "graph(x: rows x 4) max_batch=8\n"
        "  v0: rows x 8 = matmul(x, w0: 4 x 8)\n"
        "  v1: rows x 8 = add(v0, b0: 8) in place of v0\n"
        "  v2: rows x 8 = relu(v1) in place of v1\n"
        "  v3: rows x 2 = matmul(v2, w1: 8 x 2)\n"
        "  v4: rows x 2 = add(v3, b1: 2) in place of v3\n"
        "  return v4"
    )


def test_in_place_spares_what_is_needed() -> None:
    """The input, the output and a value that is read later keep their storage."""
    nodes = (
        Node("tanh", ("x",), "a", 2),
        Node("relu", ("a",), "b", 2),
        Node("sigmoid", ("a",), "y", 2),
        Node("tanh", ("y",), "z", 2),
    )
    assert program_text(in_place.apply(program_of(Graph({"x": 2}, {}, nodes, ("y",))))) == (
        "graph(x: rows x 2) max_batch=8\n"
        "  a: rows x 2 = tanh(x)\n"
        "  b: rows x 2 = relu(a)\n"
        "  y: rows x 2 = sigmoid(a) in place of a\n"
        "  z: rows x 2 = tanh(y)\n"
        "  return y"
    )


def test_all_passes_together() -> None:
    """What a ReLU network of 64-256-10 becomes at batch 512 without generated code: two nodes, tiles, strips, weights at a cache line."""
    names = [each.name for each in PASSES if each.name != "codegen"]
    compiled = compile_graph(mlp(64, 256, 10, output_activation="softmax").graph(), 512, passes_named(names))
    assert program_text(compiled.program) == (
        "graph(x: rows x 64) max_batch=512, tiles of 128 rows, static buffers\n"
        "  v2: rows x 256 = matmul(x, w0: 64 x 256) then maximum(b0_negated_strip: 16 x 256)\n"
        "  v4: rows x 10 = matmul(v2, w1: 256 x 10) then add(b1_folded_strip: 128 x 10)\n"
        "  v5: rows x 10 = softmax(v4) in place of v4\n"
        "  return v5"
    )


def _after(each: Pass, program: Program) -> Program:
    """Return a program after a pass, as the heuristics have it."""
    if each.apply is not None:
        return each.apply(program)
    assert each.choose is not None
    return each.choose(program, heuristic_schedule(program, [other.name for other in PASSES]))


# --- nothing to do ------------------------------------------------------------------------------------------------------

DONE = compile_graph(mlp(inputs=4, hidden=(256, 256), outputs=2, output_activation="softmax").graph(), 512).program
NOTHING_TO_DO = {
    "fold_bias": (fold_bias, program_of(mlp(activation="tanh"))),
    "fuse": (fuse, program_of(Graph({"x": 2}, {}, (Node("tanh", ("x",), "y", 2),), ("y",)))),
    "tile": (tile, _fused(SMALL, 8)),
    "strips": (strips, _ones(4, Step("tanh"))),
    "strips-of-a-batch-of-one": (strips, _ones(4, Step("add", ("b",)), b=frozen(np.ones(4)), max_batch=1)),
    "in_place": (in_place, _fused(SMALL, 8)),
    **{f"{module.PASS.name}-again": (module, DONE) for module in (fold_bias, fuse, strips, in_place)},
}


@pytest.mark.parametrize(("module", "program"), NOTHING_TO_DO.values(), ids=NOTHING_TO_DO)
def test_a_pass_with_nothing_to_do_returns_the_same_program(module: Any, program: Program) -> None:  # a pass module
    """A pass that changes nothing gives back the very object."""
    assert program is _after(module.PASS, program)


@given(models(), st.integers(1, 300))
def test_a_pass_changes_nothing_the_second_time(model: Model, max_batch: int) -> None:
    """Whatever the model, each pass run again on its own result gives back the same object."""
    program = program_of(model, max_batch)
    for each in PASSES:
        program = _after(each, program)
        if each.name != "tile":
            assert program is _after(each, program)


# --- what a pass says ---------------------------------------------------------------------------------------------------

RELU_LATE = program_of(mlp(inputs=4, hidden=(), outputs=2, output_activation="relu"))
PARAGRAPHS = {
    "fold_bias": (
        fold_bias,
        program_of(mlp(inputs=64, hidden=(64, 64), outputs=2, output_activation="relu")),
        "2 of 3 ReLU became max(z, -b), and the bias b moved into the next layer's bias as b @ W, "
        "computed once in float64. A call makes 2 fewer passes over a hidden activation.",
    ),
    "fold_bias-nothing": (
        fold_bias,
        RELU_LATE,
        "Nothing folded: 1 ReLU, none between two Linears of NumPy's with a bias that is small compared with the ReLU's output.",
    ),
    "fuse": (
        fuse,
        program_of(SMALL),
        "3 element-wise nodes moved into the epilogue of the node before them: "
        "5 nodes became 2, and 3 intermediates are gone.",
    ),
    "fuse-nothing": (fuse, NOTHING_TO_DO["fuse"][1], "Nothing to fuse: no element-wise node follows a node that can take it in."),
    "tile": (
        tile,
        _fused(mlp(inputs=4, hidden=256, outputs=2), 500),
        "The chain runs on 128 rows at a time, 4 tiles for a batch of 500. "
        "A hidden activation needs 128 rows of memory instead of 500.",
    ),
    "tile-nothing": (tile, _fused(SMALL, 8), "No tiles: a batch of 8 fits into one."),
    "strips": (
        strips,
        _fused(SMALL, 8),
        "3 strips replace row operands and the zero of ReLU (8 x 8, 8 x 8, 8 x 2), 576 bytes of static memory.",
    ),
    "strips-nothing": (
        strips, NOTHING_TO_DO["strips-of-a-batch-of-one"][1], "No strips: NumPy broadcasts no row over several rows here.",
    ),
    "in_place": (
        in_place,
        _fused(mlp(inputs=4, hidden=8, outputs=2, output_activation="softmax"), 8),
        "v5 written over the value each one reads, which is dead afterwards.",
    ),
    "in_place-nothing": (
        in_place,
        _fused(SMALL, 8),
        "Nothing to do: no node left may write over a value that it reads; a matrix product never may.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("module", "program", "paragraph"), PARAGRAPHS.values(), ids=PARAGRAPHS)
def test_a_pass_says_what_it_did(module: Any, program: Program, paragraph: str) -> None:  # a pass module
    """The paragraph has the figures of this very program, or says why nothing was done."""
    assert paragraph == module.PASS.explain(program, _after(module.PASS, program))


def test_the_reason_for_no_tiles_is_the_right_one() -> None:
    """Without a hidden layer there is nothing that tiles would shrink, which is another reason than a small batch."""
    program = _fused(mlp(hidden=()), 4096)
    assert "4096 fits into one" not in tile.explain(program, _tiled(program))


# --- compile_graph ------------------------------------------------------------------------------------------------------


def test_compilation_keeps_the_source_and_a_note_for_each_pass() -> None:
    """What was compiled, what runs and what each pass said are all kept, in the order of the passes."""
    source = SMALL.graph()
    compiled = compile_graph(source, 8)
    assert compiled.source is source
    assert compiled.program.schedule.max_batch == 8
    assert [each.name for each in PASSES] == [each.name for each, _ in compiled.notes]
    assert all(paragraph.endswith(".") for _, paragraph in compiled.notes)


def test_a_runner_has_no_notes_of_constants_that_it_forgot() -> None:
    """A pass that looked at them again would do something else, and say so."""
    with pytest.raises(GraphError, match="a runner forgets the constants that it does not read"):
        OptimizedRunner(SMALL, 8).compiled.notes  # noqa: B018  # a property


def test_an_explanation_cannot_stop_a_compile() -> None:
    """What a pass did is told when somebody asks, from the same passes once more; a compile asks for nothing."""

    def stumble(_before: Program, _after: Program) -> str:
        raise IndexError("the explanation has a fault")

    compiled = compile_graph(SMALL.graph(), 8, [replace(PASSES[0], explain=stumble)])
    assert compiled.program.schedule.max_batch == 8
    with pytest.raises(IndexError, match="the explanation has a fault"):
        compiled.notes  # noqa: B018  # a property


def test_older_names_of_passes_are_known() -> None:
    """A file or a command of an earlier version may name a pass as it was called then."""
    assert [each.name for each in passes_named(["threads", "clean", "tile"])] == ["canonicalize", "tile", "parallelize"]


def test_a_pass_that_breaks_a_law_is_named() -> None:
    """A graph that comes out of a pass broken is refused with the name of the pass."""
    bad = graph_pass("vandal", "break it", lambda graph: replace(graph, outputs=("gone",)), lambda _before, _after: "Broke it.")
    with pytest.raises(GraphError, match="after the pass vandal: output: 'gone' is bound by no node"):
        compile_graph(SMALL.graph(), 8, [PASSES[0], bad])


def test_a_broken_source_is_refused_before_the_first_pass() -> None:
    """The graph is verified before any pass sees it."""
    seen: list[Graph] = []

    def look(graph: Graph) -> Graph:
        seen.append(graph)
        return graph

    spy = graph_pass("spy", "look", look, lambda _before, _after: "Looked.")
    with pytest.raises(GraphError, match="output: 'gone'"):
        compile_graph(replace(SMALL.graph(), outputs=("gone",)), 8, [spy])
    assert not seen


def test_a_batch_below_one_is_refused() -> None:
    """Compiling for no rows breaks the law of sizes."""
    with pytest.raises(GraphError, match="max_batch is 0"):
        compile_graph(SMALL.graph(), 0)


# --- when folding is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [number for number in HUGE_BIASES if number != 1e8])
def test_a_bias_that_would_cost_accuracy_is_not_folded(number: float) -> None:
    """One element of a hidden bias that is huge and negative, beyond half of float32, infinite or NaN keeps that layer as it is."""
    graph = with_bias(WIDE, 0, 3, number).graph()
    assert graph is fold_bias.fold(graph)


@pytest.mark.parametrize("number", [np.inf, np.nan])
@pytest.mark.parametrize("place", ["next-weight", "next-bias"])
def test_a_next_layer_that_is_not_finite_is_not_folded_into(place: str, number: float) -> None:
    """Folding would mix an infinity or a NaN of the next layer with biases it never met."""
    weight, bias = np.array(WIDE.layers[1].weight), np.array(WIDE.layers[1].bias)
    (weight[0] if place == "next-weight" else bias)[0] = number
    graph = Model("m", (WIDE.layers[0], Layer(weight, bias))).graph()
    assert graph is fold_bias.fold(graph)


@pytest.mark.parametrize("activation", [name for name in HIDDEN_ACTIVATIONS if name != "relu"])
def test_other_activations_are_not_folded(activation: str) -> None:
    """relu(z + b) = max(z, -b) + b holds for ReLU alone."""
    graph = mlp(activation=activation).graph()
    assert graph is fold_bias.fold(graph)


def test_a_refused_layer_does_not_stop_the_others() -> None:
    """With a huge bias in the first layer only, the second one is folded."""
    model = with_bias(mlp(inputs=64, hidden=(64, 64), outputs=2), 0, 0, -1e8)
    assert [node.op for node in fold_bias.fold(model.graph()).nodes] == [
        "matmul", "add", "relu", "matmul", "maximum", "matmul", "add",
    ]  # fmt: skip


def test_a_value_that_somebody_else_reads_is_not_folded() -> None:
    """The activation with its bias is needed by another node, so it has to exist."""
    graph = WIDE.graph()
    extra = Node("tanh", ("v2",), "t", 64)
    graph = replace(graph, nodes=(*graph.nodes, extra))
    assert graph is fold_bias.fold(graph)


def test_the_output_is_not_folded() -> None:
    """Where the activation is the result, it has to exist."""
    graph = replace(WIDE.graph(), outputs=("v2",))
    assert graph is fold_bias.fold(graph)


def _with_biases(bias: npt.ArrayLike) -> Graph:
    """Return the graph of a layer that ignores its input, with 64 columns of this bias, and a next layer of ones."""
    first = Layer(frozen(np.zeros((1, 64))), frozen(np.broadcast_to(bias, 64)), "relu")
    return Model("m", (first, Layer(frozen(np.ones((64, 1))), frozen([0.5])))).graph()


@pytest.mark.parametrize(("low", "folds"), [(-2.0, True), (-2.001, False)])
def test_the_limit_of_folding_is_twice_the_error_that_is_there(low: float, folds: bool) -> None:
    """Half of the activations are 1 and half 0; folded, these are 0 and -low: up to 2 folds, and not beyond."""
    graph = _with_biases([1.0, low] * 32)
    assert folds is (fold_bias.fold(graph) is not graph)


def test_a_layer_that_may_be_silent_is_not_folded() -> None:
    """Biases below 0 give zeros for small inputs, beside which any bias is large; biases above 0 are folded."""
    silent, loud = _with_biases(-1e-6), _with_biases(1e3)
    assert fold_bias.fold(silent) is silent
    assert fold_bias.fold(loud) is not loud


def test_folds_of_a_deep_network_do_not_add_up() -> None:
    """The bias that holds earlier folds outgrows the activation, so in 24 layers some are not folded, and folding begins anew."""
    ops = [node.op for node in fold_bias.fold(mlp(64, (64,) * 24, 10).graph()).nodes]
    assert 12 <= ops.count("maximum") < 24
    assert ops.index("relu") < len(ops) - ops[::-1].index("maximum")


def test_constants_that_layers_share_are_folded_for_each_of_them() -> None:
    """Two layers that read one bias, with different next weights, each get a folded bias of their own."""
    random = np.random.default_rng(0)
    constants = {f"w{index}": frozen(random.standard_normal((256, 256)) / 16) for index in range(4)}
    constants |= {name: frozen(random.standard_normal(256)) for name in "bc"}
    nodes: list[Node] = []
    value = "x"
    for index, (bias, activation) in enumerate([("b", "relu"), ("c", "tanh"), ("b", "relu"), ("c", "tanh")]):
        for op, operands in (("matmul", (f"w{index}",)), ("add", (bias,)), (activation, ())):
            nodes.append(Node(op, (value, *operands), f"v{len(nodes)}", 256))
            value = nodes[-1].output
    graph = Graph({"x": 256}, constants, tuple(nodes), (value,))
    folded = fold_bias.fold(graph)
    assert [node.op for node in folded.nodes].count("maximum") == 2
    x = batch_of(5, 256)
    np.testing.assert_allclose(BaselineRunner(folded).run(x), BaselineRunner(graph).run(x), rtol=1e-4, atol=1e-5)


@given(models_with_huge_biases(), st.integers(0, 2**32 - 1))
def test_a_huge_bias_gives_what_the_plain_run_gives(model: Model, seed: int) -> None:
    """With a huge, infinite or NaN hidden bias, folding leaves NaN and infinities where they were and the rest as close."""
    x = batch_of(4, model.inputs, seed)
    with np.errstate(all="ignore"):
        plain = BaselineRunner(model).run(x)
        folded = BaselineRunner(fold_bias.fold(model.graph())).run(x)
    size = np.abs(plain[np.isfinite(plain)]).max(initial=1)
    np.testing.assert_allclose(folded, plain, rtol=1e-3, atol=1e-3 * size)


# --- every subset -------------------------------------------------------------------------------------------------------


SUBJECTS = {
    "relu": (mlp(inputs=5, hidden=(64, 256), outputs=3), 150),
    "relu-to-the-end": (mlp(inputs=5, hidden=9, outputs=3, output_activation="relu"), 40),
    "leaky_relu": (mlp(inputs=5, hidden=(300, 7), outputs=3, activation="leaky_relu", output_activation="leaky_relu"), 150),
    "softmax": (mlp(inputs=5, hidden=(4, 8, 6), outputs=9, activation="relu", output_activation="softmax"), 33),
    "sigmoid-tanh": (mlp(inputs=5, hidden=12, outputs=2, activation="sigmoid", output_activation="tanh"), 20),
    "one-layer": (mlp(inputs=5, hidden=(), outputs=1), 9),
    "batch-of-one": (mlp(inputs=5, hidden=(6, 6), outputs=3), 1),
    "batch-of-one-relu-to-the-end": (mlp(inputs=5, hidden=6, outputs=3, output_activation="relu"), 1),
    "wide": (mlp(inputs=2, hidden=4200, outputs=3), 3),
    "wide-and-refused": (with_bias(mlp(inputs=2, hidden=4200, outputs=3), 0, 7, 1e5), 3),
}


@pytest.mark.parametrize("subset", SUBSETS, ids=_id)
@pytest.mark.parametrize(("model", "max_batch"), SUBJECTS.values(), ids=SUBJECTS)
def test_every_subset_of_the_passes_is_right(model: Model, max_batch: int, subset: Sequence[Pass]) -> None:
    """Whatever passes are left out, the graph is valid and the output agrees with the float64 reference."""
    runner = OptimizedRunner(model, max_batch, passes=subset)
    verify_program(runner.compiled.program)
    assert tuple(subset) == runner.compiled.passes
    for batch in {1, max_batch // 2, max_batch} - {0}:
        x = batch_of(batch, model.inputs, seed=batch)
        check_result(model, x, runner.run(x), _id(subset))


@pytest.mark.parametrize("subset", [subset for subset in SUBSETS if "strips" not in _id(subset)], ids=_id)
def test_a_subset_without_strips_runs_eagerly(subset: Sequence[Pass]) -> None:
    """Without strips, a compiled graph is still a program that the eager runner can run, to the same values."""
    model = mlp(inputs=5, hidden=(7, 6), outputs=3, output_activation="softmax")
    x = batch_of(11, 5)
    check_result(model, x, BaselineRunner(compile_graph(model.graph(), 11, subset).graph).run(x), _id(subset))


@given(models(), st.integers(1, 300), st.sampled_from(SUBSETS))
def test_every_subset_of_the_passes_is_valid_on_every_model(model: Model, max_batch: int, subset: Sequence[Pass]) -> None:
    """Whatever the model, the batch and the passes, no law is broken and the columns of the result stay."""
    compiled = compile_graph(model.graph(), max_batch, subset)
    assert model.outputs == compiled.graph.columns_of(compiled.graph.outputs[0])


def test_a_strip_never_takes_over_a_constant() -> None:
    """A graph may hold constants that are called as a strip would be; the strip steps aside, and the answer stays right."""
    taken = {"b_strip": frozen(np.full(8, 5.0)), "zeros_8_strip": frozen(np.full((6, 8), -7.0))}
    constants = {"w": frozen(np.eye(8)), "b": frozen(np.ones(8)), **taken}
    nodes = (
        Node("matmul", ("x", "w"), "v0", 8),
        Node("add", ("v0", "b"), "v1", 8),
        Node("add", ("v1", "b_strip"), "v2", 8),
        Node("relu", ("v2",), "v3", 8),
        Node("maximum", ("v3", "zeros_8_strip"), "v4", 8),
    )
    graph = Graph({"x": 8}, constants, nodes, ("v4",))
    x = batch_of(6, 8)
    passes = [each for each in PASSES if each.name != "fold_scale"]  # which adds 1 and 5 first
    np.testing.assert_array_equal(np.maximum(x + 1 + 5, 0), OptimizedRunner(graph, 6, passes=passes).run(x))
