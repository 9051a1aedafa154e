"""Why a pass did something or refused to, value by value, as data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mlbench.compiler.pipeline import PASSES, Decision, PassStep, compile_graph, passes_named
from mlbench.ir import Graph, Node, frozen
from mlbench.models import Layer, Model, mlp
from mlbench.models.zoo import ZOO
from support.strategies import PLAIN_RULES


@pytest.fixture(scope="module", autouse=True)
def _other_machine() -> Iterator[None]:
    """Let the heuristics and the code generator say the same wherever this runs."""
    with pytest.MonkeyPatch.context() as patched:
        for name, rule in PLAIN_RULES.items():
            patched.setattr(name, rule)
        yield


def step(graph: Graph, name: str, *, before: tuple[str, ...] = (), batch: int = 8) -> PassStep:
    """Return what one pass did to a graph, after others."""
    return compile_graph(graph, batch, passes_named([*before, name])).steps[-1]


def of(graph: Graph, name: str, value: str, **options: tuple[str, ...]) -> Decision:
    """Return the decision of a pass about one value."""
    (found,) = (each for each in step(graph, name, **options).decisions if each.value == value)  # type: ignore[arg-type]
    return found


def branched() -> Graph:
    """Return x -> v0 = relu -> v1 = exp -> v2 = v0 + v1, and v3 = the mean of v2."""
    nodes = (
        Node("relu", ("x",), "v0", 4),
        Node("exp", ("v0",), "v1", 4),
        Node("add_values", ("v0", "v1"), "v2", 4),
        Node("reduce_mean", ("v2",), "v3", 1),
    )
    return Graph({"x": 4}, {}, nodes, ("v3",))


def test_in_place_names_the_next_reader() -> None:
    """A value that is read again is not written over, and the reader is named."""
    assert of(branched(), "in_place", "v1") == Decision("v1", is_done=False, reason="v0 is read again by v2")


def test_in_place_names_the_value_that_dies() -> None:
    """What is written over has no later reader."""
    assert of(branched(), "in_place", "v2") == Decision("v2", is_done=True, reason="v0 dies here")


def test_in_place_leaves_the_caller_its_input() -> None:
    """An input is nobody's to write over."""
    assert of(branched(), "in_place", "v0").reason == "x is an input, which belongs to the caller"


def test_in_place_cannot_change_the_width() -> None:
    """A mean has one column, and what it reads has more."""
    assert of(branched(), "in_place", "v3").reason == "the result of a reduce_mean has another width than what it reads"


def test_a_pass_without_anything_to_do_says_so_once() -> None:
    """After fusion an MLP has matrix products alone; one reason says it for all of them."""
    assert step(mlp().graph(), "in_place", before=("fuse",)).idle_reason == "every node left is a matrix product"


def test_a_pass_that_did_something_has_no_reason_for_nothing() -> None:
    """The reason for doing nothing is empty where something was done."""
    assert step(mlp().graph(), "fuse").idle_reason == ""


def test_fusion_names_both_readers() -> None:
    """A value that two nodes read stays a node of its own."""
    assert of(branched(), "fuse", "v1") == Decision("v1", is_done=False, reason="v0 is read by v1 and by v2")


def test_fusion_leaves_inputs_alone() -> None:
    """Nothing binds an input, so nothing can take in what follows it."""
    assert of(branched(), "fuse", "v0").reason == "x is an input, which no node binds"


def test_fusion_says_what_takes_no_epilogue() -> None:
    """An element-wise node behind a reduction stays."""
    graph = Graph({"x": 4}, {}, (Node("reduce_mean", ("x",), "v0", 1), Node("relu", ("v0",), "v1", 1)), ("v1",))
    assert of(graph, "fuse", "v1").reason == "reduce_mean takes no epilogue"


