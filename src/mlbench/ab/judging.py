"""From a comparison's sets to its verdicts: latency by `mlbench.gate.paired`, memory exactly, and tests by how they ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mlbench.ab.records import Comparison, Version
from mlbench.ab.turns import DIED, FAILED, PASSED, SKIPPED, UNUSED, Memory, Visit
from mlbench.gate import IMPROVED, INCONCLUSIVE, MISSING, NEW, PASS, REGRESSION, Finding, Judgement, Row, row_of
from mlbench.gate.paired import Effect, PairedPolicy, Standing, effect, may_go_on, standing
from mlbench.stats import median
from mlbench.units import format_bytes, format_change, format_count, format_percent

CONFIRMED = 2
"""Sets of fresh processes in which memory must have grown."""
_ENDS = {FAILED: "failed", DIED: "broke off", SKIPPED: "was skipped", UNUSED: "did not call `benchmark`"}
_SUITE = "test"
Range = tuple[int, int]


def judge(comparison: Comparison) -> Judgement:
    """Return the verdict of every row of either version; rows that were not measured to the end are inconclusive."""
    visits = visits_by_row(comparison)
    base, head, known = comparison.base, comparison.head, set(comparison.rows)
    rows = [_judge_row(row, visits.get(row, ()), comparison) for row in comparison.rows]
    rows += [_one(row, MISSING, f"{head.revision} has no such benchmark") for row in base.ids if row not in known]
    rows += [_one(row, NEW, f"{base.revision} has no such benchmark") for row in head.ids if row not in known]
    rows += [_one(file, REGRESSION, f"could not be collected in {head.revision}: {_last_line(error)}")
             for file, error in head.errors.items() if file not in base.errors]  # fmt: skip
    kept = tuple(row for row in rows if row is not None)
    return Judgement(_name(base), _name(head), kept, tuple(_notes(comparison, kept)))


def visits_by_row(comparison: Comparison) -> dict[str, list[Visit]]:
    """Return the visits of each row, in the order of the sets."""
    found: dict[str, list[Visit]] = {}
    for each in (visit for visits in comparison.sets for visit in visits):
        found.setdefault(each.id, []).append(each)
    return found


def open_rows(comparison: Comparison) -> dict[str, bool]:
    """Return the rows that another set may settle, and of each whether its footprint is to be taken again."""
    found = {}
    visits = visits_by_row(comparison)
    for row in comparison.rows:
        mine = visits.get(row, [])
        if any(_bad_end(visit) for visit in mine):
            continue
        weighed = [visit for visit in mine if visit.memory]
        is_heavier = any(_growth(visit, "peak_bytes") or _growth(visit, "allocations") for visit in weighed)
        is_unweighed = not weighed and not any(visit.once for visit in mine)
        needs_weight = is_unweighed or (is_heavier and len(weighed) < CONFIRMED)
        stand = standing_of(mine, comparison.policy)
        is_open = stand is None or (stand.verdict == INCONCLUSIVE and may_go_on(stand.sets, comparison.policy))
        if is_open or needs_weight:
            found[row] = needs_weight
    return found


def effects_of(visits: Sequence[Visit]) -> list[Effect]:
    """Return what each set found of a row, of those that measured it whole."""
    return [effect(each.rounds_s["base"], each.rounds_s["head"], each.rounds_s["control"]) for each in visits if each.is_whole]


def standing_of(visits: Sequence[Visit], policy: PairedPolicy) -> Standing | None:
    """Return where the latency of a row stands, or None where no set measured it."""
    effects = effects_of(visits)
    return standing(effects, policy) if effects else None


def standings(comparison: Comparison) -> dict[str, Standing]:
    """Return where the latency of each measured row stands."""
    found = {row: standing_of(mine, comparison.policy) for row, mine in visits_by_row(comparison).items()}
    return {row: stand for row, stand in found.items() if stand is not None}


def _judge_row(row: str, visits: Sequence[Visit], comparison: Comparison) -> Row | None:
    """Return a row, or None for what is no benchmark on either side."""
    ended = next((visit for visit in visits if _bad_end(visit)), None)
    if ended is not None:
        return _broken(row, ended, comparison)
    stand = standing_of(visits, comparison.policy)
    if stand is None:
        return _one(row, INCONCLUSIVE, "was not measured yet", quantity="latency")
    weighed = [visit for visit in visits if visit.memory]
    return row_of(row, [_latency(visits, stand, comparison.policy), *_weights(weighed)])


def _bad_end(visit: Visit) -> bool:
    return any(how != PASSED for how, _ in visit.ends.values())


def _broken(row: str, visit: Visit, comparison: Comparison) -> Row | None:
    """Return the row of a test that did not pass everywhere."""
    base, control, head = (visit.ends.get(arm, (PASSED, "")) for arm in ("base", "control", "head"))
    quiet = (SKIPPED, UNUSED)
    if base[0] in quiet and head[0] in quiet:
        return None
    if head[0] in quiet:
        return _one(row, MISSING, f"{_ENDS[head[0]]} in {comparison.head.revision}{_because(head[1])}")
    if head[0] != PASSED:
        both = ", as in the base" if base[0] == head[0] else ""
        return _one(row, REGRESSION, f"{_ENDS[head[0]]} in {comparison.head.revision}{both}{_because(head[1])}")
    if base[0] == DIED and "head" not in visit.ends:
        why = f"{_ENDS[DIED]} in {comparison.base.revision}, before {comparison.head.revision} was through with it{_because(base[1])}"
        return _one(row, INCONCLUSIVE, why)
    if base[0] != PASSED:
        return _one(
            row, NEW, f"{_ENDS[base[0]]} in {comparison.base.revision}, so that there is nothing to compare with{_because(base[1])}"
        )
    why = f"{_ENDS[control[0]]} in one of two processes of {comparison.base.revision}{_because(control[1])}"
    return _one(row, INCONCLUSIVE, why)


def _latency(visits: Sequence[Visit], stand: Standing, policy: PairedPolicy) -> Finding:
    whole = [visit for visit in visits if visit.is_whole]
    before, after = (median([median(visit.rounds_s[arm]) for visit in whole]) for arm in ("base", "head"))
    change = stand.change
    spread = f"{format_change(change.estimate)} ({format_change(change.low)} to {format_change(change.high)}, {stand.sets} sets)"
    noise = f"the base against itself differs by up to {format_percent(stand.noise)}"
    tolerated = format_change(1 + policy.tolerance)
    why = {
        PASS: f"{spread}: less than {format_change(1 + policy.limit)}",
        IMPROVED: f"{spread} is faster by more than the noise: {noise}",
        REGRESSION: f"{spread} is slower by more than {tolerated}, also in {stand.fresh} fresh sets alone; {noise}",
        INCONCLUSIVE: f"{spread} is neither surely less than {format_change(1 + policy.limit)} nor surely more than {tolerated}; "
        f"{_wish(stand, whole)}",
    }[stand.verdict]
    return Finding("latency", stand.verdict, why, before, after, "s", change, policy.tolerance)


def _wish(stand: Standing, whole: Sequence[Visit]) -> str:
    once = ", because each can call the target only once" if any(visit.once for visit in whole) else ""
    return f"about {stand.missing} more sets of processes would settle it{once}"


def _weights(visits: Sequence[Visit]) -> Iterator[Finding]:
    """Give the findings about memory, from the sets that took footprints."""
    instruments = {(visit.memory["base"].instrument, visit.memory["head"].instrument) for visit in visits}
    for base, head in instruments:
        if base != head:
            yield Finding("peak bytes", INCONCLUSIVE, f"measured by {base} in the base and by {head} in the head; install memray in both")
            return
    for quantity, name, text in (("peak_bytes", "peak bytes", format_bytes), ("allocations", "allocations", format_count)):
        pairs = [(_range(visit.memory["base"], quantity), _range(visit.memory["head"], quantity)) for visit in visits]
        known = [(base, head) for base, head in pairs if base is not None and head is not None]
        if known:
            growths = [_growth(visit, quantity) for visit in visits]
            yield _weight(name, known, growths, text)


def _weight(name: str, known: Sequence[tuple[Range, Range]], growths: Sequence[int], text: Callable[[float], str]) -> Finding:
    (base, head) = known[-1]
    unit = "bytes" if name == "peak bytes" else "count"
    numbers = f"{name} {_told(base, text)} -> {_told(head, text)}"
    if all(growth > 0 for growth in growths):
        verdict = REGRESSION if len(growths) >= CONFIRMED else INCONCLUSIVE
        why = (
            f"{numbers}, in {len(growths)} sets of fresh processes" if verdict == REGRESSION else f"{numbers}; one more set would settle it"
        )
    elif any(growth > 0 for growth in growths):
        verdict, why = INCONCLUSIVE, f"{numbers}, but not in every set of fresh processes"
    elif all(growth < 0 for growth in growths):
        verdict, why = IMPROVED, numbers
    else:
        verdict, why = PASS, numbers if base != head else f"{name} {_told(base, text)}"
    return Finding(name, verdict, why, float(base[1]), float(head[1]), unit, None, 0.0)


def _growth(visit: Visit, quantity: str) -> int:
    """Return 1 where the head's least lies above the most of both processes of the base, -1 the other way round, else 0."""
    head, *others = (_range(visit.memory[arm], quantity) if arm in visit.memory else None for arm in ("head", "base", "control"))
    bases = [each for each in others if each is not None]
    if head is None or not bases or visit.memory["head"].instrument != visit.memory["base"].instrument:
        return 0
    if head[0] > max(most for _, most in bases):
        return 1
    return -1 if head[1] < min(least for least, _ in bases) else 0


