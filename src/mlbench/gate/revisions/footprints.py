"""Memory of both versions, compared exactly, and red only where fresh processes keep saying so.

What one process allocates need not be what the next one does, as where data are made at random. So a set says "more" only where the head
lies above both processes of the base, which chance does once in three sets at most, whatever the spread: three processes of the same code
are exchangeable. More in every one of eight sets, or in all but one of twelve, happens by chance to one of 5,400 quantities at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mlbench.gate import IMPROVED, INCONCLUSIVE, PASS, REGRESSION, Finding
from mlbench.results.samples import Memory, Visit
from mlbench.units import format_bytes, format_count

PEAK, COUNT, HELD = "peak_bytes", "allocations", "held_bytes"
SURE = {1: ((8, 0), (12, 1)), -1: ((3, 0),)}
"""For more and for less, sets that took footprints, and how many of them may say otherwise. A gain that is chance breaks no build."""
VARYING = 3
"""Sets that are looked at where the base varies and the head does not differ from it."""
_QUANTITIES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    (PEAK, "peak bytes", format_bytes),
    (COUNT, "allocations", format_count),
    (HELD, "held bytes", format_bytes),
)
Range = tuple[int, int]


def wants_weight(visits: Sequence[Visit]) -> bool:
    """Whether the footprint of a row is to be taken in another set: it was not yet, or it differed and that is not settled."""
    weighed = _weighed(visits)
    if not weighed:
        return not any(visit.once or visit.exhausted for visit in visits)
    return any(
        _state(shifts, _varies(weighed, quantity)) is None for quantity, _, _ in _QUANTITIES if (shifts := _shifts(weighed, quantity))
    )


def weight_findings(visits: Sequence[Visit]) -> Iterator[Finding]:
    """Give the findings about memory of a row, from its sets that took footprints."""
    weighed = _weighed(visits)
    for base, head in {(visit.memory["base"].instrument, visit.memory["head"].instrument) for visit in weighed}:
        if base != head:
            yield Finding(
                "peak bytes",
                INCONCLUSIVE,
                f"measured by {base} in the base and by {head} in the head; install memray in both (--install '-e .' --install memray)",
            )
            return
    for quantity, name, text in _QUANTITIES:
        shifts = _shifts(weighed, quantity)
        if shifts:
            before, after = (_pooled(_ranges(weighed, arm, quantity)) for arm in ("base", "head"))
            yield _finding(name, (before, after), shifts, _state(shifts, _varies(weighed, quantity)), text)


def _weighed(visits: Sequence[Visit]) -> list[Visit]:
    return [visit for visit in visits if {"base", "head", "control"} <= visit.memory.keys()]


def _finding(name: str, both: tuple[Range, Range], shifts: Sequence[int], state: int | None, text: Callable[[float], str]) -> Finding:
    base, head = both
    numbers = f"{name} {_told(base, text)} -> {_told(head, text)}"
    first, sets = _sign(shifts), len(shifts)
    often = f"{'more' if first > 0 else 'less'} than both processes of the base in {shifts.count(first)} of {sets} sets of fresh processes"
    if state is None:
        verdict = INCONCLUSIVE if first > 0 else PASS
        wanted = next((wanted for wanted, _ in SURE.get(first, ()) if wanted > sets), VARYING)
        why = f"{numbers}; {often if first else 'it varies between processes of the base'}; {wanted} sets would settle it"
    elif state != 0:
        verdict, why = (REGRESSION if first > 0 else IMPROVED), f"{numbers}, {often}"
    else:
        verdict = PASS
        why = f"{numbers}, but it varies: {often}" if first else (numbers if base != head else f"{name} {_told(base, text)}")
    return Finding(name, verdict, why, float(base[1]), float(head[1]), "count" if name == "allocations" else "bytes", None, 0.0)


def _sign(shifts: Sequence[int]) -> int:
    """Return the direction of the first set that has one; 0 where none has."""
    return next((each for each in shifts if each), 0)


def _state(shifts: Sequence[int], varies: bool) -> int | None:  # noqa: FBT001  # a fact about the shifts
    """Return 1 for surely more, -1 for surely less, 0 for neither, and None while more sets are wanted."""
    first = _sign(shifts)
    others = sum(each != first for each in shifts)
    if first == 0:  # an odd process of the base may have hidden it
        return None if varies and len(shifts) < VARYING else 0
    for sets, most_others in SURE[first]:
        if others <= most_others:
            return first if len(shifts) >= sets else None
    return 0


def _shifts(visits: Sequence[Visit], quantity: str) -> list[int]:
    """Return for each set 1 where the head's least lies above the most of both processes of the base, -1 the other way round, else 0."""
    found = []
    for head, *bases in zip(*(_ranges(visits, arm, quantity) for arm in ("head", "base", "control")), strict=True):
        found.append(int(head[0] > max(most for _, most in bases)) - int(head[1] < min(least for least, _ in bases)))
    return found


def _varies(visits: Sequence[Visit], quantity: str) -> bool:
    """Whether two processes of the base disagree."""
    return _ranges(visits, "base", quantity) != _ranges(visits, "control", quantity)


def _ranges(visits: Sequence[Visit], arm: str, quantity: str) -> list[Range]:
    """Return what an arm used in each set, of the sets in which every arm could tell."""
    whole = [visit for visit in visits if all(getattr(each, quantity) is not None for each in visit.memory.values())]
    return [_range(visit.memory[arm], quantity) for visit in whole]


def _pooled(ranges: Sequence[Range]) -> Range:
    return min(least for least, _ in ranges), max(most for _, most in ranges)


def _range(memory: Memory, quantity: str) -> Range:
    found: Range = getattr(memory, quantity)
    return found


def _told(found: Range, text: Callable[[float], str]) -> str:
    return text(found[0]) if found[0] == found[1] else f"{text(found[0])} to {text(found[1])}"
