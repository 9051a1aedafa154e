"""Rows of tests that did not pass everywhere, in every set.

A test that ends badly is run again in the next set, because one hiccup of the machine says nothing about a version. What fails in the head
alone, twice, is red; once beside sets that measured it leaves doubt. What stumbles in the base, or in both versions at once, is judged by
the sets that measured it, and is new only where the base failed in every one. What fails in both in every set is broken: nothing was
compared, and it is nobody's regression.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlbench.gate import BROKEN, INCONCLUSIVE, MISSING, NEW, REGRESSION
from mlbench.results.samples import DIED, FAILED, PASSED, SKIPPED, UNLIKE, UNUSED, Visit

AGAIN = 2
"""Sets in which a test must end badly to be called bad."""
_ENDS = {
    FAILED: "failed",
    DIED: "broke off",
    SKIPPED: "was skipped",
    UNUSED: "did not call `benchmark`",
    UNLIKE: "measures a target that may be called once only in one version and often in the other, and cold is not compared with warm",
}
PRINTED = "; it printed last:"
"""Stands in the reason of a process that died between how it did and what it had printed."""
_QUIET = (SKIPPED, UNUSED)
_TAKEN = ("Address already in use", "[Errno 98]", "[Errno 48]", "WinError 10048")
"""What a test says that wants a port which another arm has."""
_UNREACHED = ("unreached", "")
"""Stands for the end of a test in an arm that another one's death kept from it."""


def bad_visits(visits: Sequence[Visit]) -> list[Visit]:
    """Return the visits in which the test did not pass in some arm."""
    return [visit for visit in visits if any(how != PASSED for how, _ in visit.ends.values())]


def is_settled(visits: Sequence[Visit]) -> bool:
    """Whether the way a test ended decides its row, so that it need not be measured again."""
    bad = bad_visits(visits)
    head = [visit for visit in bad if _is_bad(visit, "head")]
    if len(_in_the_way(bad)) >= AGAIN:
        return True
    if len(bad) < len(visits):
        return len(_of_head(bad)) >= AGAIN
    return len(head) >= AGAIN or (len(bad) >= AGAIN and not head)


def verdict_of_ends(visits: Sequence[Visit], versions: tuple[str, str]) -> tuple[str, str] | None:
    """Return the verdict of how a test ended and why, or None where what was measured is to decide.

    Args:
        visits: of the row.
        versions: names of base and head.
    """
    bad = bad_visits(visits)
    if len(_in_the_way(bad)) >= AGAIN:
        return INCONCLUSIVE, ("wants a port that another arm holds: all three run at the same time, so that each needs one of its own; let "
                              "the test ask for port 0")  # fmt: skip
    if bad and len(bad) == len(visits):
        return _never_measured(bad, versions)
    head = _of_head(bad)
    if len(head) < AGAIN or len(head) < len(bad) or _end(head[-1], "head")[0] == UNLIKE:
        return None
    return (MISSING if _end(head[-1], "head")[0] in _QUIET else REGRESSION), _told(head, "head", versions[1], len(visits))


def doubt_of_ends(visits: Sequence[Visit], versions: tuple[str, str]) -> str:
    """Return why a row that was measured is in doubt all the same: its test fails now and then in the head; nothing where it does not."""
    head = _of_head(bad_visits(visits))
    if not head or len(bad_visits(visits)) == len(visits):
        return ""
    return f"{_told(head, 'head', versions[1], len(visits))}, and passed in others: the cause is unclear"


def told_of_base(visits: Sequence[Visit], base: str) -> str:
    """Return how often a test ended badly in the base, and how; nothing where it never did."""
    bad = [visit for visit in bad_visits(visits) if _is_bad(visit, "base") or _is_bad(visit, "control")]
    return _told(bad, "base" if _is_bad(bad[-1], "base") else "control", base, len(visits)) if bad else ""


def is_no_benchmark(visits: Sequence[Visit]) -> bool:
    """Whether the test measured nothing in either version, ever, because it was skipped or never asks for it."""
    return bool(visits) and all(_end(visit, "base")[0] in _QUIET and _end(visit, "head")[0] in _QUIET for visit in visits)


def because(text: str) -> str:
    """Return the line of a reason that says what went wrong, after a colon."""
    return f": {last_line(text)}" if text.strip() else ""


