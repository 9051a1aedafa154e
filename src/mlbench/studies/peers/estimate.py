"""How long a run of the peers will take, about: said before it starts.

The rounds have a time of their own. What is built decides the rest: a compiler works once a cell, and the longer the more products it has;
every process loads what was made; and each process starts and imports its framework. The numbers are those of one idle core of an EPYC
(Zen 3).
"""

from __future__ import annotations

from collections.abc import Sequence

from mlbench.results.peers import OURS
from mlbench.studies.peers.measure import ROUNDS_S, WARM_UP_S, PeerEffort

COMPILE_S = {OURS: 1.5, "torch.compile": 8.0, "torch.aot": 20.0, "iree": 1.2, "tvm": 3.0, "xla": 0.3, "openvino": 0.2, "tensorflow": 0.2}
"""Seconds a product until a cell is there, in the first set of processes; of ours it is the search."""
LOAD_S = {"torch.compile": 2.0, "torch.aot": 0.5, "tvm": 0.3, "xla": 0.3}
"""The same in a later set, and when its bytes are counted."""
USUAL_S = 0.06
GOES_ON = {OURS: 1.0, "torch": 0.5, "torch.compile": 0.6, "tensorflow": 0.5, "sklearn": 0.2, "tvm": 0.1}
"""In which share of the cells a runtime is near enough to the fastest peer to have turns in later sets."""
USUALLY_GOES_ON = 0.8
START_S = 2.0
"""Seconds until a process has its framework."""


def expected_s(
    products: Sequence[int], names: Sequence[str], effort: PeerEffort, done: Sequence[int] = (), *, rules: bool = False, built: bool = False
) -> float:
    """Return about how many seconds a run takes.

    Args:
        products: how many each cell has.
        names: of the runtimes that are there, ours among them.
        effort: how much is measured.
        done: sets of processes in which each cell was measured before; empty for none.
        rules: ours by its default rules, without a search.
        built: what compilers make is there already.
    """
    sets = [effort.processes - min(each, effort.processes) for each in done or [0] * len(products)]
    seconds = START_S * len(names)  # to find out who is there
    for number, left in zip(products, sets, strict=True):
        later = left - (left == effort.processes)
        for name in names:
            is_made = rules if name == OURS else built
            load_s = number * LOAD_S.get(name, USUAL_S)
            first_s = load_s if is_made else number * COMPILE_S.get(name, USUAL_S)
            share = GOES_ON.get(name, USUALLY_GOES_ON)
            turn_s = min(ROUNDS_S / len(names), effort.rounds * 2 * (effort.turn_s + WARM_UP_S))
            seconds += (left - later) * (first_s + turn_s) + later * share * (load_s + turn_s)
            seconds += load_s if effort.weigh and left == effort.processes else 0.0
    most_left = max(sets, default=0)
    return seconds + START_S * len(names) * (most_left + (effort.weigh and most_left == effort.processes)) if most_left else 0.0
