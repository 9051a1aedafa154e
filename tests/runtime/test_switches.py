"""Every optimisation can be switched, and every combination of them gives the right answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

import mlbench
from mlbench import Model, OptimizedRunner, mlp
from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.pipeline import PASSES, passes_named
from mlbench.errors import ModelError
from mlbench.runtime import check_result
from support.exhaustive import subsets

NAMES = tuple(each.name for each in PASSES)
SWITCHED = tuple(name for name in NAMES if name != "parallelize")
"""All but one that changes nothing for one thread; test_threads.py tests it."""
SUBSETS = subsets(SWITCHED)
MODELS = {
    "relu": mlp(6, (300, 64), 3),
    "leaky-softmax": mlp(6, (300, 9), 3, activation="leaky_relu", output_activation="softmax"),
    "sigmoid": mlp(6, 300, 1, activation="sigmoid", output_activation="sigmoid"),
    "tanh-relu": mlp(6, 9, 3, activation="tanh", output_activation="relu"),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("subset", SUBSETS, ids=lambda names: "+".join(names) or "none")
def test_every_combination_is_right(subset: tuple[str, ...], model: Model) -> None:
    """Whatever is switched on, the output is what float64 gives, for one row, a tile, some tiles and a tail."""
    runner = OptimizedRunner(model, 300, passes=subset)
    for batch in (1, 2, 128, 300):
        x = np.random.default_rng(batch).standard_normal((batch, 6), dtype=np.float32)
        check_result(model, x, runner.run(x))


def test_names_are_taken_in_any_order() -> None:
    """Passes run in the order of the pipeline, not in that of the names."""
    assert passes_named(NAMES[::-1]) == PASSES
    runner = OptimizedRunner(mlp(6, 9, 3), 4, passes=["strips", "fuse"])
    assert [each.name for each in runner.compiled.passes] == ["fuse", "strips"]


def test_no_names_leave_the_graph_as_written() -> None:
    """Without any optimisation every node makes a new array, and nothing is held between calls."""
    runner = OptimizedRunner(mlp(6, 9, 3), 4, passes=())
    x = np.ones((4, 6), np.float32)
    first, second = runner.run(x), runner.run(x)
    assert len(runner.compiled.graph.nodes) == 5
    assert runner.memory.arena_bytes == ALIGNMENT_BYTES
    assert not np.may_share_memory(first, second)
    lines = runner.sources[0].splitlines()
    assert lines.index("        del v0") == lines.index("        add(v0, b0_rows, out=v1)") + 1  # freed where an eager framework frees it


def test_static_alone_gives_every_value_its_place() -> None:
    """With static buffers alone each of the five values has a buffer of its own."""
    runner = OptimizedRunner(mlp(6, 9, 3), 4, passes=["static"])
    x = np.ones((4, 6), np.float32)
    assert len(runner.plan.buffers) == 5
    assert runner.run(x) is runner.run(x)


def test_in_place_is_a_switch_of_its_own() -> None:
    """Alone it lets a result take its operand's storage, allocated anew in each call: three arrays become one."""
    runner = OptimizedRunner(mlp(6, 9, 3), 4, passes=["in_place"])
    runner.run(np.ones((4, 6), np.float32))
    assert [buffer.values for buffer in runner.plan.buffers] == [("v0", "v1", "v2"), ("v3", "v4")]
    assert "add(v0, b0_rows, out=v0)" in runner.sources[0]


def test_an_unknown_name_is_refused() -> None:
    """A name that is no optimisation is refused, and the error lists those there are."""
    with pytest.raises(
        ModelError, match="no optimisation is called 'fusion'; there are recognize, fold_scale, canonicalize, fuse, widen, static, tile"
    ):
        OptimizedRunner(mlp(6, 9, 3), 4, passes=["fusion"])


@pytest.mark.parametrize("thing", [mlbench.OptimizedRunner, mlbench.BaselineRunner, mlbench.Model.load, mlbench.mlp, mlbench.tune])
def test_a_signature_is_a_line_or_two(thing: Callable[..., object]) -> None:
    """What `help` shows first has no default that is printed at length."""
    assert len(str(inspect.signature(thing))) < 200
