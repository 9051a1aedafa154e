"""Distances to the limit as JSON. The history of the schema's versions stands in the `$comment` of `results/schemas/limits.json`."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.measure import Environment
from mlbench.measure.ceilings import Ceilings, ceilings_from_json
from mlbench.measure.peaks import Floor
from mlbench.measure.stats import Interval
from mlbench.results import COMPLETE
from mlbench.results.documents import Form, check_document, plain, read_json, write_document

FORM = Form("mlbench-limits", 2, "limits.json", "limits file")


@dataclass(frozen=True, slots=True)
class Limit:
    """How far a case is from its ceilings.

    Attributes:
        flop_per_s: attained.
        of_peak: share of the core's arithmetic.
        bytes_per_s: attained; of the bytes that must move once: weights, input, output, and each intermediate twice.
        of_bandwidth: share of what reading so much takes at least.
        calls: of NumPy.
        calls_share: what their overhead takes at least / the latency.
        least_s: least time of a call by these ceilings.
        bound: which of BOUNDS takes most of it.
        bound_share: what that takes at least / the latency; of a rate, attained / ceiling.
        sentence: all that in words.
    """

    flop_per_s: float
    of_peak: float
    bytes_per_s: float
    of_bandwidth: float
    calls: int
    calls_share: float
    least_s: float
    bound: str
    bound_share: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Distance:
    """A case and its distance to the limit.

    Attributes:
        case: its id.
        latency_s: time of a call, as `mlbench.results.time_of` has it: the floor times the floor ratio.
        floor: the least time of a call, which no code under test is part of.
        floor_ratio: latency / the floor.
        limit: what the ceilings say.
    """

    case: str
    latency_s: float
    floor: Floor
    floor_ratio: Interval
    limit: Limit


@dataclass(frozen=True, slots=True)
class Limits:
    """A run: where, when, how, the ceilings, and the distance of each case.

    Attributes:
        environment: the machine and its software.
        command: what was run.
        date: ISO 8601 with the offset.
        status: `complete`, or `interrupted` when the run was broken off.
        ceilings: measured before the cases, in the same run.
        distances: one for each case; none where only the ceilings were asked for.
    """

    environment: Environment
    command: str
    date: str
    status: str
    ceilings: Ceilings
    distances: tuple[Distance, ...]


def new_limits(environment: Environment, command: str, ceilings: Ceilings, distances: Iterable[Distance], status: str = COMPLETE) -> Limits:
    """Make a run of today."""
    now = dt.datetime.now().astimezone().isoformat(timespec="seconds")
    return Limits(environment, command, now, status, ceilings, tuple(distances))


def save_limits(run: Limits, path: str | Path) -> Path:
    """Write a run, whole or not at all."""
    return write_document(path, FORM, plain(dataclasses.asdict(run)))


def load_limits(path: str | Path) -> Limits:
    """Read a run.

    Raises:
        FileError: when it is missing, damaged, foreign, or of a version this mlbench does not read.
        MissingExtraError: without jsonschema.
    """
    data = read_json(path)
    check_document(path, data, FORM)
    found = tuple(_distance(each) for each in data["distances"])
    head = (Environment(**data["environment"]), data["command"], data["date"], data["status"])
    return Limits(*head, ceilings_from_json(data["ceilings"]), found)


def has_limits(data: Any) -> bool:  # whatever JSON holds
    """Whether these data are limits of ours."""
    return isinstance(data, dict) and data.get("kind") == FORM.kind


def _distance(data: dict[str, Any]) -> Distance:
    return Distance(
        **{**data, "floor": Floor(**data["floor"]), "floor_ratio": Interval(**data["floor_ratio"]), "limit": Limit(**data["limit"])}
    )
