"""What is decided about how a model runs: the heuristics, layouts, the search, and its memory."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import mlbench.studies.autotune
import mlbench.studies.contest
from mlbench import Layer, Model, OptimizedRunner, mlp, tune
from mlbench.cache import CacheWarning, cache_folder, remember
from mlbench.compiler import blas
from mlbench.compiler.passes import layout
from mlbench.compiler.pipeline import PASSES, compile_graph, passes_named
from mlbench.compiler.schedule.heuristics import heuristic_schedule, memory_budget_bytes
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import FEATURES, Program
from mlbench.compiler.schedule.schedule import (
    BLAS,
    ONE,
    SPLIT,
    TILES,
    OpSchedule,
    Schedule,
    schedule_from_json,
    schedule_to_json,
)
from mlbench.compiler.schedule.search import Space, best_schedule, space_of
from mlbench.compiler.x86 import Caches, find
from mlbench.errors import ModelError
from mlbench.ir import frozen
from mlbench.measure.stats import Interval
from mlbench.runtime import check_result
from mlbench.studies.autotune import undecided
from mlbench.studies.contest import Contest
from support.exhaustive import rows
from support.hierarchies import ONE_MIB, SAPPHIRE_RAPIDS, SMALL, ZEN_3
from support.strategies import batch_of

NAMES = [each.name for each in PASSES]
PLAIN = [name for name in NAMES if name != "codegen"]
MODEL = mlp(20, 40, 12)
TRANSPOSED = OpSchedule(FEATURES)


def graph_of(model: Any, batch: int, threads: int = 1, names: Sequence[str] = NAMES) -> Program:
    """Return a model's program as it is before anything is decided."""
    return undecided(model.graph(), batch, threads, names)


# --- layouts ------------------------------------------------------------------------------------------------------------


LAST = [OpSchedule(), OpSchedule(order="F"), OpSchedule(generated=True)]
FIRST = [TRANSPOSED, OpSchedule(FEATURES, "F"), OpSchedule(FEATURES, "C", 3), OpSchedule(FEATURES, "F", 40), OpSchedule(order="F")]
ACTIVATIONS = ["relu", "leaky_relu", "sigmoid", "tanh", "identity"]


@pytest.mark.parametrize(("activation", "first", "last", "batch"), rows(ACTIVATIONS, FIRST, LAST, [1, 2, 7, 48, 100], strength=3))
def test_every_layout_is_right(activation: str, first: OpSchedule, last: OpSchedule, batch: int) -> None:
    """Feature-major, in parts, in either order, into either kind of product: what float64 gives, for whole tiles and tails."""
    model = mlp(20, (40, 30), 12, activation=activation)
    runner = OptimizedRunner(
        model, 100, schedule=Schedule(48, (first, first, last)), passes=[name for name in NAMES if name != "canonicalize"]
    )
    x = batch_of(batch, 20)
    check_result(model, x, runner.run(x))
    check_result(model, x, runner.run(x))


def test_layouts_are_facts_of_the_schedule() -> None:
    """The printed form shows a feature-major activation in parts and a weight in Fortran order."""
    names = ["fold_bias", "fuse", "layout", "strips"]
    model = mlp(20, 64, 2)
    compiled = compile_graph(model.graph(), 48, passes_named(names), Schedule(None, (OpSchedule(FEATURES, "C", 2), OpSchedule(order="F"))))
    assert program_text(compiled.program) == (
        "graph(x: rows x 20) max_batch=48\n"
        "  v2: 64 x rows = matmul(x, w0: 20 x 64) in 2 parts then maximum(b0_negated: 64)\n"
        "  v4: rows x 2 = matmul(v2, w1_fortran: 64 x 2 Fortran) then add(b1_folded_strip: 48 x 2)\n"
        "  return v4"
    )
    assert {each.name: note for each, note in compiled.notes}["layout"] == "w1_fortran in Fortran order; v2 feature-major; v2 in 2 parts."


@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_what_is_no_product_reads_rows(output: str) -> None:
    """The output, and a value that a softmax reads, stay row-major whatever was chosen."""
    program = compile_graph(mlp(20, 40, 12, output_activation=output).graph(), 9, PASSES, Schedule(None, (TRANSPOSED, TRANSPOSED))).program
    layouts = [program.of(node).layout for node in program.graph.nodes]
    assert layouts[1:] == ["rows"] * (len(layouts) - 1)


