"""Findings on generated code: what a call executes, which is counted and not measured, so that nothing but the code can change it."""

from __future__ import annotations

from collections.abc import Mapping

from mlbench.gate.memory import EXACT, Allowance, grown
from mlbench.gate.policy import INSTRUCTIONS, LEVEL_BYTES, MOVED_BYTES
from mlbench.gate.verdict import MISSING, Finding
from mlbench.results import CodeCounts, Measurement

QUANTITIES = (INSTRUCTIONS, MOVED_BYTES, *LEVEL_BYTES.values())
"""The bytes of the code are not compared: an address takes four bytes or eight, as the system happened to place memory."""
EXACTLY: Mapping[str, Allowance] = dict.fromkeys(QUANTITIES, EXACT)


def code_findings(before: Measurement, after: Measurement, allowances: Mapping[str, Allowance] = EXACTLY) -> list[Finding]:
    """Compare what generated code executes in a call, where both have it for the same instructions and the same plan.

    Another plan is other code on purpose, and so is code for another processor's caches; then nothing is compared.
    """
    if before.code is None or before.plan != after.plan:
        return []
    if after.code is None:
        return [Finding(INSTRUCTIONS, MISSING, "the baseline has counts of its generated code, this run has none", unit="count")]
    if (before.code.instruction_set, before.code.hierarchy) != (after.code.instruction_set, after.code.hierarchy):
        return []
    one, other = _quantities(before.code), _quantities(after.code)
    if before.code.levels and not after.code.levels:
        why = "the baseline has the bytes of each level of memory, this run has none"
        missing = [Finding(quantity, MISSING, why, unit="bytes") for quantity in one if quantity not in other]
    else:
        missing = []
    return missing + [
        grown(quantity, "count" if quantity == INSTRUCTIONS else "bytes", one[quantity], other[quantity], allowances[quantity])
        for quantity in one
        if quantity in other
    ]


def code_notes(before: Mapping[str, Measurement], after: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Return which caches code was generated for, where they differ; nothing where they do not."""
    both = [(before[name].code, after[name].code) for name in before if name in after]
    pairs = {(one.hierarchy, other.hierarchy) for one, other in both if one is not None and other is not None}
    return tuple(
        f"counts of generated code are not compared, because it follows the caches of the processor: {one} in the baseline, {other} here"
        for one, other in sorted(pairs)
        if one and other and one != other
    )


def _quantities(code: CodeCounts) -> dict[str, int]:
    levels = {LEVEL_BYTES[each.name]: each.total_bytes for each in code.levels if each.name in LEVEL_BYTES}
    return {INSTRUCTIONS: code.instructions, MOVED_BYTES: code.load_bytes + code.store_bytes, **levels}
