"""The eager runner is the five lines one would write by hand: same text, same bits, same memory."""

from __future__ import annotations

import gc
import linecache
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.errors import GraphError, InputError
from mlbench.ir import FloatArray, Graph, Node, Step, frozen
from mlbench.models import LEAKY_SLOPE, OUTPUT_ACTIVATIONS, Model, mlp
from mlbench.runtime import BaselineRunner, check_result
from support.footprints import Footprint, print_footprints, run_as_program
from support.strategies import batch_of, batches, models


def _by_hand(model: Model) -> Callable[[FloatArray], FloatArray]:
    """Return Linear -> ReLU -> Linear as a person would write it."""
    (w0, b0), (w1, b1) = ((layer.weight, layer.bias) for layer in model.layers)

    def run(x: FloatArray) -> FloatArray:
        a = x @ w0
        a = a + b0
        a = np.maximum(a, 0)
        a = a @ w1
        y: FloatArray = a + b1
        return y

    return run


def test_the_source_is_the_handwritten_lines() -> None:
    """Linear -> ReLU -> Linear runs as exactly five lines, and the checks around them cost nothing while all is well."""
    assert BaselineRunner(mlp()).source == (
        "def run(x):\n"
        "    try:\n"
        "        if x.__class__ is not ndarray or x.dtype is not float32 or x.ndim != 2:\n"
        "            x = validate(x)\n"
        "        a = x @ w0\n"
        "        a = a + b0\n"
        "        a = np.maximum(a, 0)\n"
        "        a = a @ w1\n"
        "        a = a + b1\n"
        "        return a\n"
        "    except (AttributeError, ValueError):\n"
        "        validate(x)\n"
        "        raise\n"
    )


@pytest.mark.parametrize(
    ("activation", "line"),
    [
        ("relu", "np.maximum(a, 0)"),
        ("leaky_relu", "np.maximum(a, slope * a)"),
        ("sigmoid", "0.5 * np.tanh(0.5 * a) + 0.5"),
        ("tanh", "np.tanh(a)"),
        ("softmax", "softmax(a)"),
    ],
)
def test_an_activation_is_one_line(activation: str, line: str) -> None:
    """Each activation runs as the line one would write."""
    assert f"        a = {line}\n" in BaselineRunner(mlp(hidden=(), output_activation=activation)).source


@pytest.mark.parametrize("batch", [0, 1, 8, 200])
def test_the_output_is_that_of_plain_numpy(batch: int) -> None:
    """Bit for bit the output of the handwritten lines."""
    model = mlp(64, 256, 10)
    x = batch_of(batch, 64)
    assert np.array_equal(_by_hand(model)(x), BaselineRunner(model).run(x))


@pytest.mark.parametrize("activation", OUTPUT_ACTIVATIONS)
def test_every_activation_is_that_of_plain_numpy(activation: str) -> None:
    """Bit for bit the output of NumPy, for each activation."""
    model = mlp(8, (), 5, output_activation=activation)
    x = batch_of(9, 8)
    z = x @ model.layers[0].weight + model.layers[0].bias
    e = np.exp(z - z.max(axis=1, keepdims=True))
    expected = {
        "identity": z,
        "relu": np.maximum(z, 0),
        "leaky_relu": np.maximum(z, np.float32(LEAKY_SLOPE) * z),
        "sigmoid": 0.5 * np.tanh(0.5 * z) + 0.5,
        "tanh": np.tanh(z),
        "softmax": e / e.sum(axis=1, keepdims=True),
    }
    assert np.array_equal(expected[activation], BaselineRunner(model).run(x))


@given(st.data(), models())
def test_the_output_agrees_with_the_reference(data: st.DataObject, model: Model) -> None:
    """Whatever the model and the batch, the float64 reference agrees."""
    x = data.draw(batches(model.inputs, st.integers(0, 20)))
    check_result(model, x, BaselineRunner(model).run(x))


def test_every_call_returns_a_new_array() -> None:
    """An earlier result is the caller's: no later call changes it, and nothing of the runner's memory is in it."""
    runner, x = BaselineRunner(mlp()), batch_of(4, 64)
    first = runner.run(x)
    kept = first.copy()
    second = runner.run(x * 2)
    assert not np.shares_memory(first, second)
    assert np.array_equal(kept, first)
    assert first.flags.writeable


def test_the_input_is_left_alone() -> None:
    """The caller's array is read and never written, and may be read-only."""
    x = batch_of(4, 64)
    x.flags.writeable = False
    kept = x.copy()
    BaselineRunner(mlp()).run(x)
    assert np.array_equal(kept, x)


