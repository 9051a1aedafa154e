"""Ablations as JSON: a file of `mlbench ablation --json`, or what stands under KEY in `extra_info` of pytest-benchmark's files.

The history of the schema's versions stands in the `$comment` of `results/schemas/ablation.json`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.measure import Environment
from mlbench.measure.stats import Interval
from mlbench.results import COMPLETE
from mlbench.results.documents import Form, check_document, plain, read_json, write_document
from mlbench.results.pytest_benchmark import document, is_pytest_benchmark, ours, place_of
from mlbench.studies.ablation.breakdown import Shares
from mlbench.studies.ablation.measure import Ablation, Effect, Variant
from mlbench.studies.ablation.variants import Rung

FORM = Form("mlbench-ablation", 1, "ablation.json", "ablation")
KEY = "mlbench_ablation"
"""Of its own in `extra_info`, so that whoever reads measurements under `mlbench` does not meet an ablation there."""


@dataclass(frozen=True, slots=True)
class Ablations:
    """A run: where, when, how, and the ablation of each cell.

    Attributes:
        environment: the machine and its software.
        command: what was run.
        date: ISO 8601 with the offset.
        status: `complete`, or `interrupted` when the run was broken off.
        ablations: one for each cell that was measured to its end.
    """

    environment: Environment
    command: str
    date: str
    status: str
    ablations: tuple[Ablation, ...]


def new_ablations(environment: Environment, command: str, found: Iterable[Ablation], status: str = COMPLETE) -> Ablations:
    """Make a run of today."""
    now = dt.datetime.now().astimezone().isoformat(timespec="seconds")
    return Ablations(environment, command, now, status, tuple(found))


def ablation_to_json(found: Ablation) -> dict[str, Any]:
    """Return one ablation as JSON data."""
    data: dict[str, Any] = plain(dataclasses.asdict(found))
    return data


def save_ablations(run: Ablations, path: str | Path) -> Path:
    """Write a run, whole or not at all."""
    return write_document(path, FORM, plain(dataclasses.asdict(run)))


def load_ablations(path: str | Path) -> Ablations:
    """Read a run, or the ablations in a file that pytest-benchmark saved.

    Raises:
        FileError: when it is missing, damaged, foreign, or of a version this mlbench does not read.
        MissingExtraError: without jsonschema.
    """
    data = read_json(path)
    if is_pytest_benchmark(data):
        rows = ours(data, KEY)
        place = place_of(data, rows, "ablations")
        data = document(path, data, rows, "ablations") | {"schema": FORM.version, "kind": FORM.kind}
        check_document(path, data, FORM, place)
    else:
        check_document(path, data, FORM)
    found = tuple(_ablation(each) for each in data["ablations"])
    return Ablations(Environment(**data["environment"]), data["command"], data["date"], data["status"], found)


def has_ablations(data: Any) -> bool:  # whatever JSON holds
    """Whether these data hold ablations, of ours or in a file of pytest-benchmark."""
    if is_pytest_benchmark(data):
        return bool(ours(data, KEY))
    return isinstance(data, dict) and data.get("kind") == FORM.kind


def _ablation(data: dict[str, Any]) -> Ablation:
    """Return the ablation that valid JSON data hold."""
    effects = tuple(_effect(each) for each in data["effects"])
    return Ablation(**{**data, "shares": Shares(**data["shares"]), "effects": effects})


def _effect(data: dict[str, Any]) -> Effect:
    rung = data["rung"]
    without = None if rung["without_it"] is None else tuple(rung["without_it"])
    return Effect(
        rung=Rung(**{**rung, "with_it": tuple(rung["with_it"]), "without_it": without}),
        variant=Variant(**data["variant"]),
        total=Interval(**data["total"]),
        effect=Interval(**data["effect"]),
        is_idle=data["is_idle"],
        is_beyond_noise=data["is_beyond_noise"],
    )
