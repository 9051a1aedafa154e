"""Which columns of the inputs are indices of a table, how many entries it has, and what an index is told that it does not have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mlbench.errors import InputError
from mlbench.ir.graph import Graph

_MOVES = {"slice", "concat", "repeat_column"}
_Column = tuple[str, int] | None
"""The input and the column of it that a column of a value is; None for one that was computed."""


def index_error(found: float, entries: int) -> InputError:
    """Return what to raise for an index that a table does not have."""
    return InputError(f"index {found:.9g} of a table of {entries} entries; expected 0 to {entries - 1}, or from the end {-entries} to -1")


def table_entries(graph: Graph) -> Mapping[str, npt.NDArray[np.int64]]:
    """Return for each input and each of its columns the entries of the smallest table that it is an index of; 0 where it is of none.

    Args:
        graph: a graph that `verify` accepts. Columns that it moves before it looks them up are followed.
    """
    found = {name: np.zeros(columns, np.int64) for name, columns in graph.inputs.items()}
    sources: dict[str, list[_Column]] = {name: [(name, index) for index in range(columns)] for name, columns in graph.inputs.items()}
    for node in graph.nodes:
        columns = [column for name in node.values for column in sources.get(name, ())]
        if node.op == "gather":
            entries = len(graph.constants[node.operands[0]])
            for name, index in filter(None, columns):
                known = found[name][index]
                found[name][index] = min(known, entries) if known else entries
        if node.op in _MOVES and all(name in sources for name in node.values):
            moved = columns[node.attributes[0] : node.attributes[1]] if node.op == "slice" else columns
            sources[node.output] = moved * node.attributes[0] if node.op == "repeat_column" else moved
    return found
