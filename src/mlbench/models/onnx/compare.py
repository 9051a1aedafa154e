"""Ops of a file that ask and choose: comparisons, logic, Where, and Cast, which makes truth or whole numbers of numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from mlbench.models.onnx.elementwise import BINARIES, Binary, aligned, broadcast, combine
from mlbench.models.onnx.kinds import EXACT, FLOAT, TEXT, TRUTH, Kind, exact, holds, joined, kind_of, kind_of_array
from mlbench.models.onnx.values import Array, Call, Constant, Known, RefusedError, Value, Writer

COMPARISONS = {
    "Equal": Binary("equal_values", "equal", "equal"),
    "Greater": Binary("less_values", "greater", "less", is_swapped=True),
    "GreaterOrEqual": Binary("less_equal_values", "greater_equal", "less_equal", is_swapped=True),
    "Less": Binary("less_values", "less", "greater"),
    "LessOrEqual": Binary("less_equal_values", "less_equal", "greater_equal"),
}
_SOFTPLUS_IS_EQUAL = 16.0
"""From here on log(1 + exp(x)) is x in float32: they differ by exp(-x), which is below half a unit in the last place."""


def numbers(found: Known, *, moved: bool = False) -> Known:
    """Return an input whose numbers are computed with: whole ones are numbers as well, text is not.

    Args:
        found: the input.
        moved: whether they stay what they are, so that a look-up behind may refuse those that were rounded.

    Raises:
        RefusedError: where it is text, or float32 does not hold its numbers.
    """
    if isinstance(found, Value):
        return number(found, moved=moved)
    if found.array.dtype == object:
        raise RefusedError("it reads text, or a shape with the rows in it; expected numbers")
    return Constant(exact(found.array))


def number(value: Value, *, moved: bool = False) -> Value:
    """Return a value whose numbers are computed with; same errors."""
    if value.kind.dtype == TEXT:
        raise RefusedError("it reads text, of which the graph has the index; expected numbers")
    if not value.kind.is_exact and not moved:
        raise RefusedError(f"its whole numbers may be above {EXACT:,}, which float32 does not hold exactly")
    return value


def compare(call: Call) -> Known:
    """Write a comparison: 1 where it holds, else 0."""
    one, other = (numbers(aligned(call, call.input(index))) for index in range(2))
    return replace(combine(call.writer, COMPARISONS[call.op], one, other), kind=TRUTH)


def logic(call: Call) -> Known:
    """Write And, Or and Xor of ones and zeros."""
    one, other = (numbers(aligned(call, call.input(index))) for index in range(2))
    if call.op == "Xor":
        same = combine(call.writer, COMPARISONS["Equal"], one, other)
        return opposite(call.writer, same)
    return replace(combine(call.writer, BINARIES["Min" if call.op == "And" else "Max"], one, other), kind=TRUTH)


def opposite(writer: Writer, value: Value) -> Value:
    """Write 1 where there is 0, and 0 where there is 1."""
    return writer.emit("subtract_from", [value], np.float32(1), kind=TRUTH)


def negate(call: Call) -> Known:
    """Write Not."""
    return opposite(call.writer, call.value())


def is_nan(call: Call) -> Known:
    """Write IsNaN: what is not equal to itself."""
    return opposite(call.writer, call.writer.emit("equal_values", [call.value(), call.value()], kind=TRUTH))


def is_inf(call: Call) -> Known:
    """Write IsInf of either sign or of one."""
    value, signs = call.value(), [call.attributes["detect_positive"], call.attributes["detect_negative"]]
    if not any(signs):
        raise RefusedError("it looks for no infinity; expected a positive one, a negative one or both")
    if all(signs):
        value = call.writer.emit("abs", [value])
    return call.writer.emit("equal", [value], np.float32(np.inf if signs[0] else -np.inf), kind=TRUTH)


def binarizer(call: Call) -> Known:
    """Write the Binarizer of scikit-learn: 1 above a threshold, else 0."""
    return call.writer.emit("greater", [call.value()], np.float32(call.attributes["threshold"]))


def where(call: Call) -> Known:
    """Write Where; constants that it chooses from become operands, or values where there is no op for them."""
    condition, one, other = (numbers(aligned(call, call.input(index)), moved=index > 0) for index in range(3))
    kind = joined([each.kind if isinstance(each, Value) else kind_of_array(each.array)
                   for each in call.inputs[1:] if isinstance(each, (Value, Constant))])  # fmt: skip
    if _is_softplus(call.writer, condition, one, other):
        return other
    like = next(each for each in (condition, one, other) if isinstance(each, Value))
    if isinstance(condition, Constant):
        condition = _as_value(call.writer, like, condition.array)
    if isinstance(one, Constant) and isinstance(other, Constant):
        one = _as_value(call.writer, condition, one.array)
    if isinstance(one, Constant) and isinstance(other, Value):
        return _or_constant(call.writer, opposite(call.writer, condition), other, one.array, kind)
    if isinstance(one, Value) and isinstance(other, Constant):
        return _or_constant(call.writer, condition, one, other.array, kind)
    values = [each for each in (condition, one, other) if isinstance(each, Value)]
    return call.writer.emit("where", values, tail=_common(*values), kind=kind)


def _or_constant(writer: Writer, condition: Value, value: Value, array: Array, kind: Kind) -> Value:
    values = [condition, value]
    _common(*values)
    widest = max(range(2), key=lambda index: values[index].columns)
    values[widest], row = broadcast(writer, values[widest], array)
    return writer.emit("where_else", values, row, tail=_common(*values), kind=kind)


def _common(*values: Value) -> tuple[int, ...]:
    """Return the axes behind the rows that values have together: those of all, or of all but some of one column."""
    widest = max(values, key=lambda value: value.columns)
    if any(value.rank != widest.rank or (value.tail != widest.tail and value.columns != 1) for value in values):
        raise RefusedError(f"its values are {', '.join(value.text for value in values)}; expected the same columns, or one column")
    return widest.tail


def _as_value(writer: Writer, like: Value, array: Array) -> Value:
    """Write a value that is a constant, for any numbers of another one: nothing is equal to NaN."""
    zeros = writer.emit("equal", [like], np.float32(np.nan))
    value, row = broadcast(writer, zeros, array)
    return writer.emit("add", [value], row)


def _is_softplus(writer: Writer, condition: Known, one: Known, other: Known) -> bool:
    """Whether a Where is the one that PyTorch writes around Softplus: x above a bound, from which on Softplus is x anyway."""
    if not (isinstance(condition, Value) and isinstance(one, Value) and isinstance(other, Value)):
        return False
    makers = {node.output: node for node in writer.nodes if node.output in {condition.name, other.name}}
    asks, makes = makers.get(condition.name), makers.get(other.name)
    if asks is None or makes is None or (asks.op, makes.op) != ("greater", "softplus") or {asks.values, makes.values} != {(one.name,)}:
        return False
    return bool((writer.constants[asks.operands[0]] >= _SOFTPLUS_IS_EQUAL).all())


def modulo(call: Call) -> Known:
    """Write Mod: what C's fmod leaves, or of whole numbers what Python's % leaves of a divisor above 0."""
    one, other = (numbers(aligned(call, call.input(index))) for index in range(2))
    how, kind = Binary("fmod_values", "fmod", ""), next(each.kind for each in (one, other) if isinstance(each, Value))
    rest = combine(call.writer, how, one, other)
    if call.attributes["fmod"]:
        return replace(rest, kind=FLOAT if kind.is_float else Kind(kind.dtype, -EXACT, EXACT))
    if kind.is_float or not isinstance(other, Constant) or other.array.min(initial=1) <= 0:
        raise RefusedError("it needs fmod=1, or whole numbers and a constant divisor above 0")
    if kind.lowest < 0:
        rest = combine(call.writer, how, combine(call.writer, BINARIES["Add"], rest, other), other)
    return replace(rest, kind=Kind(kind.dtype, 0, float(other.array.max(initial=1)) - 1))


def cast(call: Call) -> Known:
    """Write Cast: seen through where the numbers stay as they are; else truth is what is not 0, and whole numbers are cut towards 0."""
    value, wanted = call.value(), _wanted(call)
    kind = value.kind
    if TEXT in {wanted, kind.dtype}:
        if wanted != kind.dtype:
            raise RefusedError(f"it makes {wanted} of {kind.dtype}; expected text to stay text")
        return value
    if wanted == FLOAT.dtype:
        return replace(number(value), kind=FLOAT)
    if wanted == TRUTH.dtype:
        if kind.dtype == wanted:
            return value
        return opposite(call.writer, call.writer.emit("equal", [number(value)], np.float32(0)))
    if kind_of(wanted) is None:
        raise RefusedError(f"it makes {wanted} of {kind.dtype}; the graph computes in float32 alone")
    if kind.is_float:
        if wanted not in {"int32", "int64"}:
            raise RefusedError(f"it makes {wanted} of {kind.dtype}, which may not fit; expected int32 or int64")
        return call.writer.emit("trunc", [value], kind=Kind(wanted))
    if not holds(wanted, kind) and wanted not in {"int32", "int64"}:
        raise RefusedError(f"it makes {wanted} of {kind.dtype}, which may be from {kind.lowest:g} to {kind.highest:g}")
    return replace(value, kind=replace(kind, dtype=wanted))


def _wanted(call: Call) -> str:
    """Return the name of the type that is made."""
    other = call.input(1)
    if call.op == "CastLike":
        return other.array.dtype.name if isinstance(other, Constant) else other.kind.dtype if isinstance(other, Value) else FLOAT.dtype
    number = call.attributes["to"]
    names = dict(onnx.TensorProto.DataType.items())
    number = names.get(number, 0) if isinstance(number, str) else number
    if number == onnx.TensorProto.STRING:
        return TEXT
    if number not in names.values():
        return str(number)
    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)).name)
    except KeyError:
        return str(onnx.TensorProto.DataType.Name(number)).lower()
