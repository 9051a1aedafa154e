"""Functions of float32 as formulas: exp, log, tanh, erf and what activations are made of.

The coefficients are our own: `scripts/fit_coefficients.py` computes them, and its docstring says how. The largest errors, in units in the
last place (ULP) of the float32 result, over all float32 arguments:

    exp 1.1, expm1 below zero 1.0, log 0.9, tanh 4.8, erf 5.1, sigmoid 2.5, silu 3.5, softplus 4.2, mish 5, power 6

A gelu errs by 3 * 2**-24 * |x| at most. Those of tanh and erf are largest where the result is close to 1, whose last place is 2**-24.
Sigmoid, silu and mish of less than -87 are 0, or as exact as a denormal exponential.

Every function gives NaN for NaN, the limits at the infinities, and results below 2**-126 (denormal) as exactly as their spacing allows.
"""

from __future__ import annotations

import math

from mlbench.compiler.x86.encoding.isa import LESS_EQUAL, NEAREST, TOWARDS_ZERO
from mlbench.compiler.x86.sweeps.formula import Formula

_MAGIC = 1.5 * 2.0**23
"""Added to a small float32 it rounds it to a whole number, which then is in the lowest bits."""
_LOG2E, _LN2_HIGH, _LN2_LOW = math.log2(math.e), 0.693359375, -2.12194440e-4
_EXP = (0.4999999403953552, 0.1666652113199234, 0.04166827350854874, 0.008368685841560364, 0.001382013550028205)
_EXPM1 = (0.4999999701976776, 0.1666654646396637, 0.04166743531823158, 0.00836627185344696, 0.0013870695838704705)
_EXP_LOW, _EXP_HIGH, _EXPM1_LOW = -104.0, 89.0, -20.0
"""Where exp(x) is 0 and infinity, and exp(x) - 1 is -1, in float32."""
_TANH_ABOVE = (1.0, 0.136815145611763, 0.0038702599704265594, 2.8042022677254863e-05, 3.065026632498302e-08, -1.2235666473070506e-11)
_TANH_BELOW = (1.0, 0.4701484739780426, 0.02725309692323208, 0.00039418810047209263, 1.289543547500216e-06)
_TANH_END = 9.000016212463379
_ERF_ABOVE = (
    0.7991505861282349, 0.13460518419742584, 0.03732557222247124, 0.002656088210642338, 0.000201466100406833, 1.453248955840536e-06,
)  # fmt: skip
_ERF_BELOW = (
    0.7082287669181824, 0.35536670684814453, 0.0807134211063385, 0.010580364614725113, 0.0008205967023968697, 2.6975645596394315e-05,
)  # fmt: skip
_ERF_END = 3.8500001430511475
"""From here on the result is 1; the quotient is exactly 1 here, so that an infinity gives 1 as well."""
_LOG = (
    0.3333331346511841, -0.25000008940696716, 0.2000207155942917, -0.16667988896369934, 0.14220359921455383, -0.12406241148710251,
    0.11883539706468582, -0.11670006811618805, 0.0674915462732315,
)  # fmt: skip
_LOG1P_ABOVE = (1.0, 1.0681322813034058, 0.23931977152824402, 0.003455962287262082)
_LOG1P_BELOW = (1.0, 1.5681321620941162, 0.6900554299354553, 0.07574793696403503)
_SIGN, _ALL_BUT_SIGN = 0x80000000, 0x7FFFFFFF
_LOG2E_HIGH, _LOG2E_LOW = 1.4426950216293335, 1.925963033500946e-08
_EXP2_LOW, _EXP2_HIGH = -151.0, 129.0
_LEAST_NORMAL, _INFINITY = 0x00800000, 0x7F800000
_ROOT_HALF = 0x3F3504F3


def absolute(f: Formula, x: int) -> int:
    """Return |x|."""
    return f.both(x, f.bits(_ALL_BUT_SIGN))


def negative(f: Formula, x: int) -> int:
    """Return -x."""
    return f.differ(x, f.bits(_SIGN))


