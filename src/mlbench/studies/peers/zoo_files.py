"""The networks of the zoo as ONNX files, which is how other runtimes get them.

Each op of the zoo has a row in EXPORTS; one that an operator set of ONNX lacks is written out in those that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlbench.ir import Node
from mlbench.models.zoo import load_zoo

OPSET, IR_VERSION = 20, 9
"""The first ones with Gelu; runtimes read them since 2024."""

Export = Callable[[Node], list[Any]]  # onnx.NodeProto


def _make(kind: str, inputs: list[str], output: str, **attributes: object) -> Any:  # onnx.NodeProto
    from onnx import helper  # noqa: PLC0415  # only where a runtime that reads such files is measured

    return helper.make_node(kind, inputs, [output], **attributes)


def _as(kind: str, **attributes: object) -> Export:
    return lambda node: [_make(kind, list(node.inputs), node.output, **attributes)]


def _layer_norm(node: Node) -> list[Any]:
    value, scale, shift, _ = node.inputs
    return [_make("LayerNormalization", [value, scale, shift], node.output, axis=-1, epsilon=1e-5)]


def _rms_norm(node: Node) -> list[Any]:
    value, scale, epsilon = node.inputs
    name = node.output
    return [
        _make("Mul", [value, value], f"{name}_square"),
        _make("ReduceMean", [f"{name}_square", "last_axis"], f"{name}_mean", keepdims=1),
        _make("Add", [f"{name}_mean", epsilon], f"{name}_shifted"),
        _make("Sqrt", [f"{name}_shifted"], f"{name}_root"),
        _make("Div", [value, f"{name}_root"], f"{name}_unit"),
        _make("Mul", [f"{name}_unit", scale], name),
    ]


def _silu(node: Node) -> list[Any]:
    (value,) = node.inputs
    gate = f"{node.output}_gate"
    return [_make("Sigmoid", [value], gate), _make("Mul", [value, gate], node.output)]


EXPORTS: dict[str, Export] = {
    "add": _as("Add"),
    "add_values": _as("Add"),
    "concat": _as("Concat", axis=1),
    "gelu": _as("Gelu"),
    "layer_norm": _layer_norm,
    "matmul": _as("MatMul"),
    "multiply": _as("Mul"),
    "multiply_values": _as("Mul"),
    "relu": _as("Relu"),
    "rms_norm": _rms_norm,
    "sigmoid": _as("Sigmoid"),
    "silu": _silu,
    "softmax": _as("Softmax", axis=-1),
    "tanh": _as("Tanh"),
}


def zoo_bytes(name: str) -> bytes:
    """Return a network of the zoo as an ONNX file, with the batch as a symbol."""
    import onnx  # noqa: PLC0415  # as above
    from onnx import helper, numpy_helper  # noqa: PLC0415  # as above

    network = load_zoo(name)
    graph = network.graph()
    outputs = dict(zip(graph.outputs, network.output_names, strict=True))
    nodes = [each for node in graph.nodes for each in EXPORTS[node.op](node)]
    nodes += [_make("Identity", [value], known) for value, known in outputs.items()]
    constants = {**graph.constants, "last_axis": np.array([-1], np.int64)}
    used = {each for node in nodes for each in node.input}
    body = helper.make_graph(
        nodes,
        name,
        [_matrix(known, columns) for known, columns in network.inputs.items()],
        [_matrix(known, columns) for known, columns in network.outputs.items()],
        [numpy_helper.from_array(np.array(array), known) for known, array in constants.items() if known in used],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _matrix(name: str, columns: int) -> Any:  # onnx.ValueInfoProto
    from onnx import TensorProto, helper  # noqa: PLC0415  # as above

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])
