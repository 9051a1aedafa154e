"""The one place that turns base units into text and text into numbers.

Base units are seconds, bytes, floating point operations and plain ratios. KB and MB are 1024 and 1024 * 1024 bytes. memray's own pages
count in powers of 1000, and the flame graphs that mlbench makes say so in their title.

A multiple with an x, such as 2.10x, says how many times as fast something is, or how many floors a call takes. What a time is of another
time is a plain number, such as 0.476.
"""

from __future__ import annotations

import math
import re
import textwrap

from mlbench.errors import UsageError

BYTES_PER_KB = 1024
MOST_DIGITS = 12
TEXT_WIDTH = 110
"""Of paragraphs on a terminal."""
_DASH = "-"


def format_duration(duration_s: float) -> str:
    """Return a duration with three significant digits and its unit.

    >>> format_duration(0.0000123), format_duration(2.5)
    ('12.3 us', '2.50 s')
    """
    if not math.isfinite(duration_s):
        return _DASH
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(duration_s) >= scale * 0.9995:
            return f"{_three_digits(duration_s / scale)} {unit}"
    return f"{_three_digits(duration_s / 1e-9)} ns"


def format_bytes(size: float) -> str:
    """Return a size in B, KB or MB.

    >>> format_bytes(72), format_bytes(2048), format_bytes(3 * 1024 * 1024)
    ('72 B', '2.00 KB', '3.00 MB')
    """
    for unit, scale in (("MB", BYTES_PER_KB**2), ("KB", BYTES_PER_KB)):
        if abs(size) >= scale:
            return f"{_three_digits(size / scale)} {unit}"
    return f"{size:.0f} B"


def format_kb(size: float) -> str:
    """Return a size in KB with one decimal, whatever its magnitude.

    >>> format_kb(524288)
    '512.0'
    """
    return f"{size / BYTES_PER_KB:,.1f}"


def format_ratio(ratio: float) -> str:
    """Return a ratio as a multiple.

    >>> format_ratio(1.714)
    '1.71x'
    """
    return f"{ratio:.2f}x" if math.isfinite(ratio) else _DASH


def format_share(share: float) -> str:
    """Return a time as a share of another time, with three significant digits; below 1 it is the shorter one.

    >>> format_share(0.2994), format_share(1.19)
    ('0.299', '1.19')
    """
    return _three_digits(share) if math.isfinite(share) else _DASH


def format_percent(fraction: float | None) -> str:
    """Return a fraction as a percentage; nothing measured gives a dash.

    >>> format_percent(0.75), format_percent(None)
    ('75.0 %', '-')
    """
    return _DASH if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.1f} %"


def format_change(ratio: float) -> str:
    """Return a ratio as a change in per cent, with its sign.

    >>> format_change(1.0512), format_change(0.5)
    ('+5.1 %', '-50.0 %')
    """
    return f"{100 * (ratio - 1):+.1f} %" if math.isfinite(ratio) else _DASH


def format_count(count: float) -> str:
    """Return a count without needless decimals.

    >>> format_count(3.0), format_count(0.125)
    ('3', '0.12')
    """
    if not math.isfinite(count):
        return _DASH
    return f"{count:.0f}" if count == round(count) or count >= 10 else f"{count:.2g}"


def parse_sizes(text: str) -> tuple[int, ...]:
    """Parse a comma separated list of positive whole numbers.

    >>> parse_sizes("1,8, 64")
    (1, 8, 64)

    Raises:
        UsageError: where something else was found.
    """
    sizes = []
    for part in text.split(","):
        digits = part.strip()
        if not digits.isascii() or not digits.isdecimal() or len(digits) > MOST_DIGITS or int(digits) < 1:
            raise UsageError(f"found {digits[:20]!r} in {text[:60]!r}; expected whole numbers of 1 or more, like 1,8,64")
        sizes.append(int(digits))
    return tuple(sizes)


def paragraph(text: str, indent: str = "", width: int = TEXT_WIDTH) -> str:
    """Return text in lines, of which those after the first are indented; words stay whole, with their hyphens.

    >>> print(paragraph("one --two-three four", "  ", width=12))
    one
      --two-three
      four
    """
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _three_digits(number: float) -> str:
    """Return a number with three significant digits, never in exponent form."""
    rounded = float(f"{number:.3g}") if abs(number) < 1000 else number
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 2
    return f"{number:.{decimals}f}"


_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed, what turns the direction of text around, and halves of pairs, which no terminal takes."""


def visible(text: str) -> str:
    r"""Return text from elsewhere that a terminal only shows: colours are left out, and what else would control it is spelled.

    >>> visible("\x1b[31mred\x1b[0m"), visible("\x1b]0;title\x07")
    ('red', '\\x1b]0;title\\x07')
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), _COLOURS.sub("", text))
