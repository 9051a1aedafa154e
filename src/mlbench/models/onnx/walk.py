"""From checked nodes to a network: each node is judged, and what cannot run is refused in one error before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from mlbench.errors import FileError, ModelError
from mlbench.models.network import Network
from mlbench.models.onnx.fold import FOLDS, fold, shape_of, size_of
from mlbench.models.onnx.kinds import EXACT, FLOAT, RANGES, Kind, exact, kind_after, kind_of, kind_of_array
from mlbench.models.onnx.table import ML_RULES, NEWEST, NEWEST_ML, RULES, TAKES_ALL_KINDS, WHY_NOT, Rule
from mlbench.models.onnx.tensors import Store
from mlbench.models.onnx.values import Call, Constant, Found, Known, RefusedError, Value, Writer

_MOST_LISTED = 20
_ML = "ai.onnx.ml"
_CONSTANT_OPS = {"Constant", "Shape", "Size", *FOLDS}
_SHAPES: dict[str, Callable[[Call], Constant]] = {"Shape": shape_of, "Size": size_of}


@dataclass(slots=True)
class _Walk:
    """What is known on the way.

    Attributes:
        found: name of a tensor to what is known of it; None where its node was refused, or it is left out.
        refused: what was refused, in the words of the error.
        fine: ops that could be written everywhere so far.
    """

    writer: Writer
    store: Store
    versions: Mapping[str, int]
    tensors: Mapping[str, TensorProto]
    found: dict[str, Found] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    fine: dict[str, bool] = field(default_factory=dict)


def network_of(model: ModelProto, checked: ModelProto, name: str, outputs: Sequence[str], store: Store) -> Network:
    """Return the network that a model is.

    Args:
        model: as it was read, with its weights.
        checked: the nodes that the outputs need.
        name: of the network.
        outputs: names of the tensors that it returns.
        store: reads the weights.

    Raises:
        ModelError: which lists every node that cannot run.
        FileError: where a tensor is damaged.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    read = {each for node in checked.graph.node for each in node.input} | set(outputs)
    inputs = [each for each in model.graph.input if each.name not in tensors and each.name in read]
    rows, wrong = _batch(inputs)
    versions = {_domain(each.domain): each.version for each in checked.opset_import}
    walk = _Walk(Writer(rows, store.most_bytes), store, versions, tensors, refused=wrong)
    for each in inputs:
        _add_input(walk, each)
    users = {each for node in checked.graph.node for each in node.input} | set(outputs)
    for position, node in enumerate(checked.graph.node):
        _add_node(walk, node, position, users)
    values = _results(walk, outputs)
    if walk.refused:
        raise ModelError(_refusal(walk, name, outputs))
    if not walk.writer.inputs:
        raise ModelError(f"{name!r}: no output depends on an input; expected a network with inputs")
    kinds = [value.kind if isinstance(value := walk.found.get(each.name), Value) else FLOAT for each in inputs]
    return Network(
        name,
        walk.writer.graph(values),
        tuple(each.name for each in inputs),
        tuple(outputs),
        rows,
        tuple(kind.dtype for kind in kinds),
        tuple(value.kind.dtype for value in values),
        {each: value.kind.labels for each, value in zip(outputs, values, strict=True) if value.kind.labels},
    )


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _batch(inputs: Sequence[ValueInfoProto]) -> tuple[int | None, list[str]]:
    """Return the batch that all inputs have, None for any, and what is wrong about it."""
    lengths = {}
    for each in inputs:
        dims = each.type.tensor_type.shape.dim
        if len(dims) == 2 or (len(dims) == 1 and not dims[0].HasField("dim_value")):
            lengths[each.name] = dims[0].dim_value if dims[0].HasField("dim_value") else None
    if len(set(lengths.values())) > 1:
        shown = ", ".join(
            f"{name!r} has {'any number of' if rows is None else rows} row{'s' * (rows != 1)}" for name, rows in lengths.items()
        )
        return None, [f"the inputs: {shown}; expected the same number of rows in all of them"]
    return next(iter(lengths.values()), None), []


