"""What the gate says of a comparison as a whole: how the machines are related, and what the files are too old for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlbench.gate.machine import OTHER, SAME, Kinship
from mlbench.gate.policy import YARDSTICK_BOUNDS, percent
from mlbench.older_results import OLD_FLOOR_ARM
from mlbench.results import Measurement


def machine_notes(kin: Kinship) -> tuple[str, ...]:
    """Return how much is tolerated because of the machines, and what differs between them; nothing where it is one."""
    if kin.relation == SAME:
        return ()
    told = f"{kin.relation} than the baseline's ({'; '.join(kin.differences)})" if kin.relation == OTHER else (
        f"{kin.relation} as the baseline's ({'; '.join(kin.differences)})"
    )  # fmt: skip
    bounds = YARDSTICK_BOUNDS[kin.relation]
    slips = f", so that a slowdown to {1 + bounds.tolerance:g} times slips through" if kin.relation == OTHER else ""
    tolerated = f"{percent(bounds.tolerance)} is tolerated in ratios of cases where nothing else is said{slips}"
    return (f"{told}: seconds are not compared, and {tolerated}",)


def age_notes(sides: Sequence[Mapping[str, Measurement]], names: Sequence[str]) -> tuple[str, ...]:
    """Return which sides were measured before there were yardsticks without code under test."""
    aged = [name for rows, name in zip(sides, names, strict=True) if any(OLD_FLOOR_ARM in row.arms for row in rows.values())]
    return tuple(
        f"{name} was measured before there were yardsticks without code under test: its ratios to the floor mean something else, and times "
        "of cases are not compared by them; measure it again"
        for name in aged
    )
