"""Ops of a file that move numbers: those that keep rows and their order cost nothing, others are parts of rows side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mlbench.models.onnx.elementwise import widened
from mlbench.models.onnx.fold import array, slices
from mlbench.models.onnx.kinds import joined
from mlbench.models.onnx.values import ROWS, Call, Known, RefusedError, Rows, Value, Writer

_MOST_RUNS = 256
"""Separate runs of columns that one node takes."""
_ALL = (1 << 31) - 1
"""What exporters write as the end of an axis; no batch has so many rows."""


def same(call: Call) -> Known:
    """Return the input of an op that changes nothing."""
    return call.value()


def dropout(call: Call) -> Known:
    """See through Dropout, which does nothing after training."""
    trains = (
        not call.attributes.get("is_test")
        if call.version < 7
        else call.input(2) is not None and bool(call.constant(2, "training_mode").any())
    )
    if trains:
        raise RefusedError("it trains; expected a model that was exported for inference")
    if any(call.used[1:]):
        raise RefusedError("its mask is needed; expected its first output alone")
    return call.value()


def flatten(call: Call) -> Known:
    """See through Flatten of all axes behind the rows."""
    value, axis = call.value(), call.attributes["axis"]
    if not -value.rank <= axis <= value.rank or axis % value.rank != 1:
        raise RefusedError(f"it makes rows of other axes than the first of {value.text}; expected axis=1")
    return replace(value, tail=(value.columns,))


def reshape(call: Call) -> Known:
    """See through a Reshape that keeps the rows, or makes several of each, which the exporter of scikit-learn does to an output."""
    value = call.value()
    target = call.attributes["shape"] if "shape" in call.attributes else array(call, 1).ravel().tolist()
    own = [call.writer.rows or ROWS, *value.tail]
    if not call.attributes.get("allowzero"):
        if any(length == 0 and axis >= len(own) for axis, length in enumerate(target)):
            raise RefusedError(f"it keeps axis {len(target) - 1} of {value.text}, which has {value.rank}")
        target = [own[axis] if length == 0 else length for axis, length in enumerate(target)]
    tail = _tail(value, target, call.writer.rows)
    behind = math.prod(length for length in target[1:] if not isinstance(length, Rows))
    if tail is None and target and target[0] == -1 and behind > 0 and value.columns % behind == 0:
        return replace(value, is_stacked=True)
    if tail is None:
        raise RefusedError(f"it makes {tuple(target)} of {value.text}; expected a shape that keeps the rows")
    return replace(value, tail=tail)


def _tail(value: Value, target: Sequence[int | Rows], rows: int | None) -> tuple[int, ...] | None:
    """Return the axes behind the rows; None where the rows are not kept."""
    if not target or sum(length == -1 for length in target) > 1 or any(isinstance(each, Rows) for each in target[1:]):
        return None
    behind = [length for length in target[1:] if not isinstance(length, Rows)]
    if target[0] == -1:  # as many rows as before, if the columns are
        return tuple(behind) if math.prod(behind) == value.columns else None
    if not isinstance(target[0], Rows) and target[0] != rows:
        return None
    if -1 in behind:
        others = math.prod(length for length in behind if length != -1)
        if others < 1 or value.columns % others:
            return None
        behind[behind.index(-1)] = value.columns // others
    return tuple(behind) if math.prod(behind) == value.columns else None


def squeeze(call: Call) -> Known:
    """See through a Squeeze of axes of 1 behind the rows."""
    value, axes = call.value(), call.integers("axes", 1)
    if axes is None:
        if call.writer.rows in {None, 1}:
            raise RefusedError("it names no axes, so that a batch of one row would lose its rows; expected axes")
        return replace(value, tail=tuple(length for length in value.tail if length != 1))
    lost = {axis % value.rank if -value.rank <= axis < value.rank else 0 for axis in axes}
    if 0 in lost or any(value.tail[axis - 1] != 1 for axis in lost):
        raise RefusedError(f"it removes axes {tuple(axes)} of {value.text}; expected axes of length 1 behind the rows")
    return replace(value, tail=tuple(length for axis, length in enumerate(value.tail, 1) if axis not in lost))


def unsqueeze(call: Call) -> Known:
    """See through an Unsqueeze behind the rows."""
    value, axes = call.value(), call.integers("axes", 1) or ()
    rank = value.rank + len(axes)
    new = {axis % rank if -rank <= axis < rank else 0 for axis in axes}
    if 0 in new or len(new) < len(axes):
        raise RefusedError(f"it adds axes {tuple(axes)} to {value.text}; expected axes behind the rows")
    old = iter(value.tail)
    return replace(value, tail=tuple(1 if axis in new else next(old) for axis in range(1, rank)))


def transpose(call: Call) -> Known:
    """See through a Transpose that moves axes of length 1 alone."""
    value = call.value()
    order = tuple(call.attributes.get("perm") or reversed(range(value.rank)))
    if sorted(order) != list(range(value.rank)) or order[0] != 0:
        raise RefusedError(f"it orders the axes of {value.text} as {order}; expected the rows first")
    long = [axis for axis in order[1:] if value.tail[axis - 1] != 1]
    if long != sorted(long):
        raise RefusedError(f"it orders the axes of {value.text} as {order}; expected the order of a row to stay")
    return replace(value, tail=tuple(value.tail[axis - 1] for axis in order[1:]))


def expand(call: Call) -> Known:
    """Write Expand of one column to more."""
    value, target = call.value(), array(call, 1).ravel().tolist()
    rows = call.writer.rows
    if len(target) > value.rank or (len(target) == value.rank and target[0] not in {1, rows} and not isinstance(target[0], Rows)):
        raise RefusedError(f"it makes {tuple(target)} of {value.text}; expected a shape that keeps the rows")
    behind = [each for each in target[max(0, 1 - value.rank + len(target)) :] if not isinstance(each, Rows)]
    try:
        tail = np.broadcast_shapes(value.tail, tuple(behind))
    except ValueError as error:
        raise RefusedError(f"it makes {tuple(target)} of {value.text}: {error}") from error
    if tail == value.tail:
        return value
    if value.columns != 1 or len(tail) != len(value.tail):
        raise RefusedError(f"it makes {tuple(target)} of {value.text}; expected one column to repeat")
    return widened(call.writer, value, tail)


def concat(call: Call) -> Known:
    """Write Concat of columns."""
    values = [call.value(index, f"its input {index}") for index in range(len(call.inputs))]
    first, axis = values[0], call.attributes.get("axis", 1)
    axis = axis + first.rank if axis < 0 else axis
    others = [value.tail[: axis - 1] + value.tail[axis:] for value in values]
    if not 1 <= axis < first.rank or any(value.rank != first.rank for value in values) or len(set(others)) > 1:
        shapes = " and ".join(sorted({value.text for value in values}))
        raise RefusedError(f"it joins {shapes} on axis {axis}; expected columns of the same rows")
    if math.prod(first.tail[: axis - 1]) != 1:
        raise RefusedError(f"it joins {first.text} on axis {axis}; expected parts of rows, one behind another")
    kind = joined(value.kind for value in values)
    total = sum(value.tail[axis - 1] for value in values)
    tail = (*first.tail[: axis - 1], total, *first.tail[axis:])
    return replace(first, tail=tail) if len(values) == 1 else call.writer.emit("concat", values, tail=tail, kind=kind)


def _part(writer: Writer, value: Value, axis: int, first: int, last: int) -> Value:
    """Return indices first to last, exclusive, of an axis that is the first one of a row that is longer than 1."""
    if math.prod(value.tail[: axis - 1]) != 1:
        raise RefusedError(f"it takes parts of axis {axis} of {value.text}; expected parts of rows, one behind another")
    tail = (*value.tail[: axis - 1], last - first, *value.tail[axis:])
    if tail == value.tail:
        return value
    if last <= first:
        raise RefusedError(f"it takes nothing of axis {axis} of {value.text}; expected one column or more")
    inner = math.prod(value.tail[axis:])
    return writer.emit("slice", [value], tail=tail, attributes=(first * inner, last * inner), kind=value.kind)


def split(call: Call) -> list[Known | None]:
    """Write Split as parts of rows; those that nobody needs are left out."""
    value, axis = call.value(), call.attributes["axis"]
    axis = axis + value.rank if axis < 0 else axis
    if not 1 <= axis < value.rank:
        raise RefusedError(f"it splits axis {axis} of {value.text}; expected columns, and all rows in each part")
    length, count = value.tail[axis - 1], len(call.used)
    sizes = call.integers("split", 1)
    if sizes is None:
        each = -(-length // int(call.attributes.get("num_outputs", count)))
        sizes = tuple(min(each, length - each * index) for index in range(count))
    if sum(sizes) != length or len(sizes) != count or min(sizes) < 1:
        raise RefusedError(f"it splits axis {axis} of {value.text} into {sizes}; expected {count} parts of 1 or more that fill it")
    edges = [sum(sizes[:index]) for index in range(count + 1)]
    return [
        _part(call.writer, value, axis, first, last) if used else None
        for (first, last), used in zip(pairwise(edges), call.used, strict=True)
    ]


def slice_columns(call: Call) -> Known:
    """Write Slice of columns."""
    value = call.value()
    taken = slices(call, value.rank)
    rows = call.writer.rows or _ALL
    if taken[0].indices(rows) != (0, rows, 1):
        raise RefusedError("it takes some of the rows; expected all of them, and a part of the columns")
    for axis, part in enumerate(taken[1:], 1):
        first, last, step = part.indices(value.tail[axis - 1])
        if step != 1:
            raise RefusedError(f"it takes axis {axis} in steps of {step}; expected steps of 1")
        value = _part(call.writer, value, axis, first, last)
    return value


def columns_at(call: Call, axis: int) -> Value:
    """Write the parts of rows at known indices of an axis."""
    value, indices = call.value(), call.constant(1, "its indices")
    axis = axis + value.rank if axis < 0 else axis
    if not 1 <= axis < value.rank or indices.ndim > 1 or not indices.size:
        raise RefusedError(f"it takes indices of shape {indices.shape} of axis {axis} of {value.text}; expected a list of columns")
    length = value.tail[axis - 1]
    wanted = [int(each) for each in indices.ravel()]
    if any(not -length <= each < length for each in wanted):
        raise RefusedError(f"it takes index {max(wanted, key=abs)} of axis {axis} of {value.text}")
    runs: list[list[int]] = []
    for each in (each % length for each in wanted):
        if runs and runs[-1][1] == each:
            runs[-1][1] += 1
        else:
            runs.append([each, each + 1])
    if len(runs) > _MOST_RUNS:
        raise RefusedError(f"it takes {len(runs)} separate runs of columns; expected {_MOST_RUNS} at most")
    parts = [_part(call.writer, value, axis, first, last) for first, last in runs]
    tail = (*value.tail[: axis - 1], *((len(wanted),) if indices.ndim else ()), *value.tail[axis:])
    return replace(parts[0], tail=tail) if len(parts) == 1 else call.writer.emit("concat", parts, tail=tail, kind=value.kind)