def _add_input(walk: _Walk, info: ValueInfoProto) -> None:
    kind, where = info.type.tensor_type, f"the input {info.name!r}"
    walk.found[info.name] = None
    lengths = [dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?") for dim in kind.shape.dim]
    shown = f"({', '.join(map(str, lengths))})"
    if not info.type.HasField("tensor_type"):
        walk.refused.append(f"{where} is no tensor; expected a float32 tensor (rows, columns)")
    elif (held := _kind(kind.elem_type)) is None:
        names = {number: text.lower() for text, number in TensorProto.DataType.items()}
        found = names.get(kind.elem_type, "of an unknown type")
        walk.refused.append(f"{where} is {found}; expected float32, in which every value is computed, whole numbers or truth")
    elif not kind.HasField("shape"):
        walk.refused.append(f"{where} has no shape; expected (rows, columns)")
    elif len(lengths) != 2 and (len(lengths) != 1 or isinstance(lengths[0], int)):
        walk.refused.append(f"{where} has the shape {shown}; expected two axes (rows, columns), or one of any length (rows)")
    elif not all(isinstance(each, int) and each >= 1 for each in lengths[1:]) or lengths[0] == 0:
        walk.refused.append(f"{where} has the shape {shown}; expected a known number of columns, and any or a known number of rows")
    else:
        try:
            walk.found[info.name] = walk.writer.input(tuple(each for each in lengths[1:] if isinstance(each, int)), held)
        except RefusedError as error:
            walk.refused.append(f"{where}: {error}")


def _kind(number: int) -> Kind | None:
    """Return the kind of an input of a type of ONNX; None where float32 does not hold it."""
    try:
        return kind_of(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)).name)
    except KeyError:
        return None


def _look_up(walk: _Walk, name: str) -> Found:
    """Return what is known of a tensor; an initializer is read when a node needs it."""
    if name not in walk.found and name in walk.tensors:
        walk.found[name] = Constant(walk.store.array(walk.tensors[name]))
    return walk.found.get(name)


def _add_node(walk: _Walk, node: NodeProto, position: int, users: set[str]) -> None:
    """Write a node, or list why it cannot be; one that reads what was refused is judged by its op alone."""
    label = f"{node.domain}.{node.op_type}" if _domain(node.domain) else str(node.op_type)
    called = f"{label}, node {node.name!r}" if node.name else f"{label}, node without a name, number {position}"
    try:
        rule, version = _rule(walk, node)
        inputs = [_look_up(walk, name) if name else None for name in node.input]
        if any(name and found is None for name, found in zip(node.input, inputs, strict=True)):
            results: Sequence[Found] = ()
        else:
            call = Call(
                node.op_type,
                version,
                tuple(inputs),
                _attributes(walk, node),
                tuple(name in users and name != "" for name in node.output),
                walk.writer,
            )
            results = _written(call, rule)
        walk.fine.setdefault(label, True)
    except RefusedError as error:
        results = ()
        walk.fine[label] = False
        walk.refused.append(f"{called}: {error}")
    for index, name in enumerate(node.output):
        if name:
            walk.found[name] = results[index] if index < len(results) else None


def _written(call: Call, rule: Rule | None) -> Sequence[Found]:
    if call.op == "Constant":
        return [_literal(call)]
    if call.op in _SHAPES:
        return [_SHAPES[call.op](call)]
    if (
        rule is None
        or not any(isinstance(each, Value) for each in call.inputs)
        or (call.op == "CastLike" and isinstance(call.input(0), Constant))
    ):
        return [fold(call)]
    if any(isinstance(each, Value) and each.is_stacked for each in call.inputs):
        raise RefusedError("it reads several rows made of each row; expected a shape that keeps the rows")
    kinds = [each.kind for each in call.inputs if isinstance(each, Value)]
    if call.op not in TAKES_ALL_KINDS and any(not kind.is_float for kind in kinds):
        return [_of_whole_numbers(call, rule, kinds)]
    found = rule(call)
    return found if isinstance(found, Sequence) else [found]


def _of_whole_numbers(call: Call, rule: Rule, kinds: Sequence[Kind]) -> Value:
    """Write an op that computes with whole numbers, as far as float32 holds them exactly."""
    if call.op not in RANGES:
        odd = next(kind.dtype for kind in kinds if not kind.is_float)
        raise RefusedError(f"it computes with {odd}; of whole numbers the graph computes {', '.join(sorted(RANGES))}")
    inputs = tuple(Constant(exact(each.array)) if isinstance(each, Constant) else each for each in call.inputs)
    after = [each.kind if isinstance(each, Value) else None if each is None else kind_of_array(each.array) for each in call.inputs]
    found = rule(replace(call, inputs=inputs))
    if not isinstance(found, Value):
        raise RefusedError("it makes several tensors of whole numbers; expected one")
    return replace(found, kind=kind_after(call.op, after))


