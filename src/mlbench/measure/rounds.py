"""The order of turns in a comparison: every round goes through all arms forwards and then backwards (ABBA), and starts with the next arm.

Two moments of a noisy machine cannot be compared, so the arms share each round. A drift within a round hits all arms alike, because each
arm's two turns lie symmetrically around its middle. The start moves on, because the arm that starts follows what no other arm follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def interleaved(names: Sequence[str], rounds: int, first: int = 0) -> Iterator[tuple[str, ...]]:
    """Yield the turns of each round, every arm twice; its first half has every arm once.

    Args:
        names: of the arms.
        rounds: how many rounds.
        first: number of the arm that starts the first round, modulo how many arms there are.

    >>> list(interleaved(["a", "b"], 2))
    [('a', 'b', 'b', 'a'), ('b', 'a', 'a', 'b')]
    """
    for number in range(rounds if names else 0):
        start = (first + number) % len(names)
        order = (*names[start:], *names[:start])
        yield (*order, *order[::-1])
