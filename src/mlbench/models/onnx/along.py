"""Ops of a file that read a whole row: products with a weight, Softmax, normalizations, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mlbench.models.onnx.elementwise import BINARIES, combine
from mlbench.models.onnx.lookup import known_label
from mlbench.models.onnx.values import Array, Call, Constant, Known, RefusedError, Value, Writer

Converter = Callable[[Call], Known]


def matmul(call: Call) -> Known:
    """Write MatMul of a value and a weight."""
    if isinstance(call.input(0), Constant):
        raise RefusedError("its first input is a constant; expected a value first and the weight behind it")
    return _product(call.writer, call.value(), call.constant(1, "its second input"))


def _product(writer: Writer, value: Value, weight: Array) -> Value:
    if not value.is_row or weight.ndim not in {1, 2} or weight.shape[0] != value.columns:
        raise RefusedError(f"its value is {value.text} and its weight {weight.shape}; expected (rows, k) and (k, n)")
    tail = (*value.tail[:-1], *weight.shape[1:])
    if weight.ndim == 1 and len(value.tail) > 1:
        raise RefusedError(f"its value is {value.text} and its weight {weight.shape}; expected (rows, k)")
    return writer.emit("matmul", [value], weight.reshape((weight.shape[0], -1)), tail=tail)


def gemm(call: Call) -> Known:
    """Write Gemm: alpha * (A B) + beta * C, where B is a weight."""
    if isinstance(call.input(0), Constant):
        raise RefusedError("its A is a constant; expected a value, and a constant as B")
    if call.attributes["transA"]:
        raise RefusedError("its A is a value and transposed, so that rows would be columns; expected transA=0")
    weight = call.constant(1, "its B")
    value = call.value()
    if value.rank != 2 or weight.ndim != 2:
        raise RefusedError(f"its A is {value.text} and its B {weight.shape}; expected (rows, k) and two axes")
    alpha, beta = np.float32(call.attributes["alpha"]), np.float32(call.attributes["beta"])
    result = _product(call.writer, value, weight.T if call.attributes["transB"] else weight)
    if alpha != 1:
        result = call.writer.emit("multiply", [result], alpha)
    shift = call.input(2)
    if shift is None or beta == 0:
        return result
    if isinstance(shift, Value):
        shift = call.writer.emit("multiply", [shift], beta) if beta != 1 else shift
    elif shift.array.dtype == np.float32:
        shift = Constant(np.asarray(shift.array * beta))
    wide = combine(call.writer, BINARIES["Add"], result, shift)
    if wide.tail != result.tail:
        raise RefusedError(f"its C makes the product {result.text} wider; expected C to fit it")
    return wide


def along_row(op: str) -> Converter:
    """Return what writes Softmax or LogSoftmax; before version 13 an axis stood for all behind it as well."""

    def convert(call: Call) -> Value:
        value, axis = call.value(), _axis(call.value(), call.attributes["axis"])
        is_last = axis == value.rank - 1 and value.is_row
        if not is_last and not (call.version < 13 and axis == 1):
            raise RefusedError(f"it goes along axis {axis} of {value.text}; expected the columns of a row")
        return call.writer.emit(op, [value])

    return convert


def _axis(value: Value, axis: int) -> int:
    if not -value.rank <= axis < value.rank:
        raise RefusedError(f"it names axis {axis} of {value.text}, which has {value.rank}")
    return int(axis % value.rank)


def normalization(op: str) -> Converter:
    """Return what writes LayerNormalization or RMSNormalization over all columns of a row."""

    def convert(call: Call) -> Value:
        value, axis = call.value(), _axis(call.value(), call.attributes["axis"])
        if any(call.used[1:]):
            raise RefusedError("its mean or deviation is needed; expected its first output alone")
        if axis == 0 or math.prod(value.tail[: axis - 1]) != 1:
            raise RefusedError(f"it goes from axis {axis} of {value.text}; expected all columns of a row")
        shape = value.tail[axis - 1 :]
        scale = _row(call.constant(1, "its scale"), shape)
        rows = [scale]
        if op == "layer_norm":
            rows.append(np.zeros_like(scale) if call.input(2) is None else _row(call.constant(2, "its shift"), shape))
        return call.writer.emit(op, [value], *rows, np.float32(call.attributes["epsilon"]))

    return convert


def _row(array: Array, shape: tuple[int, ...]) -> Array:
    try:
        return np.broadcast_to(array, shape).reshape(-1)
    except ValueError as error:
        raise RefusedError(f"its scale or shift has the shape {array.shape}; expected {shape}") from error


def reduction(*ops: str) -> Callable[[Call], Value]:
    """Return what writes a reduction of all columns of a row to one; ops before and behind it in order."""

    def convert(call: Call) -> Value:
        value = call.value()
        axes = call.integers("axes", 1)
        if not axes and call.attributes.get("noop_with_empty_axes"):
            raise RefusedError("it has no axes and does nothing to them; expected the axis of the columns")
        reduced = {_axis(value, axis) for axis in axes} if axes else set(range(value.rank))
        left = [length for axis, length in enumerate(value.tail, 1) if axis not in reduced]
        if 0 in reduced or math.prod(left) != 1:
            raise RefusedError(f"it reduces {_named(reduced)} of {value.text}; expected all columns of a row, and the rows kept")
        is_kept = call.attributes["keepdims"]
        tail = tuple(1 if axis in reduced else length for axis, length in enumerate(value.tail, 1) if is_kept or axis not in reduced)
        for op in ops:
            value = call.writer.emit(op, [value], tail=tail if op.startswith("reduce") else None)
        return value

    return convert


def _named(axes: set[int]) -> str:
    return f"ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(str, sorted(axes)))}"


def log_sum_exp(call: Call) -> Known:
    """Write ReduceLogSumExp through the largest of a row, without which exp overflows."""
    value = call.value()
    most = reduction("reduce_max")(call)
    kept = Value(most.name, (1,) * len(value.tail))
    shares = call.writer.emit("exp", [combine(call.writer, BINARIES["Sub"], value, kept)])
    total = call.writer.emit("log", [call.writer.emit("reduce_sum", [shares], tail=most.tail)])
    return call.writer.emit("add_values", [total, most])


def normalizer(call: Call) -> Known:
    """Write the Normalizer of scikit-learn: x over the norm of its row; a row of zeros stays one."""
    value, kind = call.value(), call.attributes["norm"]
    if value.rank != 2:
        raise RefusedError(f"its value is {value.text}; expected (rows, columns)")
    if kind == "MAX":
        return _over_largest(call.writer, value)
    if kind == "L1":
        norm = call.writer.emit("reduce_sum", [call.writer.emit("abs", [value])], tail=(1,))
    elif kind == "L2":
        norm = call.writer.emit("reduce_l2", [value], tail=(1,))
    else:
        raise RefusedError(f"its norm is {kind!r}; expected L1, L2 or MAX")
    return call.writer.emit("divide_values", [value, call.writer.emit("maximum", [norm], np.float32(1e-30))])


def _over_largest(writer: Writer, value: Value) -> Value:
    """Write x over the largest number of its row, with its sign, as the text of ONNX-ML says; a row whose largest is 0 stays as it is.

    ONNX Runtime reads the text like that. `onnx.reference` takes the largest without signs.
    """
    most = writer.emit("reduce_max", [value], tail=(1,))
    is_zero = writer.emit("equal", [most], np.float32(0))
    return writer.emit("divide_values", [value, writer.emit("add_values", [most, is_zero])])


def linear_regressor(call: Call) -> Known:
    """Write the LinearRegressor of scikit-learn: x W + b."""
    return _transformed(call, _linear(call, int(call.attributes.get("targets") or 1)), {"NONE": None})


def linear_classifier(call: Call) -> tuple[Value | None, Value]:
    """Write a LinearClassifier of scikit-learn: the label of the largest of x W + b, and what makes probabilities of these scores."""
    labels = call.attributes.get("classlabels_ints") or call.attributes.get("classlabels_strings") or ()
    columns, found = call.value().columns, len(call.attributes.get("coefficients") or ())
    if len(labels) < 2 or found != len(labels) * columns:
        raise RefusedError(f"it has {found} coefficients for {len(labels)} classes of {columns} columns; expected a row for each class")
    scores = _linear(call, len(labels))
    label = known_label(call, scores, labels) if call.used[0] else None
    return label, _transformed(call, scores, {"NONE": None, "LOGISTIC": "sigmoid", "SOFTMAX": "softmax"})


def _transformed(call: Call, scores: Value, transforms: dict[str, str | None]) -> Value:
    transform = call.attributes.get("post_transform", "NONE")
    if transform not in transforms:
        raise RefusedError(f"its post_transform is {transform!r}; expected {' or '.join(transforms)}")
    op = transforms[transform]
    return scores if op is None else call.writer.emit(op, [scores])


def _linear(call: Call, targets: int) -> Value:
    weight = np.array(call.attributes.get("coefficients") or (), np.float32)
    if weight.size % targets:
        raise RefusedError(f"it has {weight.size} coefficients for {targets} targets")
    value = _product(call.writer, call.value(), weight.reshape((targets, -1)).T)
    shift = np.array(call.attributes.get("intercepts") or (), np.float32)
    if shift.size:
        value = combine(call.writer, BINARIES["Add"], value, Constant(shift))
    if value.tail != (targets,):
        raise RefusedError(f"it has {shift.size} intercepts for {targets} targets")
    return value
