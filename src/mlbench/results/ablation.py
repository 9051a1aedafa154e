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

FORM = Form("mlbench-ablation", 1, "ablation.json", "ablation")
KEY = "mlbench_ablation"
"""Of its own in `extra_info`, so that whoever reads measurements under `mlbench` does not meet an ablation there."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One comparison.

    Attributes:
        label: what the table calls it.
        optimisation: what is switched.
        with_it: the passes of the runner that has it.
        without_it: the passes of the runner that has not; None is the baseline.
    """

    label: str
    optimisation: str
    with_it: tuple[str, ...]
    without_it: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of the time of the baseline's call; the four add up to 1.

    Attributes:
        products: arithmetic of the matrix products.
        elementwise: element-wise passes, without the overhead of their calls.
        allocation: allocating large results, page faults included.
        calls: overhead of the calls: Python, NumPy's dispatch, and making small arrays.
        below_zero: shares that came out below 0, as they were; they count as 0, and the others are scaled so that all add up to 1.
    """

    products: float
    elementwise: float
    allocation: float
    calls: float
    below_zero: dict[str, float]


@dataclass(frozen=True, slots=True)
class Variant:
    """A runner with some passes, apart from its speed.

    Attributes:
        program: digest of everything that runs; two variants with one digest are the same program.
        memory_bytes: peak of a call plus everything held between calls.
        allocations: of a call; None where the instrument cannot count them.
        compile_s: seconds until the first result of this batch size.
    """

    program: str
    memory_bytes: int
    allocations: int | None
    compile_s: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rung is worth in this cell.

    Attributes:
        rung: the comparison.
        variant: the runner with the optimisation; in the rows 'all but', the one without.
        total: speed-up of that runner over the baseline.
        effect: time without / time with the optimisation; above 1 it helps.
        is_idle: both runners are the same program, so there is nothing to measure.
        is_beyond_noise: the whole interval lies on one side of 1, farther away than the two identical baselines are apart.
    """

    rung: Rung
    variant: Variant
    total: Interval
    effect: Interval
    is_idle: bool
    is_beyond_noise: bool


@dataclass(frozen=True, slots=True)
class Ablation:
    """All effects of a cell.

    Attributes:
        cell: its id.
        baseline_s: time of a call of the baseline: the geometric mean of the processes' medians.
        baseline_faults: page faults of such a call; None where the system does not count them.
        shares: where that time goes.
        effects: ladder first, then each by itself, then everything without each.
        noise: how far apart two identical baselines were, as a ratio of 1 or more.
        compile_s: seconds until the first result of the runner with everything.
        break_even_calls: calls after which that is earned back; None where nothing is gained.
        evicted_bytes: passed through the caches before every timed call; None where the caches were warm.
        eviction: what that means on the machine it was measured on, as a sentence; empty where the caches were warm.
    """

    cell: str
    baseline_s: float
    baseline_faults: float | None
    shares: Shares
    effects: tuple[Effect, ...]
    noise: float
    compile_s: float
    break_even_calls: float | None
    evicted_bytes: int | None = None
    eviction: str = ""


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
