"""Whole ONNX models as networks: what they are called, their batch, their functions, and both runners on them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper

from mlbench.ir import interpret
from mlbench.models.network import Network
from mlbench.models.onnx import from_onnx
from mlbench.runtime import BaselineRunner, OptimizedRunner
from support.onnx_models import expected, floats, model, node, perceptron

GELU = [
    node("Div", "h root", "h1"),
    node("Erf", "h1", "h2"),
    node("Add", "h2 one", "h3"),
    node("Mul", "h h3", "h4"),
    node("Mul", "h4 half", "g"),
]


def residual() -> ModelProto:
    """Return x + W2 gelu(W1 layer_norm(x)), with GELU written out."""
    nodes = [
        node("LayerNormalization", "x s b", "n"),
        node("Gemm", "n w1 b1", "h"),
        *GELU,
        node("Gemm", "g w2 b2", "o"),
        node("Add", "x o"),
    ]
    constants = {
        "s": floats((6,), 1),
        "b": floats((6,), 2),
        "w1": floats((6, 12), 3),
        "b1": floats((12,), 4),
        "w2": floats((12, 6), 5),
        "b2": floats((6,), 6),
        "root": np.float32(2**0.5),
        "one": np.float32(1),
        "half": np.float32(0.5),
    }
    return model(nodes, {"x": 6}, constants)


def gated() -> ModelProto:
    """Return (silu(x W1) * x W2) W3, the silu as x * sigmoid(x)."""
    nodes = [
        node("MatMul", "x w1", "a"),
        node("Sigmoid", "a", "sa"),
        node("Mul", "a sa", "silu"),
        node("MatMul", "x w2", "b"),
        node("Mul", "silu b", "h"),
        node("MatMul", "h w3"),
    ]
    return model(nodes, {"x": 6}, {"w1": floats((6, 9), 1), "w2": floats((6, 9), 2), "w3": floats((9, 4), 3)})


def policy() -> ModelProto:
    """Return a body with two heads: probabilities, and a value of one axis."""
    nodes = [
        node("Gemm", "x w b", "h"),
        node("Tanh", "h", "t"),
        node("Gemm", "t wp bp", "logits"),
        node("Softmax", "logits", "probabilities"),
        node("Gemm", "t wv bv", "v"),
        node("Squeeze", "v one", "value"),
    ]
    constants = {"w": floats((5, 8), 1), "b": floats((8,), 2), "wp": floats((8, 3), 3), "bp": floats((3,), 4), "one": np.array([1])}
    constants |= {"wv": floats((8, 1), 5), "bv": floats((1,), 6)}
    return model(nodes, {"x": 5}, constants, ("probabilities", "value"))


def skipping() -> ModelProto:
    """Return an MLP that reads its two inputs again behind the first layer."""
    nodes = [
        node("Concat", "x z", "both", axis=1),
        node("Gemm", "both w b", "h"),
        node("Relu", "h", "r"),
        node("Concat", "r both", "skip", axis=1),
        node("MatMul", "skip v"),
    ]
    return model(nodes, {"x": 3, "z": 2}, {"w": floats((5, 8), 1), "b": floats((8,), 2), "v": floats((13, 2), 3)})


WHOLE = {"perceptron": perceptron, "residual": residual, "gated": gated, "policy": policy, "skipping": skipping}


@pytest.mark.parametrize("name", WHOLE)
def test_the_reference_and_both_runners_agree_with_onnx(name: str) -> None:
    """The float64 reference, the eager and the compiled runner compute what `onnx.reference` does, in the file's order."""
    proto = WHOLE[name]()
    network = from_onnx(proto)
    xs = {each: floats((7, columns), 3) for each, columns in network.inputs.items()}
    wanted = expected(proto, **xs)
    eager, compiled = BaselineRunner(network).run(xs), OptimizedRunner(network, max_batch=7).run(xs)
    for found in (interpret(network.graph(), list(xs.values())), eager, compiled):
        results = found if isinstance(found, tuple) else (found,)
        for result, right in zip(results, wanted, strict=True):
            np.testing.assert_allclose(result.reshape(right.shape), right, rtol=2e-5, atol=2e-5)


def test_names_of_the_file() -> None:
    """Inputs and outputs keep their names and their order, and the graph calls the network something."""
    network = from_onnx(policy())
    assert (network.name, network.inputs, network.outputs) == ("brought", {"x": 5}, {"probabilities": 3, "value": 1})
    assert from_onnx(policy(), "mine").name == "mine"


def test_outputs_in_the_order_that_was_asked_for() -> None:
    """They need not be in the file's order."""
    assert list(from_onnx(policy(), outputs=["value", "probabilities"]).outputs) == ["value", "probabilities"]


def test_a_fixed_batch() -> None:
    """It is the only one that the network runs at, and shapes may have it as a number."""
    nodes = [node("Reshape", "x t", "f"), node("MatMul", "f w")]
    network = from_onnx(model(nodes, {"x": (4, 3)}, {"t": np.array([4, 3]), "w": floats((3, 2))}))
    assert network.batch == 4
    assert from_onnx(perceptron()).batch is None


def test_local_functions_are_written_out() -> None:
    """A function of the file is the nodes that it is made of."""
    body = [node("Neg", "a", "n"), node("Exp", "n", "b")]
    function = helper.make_function("com.example", "F", ["a"], ["b"], body, [helper.make_opsetid("", 21)])
    network = from_onnx(model([node("F", "x", "h", domain="com.example"), node("F", "h", domain="com.example")], functions=[function]))
    assert [each.op for each in network.program.nodes] == ["neg", "exp", "neg", "exp"]


def test_initializers_that_are_listed_as_inputs() -> None:
    """They are constants, as in files of the third version of the format and before; listed or not."""
    proto = perceptron()
    proto.ir_version = 3
    assert from_onnx(proto).inputs == {"x": 4}
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    assert from_onnx(proto).inputs == {"x": 4}


def test_an_output_that_is_an_input_or_another_output() -> None:
    """It is a copy."""
    network = from_onnx(model([node("Identity", "x", "y"), node("Neg", "x", "n"), node("Identity", "n", "m")], outputs=("y", "n", "m")))
    x = floats((2, 3))
    found = interpret(network.graph(), [x])
    for result, right in zip(found, (x, -x, -x), strict=True):
        assert np.array_equal(result, right)


def test_a_weight_of_two_nodes_is_there_once() -> None:
    """Nodes that read the same numbers share a constant."""
    network = from_onnx(model([node("MatMul", "x w", "h"), node("MatMul", "h w")], constants={"w": floats((3, 3))}))
    assert network.parameter_bytes == 4 * 9


def test_a_network_is_saved_and_read(tmp_path: object) -> None:
    """What came from ONNX goes to our own file and back."""
    network = from_onnx(residual())
    other = Network.load(network.save(f"{tmp_path}/network.npz"))
    x = floats((2, 6))
    assert np.array_equal(interpret(network.graph(), [x])[0], interpret(other.graph(), [x])[0])
