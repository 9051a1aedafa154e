"""Write the networks of the zoo as ONNX files, so that other runtimes can be measured on them.

    python scripts/export_zoo.py zoo                       # a file for each network
    python -m mlbench peers zoo/policy.onnx --only onnxruntime,openvino

Development only; it needs the package `onnx`. Each op of the zoo has a row in EXPORTS; one that an operator set of ONNX lacks is written
out in those that it has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mlbench.files import write_atomically
from mlbench.ir import Node
from mlbench.models.zoo import ZOO, load_zoo

OPSET = 20
"""The first one with Gelu; runtimes read it since 2024."""

Export = Callable[[Node], list[NodeProto]]


def _as(kind: str, **attributes: object) -> Export:
    def export(node: Node) -> list[NodeProto]:
        return [helper.make_node(kind, list(node.inputs), [node.output], **attributes)]

    return export


def _layer_norm(node: Node) -> list[NodeProto]:
    value, scale, shift, _ = node.inputs
    return [helper.make_node("LayerNormalization", [value, scale, shift], [node.output], axis=-1, epsilon=1e-5)]


def _rms_norm(node: Node) -> list[NodeProto]:
    value, scale, epsilon = node.inputs
    name = node.output
    return [
        helper.make_node("Mul", [value, value], [f"{name}_square"]),
        helper.make_node("ReduceMean", [f"{name}_square", "last_axis"], [f"{name}_mean"], keepdims=1),
        helper.make_node("Add", [f"{name}_mean", epsilon], [f"{name}_shifted"]),
        helper.make_node("Sqrt", [f"{name}_shifted"], [f"{name}_root"]),
        helper.make_node("Div", [value, f"{name}_root"], [f"{name}_unit"]),
        helper.make_node("Mul", [f"{name}_unit", scale], [name]),
    ]


def _silu(node: Node) -> list[NodeProto]:
    (value,) = node.inputs
    gate = f"{node.output}_gate"
    return [helper.make_node("Sigmoid", [value], [gate]), helper.make_node("Mul", [value, gate], [node.output])]


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


def exported(name: str) -> onnx.ModelProto:
    """Return a network of the zoo as a model of ONNX, with the batch as a symbol."""
    network = load_zoo(name)
    graph = network.graph()
    outputs = dict(zip(graph.outputs, network.output_names, strict=True))
    nodes = [each for node in graph.nodes for each in EXPORTS[node.op](node)]
    nodes += [helper.make_node("Identity", [value], [known]) for value, known in outputs.items()]
    constants = {**graph.constants, "last_axis": np.array([-1], np.int64)}
    used = {each for node in nodes for each in node.input}
    body = helper.make_graph(
        nodes,
        name,
        [_matrix(known, columns) for known, columns in network.inputs.items()],
        [_matrix(known, columns) for known, columns in network.outputs.items()],
        [numpy_helper.from_array(np.array(array), known) for known, array in constants.items() if known in used],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def _matrix(name: str, columns: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])


def main(arguments: list[str] | None = None) -> int:
    """Write the files and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the files go; it is made if need be")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ZOO:
        print(write_atomically(folder / f"{name}.onnx", exported(name).SerializeToString()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
