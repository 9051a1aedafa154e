"""Why a pass did something or nothing, value by value, and the same in as few words as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.results.schema import Name


@dataclass(frozen=True, slots=True)
class Reason:
    """What a pass decided about a value.

    Attributes:
        value: its name; empty for the whole program.
        is_done: the pass did something there.
        reason: why it was allowed or refused.
    """

    value: str
    is_done: bool
    reason: Name


def joined(reasons: Sequence[Reason]) -> list[tuple[bool, list[str], str]]:
    """Return each reason once with the values that it is about; reasons that say the same of one other value each are one.

    >>> joined([Reason("v2", True, "v1 is read by nobody else"), Reason("v4", True, "v3 is read by nobody else")])
    [(True, ['v2', 'v4'], 'of v1, v3 each is read by nobody else')]
    >>> joined([Reason("v2", True, "there is code for it"), Reason("v4", True, "there is code for it")])
    [(True, ['v2', 'v4'], 'there is code for it')]
    """
    groups: dict[tuple[bool, bool, str], list[tuple[str, str]]] = {}
    for each in reasons:
        about, _, rest = each.reason.partition(" ")
        of_one = rest.startswith("is read ")
        groups.setdefault((each.is_done, of_one, rest if of_one else each.reason), []).append((each.value, about))
    return [
        (
            is_done,
            [value for value, _ in same if value],
            text if not of_one else f"of {', '.join(about for _, about in same)} each {text}" if len(same) > 1 else f"{same[0][1]} {text}",
        )
        for (is_done, of_one, text), same in groups.items()
    ]


def in_a_line(reasons: Sequence[Reason]) -> str:
    """Return reasons in one line, each with the values that it is about.

    >>> in_a_line([Reason("v2", False, "NumPy reads no row there"), Reason("", False, "one thread may be used")])
    'v2: NumPy reads no row there; one thread may be used'
    """
    return "; ".join(f"{', '.join(values)}: {text}" if values else text for _, values, text in joined(reasons))
