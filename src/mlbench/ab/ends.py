"""Rows of tests that did not pass everywhere, in every set.

A test that ends badly is run again in the next set, because one hiccup of the machine says nothing about a version. What fails in the head
twice is red. What stumbles in the base alone is judged by the sets that measured it, and is new only where no set ever did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mlbench.ab.turns import DIED, FAILED, PASSED, SKIPPED, UNLIKE, UNUSED, Visit
from mlbench.gate import INCONCLUSIVE, MISSING, NEW, REGRESSION

AGAIN = 2
"""Sets in which a test must end badly to be called bad."""
_ENDS = {
    FAILED: "failed",
    DIED: "broke off",
    SKIPPED: "was skipped",
    UNUSED: "did not call `benchmark`",
    UNLIKE: "measures a target that may be called once only in one version and often in the other, and cold is not compared with warm",
}
_QUIET = (SKIPPED, UNUSED)


def bad_visits(visits: Sequence[Visit]) -> list[Visit]:
    """Return the visits in which the test did not pass in some arm."""
    return [visit for visit in visits if any(how != PASSED for how, _ in visit.ends.values())]


def is_settled(visits: Sequence[Visit]) -> bool:
    """Whether the way a test ended decides its row, so that it need not be measured again."""
    bad = bad_visits(visits)
    return len(bad) >= AGAIN and (2 * len(bad) > len(visits) or len(_in_head(bad)) >= AGAIN)


def verdict_of_ends(visits: Sequence[Visit], versions: tuple[str, str]) -> tuple[str, str] | None:
    """Return the verdict of how a test ended and why, or None where what was measured is to decide.

    Args:
        visits: of the row.
        versions: names of base and head.
    """
    bad = bad_visits(visits)
    head = _in_head(bad)
    if not bad or (not head and not is_settled(visits) and len(bad) < len(visits)):
        return None
    if len(bad) == len(visits) and len(head) in (0, len(bad)):
        return _always(bad[-1], versions)
    if not head:
        return INCONCLUSIVE, f"{told_of_base(visits, versions[0])}: too often for a verdict"
    how, why = _end(head[-1], "head")
    told = f"{_ENDS[how]} in {versions[1]} in {len(head)} of {len(visits)} sets{because(why)}"
    if len(head) < AGAIN or len(head) < len(bad) or how == UNLIKE:
        return INCONCLUSIVE, f"{told}; not in the others, so that nobody can tell whose fault that is"
    return (MISSING if how in _QUIET else REGRESSION), told


def told_of_base(visits: Sequence[Visit], base: str) -> str:
    """Return how often a test ended badly in the base alone, and how; nothing where it never did."""
    bad = [visit for visit in bad_visits(visits) if not _in_head([visit])]
    if not bad:
        return ""
    ends = [end for visit in bad for arm, end in visit.ends.items() if arm != "head" and end[0] != PASSED]
    (how, _), *_ = Counter(how for how, _ in ends).most_common(1)
    return f"{_ENDS[how]} in {base} in {len(bad)} of {len(visits)} sets{because(ends[-1][1])}"


def is_no_benchmark(visits: Sequence[Visit]) -> bool:
    """Whether the test measured nothing in either version, ever, because it was skipped or never asks for it."""
    return bool(visits) and all(_end(visit, "base")[0] in _QUIET and _end(visit, "head")[0] in _QUIET for visit in visits)


def because(text: str) -> str:
    """Return the line of a reason that says what went wrong, after a colon."""
    return f": {last_line(text)}" if text.strip() else ""


def last_line(text: str) -> str:
    """Return the line of a traceback that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (told or lines or ["no reason given"])[0 if told else -1][:300]


def _always(visit: Visit, versions: tuple[str, str]) -> tuple[str, str]:
    """Return the verdict of a test that never passed everywhere."""
    base, control, head = (_end(visit, arm) for arm in ("base", "control", "head"))
    if head[0] == UNLIKE:
        return INCONCLUSIVE, _ENDS[UNLIKE]
    if head[0] in _QUIET:
        return MISSING, f"{_ENDS[head[0]]} in {versions[1]}{because(head[1])}"
    if head[0] != PASSED:
        both = ", as in the base" if base[0] == head[0] else ""
        return REGRESSION, f"{_ENDS[head[0]]} in {versions[1]}{both}{because(head[1])}"
    if base[0] == DIED and "head" not in visit.ends:
        return INCONCLUSIVE, f"{_ENDS[DIED]} in {versions[0]}, before {versions[1]} was through with it{because(base[1])}"
    if base[0] != PASSED:
        return NEW, f"{_ENDS[base[0]]} in {versions[0]}, so that there is nothing to compare with{because(base[1])}"
    return INCONCLUSIVE, f"{_ENDS[control[0]]} in one of two processes of {versions[0]}{because(control[1])}"


def _in_head(visits: Sequence[Visit]) -> list[Visit]:
    """Return the visits in which the head ended badly."""
    return [visit for visit in visits if _end(visit, "head")[0] != PASSED]


def _end(visit: Visit, arm: str) -> tuple[str, str]:
    return visit.ends.get(arm, (PASSED, ""))
