"""How far each case is from what this machine can do at most, and what bounds it.

`bounds` is the pure part: numbers in, a classification out. `measured` says what a case consists of and measures it, `told` shows it,
and `saved` keeps it.
"""

from mlbench.limiting.bounds import BOUNDS, Limit, Piece, classify, least_seconds
from mlbench.limiting.measured import Distance, distances, distances_of, find_ceilings, must_move_bytes, pieces_of
from mlbench.limiting.saved import Limits, has_limits, load_limits, new_limits, save_limits
from mlbench.limiting.told import ceilings_table, distances_table, sentences

__all__ = [
    "BOUNDS",
    "Distance",
    "Limit",
    "Limits",
    "Piece",
    "ceilings_table",
    "classify",
    "distances",
    "distances_of",
    "distances_table",
    "find_ceilings",
    "has_limits",
    "least_seconds",
    "load_limits",
    "must_move_bytes",
    "new_limits",
    "pieces_of",
    "save_limits",
    "sentences",
]
