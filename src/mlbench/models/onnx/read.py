"""The bytes of a model, checked by the `onnx` package, with its local functions written out.

The package checks the file and infers shapes in C++, on a copy without weights: that costs no memory, and no other file is opened for it.
What it does not guard against is checked before: functions that call themselves or make millions of nodes, and sizes. Its data propagation
stays off, because that makes the numbers of a Range however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx
import onnx.checker
import onnx.inliner
import onnx.shape_inference
from google.protobuf.message import DecodeError, EncodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from mlbench.errors import FileError, ModelError
from mlbench.units import format_bytes

_MOST_NODES = 100_000
_SMALL = 64
"""Numbers of a tensor that shape inference may want to see; shapes have fewer."""
_DAMAGE = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    DecodeError,
    EncodeError,
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
)
"""What the package raises for files that are none."""


def parse(model: bytes | ModelProto, most_bytes: int) -> ModelProto:
    """Return the message that bytes are.

    Raises:
        FileError: where they are none, or more than allowed.
        ModelError: where `model` is neither bytes nor a message.
    """
    if isinstance(model, ModelProto):
        size = model.ByteSize()
    elif isinstance(model, (bytes, bytearray, memoryview)):
        size = len(model)
    else:
        raise ModelError(f"from_onnx got a {type(model).__name__}; expected bytes or an onnx.ModelProto; mlbench.load reads a file")
    if size > most_bytes:
        raise FileError(f"the model has {format_bytes(size)}; allowed are {format_bytes(most_bytes)}; a larger most_bytes allows it")
    if isinstance(model, ModelProto):
        return model
    try:
        found = ModelProto.FromString(bytes(model))
    except DecodeError as error:
        raise FileError(f"damaged, truncated or no ONNX model ({error})") from error
    if not found.HasField("graph") or not found.graph.node:
        raise FileError("damaged, truncated or no ONNX model (it has no nodes)")
    return found


def checked(model: ModelProto, outputs: Sequence[str]) -> ModelProto:
    """Return the nodes that some outputs need, with local functions written out and without large tensors.

    Raises:
        FileError: where the file breaks a rule of ONNX.
        ModelError: where it has more nodes than are read.
    """
    small = _without_weights(model, needed(model.graph.node, outputs), outputs)
    total = _written_out(small)
    if total > _MOST_NODES:
        raise ModelError(f"the model has {total:,} nodes with its functions written out; expected {_MOST_NODES:,} at most")
    _check_versions(small)
    try:
        onnx.checker.check_model(small.SerializeToString())
        if small.functions:
            small = onnx.inliner.inline_local_functions(small)
            nodes = needed(small.graph.node, outputs)
            del small.graph.node[:]
            small.graph.node.extend(nodes)
        onnx.shape_inference.infer_shapes(_without_output_shapes(small).SerializeToString(), check_type=True, strict_mode=True)
    except _DAMAGE as error:
        raise FileError(f"the model breaks a rule of ONNX: {_one_line(error)}") from error
    return small


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def needed(nodes: Iterable[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Return the nodes that some tensors are computed by, in the order of the file."""
    listed = list(nodes)
    makers: dict[str, list[int]] = {}
    for index, node in enumerate(listed):
        for name in node.output:
            makers.setdefault(name, []).append(index)
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        for index in makers.pop(waiting.pop(), ()):
            if index not in found:
                found.add(index)
                waiting.extend(_read_by(listed[index]))
    return [listed[index] for index in sorted(found)]


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _read_by(node: NodeProto) -> Iterator[str]:
    """Give the tensors that a node reads, and those that its bodies read from around it."""
    yield from (name for name in node.input if name)
    for body in _bodies(node):
        for inner in body.node:
            yield from _read_by(inner)
        yield from (each.name for each in body.output)


def _without_weights(model: ModelProto, nodes: Sequence[NodeProto], outputs: Sequence[str]) -> ModelProto:
    """Return a model of some nodes in which large initializers are inputs of the same type and shape."""
    graph = model.graph
    wanted = {name for node in nodes for name in _read_by(node)}
    inputs = [each for each in graph.input if each.name in wanted]
    listed = {each.name for each in inputs}
    small = []
    for tensor in graph.initializer:
        if tensor.name not in wanted:
            continue
        if tensor.data_location != TensorProto.EXTERNAL and _count(tensor) <= _SMALL:
            small.append(tensor)
        elif tensor.name not in listed:
            inputs.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    if graph.sparse_initializer:
        raise ModelError("the model has sparse initializers; expected dense ones")
    kept = {each.name: each for each in graph.output}
    body = GraphProto(name=graph.name or "graph", node=nodes, input=inputs, initializer=small)
    body.output.extend(ValueInfoProto(name=name) if name not in kept else kept[name] for name in outputs)
    version = max(model.ir_version, 4) if model.ir_version else 0  # before 4, initializers were inputs too, which not every file keeps to
    return ModelProto(ir_version=version, graph=body, opset_import=model.opset_import, functions=model.functions)


def _without_output_shapes(model: ModelProto) -> ModelProto:
    """Return a model whose outputs declare no shape, because exporters get it wrong and nothing here depends on it."""
    found = ModelProto()
    found.CopyFrom(model)
    for each in found.graph.output:
        if each.type.HasField("tensor_type"):
            each.type.tensor_type.ClearField("shape")
    return found


def _count(tensor: TensorProto) -> int:
    count = 1
    for length in tensor.dims:
        count *= length
    return count if tensor.dims else 1


def _written_out(model: ModelProto) -> int:
    """Return how many nodes there are once each local function is written out where it is called.

    Raises:
        FileError: where a function calls itself.
    """
    functions = {(each.domain, each.name, each.overload): each for each in model.functions}
    totals: dict[tuple[str, str, str], int] = {}
    under_way: set[tuple[str, str, str]] = set()

    def total(nodes: Iterable[NodeProto]) -> int:
        count = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key not in functions:
                count += 1 + sum(total(body.node) for body in _bodies(node))
                continue
            if key in under_way or len(under_way) > 100:
                raise FileError(f"the model breaks a rule of ONNX: its function {node.op_type!r} calls itself")
            if key not in totals:
                under_way.add(key)
                totals[key] = total(functions[key].node)
                under_way.remove(key)
            count += totals[key]
        return count

    return max(total(model.graph.node), sum(1 for function in model.functions for _ in function.node))


def _check_versions(model: ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    for each in model.opset_import:
        if each.domain in {"", "ai.onnx"} and not 1 <= each.version <= newest:
            raise FileError(f"the model uses version {each.version} of the ONNX operators; the installed onnx package knows 1 to {newest}")