def last_line(text: str) -> str:
    """Return the line of a traceback that says what went wrong; of a process that died, how, and the last line that it printed."""
    how, printed, tail = text.partition(PRINTED)
    if printed:
        return f"{how}{PRINTED} {last_line(tail)}"[:300]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (told or lines or ["no reason given"])[0 if told else -1][:300]


def _never_measured(bad: Sequence[Visit], versions: tuple[str, str]) -> tuple[str, str]:
    """Return the verdict of a test that passed in no set in all arms."""
    verdict, why = _of_one(bad[-1], versions)
    if len(bad) < AGAIN:
        return INCONCLUSIVE, f"{why}; another set would show whether that was chance"
    head = [visit for visit in bad if _is_bad(visit, "head")]
    if head and len(head) == len(bad):
        return verdict, why
    if head:
        passed = any(_end(visit, "head") != _UNREACHED and not _is_bad(visit, "head") for visit in bad)
        if len(head) >= AGAIN and not passed:
            return _of_one(head[-1], versions)
        return INCONCLUSIVE, f"{_told(head, 'head', versions[1], len(bad))}, and not in the others"
    if verdict == NEW and not all(_is_bad(visit, "base") for visit in bad):
        return INCONCLUSIVE, f"{_told([bad[-1]], 'base', versions[0], len(bad))}, and in one of its two processes in others"
    return verdict, why


def _of_one(visit: Visit, versions: tuple[str, str]) -> tuple[str, str]:
    """Return the verdict of a test that ended so in every set."""
    base, control, head = (_end(visit, arm) for arm in ("base", "control", "head"))
    if head[0] == UNLIKE:
        return INCONCLUSIVE, _ENDS[UNLIKE]
    if head[0] in _QUIET:
        return MISSING, f"{_ENDS[head[0]]} in {versions[1]}{because(head[1])}"
    if _is_bad(visit, "head"):
        return _of_bad_head(base, head, versions)
    if base[0] == DIED and head == _UNREACHED:
        return INCONCLUSIVE, f"{_ENDS[DIED]} in {versions[0]}, before {versions[1]} was through with it{because(base[1])}"
    if _is_bad(visit, "base"):
        return NEW, f"{_ENDS[base[0]]} in {versions[0]}, so that there is nothing to compare with{because(base[1])}"
    return INCONCLUSIVE, f"{_ENDS[control[0]]} in one of two processes of {versions[0]}{because(control[1])}"


def _of_bad_head(base: tuple[str, str], head: tuple[str, str], versions: tuple[str, str]) -> tuple[str, str]:
    """Return the verdict of a test that failed or broke off in the head: broken where it did so in the base as well."""
    reasons = [because(text) for _, text in (base, head)]
    if base == _UNREACHED:
        return INCONCLUSIVE, f"{_ENDS[head[0]]} in {versions[1]}, before {versions[0]} was through with it{reasons[1]}"
    if base[0] not in (FAILED, DIED):
        return REGRESSION, f"{_ENDS[head[0]]} in {versions[1]}{reasons[1]}"
    if base[0] == head[0] and reasons[0] == reasons[1]:
        return BROKEN, f"{_ENDS[head[0]]} in both versions alike{reasons[1]}"
    return BROKEN, f"{_ENDS[base[0]]} in {versions[0]}{reasons[0]}, and {_ENDS[head[0]]} in {versions[1]}{reasons[1]}"


def _in_the_way(bad: Sequence[Visit]) -> list[Visit]:
    """Return the visits in which a test found that another arm had what it wanted."""
    return [visit for visit in bad if any(mark in text for _, text in visit.ends.values() for mark in _TAKEN)]


def _of_head(bad: Sequence[Visit]) -> list[Visit]:
    """Return the visits in which the head ended badly, and both processes of the base passed."""
    return [visit for visit in bad if _is_bad(visit, "head") and all(_end(visit, arm)[0] == PASSED for arm in ("base", "control"))]


def _told(visits: Sequence[Visit], arm: str, version: str, sets: int) -> str:
    how, why = _end(visits[-1], arm)
    return f"{_ENDS[how]} in {version} in {len(visits)} of {sets} sets{because(why)}"


def _is_bad(visit: Visit, arm: str) -> bool:
    return _end(visit, arm)[0] not in (PASSED, _UNREACHED[0])


def _end(visit: Visit, arm: str) -> tuple[str, str]:
    return visit.ends.get(arm, _UNREACHED)
