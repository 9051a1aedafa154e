"""What was measured of the runtimes, as frozen data, and its JSON.

Everything is validated against `results/schemas/peers.json` before it is used; the history of its versions stands in that file's
`$comment`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.errors import FileError
from mlbench.measure import Environment
from mlbench.measure.stats import Interval, median, ratio_interval, typical
from mlbench.results.documents import Form, check_document, plain, read_json, write_document

FORM = Form("mlbench-peers", 2, "peers.json", "comparison")
MEASURED, WRONG, FAILED, SLOW = "measured", "wrong", "failed", "slow"
"""How it went: timed in turns; a wrong output, never timed; it could not be built or died; too slow for turns, so timed by itself."""

Rounds = tuple[tuple[float, ...], ...]


OURS = "mlbench"


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
    """

    state: str
    detail: str = ""
    worst_error: float | None = None
    build_s: float | None = None
    cost_s: float | None = None
    rounds_s: Rounds = ()
    peak_bytes: int | None = None
    held_bytes: int | None = None
    weight_copies: int | None = None

    @property
    def time_s(self) -> float | None:
        """Seconds of a call: of the rounds, as the ratios are made, or the single call of a slow runtime; None where it was not timed."""
        rounds = [process for process in self.rounds_s if process]
        return typical(rounds) if rounds else (self.cost_s if self.state == SLOW else None)


@dataclass(frozen=True, slots=True)
class PeerCell:
    """All runtimes in a cell.

    Attributes:
        cell: its data, as `mlbench.studies.cases.Cell` has them.
        outcomes: by name of the runtime; one that is missing is not among them.
        processes: sets of processes that measured it so far.
        weighed: whether memory was looked at.
    """

    cell: dict[str, Any]
    outcomes: dict[str, Outcome]
    processes: int = 0
    weighed: bool = False

    @property
    def name(self) -> str:
        """The cell as people write it, such as `64-64-10 b8`."""
        return f"{self.shape} b{self.cell['batch']}"

    @property
    def shape(self) -> str:
        """The sizes of the layers, such as `64-64-10`."""
        return "-".join(str(size) for size in (self.cell["inputs"], *self.cell["hidden"], self.cell["outputs"]))

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
class PeerResult:
    """A run: where, when, how, and what was measured.

    Attributes:
        environment: the machine and its software.
        command: what was run.
        date: ISO 8601 with the offset.
        status: `complete`, or `interrupted` when it was broken off.
        processes: sets of fresh processes that were asked for.
        runtimes: ours first, the missing ones as well.
        cells: in the order of the table.
    """

    environment: Environment
    command: str
    date: str
    status: str
    processes: int
    runtimes: tuple[Runtime, ...]
    cells: tuple[PeerCell, ...]


def save(result: PeerResult, path: str | Path) -> Path:
    """Write a result file, whole or not at all."""
    return write_document(path, FORM, plain(dataclasses.asdict(result)))


def has_peers(data: Any) -> bool:  # whatever JSON holds
    """Whether JSON data say that they hold such a result."""
    return isinstance(data, dict) and data.get("kind") == FORM.kind


def load(path: str | Path) -> PeerResult:
    """Read a result file.

    Raises:
        FileError: when it is missing, damaged, foreign, or of a version this mlbench does not read.
        MissingExtraError: without jsonschema.
    """
    data = _upgraded(read_json(path))
    check_document(path, data, FORM)
    cells = tuple(_cell(each) for each in data["cells"])
    twice = [name for name, count in Counter(cell.name for cell in cells).items() if count > 1]
    if twice:
        raise FileError(f"{path}: not a valid {FORM.noun} at $.cells: two of them are {twice[0]}; expected one of each")
    return PeerResult(
        Environment(**data["environment"]),
        data["command"],
        data["date"],
        data["status"],
        data["processes"],
        tuple(Runtime(**each) for each in data["runtimes"]),
        cells,
    )


def _upgraded(data: Any) -> Any:  # whatever JSON holds
    """Bring valid data of version 1 to version 2, in which copies of weights are among the held bytes; other data stay, to be refused."""
    if not has_peers(data) or data.get("schema") != 1:
        return data
    data["schema"] = 2
    try:
        outcomes = [each for cell in data["cells"] for each in cell["outcomes"].values()]
        for each in outcomes:
            if each["held_bytes"] is not None and each["weight_copies"] is not None:
                each["held_bytes"] += each["weight_copies"]
    except (KeyError, TypeError, AttributeError):
        pass  # damaged, which the schema says
    return data


def _cell(data: dict[str, Any]) -> PeerCell:
    return PeerCell(data["cell"], {name: _outcome(each) for name, each in data["outcomes"].items()}, data["processes"], data["weighed"])


def _outcome(data: dict[str, Any]) -> Outcome:
    return Outcome(**{**data, "rounds_s": _rounds(data["rounds_s"])})


def _rounds(rounds: Sequence[Sequence[float]]) -> Rounds:
    return tuple(tuple(process) for process in rounds)
