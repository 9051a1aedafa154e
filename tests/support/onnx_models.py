"""ONNX models for tests, built node by node, and what `onnx.reference` makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]
OPSET = 21
BATCH = "batch"


def node(op: str, inputs: str, outputs: str = "y", *, domain: str = "", name: str = "", **attributes: Any) -> NodeProto:
    """Return a node; the names are separated by blanks, and "-" is an input that is left out."""
    return helper.make_node(op, [each.strip("-") for each in inputs.split()], outputs.split(), name=name, domain=domain, **attributes)


def tensor_info(name: str, shape: Sequence[int | str | None] | None, kind: int = TensorProto.FLOAT) -> Any:
    """Return the declaration of a tensor."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, int | Sequence[int | str | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    *,
    opset: int = OPSET,
    ml: int = 3,
    name: str = "brought",
    functions: Sequence[FunctionProto] = (),
    kind: int = TensorProto.FLOAT,
) -> ModelProto:
    """Return a model; an input of n columns is (batch, n), of the type `kind`, and outputs declare what the package infers."""
    shapes = {"x": 3} if inputs is None else inputs
    infos = [tensor_info(key, (BATCH, shape) if isinstance(shape, int) else shape, kind) for key, shape in shapes.items()]
    graph = helper.make_graph(
        list(nodes),
        name,
        infos,
        [ValueInfoProto(name=each) for each in outputs],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in (constants or {}).items()],
    )
    versions = {each.domain: 1 for each in (*functions, *nodes)} | {"": opset, "ai.onnx.ml": ml}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    proto = helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=10)
    inferred = {each.name: each for each in (proto if functions else shape_inference.infer_shapes(proto)).graph.output}
    del proto.graph.output[:]
    for each in outputs:
        found = inferred[each].type.tensor_type
        proto.graph.output.append(inferred[each] if found.HasField("shape") else tensor_info(each, (None, None), found.elem_type or 1))
    return proto


def floats(shape: Sequence[int], seed: int = 0, low: float = -2, high: float = 2) -> npt.NDArray[np.float32]:
    """Return seeded numbers."""
    return np.random.default_rng(seed).uniform(low, high, tuple(shape)).astype(np.float32)


def expected(proto: ModelProto, **inputs: Array) -> list[Array]:
    """Return the outputs that `onnx.reference` computes."""
    with np.errstate(all="ignore"):
        return [np.asarray(each) for each in ReferenceEvaluator(proto).run(None, inputs)]


def perceptron(hidden: int = 8, *, seed: int = 0) -> ModelProto:
    """Return Gemm, Relu, Gemm, Softmax of 4 inputs and 3 outputs."""
    return model(
        [node("Gemm", "x w0 b0", "h"), node("Relu", "h", "a"), node("Gemm", "a w1 b1", "s", name="head"), node("Softmax", "s")],
        {"x": 4},
        {
            "w0": floats((4, hidden), seed),
            "b0": floats((hidden,), seed + 1),
            "w1": floats((hidden, 3), seed + 2),
            "b1": floats((3,), seed + 3),
        },
    )
