"""Findings on memory: peak bytes and allocations, exactly where nothing but the code differs, otherwise with a stated tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlbench.gate.compatibility import Kinship
from mlbench.gate.policy import (
    ALLOCATION_COUNT,
    ALLOCATION_TOLERANCE,
    ALLOCATIONS,
    MEMORY_BYTES,
    MEMORY_TOLERANCE,
    OTHER_PLAN_TOLERANCE,
    PEAK,
    PEAK_WITHOUT_COPIES,
    percent,
)
from mlbench.gate.verdict import IMPROVED, INCONCLUSIVE, MISSING, PASS, REGRESSION, Finding
from mlbench.results import OBJECTS, RUNNER, STATED, Measurement, StaticBytes


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much a whole number may grow.

    Attributes:
        tolerance: share of what it was.
        extra: on top of that, in its unit.
        because: why so much; empty where the comparison is exact.
    """

    tolerance: float = 0.0
    extra: float = 0.0
    because: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether nothing may grow."""
        return not self.tolerance and not self.extra

    def __str__(self) -> str:
        parts = [f"{100 * self.tolerance:g} %" if self.tolerance else "", f"{self.extra:g}" if self.extra else ""]
        return " and ".join(part for part in parts if part) or "nothing"


EXACT = Allowance()


def memory_allowances(before: Measurement, after: Measurement, kin: Kinship) -> dict[str, Allowance]:
    """Return what the policy allows for each quantity of memory."""
    is_counted_alike = before.counted == after.counted
    planned = is_counted_alike and (before.plan != after.plan or (before.plan is None and before.case.get("runner") == "optimized"))
    why = []
    if planned:
        why.append("another plan" if before.plan and after.plan else "a plan that is not known")
    if not kin.same_numpy:
        why.append("another NumPy or memray")
    if is_counted_alike and before.counted == OBJECTS and not kin.same_python:
        why.append("another Python, whose objects have other sizes")
    if planned and not kin.same_blas:
        why.append("another BLAS, which decides on plans")
    if not why:
        return {PEAK: EXACT, PEAK_WITHOUT_COPIES: EXACT, ALLOCATIONS: EXACT}
    because = f"because of {', '.join(why)}"
    share = OTHER_PLAN_TOLERANCE if planned and not kin.same_blas else MEMORY_TOLERANCE
    allocates = before.footprint is None or before.footprint.allocations != 0
    return {
        PEAK: Allowance(share, MEMORY_BYTES, because),
        PEAK_WITHOUT_COPIES: Allowance(share, MEMORY_BYTES, because),
        ALLOCATIONS: Allowance(ALLOCATION_TOLERANCE, ALLOCATION_COUNT, because) if allocates else EXACT,  # none stays none
    }


def memory_findings(before: Measurement, after: Measurement, allowances: dict[str, Allowance]) -> list[Finding]:
    """Compare the footprints of a row, and what is held between calls; where there are copies of weights, without them as well."""
    if before.footprint is None:
        return []
    found: list[Finding] = []
    if after.footprint is None:
        return [Finding(PEAK, MISSING, "the baseline has a footprint, this run has none", before.memory_bytes, unit="bytes")]
    instruments = (before.footprint.instrument, after.footprint.instrument)
    if instruments[0] != instruments[1]:
        why = (
            f"memory: {instruments[0]} measured the baseline and {instruments[1]} this run, and they see different things; use one of them"
        )
        return [Finding(PEAK, INCONCLUSIVE, why, before.memory_bytes, after.memory_bytes, "bytes")]
    steady = before.footprint.is_steady and after.footprint.is_steady
    if before.counted is not None and before.counted != after.counted:
        found.append(_counted_otherwise(before, after))
    else:
        known = replace(after, static=after.static if before.counted == after.counted else StaticBytes())  # what the baseline knows of
        for quantity, (one, other) in _sizes(before, known).items():
            found.append(grown(quantity, "bytes", one, other, allowances[quantity], steady=steady))
    counts = (before.footprint.allocations, after.footprint.allocations)
    if counts[0] is not None and counts[1] is not None:
        found.append(grown(ALLOCATIONS, "count", counts[0], counts[1], allowances[ALLOCATIONS], steady=steady))
    elif counts[0] is not None:
        found.append(Finding(ALLOCATIONS, MISSING, "the baseline has a count of allocations, this run has none", counts[0], unit="count"))
    return found


def _sizes(before: Measurement, after: Measurement) -> dict[str, tuple[int, int]]:
    """Return what is compared, before and after, of two rows that have footprints."""
    pairs = {PEAK: (before.memory_bytes, after.memory_bytes)}
    if before.static.weight_copies or after.static.weight_copies:
        pairs[PEAK_WITHOUT_COPIES] = (before.memory_without_copies_bytes, after.memory_without_copies_bytes)
    return {quantity: (one, other) for quantity, (one, other) in pairs.items() if one is not None and other is not None}


def uncounted(before: Mapping[str, Measurement], after: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Return a note on rows of which the baseline does not know what they hold between calls, while the new run does."""
    names = [name for name, each in before.items() if name in after and each.counted is None and after[name].counted is not None]
    if not names:
        return ()
    counted = f"{len(names)} rows hold between calls, such as {names[0]}," if len(names) > 1 else f"{names[0]} holds between calls"
    return (f"what {counted} was not counted in the baseline, and is not judged; replace the baseline",)


def _counted_otherwise(before: Measurement, after: Measurement) -> Finding:
    if after.counted is None:
        why = "the baseline counts what is held between calls, this run does not; name it in the test, as holds=..."
        return Finding(PEAK, MISSING, why, before.memory_bytes, unit="bytes")
    how = {RUNNER: "by our runner itself", OBJECTS: "object by object", STATED: "by the test itself"}
    one, other = (how[each.counted or ""] for each in (before, after))
    why = f"what is held between calls was counted {one} in the baseline and {other} in this run, and the two see different things"
    return Finding(PEAK, INCONCLUSIVE, why, before.memory_bytes, after.memory_bytes, "bytes")


def grown(quantity: str, unit: str, before: int, after: int, allowed: Allowance, *, steady: bool = True) -> Finding:
    """Compare two whole numbers of which more is worse; what was not steady can only be doubted."""
    most = before * (1 + allowed.tolerance) + allowed.extra
    change = f"{quantity} {before:,} -> {after:,}"
    if before and before != after:
        change += f" ({percent(after / before - 1)})"
    if after > most:
        verdict = REGRESSION if steady else INCONCLUSIVE
        doubt = "" if steady else "; repeats of the footprint did not agree, measure again"
        limit = "compared exactly" if allowed.is_exact else f"at most {most:,.0f}, {allowed.because}"
        return Finding(quantity, verdict, f"{change}: {limit}{doubt}", before, after, unit, tolerance=allowed.tolerance)
    if after < before / (1 + allowed.tolerance) - allowed.extra:
        return Finding(quantity, IMPROVED, f"{change}: less than before", before, after, unit, tolerance=allowed.tolerance)
    told = "as before" if before == after else f"{allowed} more allowed {allowed.because}"
    return Finding(quantity, PASS, f"{change}: {told}", before, after, unit, tolerance=allowed.tolerance)
