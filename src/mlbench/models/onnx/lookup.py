"""Ops of a file that find an index and look something up by one: ArgMax, embedding tables, labels.

An index is a whole number that is known to be one: an input of whole numbers, a place, an entry of a table of whole numbers. Both runners
refuse one that the table does not have. Text never comes into a graph. Its index does, and the network keeps the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlbench.models.onnx.compare import number, opposite
from mlbench.models.onnx.elementwise import broadcast
from mlbench.models.onnx.kinds import EXACT, FLOAT, TEXT, Kind, exact, kind_of_array
from mlbench.models.onnx.structure import columns_at
from mlbench.models.onnx.values import Array, Call, Known, RefusedError, Value, Writer

_MOST_ENTRIES = 1 << 16
"""Whole numbers that are mapped by a table that has an entry for each."""
_MOST_KEYS = 256
"""Keys that are looked for one after the other, which takes three nodes each."""


def place(op: str) -> Callable[[Call], Known]:
    """Return what writes ArgMax or ArgMin along the columns of a row."""

    def convert(call: Call) -> Known:
        value, axis = number(call.value()), call.attributes["axis"]
        axis = axis + value.rank if axis < 0 else axis
        if not 1 <= axis < value.rank or value.tail[axis - 1] != value.columns:
            raise RefusedError(f"it goes along axis {axis} of {value.text}; expected the columns of a row")
        is_last = bool(call.attributes.get("select_last_index")) and value.columns > 1
        ends = value.tail[: axis - 1], value.tail[axis:]
        tail = (*ends[0], *((1,) if call.attributes["keepdims"] else ()), *ends[1])
        kind = Kind("int64", 0, value.columns - 1)
        if not is_last:
            return call.writer.emit(op, [value], tail=tail, kind=kind)
        parts = [call.writer.emit("slice", [value], tail=(1,), attributes=(each, each + 1)) for each in reversed(range(value.columns))]
        turned = call.writer.emit("concat", parts, tail=(value.columns,))
        found = call.writer.emit(op, [turned], tail=tail)
        return call.writer.emit("subtract_from", [found], np.float32(value.columns - 1), kind=kind)

    return convert


def gather(call: Call) -> Known:
    """Write Gather: the entries of a table at indices that are computed or given, or known columns of a value."""
    if isinstance(call.input(0), Value):
        return columns_at(call, call.attributes["axis"])
    table, axis = call.constant(0, "its table"), call.attributes["axis"]
    index = _index(call.value(1, "its index"))
    if axis not in {0, -table.ndim}:
        raise RefusedError(f"it takes indices of axis {axis} of a table of shape {table.shape}; expected axis=0")
    return entries(call.writer, index, table, (*index.tail, *table.shape[1:]))


def extract(call: Call) -> Known:
    """Write ArrayFeatureExtractor: known columns of a value, or an entry of a list for each row.

    In the file the latter is one row with a column for each of ours. What reads it gives it another shape first, so it is rows here.
    """
    if isinstance(call.input(0), Value):
        value = call.value()
        return replace(columns_at(call, value.rank - 1), tail=(call.constant(1, "its indices").size,))
    table, index = call.constant(0, "its table"), _index(call.value(1, "its index"))
    if table.size != table.shape[-1] or index.columns != 1:
        raise RefusedError(
            f"its table has the shape {table.shape} and its index is {index.text}; expected a list, and (rows,) or (rows, 1)"
        )
    return entries(call.writer, index, table.ravel(), ())


def _index(value: Value) -> Value:
    if value.kind.is_float or value.kind.dtype == TEXT:
        raise RefusedError(f"its index is {value.kind.dtype}; expected whole numbers")
    return value


def entries(writer: Writer, index: Value, table: Array, tail: tuple[int, ...]) -> Value:
    """Write the entries of a table, of shape (entries, ...), at indices."""
    count = len(table)
    if not 1 <= count <= EXACT or not table.size:
        raise RefusedError(f"its table has the shape {table.shape}; expected 1 to {EXACT:,} entries, which an index in float32 can name")
    if table.dtype == object:
        return _labelled(writer, index, table, tail)
    found = exact(table, "its table")
    width = found.size // count
    kind = kind_of_array(table) if table.dtype.kind in "iub" else FLOAT
    return writer.emit("gather", [index], found.reshape((count, 1, width)), tail=tail, attributes=(index.columns * width,), kind=kind)


def _labelled(writer: Writer, index: Value, table: Array, tail: tuple[int, ...]) -> Value:
    """Return indices of text, which is each there once."""
    if table.ndim != 1 or not all(isinstance(each, (str, bytes)) for each in table.tolist()):
        raise RefusedError(f"its table has the shape {table.shape}; expected a list of text")
    texts = [each.decode() if isinstance(each, bytes) else each for each in table.tolist()]
    labels = tuple(dict.fromkeys(texts))
    kind = Kind(TEXT, 0, len(labels) - 1, labels=labels)
    is_plain = len(labels) == len(texts) and index.kind.lowest >= 0 and index.kind.highest < len(texts)
    if is_plain:
        return replace(index, tail=tail, kind=kind)
    places = np.array([labels.index(each) for each in texts])
    return replace(entries(writer, index, places, tail), kind=kind)


_ENCODINGS = (("floats", "default_float"), ("int64s", "default_int64"), ("strings", "default_string"), ("tensor", "default_tensor"))


def encode(call: Call) -> Known:
    """Write LabelEncoder: another label for each key; of whole numbers in a small range and of text through a table."""
    keys, _ = _listed(call, "keys")
    values, default = _listed(call, "values")
    if len(keys) != len(values) or not keys:
        raise RefusedError(f"it has {len(keys)} keys and {len(values)} values; expected a value for each key")
    value = call.value()
    known = _possible(value)
    if known is not None:
        mapping = dict(zip(keys, values, strict=True))
        return entries(call.writer, value, _array([mapping.get(each, default) for each in known]), value.tail)
    if len(keys) > _MOST_KEYS:
        raise RefusedError(f"it has {len(keys)} keys for numbers of any size; expected {_MOST_KEYS} at most")
    return _searched(call.writer, number(value), dict(zip(keys, values, strict=True)), default)


def _possible(value: Value) -> Sequence[Any] | None:
    """Return what a value may be, in the order of the indices that it is; None where that is not known, or too much."""
    if value.kind.dtype == TEXT:
        return value.kind.labels
    if value.kind.is_float or value.kind.lowest < 0 or value.kind.highest >= _MOST_ENTRIES:
        return None
    return range(int(value.kind.highest) + 1)


def _listed(call: Call, what: str) -> tuple[list[Any], Any]:
    """Return the keys or the values, and what is found for anything else."""
    for ending, default in _ENCODINGS:
        found = call.attributes.get(f"{what}_{ending}")
        if found is None:
            continue
        if ending != "tensor":
            return (np.asarray(found, np.float32).tolist() if ending == "floats" else list(found)), call.attributes.get(default)
        texts = [each.decode() if isinstance(each, bytes) else each for each in np.asarray(found).ravel().tolist()]
        other = call.attributes.get(default)
        return texts, None if other is None else np.asarray(other).ravel().tolist()[0]
    return [], None


def _array(values: Sequence[Any]) -> Array:
    """Return values as an array: text as objects, whole numbers and float32 as they are."""
    if any(each is None for each in values):
        raise RefusedError("it has no default for numbers that are no key; expected one")
    if any(isinstance(each, (str, bytes)) for each in values):
        found = np.empty(len(values), object)
        found[:] = values
        return found
    return np.array(values, np.int64 if all(isinstance(each, int) for each in values) else np.float32)


def _searched(writer: Writer, value: Value, mapping: Mapping[Any, Any], default: Any) -> Value:
    """Write a choice for each key; the result begins as what is found for none."""
    results = _array([default, *mapping.values()])
    kind = kind_of_array(results)
    if results.dtype == object:
        texts = [each.decode() if isinstance(each, bytes) else each for each in results.tolist()]
        labels = tuple(dict.fromkeys(texts))
        results = np.array([labels.index(each) for each in texts])
        kind = Kind(TEXT, 0, len(labels) - 1, labels=labels)
    first, *others = exact(results)
    zeros = writer.emit("equal", [value], np.float32(np.nan))  # nothing is
    found, row = broadcast(writer, zeros, np.asarray(first))
    found = writer.emit("add", [found], row, kind=kind)
    numbers = exact(np.array(list(mapping), np.float32 if isinstance(next(iter(mapping)), float) else None), "its key")
    for key, result in zip(numbers, others, strict=True):
        same = [value, value] if np.isnan(key) else [value]
        is_key = writer.emit("equal_values", same) if len(same) > 1 else writer.emit("equal", same, key)
        is_other = is_key if len(same) > 1 else opposite(writer, is_key)  # NaN is what is not equal to itself
        found = writer.emit("where_else", [is_other, found], result, kind=kind)
    return found


def known_label(call: Call, scores: Value, labels: Sequence[Any]) -> Value:
    """Write the label of the largest score of a row."""
    index = call.writer.emit("argmax", [scores], tail=(), kind=Kind("int64", 0, scores.columns - 1))
    return entries(call.writer, index, _array(labels), ())
