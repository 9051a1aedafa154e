"""Distances to the limit as JSON. The history of the schema's versions stands in the `$comment` of `results/schemas/limits.json`."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.measure import Environment
from mlbench.measure.ceilings import Ceilings
from mlbench.measure.peaks import Floor
from mlbench.measure.stats import Interval
from mlbench.results import COMPLETE
from mlbench.results.documents import Form, check_document, plain, read_json, write_document
from mlbench.studies.roofline.bounds import Limit
from mlbench.studies.roofline.measure import Distance, ceilings_from_json

FORM = Form("mlbench-limits", 2, "limits.json", "limits file")


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
