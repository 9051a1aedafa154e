"""Random graphs of all ops in both runners, with random subsets of the passes, against float64."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from support.exhaustive import tries

FIRST, TOGETHER = 1_000_000, 25
PATH = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_graphs.py"


def _fuzz() -> Any:  # a module that is no package's
    spec = importlib.util.spec_from_file_location("fuzz_graphs", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FUZZ = _fuzz()


@pytest.mark.parametrize("first", range(FIRST, FIRST + tries(150, 5_000), TOGETHER))
def test_random_graphs_are_right(first: int) -> None:
    """Branches, several inputs and outputs, any passes, tiles, layouts, threads and generated code: what rounding explains, and no more."""
    found = {seed: FUZZ.failure(FUZZ.case_of(seed)) for seed in range(first, first + TOGETHER)}
    assert {seed: what for seed, what in found.items() if what} == {}
