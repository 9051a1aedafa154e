"""A runner says what its generated code executes."""

from __future__ import annotations

import pytest

from mlbench import OptimizedRunner, mlp
from mlbench.compiler.x86 import find
from mlbench.compiler.x86.caches import Caches
from mlbench.errors import ModelError
from mlbench.models.zoo import ZOO, load_zoo

VECTORS, WHY = find()
needs_code = pytest.mark.skipif(VECTORS is None, reason=f"no generated code here: {WHY}")
SMALL_CACHES = Caches(4096, 4, 32768, 8, 131072, 16)
"""Smaller than the weights of every network."""
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
    """Exponentials, roots and reductions can be followed, all memory that the code touches is known, and the same code counts the same."""
    runners = [OptimizedRunner(load_zoo(name).graph(), 2) for _ in range(2)]
    found = [each.count_instructions(2) for each in runners]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].instructions == found[1].instructions > found[0].multiply_adds > 0
    moved = [each.count_level_bytes(2, SMALL_CACHES) for each in runners]
    assert moved[0] == moved[1]
    assert [each.read_bytes > 0 for each in moved[0]] == [True] * 3


@needs_code
def test_weights_that_a_cache_holds_come_from_it() -> None:
    """10 KB of weights come from the second level in each call where the first one holds 2 KB, and from the first where it holds 32 KB."""
    runner, weights = OptimizedRunner(MODEL, 8), 4 * (64 * 32 + 32 * 16)
    small, large = (runner.count_level_bytes(1, Caches(size, 8, 1 << 19, 8)) for size in (2048, 32768))
    assert [weights <= small[0].read_bytes <= weights + 1024, small[1].read_bytes] == [True, 0]
    assert [each.read_bytes for each in large] == [0, 0]


def test_what_numpy_runs_has_no_counts() -> None:
    """Without generated code there is nothing to count."""
    runner = OptimizedRunner(MODEL, 8, passes=["fuse", "static"])
    assert runner.count_instructions(8) is None
    assert runner.count_level_bytes(8) == ()


@pytest.mark.parametrize("rows", [0, 65, 2.0])
def test_rows_that_no_call_has_are_refused(rows: int) -> None:
    """The error says which numbers fit."""
    with pytest.raises(ModelError, match="from 1 to 64"):
        OptimizedRunner(MODEL, 64).count_instructions(rows)
