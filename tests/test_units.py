"""Units: numbers to text and back, at the boundaries between units."""

from __future__ import annotations

import math

import pytest

from mlbench.errors import UsageError
from mlbench.units import format_bytes, format_count, format_duration, format_kb, format_percent, format_ratio, paragraph, parse_sizes


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0.00 ns"),
        (1.234e-9, "1.23 ns"),
        (12.34e-9, "12.3 ns"),
        (123.4e-9, "123 ns"),
        (999e-9, "999 ns"),
        (0.9996e-6, "1.00 us"),
        (1e-6, "1.00 us"),
        (9.994e-6, "9.99 us"),
        (9.996e-6, "10.0 us"),
        (99.96e-6, "100 us"),
        (999e-6, "999 us"),
        (0.9996e-3, "1.00 ms"),
        (1e-3, "1.00 ms"),
        (0.999, "999 ms"),
        (0.9996, "1.00 s"),
        (1.0, "1.00 s"),
        (9.996, "10.0 s"),
        (1234.0, "1234 s"),
        (-2.5e-3, "-2.50 ms"),
    ],
)
def test_a_duration_has_three_digits_and_its_unit(duration_s: float, text: str) -> None:
    """A duration has three significant digits and the largest unit that leaves it at 1 or more."""
    assert text == format_duration(duration_s)


@pytest.mark.parametrize("duration_s", [math.nan, math.inf, -math.inf])
def test_a_duration_that_is_no_number_is_a_dash(duration_s: float) -> None:
    """Nothing measured prints as a dash."""
    assert format_duration(duration_s) == "-"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KB"),
        (1536, "1.50 KB"),
        (102_400, "100 KB"),
        (1024 * 1024 - 1024, "1023 KB"),
        (1024 * 1024, "1.00 MB"),
        (5_000_000_000, "4768 MB"),
        (-2048, "-2.00 KB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit_of_1024(size: int, text: str) -> None:
    """A size prints in B below 1024 bytes, in KB below 1024 KB, in MB above."""
    assert text == format_bytes(size)


@pytest.mark.parametrize(("size", "text"), [(0, "0.0"), (512, "0.5"), (524_288, "512.0"), (2_048_000, "2,000.0")])
def test_kb_has_one_decimal(size: int, text: str) -> None:
    """KB print with one decimal and a comma at thousands, whatever the magnitude."""
    assert text == format_kb(size)


@pytest.mark.parametrize(("ratio", "text"), [(1.714, "1.71x"), (1.0, "1.00x"), (math.nan, "-"), (math.inf, "-")])
def test_a_ratio_is_a_multiple(ratio: float, text: str) -> None:
    """A ratio prints as a multiple with two decimals, and as a dash where there is none."""
    assert text == format_ratio(ratio)


@pytest.mark.parametrize(("fraction", "text"), [(0.75, "75.0 %"), (-0.031, "-3.1 %"), (None, "-"), (math.nan, "-")])
def test_a_fraction_is_a_percentage(fraction: float | None, text: str) -> None:
    """A fraction prints as a percentage with one decimal, and as a dash where nothing was measured."""
    assert text == format_percent(fraction)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (3.0, "3"), (0.125, "0.12"), (2.4, "2.4"), (99.6, "100"), (100.4, "100"), (12345, "12345")]
)
def test_a_count_has_no_needless_decimals(count: float, text: str) -> None:
    """A count prints as a whole number where it is one or is large, with two digits elsewhere, never with an exponent."""
    assert text == format_count(count)


@pytest.mark.parametrize(("text", "sizes"), [("1", (1,)), ("1,8, 64", (1, 8, 64)), (" 8 ,1", (8, 1)), ("007", (7,))])
def test_sizes_are_parsed_in_order(text: str, sizes: tuple[int, ...]) -> None:
    """A list of sizes keeps its order, and spaces around a size do not matter."""
    assert sizes == parse_sizes(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1,,8", "8,", "1.5", "1e3", "eight", "+8", "²", "٣", "1_000"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Anything but whole numbers of 1 or more is refused, and the message repeats the text and gives an example."""
    with pytest.raises(UsageError) as caught:
        parse_sizes(text)
    assert repr(text) in str(caught.value)
    assert "1,8,64" in str(caught.value)


def test_a_size_with_thousands_of_digits_is_a_usage_error() -> None:
    """A number that Python itself refuses to convert is a usage error like any other."""
    with pytest.raises(UsageError):
        parse_sizes("1" * 5000)


def test_a_paragraph_keeps_words_whole() -> None:
    """Lines after the first are indented; neither a long path nor an option with hyphens is broken."""
    assert paragraph("see /a/very/long/path and --most-sets now", "  ", width=14) == "see\n  /a/very/long/path\n  and\n  --most-sets\n  now"