def _rule(walk: _Walk, node: NodeProto) -> tuple[Rule | None, int]:
    """Return the row of the table, None for ops of constants alone, and the version since which the op is what it is."""
    domain = _domain(node.domain)
    rules, newest = {"": (RULES, NEWEST), _ML: (ML_RULES, NEWEST_ML)}.get(domain, ({}, 0))
    if domain not in {"", _ML}:
        raise RefusedError(f"it belongs to the operators of {domain!r}; expected those of ai.onnx and ai.onnx.ml")
    if node.op_type not in rules and (domain or node.op_type not in _CONSTANT_OPS):
        raise RefusedError(WHY_NOT.get(node.op_type, "the graph has no such op"))
    try:
        schema = onnx.defs.get_schema(node.op_type, walk.versions.get(domain, 1), domain)
    except onnx.defs.SchemaError as error:
        raise RefusedError(f"version {walk.versions.get(domain, 1)} of its operators does not have it") from error
    if schema.since_version > newest:
        raise RefusedError(f"it changed in version {schema.since_version} of its operators; known are those up to {newest}")
    return rules.get(node.op_type), int(schema.since_version)


def _attributes(walk: _Walk, node: NodeProto) -> dict[str, Any]:
    schema = onnx.defs.get_schema(node.op_type, walk.versions.get(_domain(node.domain), 1), _domain(node.domain))
    found = {name: _attribute(walk, each.default_value) for name, each in schema.attributes.items() if each.default_value.name}
    found |= {each.name: _attribute(walk, each) for each in node.attribute}
    return found


def _attribute(walk: _Walk, attribute: AttributeProto) -> Any:
    if attribute.ref_attr_name:
        raise RefusedError(f"its attribute {attribute.name!r} is one of a function around it, which it does not have")
    if attribute.type == AttributeProto.TENSOR:
        return walk.store.array(attribute.t)
    if attribute.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS}:
        raise RefusedError(f"its attribute {attribute.name!r} is a body or a sparse tensor")
    try:
        found = onnx.helper.get_attribute_value(attribute)
        decoded = [each.decode() for each in found] if attribute.type == AttributeProto.STRINGS else found
        return found.decode() if attribute.type == AttributeProto.STRING else decoded
    except (ValueError, TypeError) as error:
        raise FileError(f"node attribute {attribute.name!r} is damaged ({error})") from error


def _literal(call: Call) -> Constant:
    """Return what a Constant holds."""
    for name, kind in (("value", None), ("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        if name in call.attributes:
            return Constant(np.asarray(call.attributes[name], kind))
    raise RefusedError("it holds text or a sparse tensor; expected numbers")


def _results(walk: _Walk, outputs: Sequence[str]) -> list[Value]:
    """Return the value of each output; one that is an input, or another output as well, is copied."""
    values: list[Value] = []
    for name in outputs:
        found: Known | None = _look_up(walk, name)
        if isinstance(found, Constant):
            walk.refused.append(f"the output {name!r} is a constant; expected a value that depends on the inputs")
        elif isinstance(found, Value) and not found.kind.is_exact:
            walk.refused.append(f"the output {name!r} may be a whole number above {EXACT:,}, which float32 does not hold exactly")
        elif found is not None:
            taken = {value.name for value in values} | set(walk.writer.inputs)
            if found.name in taken:
                found = walk.writer.emit("slice", [found], attributes=(0, found.columns), kind=found.kind)
            values.append(found)
    return values


def _refusal(walk: _Walk, name: str, outputs: Sequence[str]) -> str:
    """Return the whole error: what was refused, which ops are fine, and which outputs could be had without."""
    lines = [f"  {line}" for line in walk.refused[:_MOST_LISTED]]
    if len(walk.refused) > _MOST_LISTED:
        lines.append(f"  and {len(walk.refused) - _MOST_LISTED} more")
    fine = sorted(op for op, is_fine in walk.fine.items() if is_fine)
    lines.append(f"  the other ops of this model are fine: {', '.join(fine)}" if fine else "  no op of this model is fine")
    good = [each for each in outputs if isinstance(walk.found.get(each), Value)]
    if good:
        lines.append(f"  outputs={good!r} leaves out what cannot run")
    return "\n".join([f"{name!r} cannot run:", *lines])
