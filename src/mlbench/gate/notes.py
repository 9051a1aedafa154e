"""What the gate says of a comparison as a whole: how the machines are related, what slips through because of it, and what is too old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlbench.gate.compatibility import OTHER, SAME, Kinship
from mlbench.gate.policy import RATIO_BOUNDS, YARDSTICK_BOUNDS, Bounds, percent
from mlbench.gate.timing import reference_ratio_of
from mlbench.gate.yardsticks import THIS
from mlbench.results import Measurement
from mlbench.results.older import OLD_FLOOR_ARM

Rows = Mapping[str, Measurement]


def machine_notes(kin: Kinship, before: Rows, after: Rows) -> tuple[str, ...]:
    """Return what differs between the machines, and how large a slowdown passes because of it; nothing where it is one machine."""
    if kin.relation == SAME:
        return ()
    told = f"{kin.relation} {'than' if kin.relation == OTHER else 'as'} the baseline's ({'; '.join(kin.differences)})"
    rows = [each for name, each in before.items() if name in after]
    cases = any(THIS in each.arms for each in rows)
    callables = [each for each in rows if THIS not in each.arms and "::" in each.case["id"]]  # not cases older than yardsticks
    compared = [each for each in callables if reference_ratio_of(each) is not None]
    alone = [each.case["id"] for each in callables if reference_ratio_of(each) is None and each.timing is not None]
    parts = [
        *([_tolerated(YARDSTICK_BOUNDS[kin.relation], "ratios of cases", kin)] if cases else []),
        *([_tolerated(RATIO_BOUNDS[kin.relation], "ratios of callables to their references", kin)] if compared else []),
    ]
    notes = [f"{told}: seconds are not compared{''.join(f', and {part}' for part in parts)}"]
    if alone:
        which = f"{len(alone)} rows without a reference, such as {alone[0]}" if len(alone) > 1 else f"{alone[0]}, which has no reference"
        notes.append(f"no time is compared on {kin.relation} for {which}: any slowdown slips through; give the callable a reference")
    return tuple(notes)


def _tolerated(bounds: Bounds, where: str, kin: Kinship) -> str:
    slips = f", so that a slowdown to {1 + bounds.tolerance:g} times slips through" if kin.relation == OTHER else ""
    return f"{percent(bounds.tolerance)} is tolerated in {where} where nothing else is said{slips}"


def age_notes(sides: Sequence[Rows], names: Sequence[str]) -> tuple[str, ...]:
    """Return which sides were measured before there were yardsticks without code under test."""
    aged = [name for rows, name in zip(sides, names, strict=True) if any(OLD_FLOOR_ARM in row.arms for row in rows.values())]
    return tuple(
        f"{name} was measured before there were yardsticks without code under test: its ratios to the floor mean something else, and times "
        "of cases are not compared by them; measure it again"
        for name in aged
    )
