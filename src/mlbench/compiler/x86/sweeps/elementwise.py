"""Element-wise ops as formulas: what each op of a graph computes of its value or values and its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlbench.compiler.x86.encoding.isa import DOWN, EQUAL, LESS, LESS_EQUAL, NEAREST, NOT_EQUAL, TOWARDS_ZERO, UP
from mlbench.compiler.x86.sweeps import trigonometry, vector_math
from mlbench.compiler.x86.sweeps.formula import Formula

Emit = Callable[..., int]
"""`emit(formula, *values, *operands)` binds the result."""


def _relu(f: Formula, x: int) -> int:
    return f.larger(f.bits(0), x)


def _prelu(f: Formula, x: int, slope: int) -> int:
    return f.select(f.is_less(f.bits(0), x), x, f.mul(x, slope))


def _clip(f: Formula, x: int, low: int, high: int) -> int:
    return f.smaller(high, f.larger(low, x))


def _softsign(f: Formula, x: int) -> int:
    return f.div(x, f.add(vector_math.absolute(f, x), f.number(1.0)))


def _hard_sigmoid(f: Formula, x: int, alpha: int, beta: int) -> int:
    return _clip(f, f.fma(x, alpha, beta), f.bits(0), f.number(1.0))


def _hard_swish(f: Formula, x: int) -> int:
    return f.mul(x, _hard_sigmoid(f, x, f.number(1 / 6), f.number(0.5)))


def _elu(f: Formula, x: int, alpha: int) -> int:
    zero = f.bits(0)
    return f.fma(vector_math.expm1_below(f, f.smaller(zero, x)), alpha, f.larger(zero, x))


def _selu(f: Formula, x: int, alpha: int, gamma: int) -> int:
    return f.mul(_elu(f, x, alpha), gamma)


def _celu(f: Formula, x: int, alpha: int) -> int:
    zero = f.bits(0)
    return f.fma(vector_math.expm1_below(f, f.div(f.smaller(zero, x), alpha)), alpha, f.larger(zero, x))


def _sign(f: Formula, x: int) -> int:
    zero = f.bits(0)
    sign = f.either(f.both(f.is_less(zero, x), f.number(1.0)), f.both(f.is_less(x, zero), f.number(-1.0)))
    return f.either(sign, f.both(f.is_nan(x), x))


def _rounded(how: int) -> Emit:
    return lambda f, x: f.round(x, how)


def _truth(predicate: int, *, is_swapped: bool = False) -> Emit:
    """Return what gives 1 where a comparison holds, and 0 elsewhere, as where one of both is NaN."""

    def emit(f: Formula, x: int, y: int) -> int:
        return f.both(f.compare(*((y, x) if is_swapped else (x, y)), predicate), f.number(1.0))

    return emit


def _where(f: Formula, condition: int, x: int, y: int) -> int:
    return f.select(f.compare(condition, f.bits(0), NOT_EQUAL), x, y)


UNARY: Mapping[str, Emit] = {
    "relu": _relu,
    "leaky_relu": _prelu,
    "prelu": _prelu,
    "sigmoid": vector_math.sigmoid,
    "tanh": vector_math.tanh,
    "exp": vector_math.exp,
    "log": vector_math.log,
    "sqrt": Formula.sqrt,
    "square": lambda f, x: f.mul(x, x),
    "abs": vector_math.absolute,
    "neg": vector_math.negative,
    "reciprocal": lambda f, x: f.div(f.number(1.0), x),
    "erf": vector_math.erf,
    "sin": trigonometry.sin,
    "cos": trigonometry.cos,
    "gelu": vector_math.gelu,
    "gelu_tanh": vector_math.gelu_tanh,
    "softplus": vector_math.softplus,
    "softsign": _softsign,
    "silu": vector_math.silu,
    "mish": vector_math.mish,
    "hard_swish": _hard_swish,
    "elu": _elu,
    "selu": _selu,
    "celu": _celu,
    "hard_sigmoid": _hard_sigmoid,
    "clip": _clip,
    "add": Formula.add,
    "maximum": lambda f, x, row: f.larger(row, x),
    "minimum": lambda f, x, row: f.smaller(row, x),
    "multiply": Formula.mul,
    "divide": Formula.div,
    "subtract_from": lambda f, x, row: f.sub(row, x),
    "divide_into": lambda f, x, row: f.div(row, x),
    "power": vector_math.power,
    "fmod": vector_math.remainder,
    "floor": _rounded(DOWN),
    "ceil": _rounded(UP),
    "round": _rounded(NEAREST),
    "trunc": _rounded(TOWARDS_ZERO),
    "sign": _sign,
    "equal": _truth(EQUAL),
    "less": _truth(LESS),
    "less_equal": _truth(LESS_EQUAL),
    "greater": _truth(LESS, is_swapped=True),
    "greater_equal": _truth(LESS_EQUAL, is_swapped=True),
}
"""Ops of one value, and of operands none of which is NaN but those of TAKES_NAN."""
BINARY: Mapping[str, Emit] = {
    "add_values": Formula.add,
    "subtract_values": Formula.sub,
    "multiply_values": Formula.mul,
    "divide_values": Formula.div,
    "minimum_values": vector_math.smaller,
    "maximum_values": vector_math.larger,
    "power_values": vector_math.power,
    "fmod_values": vector_math.remainder,
    "equal_values": _truth(EQUAL),
    "less_values": _truth(LESS),
    "less_equal_values": _truth(LESS_EQUAL),
}
"""Ops of two values."""
CHOICES: Mapping[str, Emit] = {"where": _where, "where_else": _where}
"""Ops of a condition, and of a value and another one or a constant."""
EMITS: Mapping[str, Emit] = {**UNARY, **BINARY, **CHOICES}
TAKES_NAN = frozenset({"where_else", "fmod", "equal", "less", "less_equal", "greater", "greater_equal"})
"""Ops of which an operand may be NaN: they choose by the condition, no comparison with NaN holds, and its remainder is NaN."""