def _range(memory: Memory, quantity: str) -> Range | None:
    found: Range | None = getattr(memory, quantity)
    return found


def _told(found: Range, text: Callable[[float], str]) -> str:
    return text(found[0]) if found[0] == found[1] else f"{text(found[0])} to {text(found[1])}"


def _one(row: str, verdict: str, why: str, quantity: str = _SUITE) -> Row:
    return Row(row, verdict, (Finding(quantity, verdict, why),))


def _because(text: str) -> str:
    return f": {_last_line(text)}" if text.strip() else ""


def _last_line(text: str) -> str:
    """Return the line of a traceback that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (told or lines or ["no reason given"])[0 if told else -1][:300]


def _name(version: Version) -> str:
    commit, changed, _ = version.commit.partition("+")
    told = f"{commit[:9]} and changes" if changed else commit[:9]
    return version.revision if version.commit.startswith(version.revision) else f"{version.revision} ({told})"


def _notes(comparison: Comparison, rows: Sequence[Row]) -> Iterator[str]:
    base, head = comparison.base, comparison.head
    if base.commit == head.commit:
        yield "Both versions are the same: this is an A/A comparison"
    different = {
        name: (base.versions.get(name, "none"), found) for name, found in head.versions.items() if base.versions.get(name) != found
    }
    for name, (old, new) in different.items():
        yield f"{name} {old} in {base.revision} and {new} in {head.revision}: what differs may be theirs"
    for file, error in base.errors.items():
        where = "either version" if file in head.errors else base.revision
        yield f"{file} could not be collected in {where}: {_last_line(error)}"
    if not base.ids and not head.ids:
        yield "No test that was collected asks for the fixture `benchmark`: nothing was judged"
    once = [row.id for row in rows if any(visit.once for visit in visits_by_row(comparison).get(row.id, ()))]
    if once:
        yield (f"{len(once)} of the targets may be called once only (pedantic with one round and no setup): each set of processes measures "
               "them by a single call, without a footprint, so that they need more sets")  # fmt: skip
    if not comparison.is_complete:
        yield "Broken off: what was still open counts as inconclusive; --resume goes on"