def larger(f: Formula, x: int, y: int) -> int:
    """Return the larger, and NaN where one of them is NaN, as `numpy.maximum` does."""
    return f.select(f.is_nan(x), x, f.larger(x, y))


def smaller(f: Formula, x: int, y: int) -> int:
    """Return the smaller, and NaN where one of them is NaN, as `numpy.minimum` does."""
    return f.select(f.is_nan(x), x, f.smaller(x, y))


def _reduced(f: Formula, x: int) -> tuple[int, int]:
    """Return n as a whole number and r with x = n ln(2) + r."""
    magic = f.number(_MAGIC)
    shifted = f.fma(x, f.number(_LOG2E), magic)
    n = f.sub(shifted, magic)
    r = f.fnma(n, f.number(_LN2_LOW), f.fnma(n, f.number(_LN2_HIGH), x))
    return shifted, r


def exp(f: Formula, x: int, *, is_below: bool = False) -> int:
    """Return the exponential; 1.1 ULP.

    The power of two is multiplied in two halves, so that a result below 2**-126 is rounded once, and one beyond the largest is infinite.

    Args:
        f: the formula.
        x: the argument.
        is_below: it is known to be 0 or less.
    """
    x = f.larger(f.number(_EXP_LOW), x)
    if not is_below:
        x = f.smaller(f.number(_EXP_HIGH), x)
    shifted, r = _reduced(f, x)
    power = f.fma(f.polynomial(r, _EXP), f.mul(r, r), r)
    return _scaled(f, f.add(power, f.number(1.0)), shifted)


def _scaled(f: Formula, x: int, shifted: int) -> int:
    """Return x times two to a power, which is in the lowest bits of a number that _MAGIC was added to."""
    whole = f.sub_whole(shifted, f.number(_MAGIC))
    half = f.shift_signed(whole, 1)
    rest = f.sub_whole(whole, half)
    one = f.number(1.0)
    return f.mul(f.mul(x, f.add_whole(f.shift_left(half, 23), one)), f.add_whole(f.shift_left(rest, 23), one))


def expm1_below(f: Formula, x: int) -> int:
    """Return exp(x) - 1 for an x of 0 or less; 1.0 ULP."""
    x = f.larger(f.number(_EXPM1_LOW), x)
    shifted, r = _reduced(f, x)
    less = f.fma(f.polynomial(r, _EXPM1), f.mul(r, r), r)
    one = f.number(1.0)
    scale = f.add_whole(f.shift_left(shifted, 23), one)
    return f.fma(scale, less, f.sub(scale, one))


def log(f: Formula, x: int) -> int:
    """Return the natural logarithm; 0.9 ULP."""
    is_small = f.is_less(x, f.bits(_LEAST_NORMAL))
    scaled = f.select(is_small, f.mul(x, f.number(2.0**23)), x)
    offset = f.sub_whole(scaled, f.bits(_ROOT_HALF))
    exponent = f.to_float(f.shift_signed(offset, 23))
    exponent = f.add(exponent, f.both(is_small, f.number(-23.0)))
    mantissa = f.add_whole(f.both(offset, f.bits(0x007FFFFF)), f.bits(_ROOT_HALF))
    t = f.sub(mantissa, f.number(1.0))
    square = f.mul(t, t)
    cubic = f.fma(f.mul(f.polynomial(t, _LOG), t), square, f.mul(exponent, f.number(_LN2_LOW)))
    result = f.add(f.fnma(square, f.number(0.5), cubic), t)
    result = f.fma(exponent, f.number(_LN2_HIGH), result)
    infinity = f.bits(_INFINITY)
    zero = f.bits(0)
    result = f.select(f.is_equal(x, infinity), x, result)
    result = f.select(f.is_equal(x, zero), f.bits(_INFINITY | _SIGN), result)
    return f.either(result, f.put("compare", x, zero, number=_NOT_AT_LEAST))


