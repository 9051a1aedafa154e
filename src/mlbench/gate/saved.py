"""Two saved results -> verdicts.

A row is judged by its memory first, then by the ratio to its floor (or, of a callable, to its reference), which carries to other machines
as far as kernels and caches allow, and by its seconds on the same machine only. The median of the suite is never divided out: a
uniform slowdown of the code must show, and one of the machine hits the floor as well.

Everything that is not there is red: a row that the new run lacks, a test that failed or was broken off, a quantity that is no longer
measured, a suite without a row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mlbench.errors import FileError
from mlbench.gate.machine import OTHER, SAME, Kinship, kinship
from mlbench.gate.memory import Allowance, memory_allowances, memory_findings
from mlbench.gate.policy import (
    BACKSTOP_BOUNDS,
    FLOOR_RATIO,
    LATENCY,
    LATENCY_BOUNDS,
    RATIO_BOUNDS,
    REFERENCE_RATIO,
    TEST,
    Bounds,
    least_bounds,
    percent,
)
from mlbench.gate.timing import Rounds, Series, compare_series, latency_of, noise_of, ratio_to, reference_ratio_of
from mlbench.gate.tolerances import GONE, Tolerances
from mlbench.gate.verdict import INCONCLUSIVE, MISSING, NEW, PASS, RED, REGRESSION, Finding, Judgement, Row, row_of
from mlbench.results import COMPLETE, FAILED, Measurement, Result

FLOOR_ARM = "floor"
TIMES = (FLOOR_RATIO, REFERENCE_RATIO, LATENCY)


@dataclass(frozen=True, slots=True)
class _Side:
    """The measurements of a result by id, and the floor's rounds by cell."""

    rows: dict[str, Measurement]
    floors: dict[str, Rounds]

    def series(self, quantity: str, name: str) -> Series | None:
        """Return a number of a row for each of its processes."""
        row = self.rows[name]
        if quantity == FLOOR_RATIO:
            return ratio_to(row, row.arms.get(FLOOR_ARM) or self.floors.get(row.case["cell"]))
        return latency_of(row) if quantity == LATENCY else reference_ratio_of(row)


@dataclass(frozen=True, slots=True)
class _Context:
    """What every row is judged with: both sides, how their machines are related, what is allowed, and the noise of each quantity."""

    old: _Side
    new: _Side
    kin: Kinship
    allowed: Tolerances
    noise: dict[str, float]
    reasons: Mapping[str, str]


def judge_results(
    before: Result,
    after: Result,
    tolerances: Tolerances | None,
    today: dt.date,
    names: tuple[str, str] = ("the baseline", "this run"),
    left_out: Collection[str] = (),
    reasons: Mapping[str, str] | None = None,
) -> Judgement:
    """Judge a result by another one.

    Args:
        before: the baseline.
        after: what is judged.
        tolerances: what a person allows; None for nothing beyond the policy.
        today: on which entries of the tolerances may have expired.
        names: what to call the two, for people.
        left_out: rows that are not judged, because somebody chose others; they are counted in a note.
        reasons: row to why it is missing, where that is known.

    Raises:
        FileError: when a result has two rows of one id, or a row whose arms have other processes than the row.
    """
    old, new = _side(before, names[0]), _side(after, names[1])
    kin = kinship(before.environment, after.environment)
    allowed = (tolerances or Tolerances()).on(today)
    noise = {what: noise_of([[side.series(what, name) for name in side.rows] for side in (old, new)]) for what in TIMES}
    context = _Context(old, new, kin, allowed, noise, reasons or {})
    every = (*old.rows, *(name for name in new.rows if name not in old.rows))
    rows = [_row(name, context) for name in every if name not in left_out]
    notes = (
        *_machine_notes(kin),
        *((f"left out, because other rows were chosen: {_counted(left_out)}",) if left_out else ()),
        *(tolerances.notes((*old.rows, *new.rows), today) if tolerances else ()),
        *((f"{names[1]} was broken off",) if after.status != COMPLETE else ()),
        *((_nothing_compared(old, new, names),) if all(row.verdict == NEW for row in rows) else ()),
    )
    return Judgement(*names, tuple(rows), notes)


def _nothing_compared(old: _Side, new: _Side, names: tuple[str, str]) -> str:
    has = [f"{name} has {f'{len(side.rows)} rows, such as {next(iter(side.rows))}' if side.rows else 'none'}"
           for side, name in zip((old, new), names, strict=True)]  # fmt: skip
    return f"no row was compared, which is red: {', and '.join(has)}; ask for the same sizes and threads, or replace the baseline"


def _counted(names: Collection[str]) -> str:
    shown = sorted(names)[:3]
    return f"{len(names)} rows of the baseline, such as {', '.join(shown)}" if len(names) > 1 else f"{shown[0]}"


def _machine_notes(kin: Kinship) -> tuple[str, ...]:
    if kin.relation == SAME:
        return ()
    told = f"{kin.relation} than the baseline's ({'; '.join(kin.differences)})" if kin.relation == OTHER else (
        f"{kin.relation} as the baseline's ({'; '.join(kin.differences)})"
    )  # fmt: skip
    bounds = RATIO_BOUNDS[kin.relation]
    return (f"{told}: seconds are not compared, and {percent(bounds.tolerance)} is tolerated in ratios where nothing else is said",)