def test_a_layout_that_is_there_already_is_the_same_graph() -> None:
    """A second time, and where everything stays as it is, the pass changes nothing."""
    graph = compile_graph(MODEL.graph(), 9, passes_named(["fuse"])).program
    schedule = Schedule(None, (TRANSPOSED, OpSchedule(order="F")))
    once = layout.choose(graph, schedule)
    assert layout.choose(once, schedule) is once
    assert layout.choose(graph, Schedule(None, (OpSchedule(), OpSchedule()))) is graph


def test_spread_operands_count_as_memory() -> None:
    """A row operand of a feature-major value is repeated for every row of a tile, and counted."""
    runner = OptimizedRunner(mlp(20, 40, 12, activation="tanh"), 48, schedule=Schedule(None, (TRANSPOSED, OpSchedule())))
    before = runner.memory.operand_bytes
    runner.run(batch_of(48, 20))
    assert runner.memory.operand_bytes - before == 40 * 48 * 4


@pytest.mark.parametrize(
    ("inputs", "lanes", "expected"), [(31, 8, False), (32, 8, True), (32, 1, True), (32, 16, False), (32, 9, False), (10**6, 8, False)]
)
def test_where_blas_allocates(monkeypatch: pytest.MonkeyPatch, inputs: int, lanes: int, expected: bool) -> None:
    """The last 1 to 8 lanes of 16, from 32 inputs on, in small products, on cores with AVX-512."""
    monkeypatch.setattr(blas, "core", lambda: "SkylakeX")
    assert blas.small_product_allocates(inputs, lanes) is expected
    monkeypatch.setattr(blas, "core", lambda: "Haswell")
    assert blas.small_product_allocates(inputs, lanes) is False


# --- the default rules --------------------------------------------------------------------------------------------------


def test_a_narrow_output_takes_fortran_order() -> None:
    """Few columns, few rows, many inputs; anything else stays in C order."""
    for inputs, columns, batch, order in ((256, 16, 64, "F"), (255, 16, 64, "C"), (256, 32, 64, "C"), (256, 16, 65, "C")):
        found = heuristic_schedule(graph_of(mlp(inputs, (), columns), batch, names=PLAIN), PLAIN)
        assert [way.order for way in found.ops] == [order], (inputs, columns, batch)


def test_a_tile_keeps_products_small_where_blas_likes_them_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 100**3 multiplications AVX-512 packs nothing: 64 x 64 gives tiles of 240 rows; 256 x 256 would give 15, too few."""
    monkeypatch.setattr(blas, "core", lambda: "SkylakeX")
    assert heuristic_schedule(graph_of(mlp(64, 64, 10), 512, names=PLAIN), PLAIN).tile_rows == 240
    assert heuristic_schedule(graph_of(mlp(64, 64, 10), 240, names=PLAIN), PLAIN).tile_rows is None
    assert heuristic_schedule(graph_of(mlp(256, 256, 256), 512, names=PLAIN), PLAIN).tile_rows == 128
    monkeypatch.setattr(blas, "core", lambda: None)
    assert heuristic_schedule(graph_of(mlp(64, 64, 10), 512, names=PLAIN), PLAIN).tile_rows is None


@pytest.mark.parametrize(
    ("batch", "threads", "threading"),
    [(4096, 1, ONE), (64, 2, BLAS), (4096, 2, TILES), (47, 2, BLAS), (48, 2, TILES)],
)
def test_who_runs_it_follows_the_rule(batch: int, threads: int, threading: str) -> None:
    """One thread where one is allowed; tiles where each thread gets 24 rows and work enough; else what BLAS does by itself."""
    hidden = 64 if (batch, threads) == (64, 2) else 8192
    assert heuristic_schedule(graph_of(mlp(64, hidden, 64), batch, threads, PLAIN), PLAIN).threading == threading


@pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
@pytest.mark.parametrize(
    ("sizes", "batch", "threads", "threading"),
    [((64, 64, 10), 8, 2, ONE), ((64, 64, 10), 64, 2, TILES), ((64, 64, 10), 4096, 1, ONE), ((784, 512, 10), 1, 2, SPLIT),
     ((784, 512, 10), 55, 2, SPLIT), ((784, 512, 10), 56, 2, TILES), ((64, 1024, 64), 7, 2, SPLIT), ((64, 1024, 64), 8, 2, TILES),
     ((1024, 4096, 1024), 512, 2, SPLIT)],
)  # fmt: skip
def test_who_runs_generated_code_follows_the_rule(sizes: tuple[int, int, int], batch: int, threads: int, threading: str) -> None:
    """What is short stays on one thread; rows are shared where there are enough and the weights fit a cache; else each product."""
    assert heuristic_schedule(graph_of(mlp(*sizes), batch, threads), NAMES, SAPPHIRE_RAPIDS).threading == threading


@pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
@pytest.mark.parametrize(
    ("caches", "sizes", "batch", "threading"),
    [(ZEN_3, (784, 512, 10), 8, SPLIT), (ZEN_3, (784, 512, 10), 56, TILES), (ZEN_3, (784, 1024, 784), 512, SPLIT),
     (ZEN_3, (64, 1024, 64), 8, SPLIT),
     (ONE_MIB, (784, 512, 10), 512, SPLIT), (SMALL, (784, 512, 10), 512, TILES), (SMALL, (1024, 512, 256), 512, SPLIT)],
)  # fmt: skip
def test_who_runs_generated_code_follows_the_caches(caches: Caches, sizes: tuple[int, int, int], batch: int, threading: str) -> None:
    """Rows are shared where weights stay in the second cache or a core's part of the third; more rows beyond half of the second."""
    assert heuristic_schedule(graph_of(mlp(*sizes), batch, 2), NAMES, caches).threading == threading


