"""Element-wise ops as formulas: what each op of a graph computes of its value or values and its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlbench.compiler.x86.sweeps import vector_math
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
}
"""Ops of one value, and of operands none of which is NaN."""
BINARY: Mapping[str, Emit] = {
    "add_values": Formula.add,
    "subtract_values": Formula.sub,
    "multiply_values": Formula.mul,
    "divide_values": Formula.div,
    "minimum_values": vector_math.smaller,
    "maximum_values": vector_math.larger,
    "power_values": vector_math.power,
}
"""Ops of two values."""
EMITS: Mapping[str, Emit] = {**UNARY, **BINARY}