def _side(result: Result, name: str) -> _Side:
    rows: dict[str, Measurement] = {}
    floors: dict[str, Rounds] = {}
    for each in result.measurements:
        if each.case["id"] in rows:
            raise FileError(f"{name}: has two rows called {each.case['id']}; measure each case once, so that it is clear which one counts")
        _check_arms(each, name)
        rows[each.case["id"]] = each
        if FLOOR_ARM in each.arms:
            floors[each.case["cell"]] = each.arms[FLOOR_ARM]
    return _Side(rows, floors)


def _check_arms(measured: Measurement, name: str) -> None:
    """Refuse arms that did not take turns with the row in each of its processes: without its ratio the row would pass by its seconds."""
    if measured.status != COMPLETE or measured.timing is None:
        return
    expected = len(measured.timing.rounds_s)
    for arm, rounds in measured.arms.items():
        if len(rounds) != expected:
            place = f"{name}: {measured.case['id']}: arms.{arm}"
            raise FileError(f"{place} has {len(rounds)} processes; expected {expected}, as in timing.rounds_s; measure it again")


def _row(name: str, context: _Context) -> Row:
    before, after = context.old.rows.get(name), context.new.rows.get(name)
    alone = _alone(before, after, context.reasons.get(name))
    if alone is None:
        assert before is not None
        assert after is not None
        found = [*_memory(name, before, after, context), *_times(name, context)]
    else:
        found = [alone]
    return row_of(name, [_excused(name, each, context.allowed) for each in found or [_nothing_in_common(context.kin)]])


def _alone(before: Measurement | None, after: Measurement | None, reason: str | None) -> Finding | None:
    """Return what there is to say of a row that cannot be compared; None where it can."""
    if after is None:
        return Finding(TEST, MISSING, f"the baseline has this row, this run does not{f': {reason}' if reason else ''}")
    if after.status == FAILED:
        return Finding(TEST, REGRESSION, f"the test failed: {after.error or 'no reason was recorded'}")
    if after.status != COMPLETE:
        return Finding(TEST, MISSING, "measuring was broken off")
    if before is None:
        return Finding(TEST, NEW, "the baseline does not have this row")
    if before.status != COMPLETE:
        why = f"the baseline's row is {before.status}, so that there is nothing to compare with; replace it by 'mlbench baseline update'"
        return Finding(TEST, INCONCLUSIVE, why)
    return None


def _nothing_in_common(kin: Kinship) -> Finding:
    if kin.relation == SAME:
        return Finding(TEST, INCONCLUSIVE, "the row has neither a footprint nor a time")
    return Finding(TEST, INCONCLUSIVE, f"{kin.relation}, and the row has neither a footprint nor a ratio, which alone carry over")


def _memory(name: str, before: Measurement, after: Measurement, context: _Context) -> Sequence[Finding]:
    allowances = memory_allowances(before, after, context.kin)
    for quantity in allowances:
        entry = context.allowed.tolerance(name, quantity)
        if entry is not None and entry.tolerance is not None:
            allowances[quantity] = Allowance(entry.tolerance, entry.extra, f"by the tolerance file: {entry.reason}")
    return memory_findings(before, after, allowances)


def _times(name: str, context: _Context) -> Sequence[Finding]:
    ratios = RATIO_BOUNDS[context.kin.relation]
    policy = {FLOOR_RATIO: ratios, REFERENCE_RATIO: ratios} | ({LATENCY: LATENCY_BOUNDS} if context.kin.relation == SAME else {})
    found: list[Finding] = []
    for quantity, default in policy.items():
        is_backstop = quantity == LATENCY and bool(found)
        bounds = _bounds(name, quantity, BACKSTOP_BOUNDS if is_backstop else default, context.allowed)
        series = (context.old.series(quantity, name), context.new.series(quantity, name))
        compared = compare_series(quantity, *series, bounds, context.noise[quantity])
        found += [] if compared is None else [compared]
    return found


def _bounds(name: str, quantity: str, default: Bounds, allowed: Tolerances) -> Bounds:
    entry = allowed.tolerance(name, quantity)
    return default if entry is None or entry.tolerance is None else least_bounds(entry.tolerance, entry.limit, default)


def _excused(name: str, found: Finding, allowed: Tolerances) -> Finding:
    """Let a red finding pass that somebody accepted, with the reason."""
    if found.verdict not in RED:
        return found
    if found.quantity == TEST and found.verdict != MISSING:
        return found  # nobody can accept a test that fails
    entry = allowed.acceptance(name, GONE if found.quantity == TEST else found.quantity)
    within = entry is not None and (entry.up_to is None or (found.after is not None and found.after <= entry.up_to))
    if entry is None or not within:
        return found
    return replace(found, verdict=PASS, why=f"{found.why}; accepted until {entry.expires}: {entry.reason}")
