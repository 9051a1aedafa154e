"""What generated code executes is compared exactly, where nothing but the code differs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from mlbench.gate import IMPROVED, MISSING, PASS, REGRESSION, judge_results
from mlbench.gate.verdict import Judgement
from mlbench.results import CodeCounts, LevelBytes, Measurement
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
        (COUNTS, replace(COUNTS, instructions=2000, hierarchy="L1 48.0 KB in 12 ways, lines of 64 bytes"), PLAN),
    ],
    ids=["no-counts-before", "another-instruction-set", "another-plan", "other-caches"],
)
def test_other_code_on_purpose_is_not_compared(before: CodeCounts | None, after: CodeCounts, plan: object) -> None:
    """Nothing is said of counts where the baseline has none, or the instructions, the plan or the caches are others."""
    assert verdicts(before, after, plan) == {}


HIERARCHY = "L1 32.0 KB in 8 ways, L2 512 KB in 8 ways, lines of 64 bytes"
WITHOUT_LEVELS = replace(COUNTS, hierarchy=HIERARCHY)


def with_levels(read: int = 4096, prefetched: int = 1024, written: int = 64, hierarchy: str = HIERARCHY) -> CodeCounts:
    """Return counts with bytes by level; the second level's are given."""
    levels = (LevelBytes("L2", read, prefetched, written), LevelBytes("memory", 0, 0, 0))
    return replace(COUNTS, hierarchy=hierarchy, levels=levels)


@pytest.mark.parametrize(
    ("after", "second"),
    [
        (with_levels(), PASS),
        (with_levels(read=4160), REGRESSION),
        (with_levels(prefetched=1088), REGRESSION),
        (with_levels(written=0), IMPROVED),
        (WITHOUT_LEVELS, MISSING),
    ],
    ids=["same", "reads-more", "asks-for-more", "writes-less", "gone"],
)
def test_one_line_more_from_a_level_is_a_regression(after: CodeCounts, second: str) -> None:
    """What is read, asked for in advance and written counts together, for each level; what the baseline has must be there."""
    assert level_verdicts(with_levels(), after) == {"bytes of L2": second, "bytes of memory": MISSING if after is WITHOUT_LEVELS else PASS}


def test_code_for_other_caches_is_not_compared_and_a_note_says_so() -> None:
    """Code follows the caches, so another hierarchy means other code."""
    other = with_levels(read=1, hierarchy="L1 48.0 KB in 12 ways, L2 2.00 MB in 16 ways, lines of 64 bytes")
    judged = judged_of(with_levels(), other)
    assert level_verdicts(with_levels(), other) == {}
    assert verdicts(with_levels(), other) == {}
    assert [note for note in judged.notes if "caches of the processor: L1 32.0 KB" in note and "L1 48.0 KB" in note]


def test_a_baseline_without_bytes_by_level_asks_for_none() -> None:
    """Baselines of before have none, and stay valid without a note."""
    judged = judged_of(COUNTS, with_levels())
    assert level_verdicts(COUNTS, with_levels()) == {}
    assert not [note for note in judged.notes if "caches" in note]


def judged_of(before: CodeCounts, after: CodeCounts) -> Judgement:
    """Return what the gate says of two results of a row."""
    one, other = (result(replace(case(), code=each, plan=PLAN)) for each in (before, after))
    return judge_results(one, other, None, dt.date(2026, 1, 2))


def level_verdicts(before: CodeCounts, after: CodeCounts) -> dict[str, str]:
    """Return the verdicts on the bytes of levels."""
    judged = judged_of(before, after)
    return {each.quantity: each.verdict for each in judged.rows[0].findings if each.quantity.startswith("bytes of ")}
