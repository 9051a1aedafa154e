"""How long a run of the peers will take, about: said before it starts.

The rounds have a time of their own. What is built decides the rest: a compiler works once a cell, every process loads what it made, and
each process starts and imports its framework. The numbers are those of one core of an EPYC (Zen 3) and a model of some layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlbench.results.peers import OURS, PeerCell
from mlbench.studies.peers.measure import ROUNDS_S, WARM_UP_S, PeerEffort

COMPILE_S = {OURS: 5.0, "torch.compile": 15.0, "torch.aot": 45.0, "iree": 6.0, "tvm": 6.0, "xla": 0.5, "openvino": 0.3, "tensorflow": 0.3}
"""Seconds until a cell is there, in the first set of processes; of ours it is the search."""
LOAD_S = {"torch.compile": 4.0, "torch.aot": 1.0, "tvm": 6.0, "xla": 0.5}
"""The same in a later set, and when its bytes are counted."""
USUAL_S = 0.2
START_S = 2.5
"""Seconds until a process has its framework."""


def expected_s(cells: int, names: Sequence[str], effort: PeerEffort, known: Mapping[str, PeerCell] | None = None) -> float:
    """Return about how many seconds a run takes.

    Args:
        cells: how many.
        names: of the runtimes that are there, ours among them.
        effort: how much is measured.
        known: cells that were measured before.
    """
    done = [min(cell.processes, effort.processes) for cell in (known or {}).values()]
    done += [0] * (cells - len(done))
    sets = sum(effort.processes - each for each in done)
    firsts = sum(each == 0 for each in done)
    rounds_s = min(ROUNDS_S, effort.rounds * 2 * len(names) * (effort.turn_s + WARM_UP_S))
    compiles_s = sum(COMPILE_S.get(name, USUAL_S) for name in names)
    loads_s = sum(LOAD_S.get(name, USUAL_S) for name in names)
    weighed_s = firsts * loads_s if effort.weigh else 0.0
    most_left = max((effort.processes - each for each in done), default=0)
    starts_s = START_S * len(names) * (most_left + (1 if effort.weigh and firsts else 0))
    return sets * rounds_s + firsts * compiles_s + (sets - firsts) * loads_s + weighed_s + starts_s