def log1p_to_1(f: Formula, x: int) -> int:
    """Return log(1 + x) for 0 <= x <= 1; 2.5 ULP."""
    return f.div(f.mul(x, f.polynomial(x, _LOG1P_ABOVE)), f.polynomial(x, _LOG1P_BELOW))


def tanh(f: Formula, x: int) -> int:
    """Return the hyperbolic tangent; 4.8 ULP, which is 4.8 * 2**-24 at most."""
    x = f.smaller(f.number(_TANH_END), f.larger(f.number(-_TANH_END), x))
    square = f.mul(x, x)
    return _within_one(f, f.div(f.mul(x, f.polynomial(square, _TANH_ABOVE)), f.polynomial(square, _TANH_BELOW)))


def erf(f: Formula, x: int) -> int:
    """Return the error function; 5.1 ULP, which is 5.1 * 2**-24 at most."""
    x = f.smaller(f.number(_ERF_END), f.larger(f.number(-_ERF_END), x))
    square = f.mul(x, x)
    return _within_one(f, f.div(f.mul(x, f.polynomial(square, _ERF_ABOVE)), f.polynomial(square, _ERF_BELOW)))


def _within_one(f: Formula, x: int) -> int:
    return f.smaller(f.number(1.0), f.larger(f.number(-1.0), x))


def sigmoid(f: Formula, x: int) -> int:
    """Return 1 / (1 + exp(-x)); 2.5 ULP, and 0 below -88.7."""
    one = f.number(1.0)
    return f.div(one, f.add(one, exp(f, negative(f, x))))


def silu(f: Formula, x: int) -> int:
    """Return x / (1 + exp(-x)); 3.5 ULP, and 0 below -88.7."""
    return f.div(x, f.add(f.number(1.0), exp(f, negative(f, x))))


def softplus(f: Formula, x: int) -> int:
    """Return log(1 + exp(x)); 4.2 ULP."""
    power = exp(f, f.either(x, f.bits(_SIGN)), is_below=True)
    return f.add(f.larger(f.bits(0), x), log1p_to_1(f, power))


def mish(f: Formula, x: int) -> int:
    """Return x * tanh(log(1 + exp(x))): with e = exp(x) that is x * n / (n + 2), n = e (e + 2); 5 ULP."""
    power = exp(f, f.smaller(f.number(30.0), x))
    two = f.number(2.0)
    n = f.mul(power, f.add(power, two))
    return f.mul(x, f.div(n, f.add(n, two)))


def gelu(f: Formula, x: int) -> int:
    """Return x / 2 * (1 + erf(x / sqrt(2))); off by 3 u |x| at most, u = 2**-24."""
    half = f.mul(x, f.number(0.5))
    return f.fma(half, erf(f, f.mul(x, f.number(math.sqrt(0.5)))), half)


def gelu_tanh(f: Formula, x: int) -> int:
    """Return x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))); off by 3 u |x| at most."""
    root = math.sqrt(2 / math.pi)
    inner = f.mul(x, f.fma(f.mul(x, x), f.number(0.044715 * root), f.number(root)))
    half = f.mul(x, f.number(0.5))
    return f.fma(half, tanh(f, inner), half)


def remainder(f: Formula, x: int, y: int) -> int:
    """Return what is left of x when y is subtracted as often as it can be, with the sign of x: C's `fmodf`, exactly.

    It is a long division, 22 bits of the quotient at a time from its largest on. Each digit is the integer part of a quotient, and may be
    one too large, because that was rounded; then the rest is below zero, and the divisor is added again. So each rest is exact.
    """
    left, divisor = absolute(f, x), absolute(f, y)
    for digit in reversed(range(_DIGITS)):
        bits = digit * _DIGIT_BITS
        scaled = divisor
        while bits:
            step = min(bits, 127)
            scaled, bits = f.mul(scaled, f.number(2.0**step)), bits - step
        rest = f.fnma(f.round(f.div(left, scaled), TOWARDS_ZERO), scaled, left)
        rest = f.add(rest, f.both(f.is_less(rest, f.bits(0)), scaled))
        left = f.select(f.compare(scaled, left, LESS_EQUAL), rest, left)
    return f.either(f.either(left, f.both(x, f.bits(_SIGN))), f.is_nan(y))


