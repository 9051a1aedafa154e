"""Sine and cosine of float32 as formulas, for arguments of any size.

An argument is counted in quarters of a turn first. That takes more digits of 2/pi the larger it is, and of those before the point only the
last two bits count: M * 2**k quarters are M * (2**k * 2/pi mod 4), for a whole M (Payne and Hanek, "Radian reduction for trigonometric
functions", 1983). So arguments are sorted into eight bands by their exponent. Each band has a power of two that makes them whole, and its
product with 2/pi modulo 4, as a sum of four float32. A vector instruction picks the band's numbers, lane by lane. No jump depends on an
argument, and a large one costs no more than a small one.

The products are exact as sums of two float32 (fused multiply-adds give the second one), and so are the sums (Knuth, TAOCP 2, 4.2.2,
theorem B). The largest errors over all float32 arguments, in units in the last place (ULP): sin 1.2, cos 1.2.
"""

from __future__ import annotations

from mlbench.compiler.x86.encoding.isa import NEAREST
from mlbench.compiler.x86.sweeps.formula import Formula
from mlbench.compiler.x86.sweeps.vector_math import absolute, negative

_SCALES = (0x3F800000, 0x3F800000, 0x3A800000, 0x32800000, 0x2A800000, 0x22800000, 0x1A800000, 0x12800000)
"""2**-k of each band; k is 0 up to 2**33, and 16 more for each power of 2**16."""
_QUARTERS = (
    (0x3F22F983, 0x3F22F983, 0xBDCF9236, 0x3FDC9C88, 0x3F882A54, 0x3F27F09D, 0x3F1D5F48, 0xBF382B2D),
    (0x32DC9C88, 0x32DC9C88, 0xB0DDF56B, 0x32A94FE1, 0xB1762A0C, 0x32BE8FAA, 0xB22CB224, 0x32EE06DB),
    (0x25A94FE1, 0x25A94FE1, 0xA1762A0C, 0x25EAFA3F, 0x24FA9A6F, 0xA63223F2, 0x245B6296, 0x2525664F),
    (0x18EAFA3F, 0x18EAFA3F, 0x14FA9A6F, 0x9932C890, 0x977C9276, 0x9993AD4D, 0x97CD8779, 0x17872084),
)  # fmt: skip
"""2**k * 2/pi of each band, modulo 4 where k is not 0: bits of float32, whose sum it is."""
_BAND_BITS = 27
"""The highest bits of a float32 from here on are the sign and four bits of the exponent; the lowest three of these are the band."""
_HALF_PI_HIGH, _HALF_PI_LOW = 1.5707963705062866, -4.371138828673793e-08
_SIN = (-0.6459640860557556, 0.07969260960817337, -0.004681473597884178, 0.00015864829765632749)
_COS = (-1.2337005138397217, 0.253669410943985, -0.020861513912677765, 0.0009067014907486737)
_SIGN = 0x80000000
_ITSELF_BELOW = 2.0**-12
"""Where the sine of a number is the number."""


def sin(f: Formula, x: int) -> int:
    """Return the sine; 1.2 ULP."""
    quarters, high, low = _quarters(f, x)
    result = _of_quarters(f, quarters, high, low)
    return f.select(f.is_less(absolute(f, x), f.number(_ITSELF_BELOW)), x, result)


def cos(f: Formula, x: int) -> int:
    """Return the cosine, a sine a quarter of a turn ahead; 1.2 ULP."""
    quarters, high, low = _quarters(f, x)
    return _of_quarters(f, f.add_whole(quarters, f.bits(1)), high, low)


def _quarters(f: Formula, x: int) -> tuple[int, int, int]:
    """Return how many quarters of a turn an angle is: a whole number modulo 4, and as a sum of two what is left, up to half a quarter."""
    band = f.shift_right(f.larger(absolute(f, x), f.number(2.0)), _BAND_BITS)
    y = f.mul(x, f.pick(_SCALES, band))
    first, first_rest = _product(f, y, f.pick(_QUARTERS[0], band))
    second, second_rest = _product(f, y, f.pick(_QUARTERS[1], band))
    third, third_rest = _product(f, y, f.pick(_QUARTERS[2], band))
    least = f.fma(y, f.pick(_QUARTERS[3], band), third_rest)
    total, rest = _sum(f, _modulo_4(f, first), _modulo_4(f, first_rest))
    total, more = _sum(f, total, _modulo_4(f, second))
    whole = f.round(total, NEAREST)
    left, rest = f.sub(total, whole), f.add(rest, more)
    small, smaller = _sum(f, second_rest, third)
    left, one = _sum(f, left, rest)
    left, other = _sum(f, left, small)
    low = f.add(f.add(one, other), f.add(smaller, least))
    high = f.add(left, low)
    return f.to_whole(whole), high, f.add(f.sub(left, high), low)


def _product(f: Formula, x: int, y: int) -> tuple[int, int]:
    """Return a product as a sum of two."""
    product = f.mul(x, y)
    return product, negative(f, f.fnma(x, y, product))


def _sum(f: Formula, x: int, y: int) -> tuple[int, int]:
    """Return a sum as a sum of two, the second of which is what the first was rounded by."""
    total = f.add(x, y)
    of_y = f.sub(total, x)
    return total, f.add(f.sub(x, f.sub(total, of_y)), f.sub(y, of_y))


def _modulo_4(f: Formula, x: int) -> int:
    """Return what is left of a number, from -2 to 2."""
    return f.fnma(f.round(f.mul(x, f.number(0.25)), NEAREST), f.number(4.0), x)


def _of_quarters(f: Formula, quarters: int, high: int, low: int) -> int:
    """Return the sine of so many quarters of a turn."""
    square = f.fma(f.add(high, high), low, f.mul(high, high))
    half_pi = f.number(_HALF_PI_HIGH)
    line = f.mul(high, half_pi)
    rest = f.fma(low, half_pi, f.fma(high, f.number(_HALF_PI_LOW), negative(f, f.fnma(high, half_pi, line))))
    sine = f.add(line, f.fma(f.mul(high, square), f.polynomial(square, _SIN), rest))
    cosine = f.fma(square, f.polynomial(square, _COS), f.number(1.0))
    found = f.select(f.shift_left(quarters, 31), cosine, sine)
    return f.differ(found, f.both(f.shift_left(quarters, 30), f.bits(_SIGN)))
