"""The order of turns: balanced within a round, and fair to who starts."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mlbench.measure import interleaved

NAMES = st.lists(st.text(max_size=3), unique=True, max_size=6)


@given(NAMES, st.integers(0, 20), st.integers(0, 30))
def test_rounds_are_balanced(names: list[str], rounds: int, first: int) -> None:
    """Each half of a round has every arm once, the second half is the first one backwards, and arms start one after the other."""
    found = list(interleaved(names, rounds, first))
    assert len(found) == (rounds if names else 0)
    for turns in found:
        half = len(turns) // 2
        assert sorted(turns[:half]) == sorted(names)
        assert turns[half:] == turns[:half][::-1]
    starts = [turns[0] for turns in found]
    assert starts[:1] == [names[first % len(names)]][: len(starts)] if names else not starts
    for place in range(len(starts) - len(names) + 1 if names else 0):
        assert Counter(starts[place : place + len(names)]) == Counter(names)