@pytest.mark.parametrize("name", ["policy", "residual-mlp", "swiglu"])
def test_fusion_decides_as_it_does(name: str) -> None:
    """A node moved if and only if its decision says so."""
    done = step(ZOO[name]().graph(), "fuse")
    left = {node.output: node.op for node in done.after.graph.nodes}
    was = {node.output: node.op for node in done.before.graph.nodes}
    moved = {value for value, op in was.items() if left.get(value) != op}
    said = {each.value for each in done.decisions if each.is_done}
    values_that_took = {node.output for node in done.after.graph.nodes if node.epilogue}
    assert said <= moved | values_that_took
    assert len(said) == len(was) - len(left)


def two_linears(inputs: int, hidden: int, outputs: int) -> Graph:
    """Return two Linears without an activation between them."""
    random = np.random.default_rng(0)
    first, second = (random.standard_normal(shape).astype(np.float32) for shape in ((inputs, hidden), (hidden, outputs)))
    layers = (Layer(first, np.ones(hidden, np.float32)), Layer(second, np.ones(outputs, np.float32)))
    return Model("two", layers).graph()


def test_canonicalize_counts_what_a_merge_would_cost() -> None:
    """A bottleneck stays two Linears, because one would multiply more."""
    assert step(two_linears(16, 2, 16), "canonicalize").idle_reason == (
        "v2: one Linear would take 256 multiplications a row, and the two take 64"
    )


def test_canonicalize_says_why_a_product_is_gone() -> None:
    """Of two Linears that became one, the first product is gone for a reason."""
    assert of(two_linears(4, 16, 4), "canonicalize", "v0").reason == (
        "two Linears without an activation between them take fewer operations as one"
    )


def test_bias_folding_says_that_rounding_forbids_it() -> None:
    """A hidden bias that dwarfs the activation stays where it is."""
    layers = (
        Layer(np.eye(4, dtype=np.float32), np.full(4, -1e8, np.float32), "relu"),
        Layer(np.eye(4, dtype=np.float32), np.ones(4, np.float32)),
    )
    assert "rounding error more than twice as large" in of(Model("huge", layers).graph(), "fold_bias", "v2").reason


def test_bias_folding_needs_two_linears() -> None:
    """A ReLU at the end is not between two Linears."""
    graph = Graph({"x": 4}, {"w": frozen(np.eye(4))}, (Node("matmul", ("x", "w"), "v0", 4), Node("relu", ("v0",), "v1", 4)), ("v1",))
    assert of(graph, "fold_bias", "v1").reason == "it is not between two Linears"


def test_codegen_says_what_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the instructions the reason is the machine's."""
    monkeypatch.setattr("mlbench.compiler.passes.codegen_decisions.find", lambda: (None, "no AVX2"))
    assert step(mlp().graph(), "codegen", before=("fuse", "static")).idle_reason == "no AVX2"


def test_codegen_needs_static_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses that change cannot be in the code."""
    monkeypatch.setattr("mlbench.compiler.passes.codegen_decisions.find", lambda: (object(), ""))
    assert step(mlp().graph(), "codegen").idle_reason == "the code has addresses in it, and buffers are not static"


@pytest.mark.parametrize("each", PASSES, ids=[each.name for each in PASSES])
def test_every_pass_has_a_rule_and_decides(each: object) -> None:
    """A rule is one sentence, and something is said about any network, whether the pass does something or not."""
    name = each.name  # type: ignore[attr-defined]
    assert each.rule.endswith(".")  # type: ignore[attr-defined]
    for graph in (mlp().graph(), branched()):
        assert step(graph, name).decisions
        assert step(graph, name).is_idle or not step(graph, name).idle_reason


@pytest.mark.parametrize("name", ["batch-norm-mlp", "policy", "residual-mlp"])
def test_a_pass_that_changed_nothing_refuses_everything(name: str) -> None:
    """Where no decision is done the pass was idle, and the other way round."""
    for each in compile_graph(ZOO[name]().graph(), 64).steps:
        assert each.is_idle == (not any(decision.is_done for decision in each.decisions)), each.by.name
