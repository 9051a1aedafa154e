"""The kernels that do not fit on one line of the op table.

Softmax needs a maximum and a sum along each row. NumPy's reductions along an axis malloc an iterator, and so does an operation whose
operands broadcast. So the in-place form works without both: a maximum or a sum goes up a tree of contiguous halves of the transposed
matrix, and a copy, which mallocs nothing, broadcasts it over the row. `np.concatenate` mallocs a list of its operands; copies do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlbench.ir import FloatArray


def concat_into(values: Sequence[FloatArray], out: FloatArray) -> None:
    """Write matrices side by side to `out` and allocate nothing."""
    first = 0
    for value in values:
        last = first + value.shape[1]
        np.copyto(out[:, first:last], value)
        first = last


def softmax(x: FloatArray) -> FloatArray:
    """Return the softmax of each row; x: (rows, columns), the result is new."""
    exponentials = np.exp(x - x.max(axis=1, keepdims=True))
    result: FloatArray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def softmax_into(x: FloatArray, out: FloatArray, scratch: FloatArray, spread: FloatArray) -> None:
    """Write the softmax of each row of `x` to `out` and allocate nothing.

    Args:
        x: (rows, columns), C-contiguous.
        out: (rows, columns), C-contiguous; may be `x`.
        scratch: (rows, columns), C-contiguous; used as (columns, rows).
        spread: (rows, columns), C-contiguous.
    """
    transposed = scratch.reshape(scratch.shape[::-1])
    _reduce_rows(np.maximum, x, transposed, spread)
    np.subtract(_readable(x), spread, out=out)
    np.exp(_readable(out), out=out)
    _reduce_rows(np.add, out, transposed, spread)
    np.divide(_readable(out), spread, out=out)


def _reduce_rows(ufunc: np.ufunc, x: FloatArray, transposed: FloatArray, spread: FloatArray) -> None:
    """Reduce each row of `x` and write the result to every element of that row in `spread`."""
    np.copyto(transposed, x.T)
    left = transposed.shape[0]
    while left > 1:
        half = left // 2
        top = transposed[:half]
        ufunc(_readable(top), transposed[left - half : left], out=top)
        left -= half
    np.copyto(spread, transposed[0][:, np.newaxis])


def _readable(x: FloatArray) -> FloatArray | np.float32:
    """Return what an in-place operation should read; of a single element its value, because NumPy mallocs for the array itself."""
    if x.size > 1:
        return x
    single: np.float32 = x[0, 0]
    return single
