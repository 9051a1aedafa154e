"""Two saved results -> verdicts.

A row is judged by its memory first, then by the ratios to its yardsticks (or, of a callable, to its reference), which carry to other
machines as far as kernels and caches allow, and by its seconds on the same machine only. The median of the suite is never divided out: a
uniform slowdown of the code must show, and the mean of all rows is judged besides; one of the machine hits the yardsticks as well. The
eager runner is a yardstick itself: its memory is judged, and its times are shown.

Everything that is not there is red: a row that the new run lacks, a test that failed or was broken off, a quantity that is no longer
measured, a suite without a row.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mlbench.errors import FileError
from mlbench.gate.code import QUANTITIES, code_findings, code_notes
from mlbench.gate.compatibility import OTHER, SAME, Kinship, kinship
from mlbench.gate.memory import EXACT, Allowance, memory_allowances, memory_findings, uncounted
from mlbench.gate.notes import age_notes, machine_notes
from mlbench.gate.policy import (
    ALONE_BOUNDS,
    BACKSTOP_BOUNDS,
    FEWEST_ROWS,
    LATENCY,
    LATENCY_BOUNDS,
    MEAN_ALONE_BOUNDS,
    MEAN_BOUNDS,
    MEAN_SPREAD,
    PRODUCTS_RATIO,
    RATIO_BOUNDS,
    REFERENCE_RATIO,
    SHIFT_SHARE,
    TEST,
    YARDSTICK_BOUNDS,
    Bounds,
    least_bounds,
)
from mlbench.gate.timing import Series, compare_series, latency_of, noise_of, reference_ratio_of
from mlbench.gate.tolerances import GONE, Tolerances
from mlbench.gate.verdict import INCONCLUSIVE, MEAN_ROW, MISSING, NEW, PASS, RED, REGRESSION, Finding, Judgement, Row, row_of
from mlbench.gate.yardsticks import THIS, YARDSTICKS, Change, Seen, change_of, findings_of, mean_change, seen, shown_only, usual_spread
from mlbench.results import COMPLETE, FAILED, Measurement, Result
from mlbench.results.network import other_network

TIMES = (REFERENCE_RATIO, LATENCY)
EAGER = "baseline"
"""The runner that is a yardstick."""


@dataclass(frozen=True, slots=True)
class _Side:
    """The measurements of a result by id."""

    rows: dict[str, Measurement]

    def series(self, quantity: str, name: str) -> Series | None:
        """Return a number of a row for each of its processes."""
        return (latency_of if quantity == LATENCY else reference_ratio_of)(self.rows[name])


@dataclass(frozen=True, slots=True)
class _Context:
    """What every row is judged with.

    Attributes:
        old: the baseline.
        new: what is judged.
        kin: how their machines are related.
        allowed: what a person allows.
        noise: spread between processes of each of TIMES.
        usual: spread between runs of each ratio to a yardstick.
        reasons: why rows are missing.
    """

    old: _Side
    new: _Side
    kin: Kinship
    allowed: Tolerances
    noise: dict[str, float]
    usual: dict[str, float]
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
    check_rows(before, names[0])
    check_rows(after, names[1])
    old, new = (_Side({each.case["id"]: each for each in result.measurements}) for result in (before, after))
    kin = kinship(before.environment, after.environment)
    allowed = (tolerances or Tolerances()).on(today)
    noise = {what: noise_of([[side.series(what, name) for name in side.rows] for side in (old, new)]) for what in TIMES}
    usual = {quantity: _usual_spread(old, arm) for quantity, arm in YARDSTICKS.items()}
    context = _Context(old, new, kin, allowed, noise, usual, reasons or {})
    every = (*old.rows, *(name for name in new.rows if name not in old.rows))
    judged = [name for name in every if name not in left_out]
    rows = [*(_row(name, context) for name in judged), *_mean_row(judged, context)]
    notes = (
        *machine_notes(kin, old.rows, new.rows),
        *age_notes((old.rows, new.rows), names),
        *uncounted(old.rows, new.rows),
        *code_notes(old.rows, new.rows),
        *((f"left out, because other rows were chosen: {_counted(left_out)}",) if left_out else ()),
        *(tolerances.notes((*old.rows, *new.rows), today) if tolerances else ()),
        *((f"{names[1]} was broken off",) if after.status != COMPLETE else ()),
        *((_nothing_compared(old, new, names),) if all(row.verdict == NEW for row in rows) else ()),
    )
    return Judgement(*names, tuple(rows), notes)


def _usual_spread(old: _Side, arm: str) -> float:
    """Return the spread between runs that is assumed at least; a row with what is no number says nothing of it, and is red by itself."""
    found = []
    for row in old.rows.values():
        with contextlib.suppress(ValueError):
            found.append(seen(row, arm) or [])
    return usual_spread(found)


def _nothing_compared(old: _Side, new: _Side, names: tuple[str, str]) -> str:
    has = [f"{name} has {f'{len(side.rows)} rows, such as {next(iter(side.rows))}' if side.rows else 'none'}"
           for side, name in zip((old, new), names, strict=True)]  # fmt: skip
    return f"no row was compared, which is red: {', and '.join(has)}; ask for the same sizes and threads, or replace the baseline"


def _counted(names: Collection[str]) -> str:
    shown = sorted(names)[:3]
    return f"{len(names)} rows of the baseline, such as {', '.join(shown)}" if len(names) > 1 else f"{shown[0]}"


def check_rows(result: Result, name: str) -> None:
    """Refuse a result that cannot be judged, nor be judged by; who measures for long does so before.

    Args:
        result: either side.
        name: what to call it, for people.

    Raises:
        FileError: when it has two rows of one id, or a row whose arms have other processes than the row.
    """
    seen_ids: set[str] = set()
    for each in result.measurements:
        if each.case["id"] in seen_ids:
            raise FileError(f"{name}: has two rows called {each.case['id']}; measure each case once, so that it is clear which one counts")
        _check_arms(each, name)
        seen_ids.add(each.case["id"])


def _check_arms(measured: Measurement, name: str) -> None:
    """Refuse arms that did not take turns with the row in each of its processes: without its ratio the row would pass by its seconds."""
    if measured.status != COMPLETE or measured.timing is None:
        return
    place, own = f"{name}: {measured.case['id']}", measured.arms.get(THIS)
    expected = len(measured.timing.rounds_s if own is None else own)
    if sum(measured.runs) not in (0, expected):
        raise FileError(f"{place}: runs {list(measured.runs)} do not add up to {expected} processes; measure it again")
    for arm, rounds in measured.arms.items():
        if len(rounds) != expected:
            raise FileError(f"{place}: arms.{arm} has {len(rounds)} processes; expected {expected}, as the row has; measure it again")


def _row(name: str, context: _Context) -> Row:
    before, after = context.old.rows.get(name), context.new.rows.get(name)
    alone = _alone(before, after, context.reasons.get(name))
    if alone is None:
        assert before is not None
        assert after is not None
        found = [*_memory(name, before, after, context), *_code(name, before, after, context), *_times(name, context)]
    else:
        found = [alone]
    return row_of(name, _all_excused(name, found or [_nothing_in_common(context.kin)], context.allowed))


def _alone(before: Measurement | None, after: Measurement | None, reason: str | None) -> Finding | None:  # noqa: PLR0911  # a list of guards
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
    other = other_network(before.case, after.case)
    if other:
        return Finding(
            TEST, MISSING, f"this is another network of the same name: {other}; replace the baseline by 'mlbench baseline update'"
        )
    return None


def _nothing_in_common(kin: Kinship) -> Finding:
    if kin.relation == SAME:
        return Finding(TEST, INCONCLUSIVE, "the row has neither a footprint nor a time")
    return Finding(TEST, INCONCLUSIVE, f"{kin.relation}, and the row has neither a footprint nor a ratio, which alone carry over")


def _memory(name: str, before: Measurement, after: Measurement, context: _Context) -> Sequence[Finding]:
    allowances = memory_allowances(before, after, context.kin)
    return memory_findings(before, after, {each: _allowed(name, each, default, context) for each, default in allowances.items()})


def _code(name: str, before: Measurement, after: Measurement, context: _Context) -> Sequence[Finding]:
    return code_findings(before, after, {quantity: _allowed(name, quantity, EXACT, context) for quantity in QUANTITIES})


def _allowed(name: str, quantity: str, default: Allowance, context: _Context) -> Allowance:
    """Return what a row of the tolerance file allows, or else the default."""
    entry = context.allowed.tolerance(name, quantity)
    if entry is None or entry.tolerance is None:
        return default
    return Allowance(entry.tolerance, entry.extra, f"by the tolerance file: {entry.reason}")


def _times(name: str, context: _Context) -> Sequence[Finding]:
    is_same = context.kin.relation == SAME
    policy = {REFERENCE_RATIO: RATIO_BOUNDS[context.kin.relation]} | ({LATENCY: LATENCY_BOUNDS} if is_same else {})
    found: list[Finding] = list(_to_yardsticks(name, context))
    for quantity, default in policy.items():
        is_backstop = quantity == LATENCY and bool(found)
        bounds = _bounds(name, quantity, BACKSTOP_BOUNDS if is_backstop else default, context.allowed)
        series = (context.old.series(quantity, name), context.new.series(quantity, name))
        compared = compare_series(quantity, *series, bounds, context.noise[quantity])
        found += [] if compared is None else [compared]
    if context.new.rows[name].case["runner"] == EAGER:
        return [each if each.change is None else shown_only(each) for each in found]
    return found


def _to_yardsticks(name: str, context: _Context) -> Sequence[Finding]:
    """Return what the gate says of a row's ratios to its yardsticks, as far as the baseline has them."""
    changes, gone = {}, []
    for quantity, arm in YARDSTICKS.items():
        try:
            before, after = (seen(side.rows[name], arm) for side in (context.old, context.new))
            if before is not None and after is not None:
                changes[quantity] = _change(name, quantity, before, after, context)
            elif before is not None:
                gone.append(Finding(quantity, MISSING, f"the baseline has a {quantity}, this run has none"))
        except ValueError as error:
            gone.append(Finding(quantity, REGRESSION, f"{quantity}: cannot be compared ({error})", unit="ratio"))
    relation = context.kin.relation
    bounds = {quantity: _bounds(name, quantity, YARDSTICK_BOUNDS[relation], context.allowed) for quantity in changes}
    return [*gone, *(findings_of(changes, bounds, ALONE_BOUNDS[relation]) if changes else ())]