@pytest.mark.parametrize("dtype", ["float16", "float64", "longdouble", ">f4", ">f8"])
def test_other_floats_are_converted(dtype: str) -> None:
    """Any other float is converted to float32 first, and the result is float32."""
    x = batch_of(4, 64).astype(dtype)
    y = BaselineRunner(mlp()).run(x)
    assert y.dtype == np.float32
    assert np.array_equal(BaselineRunner(mlp()).run(x.astype(np.float32)), y)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.asfortranarray(batch_of(6, 64)), id="fortran"),
        pytest.param(batch_of(12, 64)[::2], id="every-other-row"),
        pytest.param(batch_of(6, 128)[:, ::-2], id="every-other-column-backwards"),
    ],
)
def test_any_layout_is_right(x: FloatArray) -> None:
    """The layout of the input does not matter."""
    check_result(mlp(), x, BaselineRunner(mlp()).run(x))


ODD_INPUTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "list": ([[0.0] * 64], ("x is a list", "NumPy array of shape (batch, 64)")),
    "none": (None, ("x is a NoneType",)),
    "number": (1.0, ("x is a float",)),
    "numpy-scalar": (np.float32(1), ("x is a float32", "NumPy array of shape (batch, 64)")),
    "narrow": (np.zeros((8, 63), np.float32), ("x has shape (8, 63)", "this model takes (batch, 64)")),
    "wide": (np.zeros((8, 65), np.float32), ("x has shape (8, 65)", "(batch, 64)")),
    "one-column": (np.zeros((8, 1), np.float32), ("x has shape (8, 1)", "(batch, 64)")),
    "one-row": (np.zeros(64, np.float32), ("x has shape (64,)", "(batch, 64)", "x[np.newaxis]")),
    "rank-0": (np.zeros((), np.float32), ("x has shape ()", "(batch, 64)")),
    "rank-3": (np.zeros((2, 8, 64), np.float32), ("x has shape (2, 8, 64)", "(batch, 64)")),
    "int": (np.zeros((8, 64), np.int64), ("x is int64", "float32", "x.astype(np.float32)")),
    "bool": (np.zeros((8, 64), np.bool_), ("x is bool", "x.astype(np.float32)")),
    "complex": (np.zeros((8, 64), np.complex64), ("x is complex64", "x.astype(np.float32)")),
    "object": (np.zeros((8, 64), object), ("x is object",)),
    "text": (np.zeros((8, 64), "U1"), ("x is <U1",)),
}  # fmt: skip


@pytest.mark.parametrize(("x", "parts"), ODD_INPUTS.values(), ids=ODD_INPUTS)
def test_an_input_that_does_not_fit_is_refused(x: Any, parts: tuple[str, ...]) -> None:  # whatever a caller may give
    """The error says what was found and what fits."""
    with pytest.raises(InputError) as caught:
        BaselineRunner(mlp()).run(x)
    assert not [part for part in parts if part not in str(caught.value)]


@pytest.mark.parametrize("op", ["tanh", "softmax", "relu"])
def test_a_wrong_width_is_refused_whatever_the_first_op(op: str) -> None:
    """A graph that starts with an op that takes any width still takes its own input alone."""
    graph = Graph({"x": 4}, {}, (Node(op, ("x",), "y", 4),), ("y",))
    with pytest.raises(InputError, match=r"x has shape \(2, 7\); this model takes \(batch, 4\)"):
        BaselineRunner(graph).run(np.ones((2, 7), np.float32))


def test_a_broken_graph_is_refused() -> None:
    """A graph is verified before anything is made of it."""
    with pytest.raises(GraphError, match="output: 'y'"):
        BaselineRunner(Graph({"x": 4}, {}, (), ("y",)))


@pytest.mark.parametrize(
    ("op", "constants", "expected"),
    [
        pytest.param("tanh", (), np.tanh(np.tanh(-1.0)), id="tanh-twice"),
        pytest.param("add", ("b",), 19.0, id="sum-twice"),
        pytest.param("leaky_relu", ("s",), -0.25, id="leaky-twice"),
    ],
)
def test_an_epilogue_may_repeat_an_op(op: str, constants: tuple[str, ...], expected: float) -> None:
    """A step of an epilogue works on the result of the step before, also where it is the same op with the same constants."""
    given_constants = {"w": frozen(np.eye(2)), "b": frozen([10.0, 10.0]), "s": frozen(0.5)}
    used = {name: given_constants[name] for name in ("w", *constants)}
    node = Node("matmul", ("x", "w"), "y", 2, epilogue=(Step(op, constants), Step(op, constants)))
    assert BaselineRunner(Graph({"x": 2}, used, (node,), ("y",))).run(-np.ones((1, 2), np.float32)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["x", "np", "lambda", "c0", "w0_rows", "w 0"])
