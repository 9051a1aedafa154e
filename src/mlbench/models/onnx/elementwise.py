"""Ops of a file that go through a value number by number: of one value, of a value and a constant, of two values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlbench.models.onnx.values import Array, Call, Constant, Known, RefusedError, Value, Writer

Converter = Callable[[Call], Known]


def unary(op: str, *attributes: str) -> Converter:
    """Return what writes an op of one value; the attributes become scalar constants, in order."""

    def convert(call: Call) -> Value:
        return call.writer.emit(op, [call.value()], *(np.float32(call.attributes[name]) for name in attributes))

    return convert


def broadcast(writer: Writer, value: Value, array: Array) -> tuple[Value, Array]:
    """Return a value and a constant as an op of the graph takes them: a scalar, or a row of the columns of the value.

    A value of one column is repeated where the constant has more.

    Raises:
        RefusedError: where the constant differs from row to row, or has more axes than the value.
    """
    if array.size == 1 and array.ndim <= value.rank:
        return value, array.reshape(())
    row = array
    if array.ndim == value.rank:
        if array.shape[0] != 1 and (array.shape[0] != writer.rows or not np.array_equal(array, np.broadcast_to(array[:1], array.shape))):
            raise RefusedError(f"its constant of shape {array.shape} differs from row to row of the value {value.text}; expected one row")
        row = array[0]
    try:
        tail = np.broadcast_shapes(row.shape, value.tail)
    except ValueError:
        tail = ()
    if array.ndim > value.rank or len(tail) != len(value.tail) or (tail != value.tail and value.columns != 1):
        raise RefusedError(
            f"its constant of shape {array.shape} does not fit the value {value.text}; expected a number, or one for each column"
        )
    if tail != value.tail:
        value = widened(writer, value, tail)
    writer.charge(4 * value.columns)
    return value, np.broadcast_to(row, tail).reshape(-1)


def widened(writer: Writer, value: Value, tail: tuple[int, ...]) -> Value:
    """Return a value of one column with each number repeated along its row."""
    return writer.emit("repeat_column", [value], tail=tail, attributes=(math.prod(tail),), kind=value.kind)


@dataclass(frozen=True, slots=True)
class Binary:
    """How an op of two tensors is written.

    Attributes:
        values: of two values.
        right: of a value and a constant behind it.
        left: of a constant and a value behind it; "" where the graph has no such op.
        is_negated: the constant on the right changes its sign first.
        is_swapped: of two values the second comes first.
    """

    values: str
    right: str
    left: str
    is_negated: bool = False
    is_swapped: bool = False


BINARIES = {
    "Add": Binary("add_values", "add", "add"),
    "Sub": Binary("subtract_values", "add", "subtract_from", is_negated=True),
    "Mul": Binary("multiply_values", "multiply", "multiply"),
    "Div": Binary("divide_values", "divide", "divide_into"),
    "Pow": Binary("power_values", "power", ""),
    "Max": Binary("maximum_values", "maximum", "maximum"),
    "Min": Binary("minimum_values", "minimum", "minimum"),
    "PRelu": Binary("", "prelu", ""),
}


def combine(writer: Writer, how: Binary, one: Known, other: Known) -> Value:
    """Write an op of two tensors, of which one is a value at least."""
    if isinstance(one, Value) and isinstance(other, Value):
        return _two_values(writer, how, one, other)
    if isinstance(one, Value) and isinstance(other, Constant):
        value, array = broadcast(writer, one, _floats(other))
        return writer.emit(how.right, [value], -array if how.is_negated else array)
    if isinstance(one, Constant) and isinstance(other, Value) and how.left:
        value, array = broadcast(writer, other, _floats(one))
        return writer.emit(how.left, [value], array)
    raise RefusedError("its first input is a constant and its second a value; expected a value first")


def _floats(constant: Constant) -> Array:
    if constant.array.dtype != np.float32:
        raise RefusedError(f"its constant is {constant.array.dtype}; expected float32")
    return constant.array


def _two_values(writer: Writer, how: Binary, one: Value, other: Value) -> Value:
    if not how.values:
        raise RefusedError("both its inputs are computed from the inputs; expected the second to be a constant")
    if one.rank != other.rank or (one.tail != other.tail and 1 not in {one.columns, other.columns}):
        raise RefusedError(f"its values are {one.text} and {other.text}; expected the same columns, or one of one column")
    values = [other, one] if how.is_swapped else [one, other]
    return writer.emit(how.values, values, tail=one.tail if other.columns == 1 else other.tail)


def binary(call: Call) -> Known:
    """Write Add, Sub, Mul, Div, Pow."""
    one, other = aligned(call, call.input(0)), aligned(call, call.input(1))
    if call.op == "Pow" and isinstance(other, Constant):
        other = Constant(_exactly_float(other.array, "its exponent"))
    return combine(call.writer, BINARIES[call.op], one, other)


def _exactly_float(array: Array, what: str) -> Array:
    if array.dtype == object or not np.array_equal(array.astype(np.float32).astype(array.dtype), array, equal_nan=array.dtype.kind == "f"):
        raise RefusedError(f"{what} is {array.dtype} and has numbers that float32 does not have")
    return array.astype(np.float32)


def aligned(call: Call, found: Known | None) -> Known:
    """Return an input; before version 7 the axis where it begins was an attribute, which axes of 1 behind it say as well."""
    if found is None:
        raise RefusedError("an input is missing")
    axis = call.attributes.get("axis")
    if call.version < 7 and axis is not None and call.attributes.get("broadcast") and isinstance(found, Constant):
        first = call.value()
        behind = first.rank - range(first.rank)[axis] - found.array.ndim
        if behind < 0:
            raise RefusedError(f"its constant of shape {found.array.shape} does not fit axis {axis} of the value {first.text}")
        return Constant(found.array.reshape(found.array.shape + (1,) * behind))
    return found


def variadic(call: Call) -> Known:
    """Write Max, Min, Sum and Mean of one tensor or more."""
    how = BINARIES[call.op if call.op in BINARIES else "Add"]
    found = [aligned(call, each) for each in call.inputs]
    result = found[0]
    values = [each for each in found if isinstance(each, Value)]
    for each in found[1:]:
        if isinstance(result, Constant) and isinstance(each, Constant):
            raise RefusedError("two of its inputs are constants before the first value; expected one at most")
        result = combine(call.writer, how, result, each)
    if call.op == "Mean" and isinstance(result, Value) and len(found) > 1:
        result = call.writer.emit("divide", [result], np.float32(len(found)))
    return result if values else call.value()


def prelu(call: Call) -> Known:
    """Write PRelu; before version 7 a slope belongs to an index of axis 1."""
    value, slope = call.value(), call.constant(1, "its slope")
    if call.version < 7 and slope.ndim == 1 and slope.size > 1:
        slope = slope.reshape((-1,) + (1,) * (value.rank - 2))
    return combine(call.writer, BINARIES["PRelu"], value, Constant(slope))


def leaky_relu(call: Call) -> Known:
    """Write LeakyRelu; a slope outside of (0, 1) is a prelu."""
    alpha = np.float32(call.attributes["alpha"])
    return call.writer.emit("leaky_relu" if 0 < alpha < 1 else "prelu", [call.value()], alpha)


def clip(call: Call) -> Known:
    """Write Clip; a bound that is left out costs nothing."""
    low, high = _bound(call, "min", 1), _bound(call, "max", 2)
    if low is not None and high is not None:
        return call.writer.emit("clip", [call.value()], low, high)
    if low is not None:
        return call.writer.emit("maximum", [call.value()], low)
    return call.value() if high is None else call.writer.emit("minimum", [call.value()], high)


def _bound(call: Call, name: str, index: int) -> Array | None:
    if call.version < 11:
        bound = call.attributes.get(name)
        return None if bound is None or abs(bound) >= np.finfo(np.float32).max else np.asarray(np.float32(bound))
    if call.input(index) is None:
        return None
    found = call.constant(index, f"its {name}")
    if found.size != 1:
        raise RefusedError(f"its {name} has the shape {found.shape}; expected a number")
    return found.reshape(())


def gelu(call: Call) -> Known:
    """Write Gelu in either form."""
    forms = {"none": "gelu", "tanh": "gelu_tanh"}
    form = call.attributes["approximate"]
    if form not in forms:
        raise RefusedError(f"its form is {form!r}; expected {' or '.join(forms)}")
    return call.writer.emit(forms[form], [call.value()])


def swish(call: Call) -> Known:
    """Write Swish: x * sigmoid(alpha x)."""
    value, alpha = call.value(), np.float32(call.attributes["alpha"])
    if alpha == 1:
        return call.writer.emit("silu", [value])
    scaled = call.writer.emit("multiply", [value], alpha)
    return call.writer.emit("multiply_values", [value, call.writer.emit("sigmoid", [scaled])])


def batch_normalization(call: Call) -> Known:
    """Write BatchNormalization as it is after training: a factor and a shift for each index of axis 1, which float64 computes."""
    if call.attributes.get("training_mode") or any(call.used[1:]):
        raise RefusedError("it trains; expected a model that was exported for inference")
    value = call.value()
    if not value.tail:
        raise RefusedError(f"its value is {value.text}; expected (rows, columns)")
    scale, shift, mean, variance = (
        call.constant(index, what).astype(np.float64)
        for index, what in enumerate(("its scale", "its shift", "its mean", "its variance"), 1)
    )
    if any(each.shape != value.tail[:1] for each in (scale, shift, mean, variance)):
        raise RefusedError(
            f"its scale, shift, mean and variance have the shapes {scale.shape} to {variance.shape}; expected {value.tail[:1]}"
        )
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + call.attributes["epsilon"])
        rows = [np.repeat(each.astype(np.float32), value.columns // value.tail[0]) for each in (factor, shift - mean * factor)]
    return call.writer.emit("add", [call.writer.emit("multiply", [value], rows[0])], rows[1])


def scaler(call: Call) -> Known:
    """Write the Scaler of scikit-learn: (x - offset) * scale."""
    value = call.value()
    offset, scale = (np.array(call.attributes.get(name) or default, np.float32) for name, default in (("offset", [0.0]), ("scale", [1.0])))
    for each in (offset, scale):
        value = combine(call.writer, BINARIES["Sub" if each is offset else "Mul"], value, Constant(each))
    return value
