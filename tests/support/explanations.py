"""An explanation of a small network, made once, and one whose every name is markup."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from mlbench.results import COMPLETE, now
from mlbench.results.explanation import Explanation, Explanations
from mlbench.studies.cases import mlp_cell
from mlbench.studies.explain import explain
from support.saved_results import ENVIRONMENT

EVIL = 'v2<img src=x onerror="document.title=1">'
MEASURE = "mlbench explain --measure"


@cache
def explanation() -> Explanation:
    """Return the explanation of an MLP of two hidden layers at batch 8."""
    return explain(mlp_cell(8, (16, 12)), measure=MEASURE)


def evil_explanation() -> Explanation:
    """Return the same with a value, a pass and a network that are called like an element with a handler."""
    found = explanation()
    steps = tuple(dataclasses.replace(step, note=f"{step.note} {EVIL}") for step in found.steps)
    renamed: Explanation = _renamed(found)
    return dataclasses.replace(renamed, title=EVIL, cell=EVIL, steps=steps)


def run_of(*found: Explanation) -> Explanations:
    """Return a run with explanations."""
    return Explanations(ENVIRONMENT, "mlbench explain", now(), COMPLETE, found)


def _renamed(item: Any) -> Any:
    """Return records with every value `v2` called EVIL."""
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return dataclasses.replace(item, **{each.name: _renamed(getattr(item, each.name)) for each in dataclasses.fields(item)})
    if isinstance(item, tuple):
        return tuple(_renamed(each) for each in item)
    if isinstance(item, dict):
        return {name: _renamed(each) for name, each in item.items()}
    return EVIL if item == "v2" else item