def _change(name: str, quantity: str, before: Sequence[Seen], after: Sequence[Seen], context: _Context) -> Change:
    processes = min(len(side.rows[name].arms[THIS]) for side in (context.old, context.new))
    share = 0.0 if context.kin.relation == OTHER else SHIFT_SHARE[quantity]  # another machine is in another state anyway
    return change_of(before, after, context.usual[quantity], processes, share)


def _changes(name: str, context: _Context) -> dict[str, Change]:
    """Return the changes of a row's ratios, as far as both sides measured them to the end; what is no number is red in its own row."""
    sides = [side.rows.get(name) for side in (context.old, context.new)]
    found: dict[str, Change] = {}
    if None not in sides and other_network(*(each.case for each in sides if each is not None)):
        return found
    for quantity, arm in YARDSTICKS.items():
        with contextlib.suppress(ValueError):
            before, after = (seen(each, arm) if each is not None and each.status == COMPLETE else None for each in sides)
            if before is not None and after is not None:
                found[quantity] = _change(name, quantity, before, after, context)
    return found


def _mean_row(names: Sequence[str], context: _Context) -> list[Row]:
    """Return the row of the mean of all rows of the compiled runner, for which nobody allows anything of their own."""
    if context.kin.relation == OTHER:
        return []
    changes: dict[str, list[Change]] = {quantity: [] for quantity in YARDSTICKS}
    for name in names:
        found = {} if any(_has_entry(name, each, context.allowed) for each in YARDSTICKS) else _changes(name, context)
        if len(found) == len(YARDSTICKS):
            for quantity, change in found.items():
                changes[quantity].append(change)
    if len(changes[PRODUCTS_RATIO]) < FEWEST_ROWS:
        return []
    means = {quantity: mean_change(each, MEAN_SPREAD) for quantity, each in changes.items()}
    return [row_of(MEAN_ROW, findings_of(means, dict.fromkeys(means, MEAN_BOUNDS), MEAN_ALONE_BOUNDS))]


def _has_entry(name: str, quantity: str, allowed: Tolerances) -> bool:
    return allowed.tolerance(name, quantity) is not None or allowed.acceptance(name, quantity) is not None


def _bounds(name: str, quantity: str, default: Bounds, allowed: Tolerances) -> Bounds:
    entry = allowed.tolerance(name, quantity)
    return default if entry is None or entry.tolerance is None else least_bounds(entry.tolerance, entry.limit, default)


def _all_excused(name: str, found: Sequence[Finding], allowed: Tolerances) -> list[Finding]:
    """Let pass what somebody accepted; a time that is accepted by one yardstick is not red by the other one."""
    excused = [_excused(name, each, allowed) for each in found]
    accepted = [after for before, after in zip(found, excused, strict=True) if after is not before and after.quantity in YARDSTICKS]
    if not accepted:
        return excused
    return [
        replace(each, verdict=PASS, why=f"{each.why}; accepted by the {accepted[0].quantity}")
        if each.quantity in YARDSTICKS and each.verdict in RED
        else each
        for each in excused
    ]


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
