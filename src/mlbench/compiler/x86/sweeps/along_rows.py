"""Row-wise ops as expressions: softmax, norms and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from mlbench.compiler.x86.sweeps import vector_math
from mlbench.compiler.x86.sweeps.expressions import ANY_BIT, MAX, MIN, SUM, Expression, apply, number, reduce
from mlbench.compiler.x86.sweeps.formula import Formula


def _square(f: Formula, x: int) -> int:
    return f.mul(x, x)


def _mean(x: Expression, columns: int) -> Expression:
    return apply(Formula.div, reduce(SUM, x), number(columns))


def _inverse_root(f: Formula, x: int) -> int:
    return f.div(f.number(1.0), f.sqrt(x))


def _exp_below(f: Formula, x: int) -> int:
    return vector_math.exp(f, x, is_below=True)


def exponentials(x: Expression) -> Expression:
    """Return exp(x - the largest of the row), which a softmax divides by their sum."""
    return apply(_exp_below, apply(Formula.sub, x, reduce(MAX, x)))


def softmax(powers: Expression) -> Expression:
    """Return the softmax of a row, from its `exponentials`."""
    return apply(Formula.div, powers, reduce(SUM, powers))


def log_softmax(x: Expression, _: int) -> Expression:
    """Return the logarithm of the softmax."""
    below = apply(Formula.sub, x, reduce(MAX, x))
    return apply(Formula.sub, below, apply(vector_math.log, reduce(SUM, apply(_exp_below, below))))


def layer_norm(x: Expression, columns: int, scale: Expression, shift: Expression, epsilon: Expression) -> Expression:
    """Return each row less its mean, over its standard deviation, scaled and shifted."""
    centered = apply(Formula.sub, x, _mean(x, columns))
    variance = _mean(apply(_square, centered), columns)
    inverse = apply(_inverse_root, apply(Formula.add, variance, epsilon))
    return apply(Formula.fma, apply(Formula.mul, centered, inverse), scale, shift)


def rms_norm(x: Expression, columns: int, scale: Expression, epsilon: Expression) -> Expression:
    """Return each row over the root of its mean square, scaled."""
    inverse = apply(_inverse_root, apply(Formula.add, _mean(apply(_square, x), columns), epsilon))
    return apply(Formula.mul, apply(Formula.mul, x, inverse), scale)


def _extreme(reduction: str, x: Expression) -> Expression:
    """Return the largest or the smallest number, NaN if one of them is."""
    return apply(Formula.either, reduce(reduction, x), reduce(ANY_BIT, apply(Formula.is_nan, x)))


def place_along(reduction: str, x: Expression, columns: Expression) -> Expression:
    """Return the column of the first largest or smallest number, or of the first NaN.

    Args:
        reduction: MAX or MIN.
        x: the row.
        columns: the number of each column.
    """
    most, some_nan = reduce(reduction, x), reduce(ANY_BIT, apply(Formula.is_nan, x))
    return reduce(MIN, apply(_column_there, x, most, some_nan, columns))


def _column_there(f: Formula, x: int, most: int, some_nan: int, column: int) -> int:
    is_there = f.either(f.is_nan(x), f.without(some_nan, f.is_equal(x, most)))
    return f.select(is_there, column, f.number(math.inf))


REDUCTIONS: Mapping[str, Callable[[Expression, int], Expression]] = {
    "reduce_mean": _mean,
    "reduce_sum": lambda x, _: reduce(SUM, x),
    "reduce_max": lambda x, _: _extreme(MAX, x),
    "reduce_min": lambda x, _: _extreme(MIN, x),
    "reduce_l2": lambda x, _: apply(Formula.sqrt, reduce(SUM, apply(_square, x))),
}
"""What each op makes of a row and its number of columns."""
