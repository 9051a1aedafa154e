"""A runner says what its generated code executes."""

from __future__ import annotations

import pytest

from mlbench import OptimizedRunner, mlp
from mlbench.compiler.x86 import find
from mlbench.errors import ModelError
from mlbench.models.zoo import ZOO, load_zoo

VECTORS, WHY = find()
needs_code = pytest.mark.skipif(VECTORS is None, reason=f"no generated code here: {WHY}")
MODEL = mlp(inputs=64, hidden=32, outputs=16)


@needs_code
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_multiply_adds_grow_with_the_rows(rows: int) -> None:
    """Whole vectors of columns: as many multiply-adds as the products have, from one code for every number of rows."""
    assert VECTORS is not None
    found = OptimizedRunner(MODEL, 64).count_instructions(rows)
    assert found is not None
    assert found.multiply_adds == rows * (64 * 32 + 32 * 16) // VECTORS.lanes


@needs_code
@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_network_of_the_zoo_is_counted(name: str) -> None:
    """Exponentials, roots and reductions can be followed, and the same code counts the same each time."""
    found = [OptimizedRunner(load_zoo(name).graph(), 3).count_instructions(3) for _ in range(2)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].instructions == found[1].instructions > found[0].multiply_adds > 0


def test_what_numpy_runs_has_no_counts() -> None:
    """Without generated code there is nothing to count."""
    assert OptimizedRunner(MODEL, 8, passes=["fuse", "static"]).count_instructions(8) is None


@pytest.mark.parametrize("rows", [0, 65, 2.0])
def test_rows_that_no_call_has_are_refused(rows: int) -> None:
    """The error says which numbers fit."""
    with pytest.raises(ModelError, match="from 1 to 64"):
        OptimizedRunner(MODEL, 64).count_instructions(rows)
