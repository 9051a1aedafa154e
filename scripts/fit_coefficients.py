"""Fit the coefficients of `mlbench.compiler.x86.coefficients` and print them.

    python scripts/fit_coefficients.py

Development only. Each function is `start(t) + factor(t) * P(t) / Q(t)` on an interval, and P and Q are fitted so that the largest relative
error is least: weighted least squares on Chebyshev points, whose weights grow where the error is large (Lawson 1961), and of a quotient
linear in P and Q, divided by the Q of the round before (Sanathanan and Koerner 1963). Then one coefficient after the other is rounded to
float32, from the most significant one on, and those that are left are fitted again, so that they make up for its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Wide = npt.NDArray[np.float64]
POINTS, ROUNDS = 4000, 120


def fit(
    function: Callable[[Wide], Wide], start: Callable[[Wide], Wide], factor: Callable[[Wide], Wide], variable: Callable[[Wide], Wide],
    interval: tuple[float, float], sizes: tuple[int, int], first: float = 0.0,
) -> tuple[list[float], list[float], float]:  # fmt: skip
    """Return the coefficients of P and Q, the constant ones first, and the largest relative error.

    Args:
        function: what is wanted, of x.
        start: what is there already.
        factor: what the quotient is multiplied with.
        variable: of the polynomials.
        interval: of x.
        sizes: coefficients of P, and of Q without its constant, which is 1.
        first: what P begins with, where that is known; both P and Q are scaled so that float32 has it nearly exactly.
    """
    low, high = interval
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    x = x[np.abs(x) > 1e-6]
    t, wanted, known, outer = variable(x), function(x), start(x), factor(x)
    above, below = sizes
    fixed: dict[int, float] = {0: first} if first else {}
    scale = _scale(first) if first else 1.0
    order = [index for pair in zip_longest(range(above), range(above, above + below)) for index in pair]
    for turn in range(above + below + 1):
        coefficients = _lawson(t, wanted - known, outer, wanted, sizes, fixed)
        if turn < above + below and order[turn] not in fixed:
            fixed[order[turn]] = float(np.float32(coefficients[order[turn]] * scale)) / scale
    found = np.array([fixed[index] for index in range(above + below)])
    quotient = _quotient(found, t, above)
    error = float(np.abs((known + outer * quotient - wanted) / wanted).max())
    return list(found[:above] * scale), [scale, *(found[above:] * scale)] if below else [], error


def _scale(first: float) -> float:
    """Return a float32 whose product with a number is nearly one too."""
    candidates = np.linspace(0.5, 1, 1 << 20).astype(np.float32).astype(np.float64)
    products = candidates * first
    return float(candidates[np.abs(products.astype(np.float32) - products).argmin()])


def zip_longest(one: range, other: range) -> list[tuple[int, ...]]:
    """Return pairs, and single ones where one of the two has ended."""
    longest = max(len(one), len(other))
    return [tuple(each[place] for each in (one, other) if place < len(each)) for place in range(longest)]


def _quotient(coefficients: Wide, t: Wide, above: int) -> Wide:
    top = sum(coefficient * t**power for power, coefficient in enumerate(coefficients[:above]))
    bottom = 1 + sum(coefficient * t ** (power + 1) for power, coefficient in enumerate(coefficients[above:]))
    return np.asarray(top / bottom)


def _lawson(t: Wide, rest: Wide, outer: Wide, wanted: Wide, sizes: tuple[int, int], fixed: dict[int, float]) -> Wide:
    above, below = sizes
    weights = np.ones_like(t) / len(t)
    bottom = np.ones_like(t)
    best, least = np.zeros(above + below), math.inf
    free = [index for index in range(above + below) if index not in fixed]
    scale = np.abs(t).max()
    powers = np.array([*range(above), *range(1, below + 1)])
    for _ in range(ROUNDS if free else 1):
        columns = np.column_stack(
            [outer * (t / scale) ** power for power in range(above)] + [-rest * (t / scale) ** (power + 1) for power in range(below)]
        )
        root = np.sqrt(weights) / np.abs(wanted * bottom)
        target = rest - sum((columns[:, index] * value * scale ** powers[index] for index, value in fixed.items()), np.zeros_like(rest))
        coefficients = np.zeros(above + below)
        if free:
            solved = np.linalg.lstsq(columns[:, free] * root[:, None], target * root, rcond=1e-17)[0]
            coefficients[free] = solved / scale ** powers[free]
        for index, value in fixed.items():
            coefficients[index] = value
        bottom = 1 + sum((coefficients[above + power] * t ** (power + 1) for power in range(below)), np.zeros_like(t))
        error = np.abs((outer * _quotient(coefficients, t, above) - rest) / wanted)
        if error.max() < least:
            best, least = coefficients, float(error.max())
        weights *= error + 1e-3 * error.max()
        weights /= weights.sum()
    return best


def _show(name: str, found: tuple[list[float], list[float], float]) -> None:
    above, below, error = found
    print(f"{name}: largest relative error {error:.3g} = {error * 2**24:.3f} units of 2**-24")
    print("   ", tuple(float(np.float32(each)) for each in above))
    if below:
        print("   ", tuple(float(np.float32(each)) for each in below))


def _erf(x: Wide) -> Wide:
    return np.array([math.erf(each) for each in x])


def main() -> None:
    """Fit them all."""
    zero, itself = np.zeros_like, np.asarray
    half = math.log(2) / 2
    _show("exp", fit(np.exp, lambda x: 1 + x, np.square, itself, (-half * 1.001, half * 1.001), (5, 0)))
    _show("expm1", fit(np.expm1, itself, np.square, itself, (-half * 1.001, half * 1.001), (5, 0)))
    _show("tanh", fit(np.tanh, zero, itself, np.square, (0, 9.02), (6, 4)))
    _show("erf", fit(_erf, zero, itself, np.square, (0, 3.925), (6, 5), 2 / math.sqrt(math.pi)))
    low, high = math.sqrt(0.5) - 1, math.sqrt(2) - 1
    _show("log", fit(np.log1p, lambda x: x - x * x / 2, lambda x: x**3, itself, (low, high), (9, 0)))
    _show("log1p", fit(np.log1p, zero, itself, itself, (0, 1), (4, 3)))
    quarter = math.pi / 4 * 1.001
    _show("sin", fit(np.sin, itself, lambda x: x**3, np.square, (0, quarter), (3, 0)))
    _show("cos", fit(np.cos, lambda x: 1 - x * x / 2, lambda x: x**4, np.square, (0, quarter), (3, 0)))


if __name__ == "__main__":
    main()
