"""The kernels that do not fit on one line of the op table.

NumPy's reductions along an axis malloc an iterator, and so does an operation whose operands broadcast. So the forms that write into
`out` work without both. A maximum goes up a tree of contiguous halves of the transposed matrix, a sum is a product with ones, and a copy,
which mallocs nothing, broadcasts a row or a column. `np.concatenate` mallocs a list of its operands; copies do not.

The larger or smaller of a matrix and a number takes NumPy five times as long as that of two matrices (NumPy 2.4, AVX2), so a scratch matrix
is filled with the number.

NumPy has no erf. Here erf(x) = tanh(g(x)) with the odd function g(x) = artanh(erf(x)), and g(x) / x is a polynomial of x**2, fitted so
that the largest relative error of erf is least (Lawson's weighted least squares). An error of g reaches erf damped, because
tanh is flat where g is large: the result is off by 2.5 units in the last place at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from mlbench.ir import FloatArray

_ERF = (5.42154223e-09, 2.75777631e-08, -4.79462256e-06, 8.45966686e-05, -0.000614838445, -0.000195287939, 0.102769864, 0.12837925)
"""Coefficients of g(x) / x - 1 in powers of x**2, the highest first."""
_ERF_END = 16.0
"""The square of the x from which on float32 knows erf as 1."""
_GELU = (*(coefficient * 0.5 ** (7 - power) * math.sqrt(0.5) for power, coefficient in enumerate(_ERF[:-1])), 1.12837925 * math.sqrt(0.5))
"""The same for g(x / sqrt(2)) / x."""


def concat_into(values: Sequence[FloatArray], out: FloatArray) -> None:
    """Write matrices side by side to `out` and allocate nothing."""
    first = 0
    for value in values:
        last = first + value.shape[1]
        np.copyto(out[:, first:last], value)
        first = last


def erf(x: FloatArray) -> FloatArray:
    """Return the error function of each element; the result is new."""
    squares = np.minimum(x * x, _ERF_END)
    polynomial = _ERF[0] * squares
    for coefficient in _ERF[1:-1]:
        polynomial = (polynomial + coefficient) * squares
    result: FloatArray = np.tanh((polynomial + _ERF[-1]) * x + x)
    return result


def erf_into(x: FloatArray, out: FloatArray, squares: FloatArray, polynomial: FloatArray) -> None:
    """Write the error function of each element of `x` to `out`, which may be `x`, and allocate nothing."""
    np.multiply(x, x, out=squares)
    polynomial.fill(_ERF_END)
    np.minimum(squares, polynomial, out=squares)
    np.multiply(squares, _ERF[0], out=polynomial)
    for coefficient in _ERF[1:-1]:
        np.add(polynomial, coefficient, out=polynomial)
        np.multiply(polynomial, squares, out=polynomial)
    np.add(polynomial, _ERF[-1], out=polynomial)
    np.multiply(polynomial, x, out=polynomial)
    np.add(polynomial, x, out=polynomial)
    np.tanh(polynomial, out=out)


def gelu_into(x: FloatArray, out: FloatArray, squares: FloatArray, polynomial: FloatArray) -> None:
    """Write x * (1 + erf(x / sqrt(2))) / 2 to `out`, which may be `x`, and allocate nothing."""
    np.multiply(x, x, out=squares)
    polynomial.fill(2 * _ERF_END)
    np.minimum(squares, polynomial, out=squares)
    np.multiply(squares, _GELU[0], out=polynomial)
    for coefficient in _GELU[1:-1]:
        np.add(polynomial, coefficient, out=polynomial)
        np.multiply(polynomial, squares, out=polynomial)
    np.add(polynomial, _GELU[-1], out=polynomial)
    np.multiply(polynomial, x, out=polynomial)
    np.tanh(polynomial, out=polynomial)
    np.add(polynomial, 1, out=polynomial)
    np.multiply(polynomial, 0.5, out=polynomial)
    np.multiply(polynomial, x, out=out)


def softplus_into(x: FloatArray, out: FloatArray, scratch: FloatArray, zeros: FloatArray) -> None:
    """Write log(1 + exp(x)) to `out`, which may be `x`, and allocate nothing."""
    np.absolute(x, out=scratch)
    np.negative(scratch, out=scratch)
    np.exp(scratch, out=scratch)
    np.log1p(scratch, out=scratch)
    zeros.fill(0)
    np.maximum(x, zeros, out=out)
    np.add(out, scratch, out=out)


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
    _subtract_largest(x, out, scratch, spread)
    np.exp(_readable(out), out=out)
    sums = _column(scratch)
    _sum_rows(out, sums)
    np.copyto(spread, sums)
    np.divide(_readable(out), spread, out=out)


def log_softmax(x: FloatArray) -> FloatArray:
    """Return the logarithm of the softmax of each row; the result is new."""
    below = x - x.max(axis=1, keepdims=True)
    result: FloatArray = below - np.log(np.exp(below).sum(axis=1, keepdims=True))
    return result


def log_softmax_into(x: FloatArray, out: FloatArray, scratch: FloatArray, spread: FloatArray) -> None:
    """Write the logarithm of the softmax of each row of `x` to `out`, which may be `x`, and allocate nothing."""
    _subtract_largest(x, out, scratch, spread)
    np.exp(out, out=scratch)
    sums = _column(spread)
    _sum_rows(scratch, sums)
    np.log(_readable(sums), out=sums)
    np.copyto(scratch, sums)
    np.subtract(_readable(out), scratch, out=out)


def layer_norm(x: FloatArray, scale: FloatArray, shift: FloatArray, epsilon: FloatArray) -> FloatArray:
    """Return each row less its mean, over its standard deviation, scaled and shifted; the result is new."""
    centered = x - x.mean(axis=1, keepdims=True)
    variance = np.square(centered).mean(axis=1, keepdims=True)
    result: FloatArray = centered / np.sqrt(variance + epsilon) * scale + shift
    return result


def layer_norm_into(
    x: FloatArray,
    scale: FloatArray,
    shift: FloatArray,
    epsilon: FloatArray,
    out: FloatArray,
    spread: FloatArray,
    scratch: FloatArray,
) -> None:
    """Write what `layer_norm` returns to `out`, which may be `x`, and allocate nothing; scale and shift: a row each, or strips."""
    column = _column(scratch)
    _sum_rows(x, column)
    np.divide(_readable(column), x.shape[1], out=column)
    np.copyto(spread, column)
    np.subtract(_readable(x), spread, out=out)
    _scale_by_deviation(out, out, epsilon, spread, column)
    np.multiply(_readable(out), _wide(scale, spread), out=out)
    np.add(_readable(out), _wide(shift, spread), out=out)


def rms_norm(x: FloatArray, scale: FloatArray, epsilon: FloatArray) -> FloatArray:
    """Return each row over the root of its mean square, scaled; the result is new."""
    result: FloatArray = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + epsilon) * scale
    return result


def rms_norm_into(x: FloatArray, scale: FloatArray, epsilon: FloatArray, out: FloatArray, spread: FloatArray, scratch: FloatArray) -> None:
    """Write what `rms_norm` returns to `out`, which may be `x`, and allocate nothing; scale: a row, or a strip."""
    _scale_by_deviation(x, out, epsilon, spread, _column(scratch))
    np.multiply(_readable(out), _wide(scale, spread), out=out)


def reduce_mean_into(x: FloatArray, out: FloatArray) -> None:
    """Write the mean of each row to the one column of `out` and allocate nothing."""
    _sum_rows(x, out)
    np.divide(_readable(out), x.shape[1], out=out)


def reduce_sum_into(x: FloatArray, out: FloatArray) -> None:
    """Write the sum of each row to the one column of `out` and allocate nothing."""
    _sum_rows(x, out)


def reduce_max_into(x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
    """Write the largest element of each row to the one column of `out` and allocate nothing."""
    _reduce_rows(np.maximum, x, scratch.reshape(scratch.shape[::-1]), out)


def reduce_min_into(x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
    """Write the smallest element of each row to the one column of `out` and allocate nothing."""
    _reduce_rows(np.minimum, x, scratch.reshape(scratch.shape[::-1]), out)


def reduce_l2_into(x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
    """Write the root of the sum of squares of each row to the one column of `out` and allocate nothing."""
    np.multiply(x, x, out=scratch)
    _sum_rows(scratch, out)
    np.sqrt(_readable(out), out=out)


def _subtract_largest(x: FloatArray, out: FloatArray, scratch: FloatArray, spread: FloatArray) -> None:
    """Write each row less its largest element to `out`."""
    _reduce_rows(np.maximum, x, scratch.reshape(scratch.shape[::-1]), spread)
    np.subtract(_readable(x), spread, out=out)


def _scale_by_deviation(x: FloatArray, out: FloatArray, epsilon: FloatArray, spread: FloatArray, column: FloatArray) -> None:
    """Write each row over the root of its mean square and epsilon to `out`."""
    np.multiply(x, x, out=spread)
    _sum_rows(spread, column)
    np.divide(_readable(column), x.shape[1], out=column)
    np.add(_readable(column), epsilon, out=column)
    np.sqrt(_readable(column), out=column)
    np.divide(1, _readable(column), out=column)
    np.copyto(spread, column)
    np.multiply(_readable(x), spread, out=out)


def _sum_rows(x: FloatArray, column: FloatArray) -> None:
    """Write the sum of each row to a matrix of one column."""
    if x.shape[1] == 1:
        np.copyto(column, x)
    else:
        x.dot(_ones(x.shape[1]), column)


@cache
def _ones(rows: int) -> FloatArray:
    """Return a column of ones, which all sums along rows of that length share."""
    return np.ones((rows, 1), np.float32)


def _column(scratch: FloatArray) -> FloatArray:
    """Return the beginning of a scratch matrix as a matrix of one column."""
    rows = scratch.shape[0]
    return scratch.reshape(-1)[:rows].reshape(rows, 1)


def _wide(operand: FloatArray, scratch: FloatArray) -> FloatArray:
    """Return an operand in the shape of a scratch matrix, where it goes unless it has that shape."""
    if operand.shape == scratch.shape:
        return operand
    np.copyto(scratch, operand)
    return scratch


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
