"""The shortest ways from an x that can be read where it lies to its result, one for each form that a batch may take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlbench.graph import FloatArray
from mlbench.machine import IS_READABLE, Team
from mlbench.runtime.binding import Tile

Call = Callable[[FloatArray], FloatArray]
"""What runs an x and returns the result; or that x, where it cannot read it as it lies."""
Cut = tuple[Tile, int, int]
"""A tile function, the first of its rows, and their end."""


def call_of_tiles(cuts: Sequence[Cut], output: FloatArray, *, has_code: bool) -> Call:
    """Return what runs tile functions into `output`; with generated code in them they read an x in C order alone."""
    call = _one_tile(cuts[0][0], output) if len(cuts) == 1 else _some_tiles(cuts, output)
    return _in_order(call) if has_code else call


def call_of_code(whole: Call, team: Team | None) -> Call:
    """Return what runs generated code: itself, or where a team runs it, after a look whether that is there."""
    return whole if team is None else _with_team(team, whole)


def _with_team(team: Team, whole: Call) -> Call:
    check = team.check

    def call(x: FloatArray) -> FloatArray:
        check()
        return whole(x)

    return call


def _in_order(call: Call) -> Call:
    def checked(x: FloatArray) -> FloatArray:
        return call(x) if x.flags.num & IS_READABLE == IS_READABLE else x

    return checked


def _one_tile(tile: Tile, output: FloatArray) -> Call:
    def call(x: FloatArray) -> FloatArray:
        tile(x, output)
        return output

    return call


def _some_tiles(cuts: Sequence[Cut], output: FloatArray) -> Call:
    steps = tuple((tile, first, last, output[first:last]) for tile, first, last in cuts)

    def call(x: FloatArray) -> FloatArray:
        for tile, first, last, rows in steps:
            tile(x[first:last], rows)
        return output

    return call
