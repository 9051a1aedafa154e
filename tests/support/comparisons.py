"""Comparisons as a run would measure them, made up: what the tests of the A/B and of its calibration judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlbench.results import COMPLETE
from mlbench.results.comparison import Comparison, PairedPolicy, Version
from mlbench.results.samples import ARMS, Effort, Memory, Visit

MACHINE: dict[str, Any] = {"cpu": "Some CPU", "cores": 2, "system": "Linux 6", "governor": None, "cpu_limit": None}
VERSIONS = {"python": "3.12.1", "numpy": "2.1.0", "memray": "1.19"}
ROW = "benchmarks/test_mine.py::test_square"


def memory(peak: int | tuple[int, int] = 4096, count: int | tuple[int, int] | None = 3, instrument: str = "memray") -> Memory:
    """Return what a call allocated; a range is one that is not steady."""
    peaks = peak if isinstance(peak, tuple) else (peak, peak)
    return Memory(instrument, peaks, (count, count) if isinstance(count, int) else count)


def visit(
    row: str = ROW,
    *,
    head: float = 1.0,
    control: float = 1.0,
    weights: Mapping[str, Memory] | None = None,
    once: bool = False,
) -> Visit:
    """Return what a set measured of a row: two rounds of 1 us of the base, and the other arms' ratios to it."""
    rounds = {"base": [1e-6] * 2, "head": [head * 1e-6] * 2, "control": [control * 1e-6] * 2}
    return Visit(row, rounds, dict(weights or {}), dict.fromkeys(ARMS, ("passed", "")), once=once)


def ended(row: str = ROW, **ends: str) -> Visit:
    """Return a visit that measured nothing, because the test ended in some arms: `died` or `failed: the reason` for each.

    It passed in the arms that are not named; `unreached` stands for one that another's death kept from it.
    """
    named = {**dict.fromkeys(ARMS, "passed"), **ends}
    parts = {arm: text.partition(": ") for arm, text in named.items() if text != "unreached"}
    return Visit(row, ends={arm: (how, why) for arm, (how, _, why) in parts.items()})


def weighed(base: Memory, head: Memory, control: Memory | None = None) -> dict[str, Memory]:
    """Return the footprints of a set."""
    return {"base": base, "head": head, "control": control or base}


def comparison(
    sets: Sequence[Sequence[Visit]],
    rows: Sequence[str] = (ROW,),
    head_rows: Sequence[str] | None = None,
    policy: PairedPolicy | None = None,
    **more: Any,
) -> Comparison:
    """Return a complete comparison of two revisions."""
    base = Version("main", "a" * 40, tuple(rows), {}, dict(VERSIONS))
    head = Version("topic", "b" * 40, tuple(rows if head_rows is None else head_rows), {}, dict(VERSIONS))
    made = Comparison(
        MACHINE, "mlbench ab main topic", "2026-11-25T05:00:00+00:00", ("benchmarks",), base, head, policy or PairedPolicy(), Effort(),
        [list(visits) for visits in sets], COMPLETE,
    )  # fmt: skip
    for name, value in more.items():
        setattr(made, name, value)
    return made