def test_a_tile_of_numpys_products_follows_the_second_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its widest value takes 128 KiB, and a quarter of a small cache at most."""
    monkeypatch.setattr(blas, "core", lambda: None)
    for caches, tile in ((SAPPHIRE_RAPIDS, 512), (ZEN_3, 512), (SMALL, 256)):
        assert heuristic_schedule(graph_of(mlp(64, 64, 10), 4096, names=PLAIN), PLAIN, caches).tile_rows == tile


def test_a_schedule_for_another_model_is_refused() -> None:
    """A schedule for two products does not fit a model of three; unknown threading is refused as well."""
    with pytest.raises(ModelError, match="the schedule is for 2 matrix products; this model has 3 where it applies"):
        OptimizedRunner(mlp(4, (8, 8), 2), 4, schedule=Schedule(None, (OpSchedule(), OpSchedule())))
    with pytest.raises(ModelError, match="threading is 'many'; expected one of one, blas, tiles, split"):
        OptimizedRunner(mlp(4, 8, 2), 4, schedule=Schedule(None, (OpSchedule(), OpSchedule()), "many"))


def test_a_schedule_survives_json() -> None:
    """What is written is what is read."""
    schedule = Schedule(48, (OpSchedule(FEATURES, "F", 3), OpSchedule(generated=True)), TILES)
    assert schedule_from_json(schedule_to_json(schedule)) == schedule


@pytest.mark.parametrize(
    "data",
    [None, {}, {"tile_rows": 4, "ops": 3, "threading": "one"}, {"tile_rows": 0, "ops": [], "threading": "one"},
     {"tile_rows": None, "ops": [{"layout": "x", "order": "C", "parts": 1, "generated": False}], "threading": "one"},
     {"tile_rows": None, "ops": [], "threading": "many"}],
    ids=["nothing", "empty", "no-list", "no-rows", "no-layout", "no-threading"],
)  # fmt: skip
def test_json_that_holds_no_schedule_is_refused(data: Any) -> None:  # whatever JSON may hold
    """The error shows what was found."""
    with pytest.raises(ModelError, match=r"found .*schedule"):
        schedule_from_json(data)


# --- the search ---------------------------------------------------------------------------------------------------------


def test_the_search_finds_the_cheapest() -> None:
    """With a cost that is a sum over what was chosen, it finds the least in the whole space, and asks for one race at a time."""
    graph = graph_of(mlp(64, 512, 64), 500)
    space = space_of(graph, NAMES)
    wanted = Schedule(space.tiles[2], (space.ops[0][-2], space.ops[1][1]))

    def cost(candidates: Sequence[Schedule]) -> list[float]:
        assert len(set(candidates)) == len(candidates)
        return [
            10.0 + (each.tile_rows != wanted.tile_rows) + sum(a != b for a, b in zip(each.ops, wanted.ops, strict=True))
            for each in candidates
        ]

    assert best_schedule(graph, NAMES, cost) == wanted


def test_a_gain_within_the_margin_is_noise() -> None:
    """What is cheaper by 1 % does not replace the default; by 7 % it does, whatever it is."""
    graph = graph_of(MODEL, 8)
    default = heuristic_schedule(graph, NAMES)

    def cost(gain: float) -> Any:
        return lambda candidates: [1.0 if each == default else 1.0 - gain for each in candidates]

    assert best_schedule(graph, NAMES, cost(0.01)) == default
    assert best_schedule(graph, NAMES, cost(0.07)) != default


def _cheap(wanted: Schedule, candidates: Sequence[Schedule]) -> list[float]:
    return [0.98 if each == wanted else 1.0 for each in candidates]


@pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
def test_generated_code_is_left_for_more_than_a_gain() -> None:
    """2 % are enough for another tile of generated code, and not for a product of NumPy."""
    graph = graph_of(MODEL, 400)
    default = heuristic_schedule(graph, NAMES)
    for wanted, expected in ((replace(default, tile_rows=28), True), (replace(default, ops=(OpSchedule(), *default.ops[1:])), False)):
        found = best_schedule(graph, NAMES, partial(_cheap, wanted))
        assert (found == wanted) is expected
        assert (found == default) is not expected


def test_what_is_switched_off_is_not_searched() -> None:
    """Without tiles, layouts, packing and threads there is one choice."""
    space = space_of(graph_of(MODEL, 500, 2), ["fuse", "static"])
    assert (space.tiles, space.ops, space.threadings) == ((None,), ((OpSchedule(),), (OpSchedule(),)), (ONE,))


def test_large_batches_are_always_tiled() -> None:
    """Above 512 rows the whole batch at once is no candidate; below it is."""
    assert None not in space_of(graph_of(MODEL, 513), NAMES).tiles
    assert None in space_of(graph_of(MODEL, 512), NAMES).tiles


def test_only_more_threads_are_searched() -> None:
    """With one thread there is nothing to share."""
    assert space_of(graph_of(MODEL, 64, 1), NAMES).threadings == (ONE,)
    assert set(space_of(graph_of(MODEL, 64, 2), NAMES).threadings) == {ONE, BLAS, TILES, SPLIT}


# --- every choice -------------------------------------------------------------------------------------------------------


def _without_biases(model: Model) -> Model:
    return Model(model.name, tuple(Layer(layer.weight, frozen(np.zeros_like(layer.bias)), layer.activation) for layer in model.layers))


def _every_choice(space: Space) -> list[Schedule]:
    """Return schedule in which each way, tile and threading of a space comes up, the same ops for all layers and different ones."""
    ops = [
        tuple(each[(index + shift * layer) % len(each)] for layer, each in enumerate(space.ops))
        for index in range(max(map(len, space.ops)))
        for shift in (0, 2)
    ]
    return [Schedule(rows, each, threading) for rows in space.tiles for each in ops for threading in space.threadings]


EXPLAINED = {
    "all": NAMES,
    "no-code": PLAIN,
    "no-code-no-folds": [name for name in PLAIN if name != "fold_bias"],
    "no-code-no-fusion": [name for name in PLAIN if name != "fuse"],
    "layouts-and-strips": ["fuse", "layout", "strips"],
}


@pytest.mark.parametrize(
    ("activation", "has_biases", "batch", "explained"), rows(["relu", "leaky_relu"], [True, False], [1, 60], list(EXPLAINED))
)
def test_every_choice_compiles_and_is_explained(activation: str, has_biases: bool, batch: int, explained: str) -> None:
    """Whatever a search may choose, of models with and without biases, compiles, and each pass says what it did."""
    model = mlp(20, (30, 30), 12, activation=activation, output_activation="softmax")
    model = model if has_biases else _without_biases(model)
    names = EXPLAINED[explained]
    graph = graph_of(model, batch, 2, names)
    for schedule in _every_choice(space_of(graph, names)):
        compiled = compile_graph(model.graph(), batch, passes_named(names), schedule, 2)
        assert all(note.endswith(".") for _, note in compiled.notes), schedule


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search for a moment, and take it for a quiet one, because an answer of a busy one is not remembered."""
    monkeypatch.setattr(mlbench.studies.contest, "QUIET_SPREAD", np.inf)
    monkeypatch.setattr(mlbench.studies.contest, "SET_S", 0.0)
    monkeypatch.setattr(mlbench.studies.contest, "SETS", 2)
    monkeypatch.setattr(mlbench.studies.autotune, "COMPARISON_S", 0.01)