def test_a_constant_that_code_cannot_name_is_refused(name: str) -> None:
    """Both runners are lowered to Python; a constant whose name cannot stand there is refused by name."""
    graph = Graph({"in": 2}, {name: frozen(np.eye(2))}, (Node("matmul", ("in", name), "v0", 2),), ("v0",))
    with pytest.raises(GraphError, match=f"the name '{name}' cannot be used in the generated code"):
        BaselineRunner(graph)


def test_names_of_values_do_not_hide_constants() -> None:
    """The letters of the generated code step aside for a constant that is called by one; values may be called anything."""
    weight = frozen(np.eye(2) * 3)
    nodes = (Node("matmul", ("in", "a"), "x", 2), Node("tanh", ("x",), "np", 2))
    graph = Graph({"in": 2}, {"a": weight}, nodes, ("np",))
    x = np.ones((1, 2), np.float32)
    assert np.array_equal(np.tanh(x @ weight), BaselineRunner(graph).run(x))


def test_a_value_that_is_read_twice_is_kept() -> None:
    """A result takes the name of the value it read only where that value dies."""
    nodes = (Node("tanh", ("x",), "a", 2), Node("relu", ("a",), "b", 2), Node("sigmoid", ("a",), "c", 2))
    x = batch_of(3, 2)
    expected = 0.5 * np.tanh(0.5 * np.tanh(x)) + 0.5
    assert np.array_equal(expected, BaselineRunner(Graph({"x": 2}, {}, nodes, ("c",))).run(x))


def test_threads_share_a_runner() -> None:
    """Any number of threads may call one runner at once; each gets its own result."""
    runner, gate = BaselineRunner(mlp()), threading.Barrier(4)
    inputs = [batch_of(16, 64, seed) for seed in range(4)]
    found: dict[int, list[FloatArray]] = {}

    def work(index: int) -> None:
        gate.wait(timeout=30)
        found[index] = [runner.run(inputs[index]) for _ in range(50)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for index, x in enumerate(inputs):
        expected = runner.run(x)
        assert all(np.array_equal(expected, y) for y in found[index])


def test_the_source_is_known_to_tracebacks_while_the_runner_lives() -> None:
    """`linecache` has the lines of a runner, and drops them with it."""
    gc.collect()
    before = set(linecache.cache)
    runner = BaselineRunner(mlp())
    (filename,) = set(linecache.cache) - before
    assert linecache.getline(filename, 5) == "        a = x @ w0\n"
    run = runner.run
    del runner
    gc.collect()
    assert filename in linecache.cache, "the function still lives"
    del run
    gc.collect()
    assert before >= set(linecache.cache)


# --- memory -------------------------------------------------------------------------------------------------------------

SHAPES = {"batch512-hidden256": (512, 64, 256, 10), "batch64-hidden1024": (64, 64, 1024, 10)}


def main() -> None:
    """Print what the runner and the handwritten lines allocate."""
    calls: dict[str, Callable[[], object]] = {}
    for name, (batch, inputs, hidden, outputs) in SHAPES.items():
        model, x = mlp(inputs, hidden, outputs), batch_of(batch, inputs)
        runner, hand = BaselineRunner(model), _by_hand(model)
        calls |= {f"{name}/runner": lambda run=runner.run, x=x: run(x), f"{name}/hand": lambda run=hand, x=x: run(x)}  # type: ignore[misc]
    deep, x = BaselineRunner(mlp(64, (256,) * 4, 10)), batch_of(512, 64)
    calls["deep/runner"] = lambda: deep.run(x)
    print_footprints(calls)


@pytest.fixture(scope="module")
def found() -> dict[str, Footprint]:
    """Return what every cell allocates; the program runs once for the module, and fails once."""
    pytest.importorskip("memray", reason="memray does not run on Windows")
    return run_as_program(__file__)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_runner_takes_the_memory_of_the_handwritten_lines(found: dict[str, Footprint], shape: str) -> None:
    """Peak, bytes and number of allocations are exactly those of the handwritten lines, and there are some."""
    assert found[f"{shape}/hand"] == found[f"{shape}/runner"]
    assert found[f"{shape}/runner"].allocations >= 3


@pytest.mark.parametrize("cell", ["batch512-hidden256", "deep"])
def test_what_is_dead_is_freed(found: dict[str, Footprint], cell: str) -> None:
    """The peak is two hidden activations, not three, whatever the depth; small buffers of NumPy's come on top."""
    activation = 512 * 256 * 4
    assert 2 * activation <= found[f"{cell}/runner"].peak_bytes < 2.5 * activation


if __name__ == "__main__":
    main()