_DIGITS, _DIGIT_BITS = 13, 22
"""The largest float32 is less than 2**(13 * 22) times the smallest one."""
_NOT_AT_LEAST = 9
"""The predicate of a comparison that is true where x < y or one of them is NaN (CMPPS, NGE_US)."""


def power(f: Formula, x: int, y: int) -> int:
    """Return x to the y-th; 6 ULP, and the special values of C's `powf`.

    The exponent y * log2(x) is a sum of two float32, because its error is multiplied by up to 128.
    """
    size, one, zero, infinity = absolute(f, x), f.number(1.0), f.bits(0), f.bits(_INFINITY)
    high, low = _log2(f, size)
    high = f.select(f.is_equal(size, zero), f.bits(_INFINITY | _SIGN), high)
    high = f.select(f.is_less(size, infinity), high, size)
    most = f.bits(_INFINITY - 1)
    finite_y = f.smaller(most, f.larger(f.bits((_INFINITY - 1) | _SIGN), y))
    product = f.mul(finite_y, high)
    rest = f.fma(finite_y, low, negative(f, f.fnma(finite_y, high, product)))
    rest = f.both(rest, f.is_less(absolute(f, product), f.number(200.0)))
    result = _exp2(f, product, rest)
    is_whole = f.is_equal(f.round(y, NEAREST), y)
    is_undefined = f.without(is_whole, f.both(f.is_less(x, zero), f.is_less(size, infinity)))
    half = f.mul(y, f.number(0.5))
    is_odd = f.without(f.is_equal(f.round(half, NEAREST), half), is_whole)
    result = f.either(f.either(result, is_undefined), f.both(f.both(x, f.bits(_SIGN)), is_odd))
    return f.select(f.either(f.is_equal(x, one), f.is_equal(y, zero)), one, result)


def _log2(f: Formula, x: int) -> tuple[int, int]:
    """Return the logarithm to base 2 of a number above zero as a sum of two."""
    is_small = f.is_less(x, f.bits(_LEAST_NORMAL))
    scaled = f.select(is_small, f.mul(x, f.number(2.0**23)), x)
    offset = f.sub_whole(scaled, f.bits(_ROOT_HALF))
    exponent = f.add(f.to_float(f.shift_signed(offset, 23)), f.both(is_small, f.number(-23.0)))
    t = f.sub(f.add_whole(f.both(offset, f.bits(0x007FFFFF)), f.bits(_ROOT_HALF)), f.number(1.0))
    half = f.mul(t, f.number(0.5))
    square = f.mul(half, t)
    less = negative(f, f.fnma(half, t, square))
    high = f.sub(t, square)
    low = f.sub(f.sub(f.sub(t, high), square), less)
    cubic = f.mul(f.mul(f.polynomial(t, _LOG), t), f.mul(t, t))
    total = f.add(high, cubic)
    low = f.add(low, f.add(f.sub(high, total), cubic))
    log2e = f.number(_LOG2E_HIGH)
    scaled_high = f.mul(total, log2e)
    scaled_low = negative(f, f.fnma(total, log2e, scaled_high))
    scaled_low = f.fma(low, log2e, f.fma(total, f.number(_LOG2E_LOW), scaled_low))
    sum_high = f.add(exponent, scaled_high)
    return sum_high, f.add(f.add(f.sub(exponent, sum_high), scaled_high), scaled_low)


def _exp2(f: Formula, high: int, low: int) -> int:
    """Return two to the power of a sum."""
    high = f.smaller(f.number(_EXP2_HIGH), f.larger(f.number(_EXP2_LOW), high))
    magic = f.number(_MAGIC)
    shifted = f.add(high, magic)
    r = f.mul(f.add(f.sub(high, f.sub(shifted, magic)), low), f.number(math.log(2)))
    return _scaled(f, f.add(f.fma(f.polynomial(r, _EXP), f.mul(r, r), r), f.number(1.0)), shifted)