@pytest.fixture
def _found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the default schedule without a clock, in a quiet moment: for what is remembered, whatever it is."""
    monkeypatch.setattr(mlbench.studies.autotune, "best_schedule", lambda program, names, _: heuristic_schedule(program, names))
    monkeypatch.setattr(mlbench.studies.autotune, "contest", lambda *_, **__: Contest(Interval(1.0, 1.0, 1.0, 0.95, 1, 1), 1.0))


@pytest.mark.usefixtures("_quiet")
def test_a_model_without_biases_is_tuned() -> None:
    """A ReLU that stays, of a value that lies feature after feature, stops no search."""
    assert len(tune(_without_biases(MODEL), 30).ops) == 2


# --- tuning -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_quiet")
def test_a_tuned_schedule_is_right_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search runs for real once; the second time nothing is measured, and the answer is the same."""
    model = mlp(20, 40, 13)
    schedule = tune(model, 60)
    x = batch_of(60, 20)
    check_result(model, x, OptimizedRunner(model, 60, schedule=schedule).run(x))
    monkeypatch.setattr(mlbench.studies.autotune, "time_interleaved", lambda *_, **__: pytest.fail("measured again"))
    assert tune(model, 60) == schedule
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        tune(model, 61)


def test_what_an_earlier_version_remembered_is_recalled(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The entry of an earlier version has another kind, two other names of passes, and ways instead of ops."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    model = mlp(20, 40, 13)
    found = Schedule(28, (OpSchedule(order="F"), OpSchedule()))
    data = schedule_to_json(found)
    data["ways"] = data.pop("ops")
    key = mlbench.studies.autotune._key(model, 60, 1, NAMES)
    older = {"canonicalize": "clean", "parallelize": "threads"}
    remember("choices", key | {"passes": [older.get(name, name) for name in NAMES]}, data)
    monkeypatch.setattr(mlbench.studies.autotune, "time_interleaved", lambda *_, **__: pytest.fail("measured again"))
    assert tune(model, 60) == found


@pytest.mark.usefixtures("_found_at_once")
def test_a_damaged_memory_is_ignored_with_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A file that holds no schedule is warned about and searched anew."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    model = mlp(5, 6, 3)
    first = tune(model, 4)
    (path,) = cache_folder().glob("schedule-*.json")
    path.write_text(path.read_text().replace('"tile_rows"', '"rows"'))
    with pytest.warns(CacheWarning, match="a remembered schedule is ignored: found no schedule"):
        assert len(tune(model, 4).ops) == len(first.ops)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tune(model, 4)


@pytest.mark.usefixtures("_found_at_once")
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda value: value.update(tile_rows=float("inf")), "Infinity is no finite number"),
        (lambda value: value.update(tile_rows=2.5), "where a whole number is expected"),
        (lambda value: value.update(tile_rows=10**30), "tiles of 1000000000000000000000000000000 rows; this batch may have None"),
        (lambda value: value.update(tile_rows=4), "tiles of 4 rows; this batch may have None"),
        (lambda value: value["ops"].pop(), "the schedule is for 1 matrix products; this model has 2"),
        (lambda value: value["ops"][0].update(parts=10**9), "product 0 as OpSchedule"),
        (lambda value: value["ops"][1].update(layout="features"), "product 1 as OpSchedule"),
        (lambda value: value.update(threading="tiles"), "threading 'tiles' with 1 threads; expected one of one"),
    ],
    ids=["infinite", "fraction", "huge-tile", "tile-of-the-batch", "too-few-ops", "parts", "layout", "threads"],
)
def test_a_remembered_schedule_is_checked_by_the_program(
    damage: Callable[[Any], object], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """What no search can have found is searched anew with a warning, and never an error of the search or the runner."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    model = mlp(5, 6, 3)
    tune(model, 4)
    (path,) = cache_folder().glob("schedule-*.json")
    data = json.loads(path.read_text())
    damage(data["value"])
    path.write_text(json.dumps(data))
    with pytest.warns(CacheWarning, match=re.escape(told)):
        found = tune(model, 4)
    OptimizedRunner(model, 4, schedule=found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tune(model, 4)


@pytest.mark.usefixtures("_found_at_once")
def test_without_the_cache_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A search that must not use the cache leaves nothing in it, and does not look into it."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    tune(mlp(5, 6, 3), 4, use_cache=False)
    assert list(tmp_path.iterdir()) == []
    tune(mlp(5, 6, 3), 4)
    monkeypatch.setattr(mlbench.studies.autotune, "recall", lambda *_: pytest.fail("recalled"))
    tune(mlp(5, 6, 3), 4, use_cache=False)


def test_a_large_batch_has_a_memory_budget() -> None:
    """A tenth of the eager runner's two activations from 512 rows on, or 128 KiB where that is more; below there is none."""
    assert memory_budget_bytes(graph_of(mlp(64, 1024, 64), 512)) == 2 * 512 * 1024 * 4 // 10
    assert memory_budget_bytes(graph_of(mlp(64, 64, 64), 512)) == 128 * 1024
    assert memory_budget_bytes(graph_of(mlp(64, 1024, 64), 511)) is None
    assert memory_budget_bytes(graph_of(mlp(64, 1024, 64), 512), generated=True) == (2 * 1024 - 64) * 512 * 4 // 10
    assert memory_budget_bytes(graph_of(mlp(64, 64, 256), 512), generated=True) == 64 * 512 * 4 // 10


@pytest.mark.usefixtures("_quiet")
def test_what_needs_too_much_memory_is_not_chosen() -> None:
    """A candidate over the budget takes for ever, and one within it does not."""
    model = mlp(20, 400, 12)
    within, beyond = Schedule(24, (OpSchedule(), OpSchedule())), Schedule(None, (OpSchedule(), OpSchedule()))
    costs = mlbench.studies.autotune._compared(model, 600, 1, NAMES, [beyond, within])
    assert costs[0] == np.inf
    assert costs[1] < 10
    assert mlbench.studies.autotune._compared(model, 600, 1, NAMES, [beyond]) == [np.inf]
    assert tune(model, 600).tile_rows is not None


def test_a_candidate_far_behind_does_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes 20 % more than the fastest heat keeps its heat as its cost; the first candidate always races."""
    heats = {"0": 3.0, "1": 1.0, "2": 1.1, "3": 1.3}
    raced: list[set[str]] = []

    def turns(arms: dict[str, Any], rounds: int, *_: object, **__: object) -> dict[str, Any]:
        raced.append(set(arms))
        return {name: mlbench.measure.ArmTimes((heats[name] * rounds,) * rounds, (), None) for name in arms}

    monkeypatch.setattr(mlbench.studies.autotune, "time_interleaved", turns)
    ops = [Schedule(rows, (OpSchedule(), OpSchedule())) for rows in (None, 1, 2, 3)]
    costs = mlbench.studies.autotune._compared(MODEL, 8, 1, NAMES, ops)
    assert raced[0] == {"0", "1", "2", "3"}
    assert raced[1] == {"0", "1", "2"}
    assert costs[3] == heats["3"]
    assert np.argmin(costs) == 3 or costs[1] < costs[2] < costs[0]


def test_zeros_of_both_layouts_are_not_confused() -> None:
    """At batch 1, behind a layer that lies feature after feature and one that does not, each ReLU has zeros of its own form."""
    model, x = mlp(4, (8, 8), 3), batch_of(1, 4)
    passes = [name for name in PLAIN if name != "fold_bias"]
    for ops in ((TRANSPOSED, OpSchedule(), OpSchedule()), (OpSchedule(), TRANSPOSED, OpSchedule())):
        runner = OptimizedRunner(model, 1, passes=passes, schedule=Schedule(None, ops))
        check_result(model, x, runner.run(x), str(ops))
