"""What generated code executes is compared exactly, where nothing but the code differs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from mlbench.gate import IMPROVED, MISSING, PASS, REGRESSION, judge_results
from mlbench.results import CodeCounts, Measurement
from support.saved_results import PLAN, case, result

COUNTS = CodeCounts("AVX2", 1000, 500, 300, 40, 9000, 1000, 640)


def verdicts(before: CodeCounts | None, after: CodeCounts | None, plan: object = PLAN) -> dict[str, str]:
    """Return the verdicts on the code of a row."""
    rows: list[Measurement] = [replace(case(), code=before), replace(case(), code=after, plan=plan)]  # type: ignore[arg-type]
    judged = judge_results(result(rows[0]), result(rows[1]), None, dt.date(2026, 1, 2))
    quantities = ("instructions", "bytes loaded and stored")
    return {each.quantity: each.verdict for each in judged.rows[0].findings if each.quantity in quantities}


@pytest.mark.parametrize(
    ("after", "instructions", "moved"),
    [
        (COUNTS, PASS, PASS),
        (replace(COUNTS, instructions=1001), REGRESSION, PASS),
        (replace(COUNTS, instructions=999), IMPROVED, PASS),
        (replace(COUNTS, load_bytes=9001), PASS, REGRESSION),
        (replace(COUNTS, store_bytes=999), PASS, IMPROVED),
        (replace(COUNTS, code_bytes=9999), PASS, PASS),
    ],
    ids=["same", "one-more", "one-less", "loads-more", "stores-less", "longer-code"],
)
def test_one_more_is_a_regression(after: CodeCounts, instructions: str, moved: str) -> None:
    """One instruction or one byte more is red; bytes of code depend on addresses and are not compared."""
    assert verdicts(COUNTS, after) == {"instructions": instructions, "bytes loaded and stored": moved}


def test_counts_that_are_gone_are_missing() -> None:
    """A run without counts does not pass against a baseline with them."""
    assert verdicts(COUNTS, None) == {"instructions": MISSING}


@pytest.mark.parametrize(
    ("before", "after", "plan"),
    [
        (None, COUNTS, PLAN),
        (COUNTS, replace(COUNTS, instruction_set="AVX-512", instructions=9), PLAN),
        (COUNTS, replace(COUNTS, instructions=2000), {**PLAN, "tile_rows": 12}),
        (COUNTS, replace(COUNTS, instructions=2000, caches="48K/12, 2048K"), PLAN),
    ],
    ids=["no-counts-before", "another-instruction-set", "another-plan", "other-caches"],
)
def test_other_code_on_purpose_is_not_compared(before: CodeCounts | None, after: CodeCounts, plan: object) -> None:
    """Nothing is said of counts where the baseline has none, or the instructions, the plan or the caches are others."""
    assert verdicts(before, after, plan) == {}
