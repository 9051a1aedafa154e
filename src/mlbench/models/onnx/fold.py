"""Nodes of a file that read constants alone: NumPy computes them at import.

Exporters compute shapes step by step (Shape, Gather, Concat, Reshape), where the number of rows is not known yet. It is an object of its
own in such a shape, which can be moved and not calculated with. What a result takes is known before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import onnx

from mlbench.models.onnx.values import ROWS, Array, Call, Constant, RefusedError, Value

_MOST_FLOP = 1 << 34
"""Most operations of a product of two constants: some seconds."""


def shape_of(call: Call) -> Constant:
    """Return the shape of a tensor, the rows of a value as the object that they are."""
    found = call.input(0)
    if isinstance(found, Constant):
        lengths: list[Any] = list(found.array.shape)
    else:
        value = call.value()
        lengths = [call.writer.rows or ROWS, *value.tail]
    part = lengths[slice(call.attributes.get("start", 0), call.attributes.get("end"))]
    if any(each is ROWS for each in part):
        return Constant(_objects(part))
    return Constant(np.array(part, np.int64))


def size_of(call: Call) -> Constant:
    """Return how many numbers a tensor has."""
    found = call.input(0)
    if isinstance(found, Value) and call.writer.rows is None:
        raise RefusedError("it counts the numbers of a value, which depend on the rows")
    count = found.array.size if isinstance(found, Constant) else (call.writer.rows or 1) * call.value().columns
    return Constant(np.array(count, np.int64))


def fold(call: Call) -> Constant:
    """Return what a node makes of constants.

    Raises:
        RefusedError: where the op is not among those that are computed at import, or its inputs do not fit.
    """
    if call.op not in FOLDS:
        raise RefusedError(f"all its inputs are constants; computed at import are {', '.join(sorted(FOLDS))}")
    constants = [each for each in call.inputs if isinstance(each, Constant)]
    if call.op not in _MOVES and any(each.has_rows for each in constants):
        raise RefusedError("it calculates with the number of rows, which is known at the call alone")
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(FOLDS[call.op](call))
    except RefusedError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise RefusedError(f"its constants do not fit it ({error})") from error
    return Constant(_plain(found))


def _objects(items: Sequence[Any]) -> Array:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _plain(array: Array) -> Array:
    """Return whole numbers as such once the rows are no longer among them."""
    if array.dtype == object and all(isinstance(each, int) for each in array.ravel().tolist()):
        return array.astype(np.int64)
    return array


def array(call: Call, index: int = 0) -> Array:
    """Return an input that is a constant, as it is."""
    found = call.input(index)
    if not isinstance(found, Constant):
        raise RefusedError(f"its input {index} is {'missing' if found is None else 'computed from the inputs'}; expected a constant")
    return found.array


def _counted(call: Call, shape: Sequence[int], item: int) -> tuple[int, ...]:
    if any(length < 0 for length in shape):
        raise RefusedError(f"it makes the shape {tuple(shape)}; expected lengths of 0 or more")
    call.writer.charge(math.prod(shape) * item)
    return tuple(shape)


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Call], Array]:
    def folded(call: Call) -> Array:
        one, other = array(call), array(call, 1)
        _counted(call, np.broadcast_shapes(one.shape, other.shape), max(one.itemsize, other.itemsize))
        return np.asarray(function(one, other))

    return folded


def _many(function: Callable[[Array, Array], Array]) -> Callable[[Call], Array]:
    def folded(call: Call) -> Array:
        parts = [array(call, index) for index in range(len(call.inputs))]
        _counted(call, np.broadcast_shapes(*(part.shape for part in parts)), len(parts) * 8)
        return reduce(function, parts)

    return folded


def _unary(function: Callable[[Array], Any]) -> Callable[[Call], Array]:
    def folded(call: Call) -> Array:
        only = array(call)
        _counted(call, only.shape, only.itemsize)
        return np.asarray(function(only)).astype(only.dtype)

    return folded


def _divide(one: Array, other: Array) -> Array:
    """Whole numbers are cut towards zero, as C does."""
    if not np.issubdtype(one.dtype, np.integer):
        return np.asarray(one / other)
    if not other.all():
        raise RefusedError("it divides a whole number by 0")
    signs = np.sign(one) * np.sign(other)
    return np.asarray(signs * (np.abs(one) // np.abs(other))).astype(one.dtype)


def _power(one: Array, other: Array) -> Array:
    return np.power(one, other).astype(one.dtype)


def _product(call: Call) -> Array:
    one, other = array(call), array(call, 1)
    shape = np.broadcast_shapes(one.shape[:-2], other.shape[:-2])
    if 2 * math.prod(shape) * one.size * other.shape[-1] > _MOST_FLOP:
        raise RefusedError(f"it multiplies constants of {one.shape} and {other.shape}, which takes too long")
    _counted(call, (*shape, *one.shape[-2:-1], *other.shape[-1:]), one.itemsize)
    return np.asarray(one @ other)


def cast(call: Call) -> Array:
    """Return numbers in another type, rounded as the file says."""
    source = array(call)
    kind = call.attributes["to"]
    if source.dtype == object:
        if kind not in {onnx.TensorProto.INT64, onnx.TensorProto.INT32}:
            raise RefusedError("it makes other numbers of a shape with the rows in it, or of text")
        return source
    return _cast_to(call, source, kind)


def _cast_to(call: Call, source: Array, kind: int) -> Array:
    if kind == onnx.TensorProto.STRING:
        raise RefusedError("it makes text")
    _counted(call, source.shape, 8)
    return source.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _cast_like(call: Call) -> Array:
    like = call.input(1)  # a value is float32
    kind = onnx.helper.np_dtype_to_tensor_dtype(like.array.dtype) if isinstance(like, Constant) else onnx.TensorProto.FLOAT
    return _cast_to(call, array(call), kind)


def _filled(call: Call) -> Array:
    shape = _counted(call, [int(each) for each in call.constant(0, "its shape")], 8)
    value = call.attributes.get("value")
    return np.zeros(shape, np.float32) if value is None else np.full(shape, value.ravel()[0], value.dtype)


def _expanded(call: Call) -> Array:
    source = array(call)
    shape = np.broadcast_shapes(source.shape, tuple(int(each) for each in call.constant(1, "its shape")))
    _counted(call, shape, source.itemsize)
    return np.broadcast_to(source, shape)


def _range(call: Call) -> Array:
    first, last, step = (call.constant(index, "its bounds").ravel()[0] for index in range(3))
    if not step:
        raise RefusedError("its step is 0")
    _counted(call, [max(0, math.ceil((last - first) / step))], first.itemsize)
    return np.arange(first, last, step, dtype=first.dtype)


def _reshaped(call: Call) -> Array:
    source, target = array(call), call.integers("shape", 1) or ()
    if not call.attributes.get("allowzero"):
        target = tuple(length or source.shape[axis] for axis, length in enumerate(target))
    return source.reshape(target)


def _squeezed(call: Call) -> Array:
    source, axes = array(call), call.integers("axes", 1)
    return np.squeeze(source, axis=axes)


def _flattened(call: Call) -> Array:
    source, axis = array(call), call.attributes.get("axis", 1)
    return source.reshape((math.prod(source.shape[:axis]), -1)) if source.size else source


def _transposed(call: Call) -> Array:
    return np.transpose(array(call), call.attributes.get("perm"))


def _gathered(call: Call) -> Array:
    source, indices, axis = array(call), call.constant(1, "its indices"), call.attributes.get("axis", 0)
    _counted(call, (*source.shape[:axis], *indices.shape, *source.shape[axis:][1:]), source.itemsize)
    return np.take(source, indices, axis=axis)


def _joined(call: Call) -> Array:
    parts = [array(call, index) for index in range(len(call.inputs))]
    if any(part.dtype == object for part in parts):
        parts = [part.astype(object) for part in parts]
    call.writer.charge(sum(part.nbytes for part in parts))
    return np.concatenate(parts, axis=call.attributes.get("axis", 1))


def slices(call: Call, rank: int) -> tuple[slice, ...]:
    """Return the slice of each axis that a Slice takes."""
    starts, ends = call.integers("starts", 1) or (), call.integers("ends", 2) or ()
    axes = call.integers("axes", 3) or tuple(range(len(starts)))
    steps = call.integers("steps", 4) or (1,) * len(starts)
    taken = [slice(None)] * rank
    for first, last, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -rank <= axis < rank or not step:
            raise RefusedError(f"it takes axis {axis} of {rank} in steps of {step}")
        below = step < 0 and last < -(1 << 30)  # such an end is before the first
        taken[axis] = slice(first, None if below else last, step)
    return tuple(taken)


def _sliced(call: Call) -> Array:
    return array(call)[slices(call, array(call).ndim)]


def _where(call: Call) -> Array:
    parts = [array(call, index) for index in range(3)]
    _counted(call, np.broadcast_shapes(*(part.shape for part in parts)), 8)
    return np.where(*parts)


def _dequantized(call: Call) -> Array:
    """(x - zero point) * scale, one for all or one for each index of an axis."""
    source, scale = array(call), call.constant(1, "its scale")
    zero = call.constant(2, "its zero point") if call.input(2) is not None else np.zeros_like(scale)
    if call.attributes.get("block_size") or scale.ndim > 1:
        raise RefusedError("it has a scale for each block; expected one, or one for each index of an axis")
    if scale.dtype != np.float32 or call.attributes.get("output_dtype", 0) not in {0, onnx.TensorProto.FLOAT}:
        raise RefusedError(f"its scale is {scale.dtype}; expected float32")
    _counted(call, source.shape, 8)
    if scale.ndim and scale.size > 1:
        axis = range(source.ndim)[call.attributes.get("axis", 1)]
        lengths = [-1 if each == axis else 1 for each in range(source.ndim)]
        scale, zero = scale.reshape(lengths), zero.reshape(lengths)
    wide = np.float32 if source.dtype.kind not in "iu" else np.int64
    return np.asarray((source.astype(wide) - zero.astype(wide)).astype(np.float32) * scale)


_MOVES = {"Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
"""Those that move numbers and look at none, so that the rows may be among them."""
FOLDS: dict[str, Callable[[Call], Array]] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": cast,
    "CastLike": _cast_like,
    "Ceil": _unary(np.ceil),
    "Concat": _joined,
    "ConstantOfShape": _filled,
    "DequantizeLinear": _dequantized,
    "Div": _binary(_divide),
    "Equal": _binary(np.equal),
    "Exp": _unary(np.exp),
    "Expand": _expanded,
    "Flatten": _flattened,
    "Floor": _unary(np.floor),
    "Gather": _gathered,
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Identity": array,
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Log": _unary(np.log),
    "MatMul": _product,
    "Max": _many(np.maximum),
    "Min": _many(np.minimum),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Pow": _binary(_power),
    "Range": _range,
    "Reciprocal": _unary(np.reciprocal),
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeezed,
    "Sub": _binary(np.subtract),
    "Transpose": _transposed,
    "Unsqueeze": lambda call: np.expand_dims(array(call), call.integers("axes", 1) or ()),
    "Where": _where,
    "Xor": _binary(np.logical_xor),
}
"""Each op that is computed at import, by name."""
