"""The kernels that compare, choose and look up.

Every value is float32: truth is 1 or 0, and an index is a whole number. NumPy compares into an array of bool and finds places as eight-byte
integers; a ufunc that had to convert its result would malloc a buffer. So both lie in scratch, as other types, and a copy converts them,
which mallocs nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlbench.ir import FloatArray, index_error

_INDEX_BYTES = np.dtype(np.intp).itemsize


def compare_into(ufunc: np.ufunc, x: FloatArray, y: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
    """Write 1 where a comparison of `x` and `y` holds and 0 elsewhere to `out`, which may be either, and allocate nothing."""
    holds = _truths(scratch, out)
    ufunc(x, y, out=holds)
    np.copyto(out, holds)


def where_into(condition: FloatArray, x: FloatArray, y: FloatArray, out: FloatArray, scratch: FloatArray, chosen: FloatArray) -> None:
    """Write `x` where the condition is not 0 and `y` elsewhere to `out`, which may be any of the three, and allocate nothing."""
    holds = _truths(scratch, out)
    np.not_equal(condition, 0, out=holds)
    np.copyto(chosen, y)
    np.copyto(chosen, x, where=holds)
    np.copyto(out, chosen)


def _truths(scratch: FloatArray, like: FloatArray) -> npt.NDArray[np.bool_]:
    """Return the beginning of a scratch matrix as a matrix of truth values in the shape of another one."""
    return scratch.reshape(-1).view(np.bool_)[: like.size].reshape(like.shape)


def argmax_into(x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
    """Write the index of the first largest element of each row to the one column of `out` and allocate nothing."""
    if x.shape[1] == 1:  # scratch has no place for an index of eight bytes
        out.fill(0)
        return
    places = _indices(scratch, len(x))
    x.argmax(axis=1, out=places)
    np.copyto(out, places[:, np.newaxis])


def argmin_into(x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
    """Write the index of the first smallest element of each row to the one column of `out` and allocate nothing."""
    if x.shape[1] == 1:
        out.fill(0)
        return
    places = _indices(scratch, len(x))
    x.argmin(axis=1, out=places)
    np.copyto(out, places[:, np.newaxis])


def _indices(scratch: FloatArray, count: int) -> npt.NDArray[np.intp]:
    """Return the beginning of a scratch matrix as some whole numbers, which take two float32 numbers each."""
    return scratch.reshape(-1)[: count * _INDEX_BYTES // 4].view(np.intp)


def gather_into(x: FloatArray, table: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
    """Write the entries of a table that `x` has the indices of to `out` and allocate nothing; below 0 they count from the end.

    `take` mallocs in its checked mode and loops for long over indices that are far out in another. So they are checked before. Scratch is
    as large as `x` or `out`, and an index takes twice the bytes of a number, so that a table of one column is read in parts.

    Args:
        x: (rows, k), whole numbers.
        table: (entries, 1, width).
        out: (rows, k * width), C-contiguous.
        scratch: of the wider of both.

    Raises:
        InputError: for an index that the table does not have.
    """
    entries, _, width = table.shape
    flat, places = x.reshape(-1), out.reshape(-1, 1, width)
    most = max(1, 4 * scratch.size // _INDEX_BYTES)
    for first in range(0, flat.size, most):
        part, target = (flat, places) if flat.size <= most else (flat[first : first + most], places[first : first + most])
        if part.size == 1:
            index = part.item()
            _check_index(index, index, entries)
            np.copyto(target[0], table[int(index)])
            continue
        indices = _indices(scratch, part.size)
        np.copyto(indices, part, casting="unsafe")
        lowest, highest = indices.item(indices.argmin()), indices.item(indices.argmax())
        _check_index(lowest, highest, entries)
        if lowest < 0:
            np.remainder(indices, entries, out=indices)
        table.take(indices, 0, target, "clip")


def _check_index(lowest: float, highest: float, entries: int) -> None:
    """Refuse indices that a table does not have, and NaN, which is an index far below."""
    if not (lowest >= -entries and highest < entries):
        raise index_error(highest if lowest >= -entries else lowest, entries)
