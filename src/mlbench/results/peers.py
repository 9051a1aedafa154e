"""How other runtimes do on the same models: a file of `mlbench peers --json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from mlbench.measure.stats import Interval, median, ratio_interval, typical
from mlbench.results.network import NetworkFields
from mlbench.results.run import Run
from mlbench.results.schema import MAY_LACK, As, Bounds, Count, Duration, Error, Schema, Size

MEASURED, WRONG, FAILED, SLOW = "measured", "wrong", "failed", "slow"
"""How it went: timed in turns; a wrong output, never timed; it could not be built or died; too slow for turns, so timed by itself."""

Rounds = tuple[tuple[Duration, ...], ...]
"""Of each process; a process that was lost has none."""
OURS = "mlbench"
HISTORY = (
    "1: first version. 2: the held bytes of ours have its copies of weights among them; version 1 is read and they are added. "
    "3: an outcome names the documented switch that was chosen; version 2 is read, and names none."
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime, as it was found.

    Attributes:
        name: on the command line and in tables.
        versions: of its packages.
        settings: how it was made fast, in one line.
        missing: why it could not run here, or None.
    """

    name: str
    versions: str
    settings: str
    missing: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A runtime in a cell.

    Attributes:
        state: `measured`, `wrong`, `failed` or `slow`.
        detail: why, where it was not measured.
        worst_error: error / tolerance against the float64 reference.
        build_s: seconds until the first output, in the first process.
        cost_s: seconds of a single call, by itself.
        rounds_s: for each process, seconds per call in each round.
        peak_bytes: of one call.
        held_bytes: between calls, without one set of weights; a bound output is among them.
        weight_copies: how many of the held bytes are weights in another form, where the runtime says so.
        chosen: which of its documented switches was the faster one here, in the first process; empty for the usual settings.
    """

    state: Annotated[str, Bounds(one_of=(MEASURED, WRONG, FAILED, SLOW))]
    detail: str = ""
    worst_error: Error | None = None
    build_s: Duration | None = None
    cost_s: Duration | None = None
    rounds_s: Rounds = ()
    peak_bytes: Size | None = None
    held_bytes: Size | None = None
    weight_copies: Size | None = None
    chosen: Annotated[str, MAY_LACK] = ""

    @property
    def time_s(self) -> float | None:
        """Seconds of a call: of the rounds, as the ratios are made, or the single call of a slow runtime; None where it was not timed."""
        rounds = [process for process in self.rounds_s if process]
        return typical(rounds) if rounds else (self.cost_s if self.state == SLOW else None)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a file says of a cell, as `mlbench.studies.cases.Cell` has it: an MLP has sizes, a network in a file has none."""

    batch: Count
    hidden: Annotated[list[Count], Bounds(min_length=1), MAY_LACK]
    inputs: Annotated[Count, MAY_LACK]
    outputs: Annotated[Count, MAY_LACK]
    threads: Count
    model: str
    tuned: bool
    network: Annotated[dict[str, Any], As(NetworkFields), MAY_LACK]


@dataclass(frozen=True, slots=True)
class PeerCell:
    """All runtimes in a cell.

    Attributes:
        cell: its data, as `mlbench.studies.cases.Cell` has them.
        outcomes: by name of the runtime; one that is missing is not among them.
        processes: sets of processes that measured it so far.
        weighed: whether memory was looked at.
    """

    cell: Annotated[dict[str, Any], As(Sizes)]
    outcomes: dict[str, Outcome]
    processes: Size = 0
    weighed: bool = False

    @property
    def name(self) -> str:
        """The cell as people write it, such as `64-64-10 b8`."""
        return f"{self.shape} b{self.cell['batch']}"

    @property
    def shape(self) -> str:
        """The sizes of the layers, such as `64-64-10`, or the name of the network."""
        if "network" in self.cell:
            return str(self.cell["network"]["name"])
        return "-".join(str(size) for size in (self.cell["inputs"], *self.cell["hidden"], self.cell["outputs"]))

    @property
    def left(self) -> dict[str, int]:
        """The runtimes that were too far behind for further sets, each with the sets that it had turns in."""
        sets = {name: len(each.rounds_s) for name, each in self.outcomes.items() if each.state == MEASURED}
        return {name: count for name, count in sets.items() if count < self.processes}

    @property
    def fastest_peer(self) -> str | None:
        """The peer with the shortest time; None where ours or every peer was not timed in turns."""
        peers = {name: each.time_s for name, each in self.outcomes.items() if name != OURS and each.state == MEASURED and each.rounds_s}
        timed = {name: seconds for name, seconds in peers.items() if seconds is not None and self.ratios(name)}
        return min(timed, key=timed.__getitem__) if timed else None

    def ratios(self, peer: str) -> list[list[float]]:
        """Return peer / ours in each round of each process in which both ran to the end; above 1 ours is faster."""
        return [rounds for rounds in self.sets(peer) if rounds]

    def sets(self, peer: str) -> list[list[float]]:
        """Return the same for every set of processes, empty where one of the two did not run to the end."""
        ours, theirs = self.outcomes.get(OURS), self.outcomes.get(peer)
        if ours is None or theirs is None:
            return []
        pairs = zip(theirs.rounds_s, ours.rounds_s, strict=False)
        return [[one / other for one, other in zip(a, b, strict=True)] if len(a) == len(b) else [] for a, b in pairs]

    @property
    def ratio(self) -> Interval | None:
        """Fastest peer / ours."""
        return None if self.fastest_peer is None else ratio_interval(self.ratios(self.fastest_peer))

    @property
    def spread(self) -> float | None:
        """How far the processes are apart: largest / smallest of their medians of fastest peer / ours; None for fewer than two."""
        if self.fastest_peer is None:
            return None
        medians = [median(process) for process in self.ratios(self.fastest_peer)]
        return max(medians) / min(medians) if len(medians) > 1 else None


@dataclass(frozen=True, slots=True)
class PeerResult(Run):
    """A run, with what was measured of the runtimes.

    Attributes:
        processes: sets of fresh processes that were asked for.
        runtimes: ours first, the missing ones as well.
        cells: in the order of the table.
    """

    processes: Count
    runtimes: Annotated[tuple[Runtime, ...], Bounds(min_length=1)]
    cells: tuple[PeerCell, ...]


def _upgrade(cell: Any, version: int) -> None:  # whatever JSON holds
    """Bring a cell of version 1 to version 3: copies of weights are among the held bytes; what is damaged stays, to be refused."""
    if version > 1:
        return
    try:
        for each in cell["outcomes"].values():
            if each["held_bytes"] is not None and each["weight_copies"] is not None:
                each["held_bytes"] += each["weight_copies"]
    except (KeyError, TypeError, AttributeError):
        pass  # damaged, which the schema says


def _trouble(result: PeerResult) -> Iterator[tuple[str, str]]:
    for number, each in enumerate(result.cells):
        lacking = () if "network" in each.cell else sorted({"hidden", "inputs", "outputs"} - each.cell.keys())
        if lacking:
            yield f"$.cells[{number}].cell", f"found no field {lacking[0]!r}; expected the sizes of an MLP, or a network"
            return
    for name, count in Counter(cell.name for cell in result.cells).items():
        if count > 1:
            yield "$.cells", f"two of them are {name}; expected one of each"


PEERS_FILE = Schema(
    "mlbench-peers", 3, PeerResult, "peers file", HISTORY, items="cells", old_versions=(1, 2), upgrade=_upgrade, trouble=_trouble
)
