"""What the ablation compares, when it calls a difference an effect, where the baseline's time goes, and what is saved of all that."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.compiler.pipeline import PASSES
from mlbench.errors import FileError
from mlbench.measure import ArmTimes, Environment
from mlbench.models import mlp
from mlbench.report.tables.ablation import ablation_tables, effects_table, memory_verdict, shares_table
from mlbench.report.terminal import render_plain
from mlbench.results import BASELINE, COMPLETE, now
from mlbench.results.ablation import ABLATION_FILE, Ablation, Ablations, Effect, Shares, Variant
from mlbench.results.storage import read, write
from mlbench.runtime import BaselineRunner
from mlbench.studies.ablation.breakdown import (
    ARMS,
    PREALLOCATED,
    PRODUCTS,
    TINY,
    TINY_PREALLOCATED,
    TINY_PRODUCTS,
    programs,
    shares_of,
)
from mlbench.studies.ablation.measure import SAME_PROGRAM, ablate, evaluate, idle_reasons
from mlbench.studies.ablation.tiny import tiny_graph
from mlbench.studies.ablation.variants import CONTROL, NOTHING, ORDER, name_of, rungs, variants
from mlbench.studies.cases import inputs_of, mlp_cell, model_of
from mlbench.studies.sweep import Effort

US = 1e-6
EVERYTHING = " + ".join(each.name for each in PASSES)
HERE = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})


def names() -> set[str]:
    """Return the names of all compiled runners that any rung compares."""
    order = [each.name for each in PASSES]
    assert all(list(passes) == sorted(passes, key=order.index) for passes in variants())
    return {name_of(passes) for passes in variants()}


def evaluated(costs_s: Mapping[str, float], programs: Mapping[str, str] | None = None, jitter: float = 0.0) -> dict[str, Effect]:
    """Return effects by their label, where each runner takes as long as given, 10 us where nothing is."""
    return {each.rung.label: each for each in ablation(costs_s, programs, jitter).effects}


def ablation(costs_s: Mapping[str, float], programs: Mapping[str, str] | None = None, jitter: float = 0.0) -> Ablation:
    """Return the ablation of made-up times: 5 processes of 4 rounds; `jitter` spreads those of the second baseline."""
    arms = {}
    for name in {BASELINE, CONTROL, *ARMS} | names():
        cost = costs_s.get(name, 10 * US)
        spread = jitter if name == CONTROL else 0.0
        arms[name] = [ArmTimes((cost * (1 + spread * (process - 2)),) * 4, (), None) for process in range(5)]
    weighed = {name: Variant((programs or {}).get(name, name), 1000, 0, 50 * US) for name in names()}
    return evaluate("b1-h8", weighed, arms)


def test_every_optimisation_is_on_the_ladder() -> None:
    """The ladder climbs from no pass to everything, over each optimisation once."""
    assert sorted(ORDER) == sorted(each.name for each in PASSES)
    ladder = [rung for rung in rungs() if rung.label.startswith("+ ")]
    assert [rung.optimisation for rung in ladder] == list(ORDER)
    assert ladder[0].without_it == ()
    assert set(ladder[-1].with_it) == set(ORDER)
    assert all(set(rung.with_it) - set(rung.without_it or ()) == {rung.optimisation} for rung in ladder)


@pytest.mark.parametrize("name", ORDER)
def test_each_is_compared_alone_and_left_out(name: str) -> None:
    """Each optimisation stands by itself on a runner without any, and is missing once from everything."""
    by_label = {rung.label: rung for rung in rungs()}
    assert (by_label[f"only {name}"].with_it, by_label[f"only {name}"].without_it) == ((name,), ())
    left_out = by_label[f"all but {name}"]
    assert set(left_out.with_it) - set(left_out.without_it or ()) == {name}


def test_an_effect_is_time_without_over_time_with() -> None:
    """A runner that takes half as long with the optimisation has the effect 2, and the speed-up is over the baseline."""
    found = evaluated({BASELINE: 40 * US, CONTROL: 40 * US, NOTHING: 20 * US, "fuse": 10 * US})["only fuse"]
    assert found.effect.estimate == pytest.approx(2)
    assert found.total.estimate == pytest.approx(4)
    assert found.is_beyond_noise


def test_all_but_shows_the_runner_without() -> None:
    """In a row "all but", the speed-up is that of the runner without, and the effect is what was left out."""
    without = " + ".join(each.name for each in PASSES if each.name != "tile")
    found = evaluated({BASELINE: 40 * US, CONTROL: 40 * US, without: 20 * US, EVERYTHING: 10 * US})["all but tile"]
    assert found.total.estimate == pytest.approx(2)
    assert found.effect.estimate == pytest.approx(2)


@pytest.mark.parametrize(("cost_us", "verdict"), [(5.0, "helps"), (9.9, "within noise"), (20.0, "hurts")])
def test_an_effect_must_stand_out_from_the_two_baselines(cost_us: float, verdict: str) -> None:
    """Where the interval of two identical baselines reaches 8 %, 1 % is noise, whatever its own interval; a factor of 2 is not."""
    found = ablation({"fuse": cost_us * US}, jitter=0.04)
    assert found.noise == pytest.approx(1.0836, rel=1e-4)
    row = next(row for row in effects_table(found).rows if row[0] == "only fuse")
    assert row[5] == verdict


def test_the_same_program_is_said_to_do_nothing() -> None:
    """Where an optimisation leaves the program as it is, the row says so, whatever the clock said."""
    found = ablation({"tile": 5 * US}, {"tile": "the same", NOTHING: "the same"})
    row = next(row for row in effects_table(found).rows if row[0] == "only tile")
    assert row[3:6] == ("-", "-", "does nothing here")


@pytest.mark.parametrize(("cost_us", "calls", "said"), [(5.0, 10.0, "after 10 calls"), (10.0, None, "never"), (12.0, None, "never")])
def test_when_the_compile_time_is_earned_back(cost_us: float, calls: float | None, said: str) -> None:
    """50 us of compiling are earned back in 10 calls that save 5 us each, and never where nothing is saved."""
    found = ablation({EVERYTHING: cost_us * US})
    assert found.break_even_calls == (None if calls is None else pytest.approx(calls))
    text = render_plain(effects_table(found)).replace("\n", " ")
    assert f"Compiling everything took 50.0 us; that is earned back {said}." in text


def test_shares_are_differences_that_add_up() -> None:
    """Known parts of a made-up call come out as they went in: 50 us of products, 20 element-wise, 25 allocation, 5 calls."""
    calls, products, elementwise, allocation = 5.0, 50.0, 20.0, 25.0
    tiny_preallocated, tiny_products = 4.0, 1.5
    times = {
        TINY: calls,
        TINY_PREALLOCATED: tiny_preallocated,
        TINY_PRODUCTS: tiny_products,
        PRODUCTS: products + tiny_products,
        PREALLOCATED: products + elementwise + tiny_preallocated,
    }
    found = shares_of({name: time / (calls + products + elementwise + allocation) for name, time in times.items()})
    assert (found.products, found.elementwise, found.allocation, found.calls) == pytest.approx((0.5, 0.2, 0.25, 0.05))
    assert found.below_zero == {}


def test_a_share_below_zero_counts_as_zero_and_is_told() -> None:
    """Where pre-allocated is slower than the baseline, allocation is 0, its remainder is kept, and the others still add up to 1."""
    found = shares_of({PREALLOCATED: 1.1, PRODUCTS: 0.6, TINY: 0.2, TINY_PREALLOCATED: 0.2, TINY_PRODUCTS: 0.1})
    assert found.allocation == 0
    assert found.below_zero == {"allocation": pytest.approx(-0.1)}
    assert found.products + found.elementwise + found.calls == pytest.approx(1)
    assert found.products / found.calls == pytest.approx(0.5 / 0.2)


def test_the_table_of_shares_adds_up_and_says_what_was_clamped() -> None:
    """Percentages and times of the parts add up to a call, and what came out below 0 is told as it was."""
    costs = {BASELINE: 100, PREALLOCATED: 105, PRODUCTS: 60, TINY: 20, TINY_PREALLOCATED: 20, TINY_PRODUCTS: 10}
    table = shares_table(ablation({name: cost * US for name, cost in costs.items()}))
    assert [row[0] for row in table.rows[:4]] == ["matrix products", "element-wise passes", "allocation and page faults", "call overhead"]
    assert sum(float(row[1].rstrip("%")) for row in table.rows[:4]) == pytest.approx(100, abs=0.2)
    assert table.rows[4][1:] == ("100.0 %", "100 us")
    assert "allocation and page faults came out at -5.0 % of a call" in table.notes[1]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh", "identity"])
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_the_preallocated_program_computes_what_the_baseline_does(activation: str, output: str) -> None:
    """The program that allocates nothing gives the baseline's result, also when it runs again."""
    model = mlp(6, (8, 8), 4, activation=activation, output_activation=output)
    x = np.random.default_rng(3).standard_normal((5, 6), dtype=np.float32)
    call = programs(model.graph(), (x,))[PREALLOCATED]
    call()
    np.testing.assert_allclose(np.asarray(call()), BaselineRunner(model).run(x), rtol=1e-6)


def test_the_products_alone_are_the_products() -> None:
    """The program of products gives x @ w0 @ w1, without bias and activation."""
    model = mlp(6, 8, 4)
    x = np.random.default_rng(3).standard_normal((5, 6), dtype=np.float32)
    expected = x @ model.layers[0].weight @ model.layers[1].weight
    np.testing.assert_allclose(np.asarray(programs(model.graph(), (x,))[PRODUCTS]()), expected, rtol=1e-6)


def test_the_tiny_programs_make_the_same_calls() -> None:
    """The graph of size 1 has the operations of the original, each on a single element."""
    graph = mlp(6, (8, 8), 4).graph()
    tiny, calls = tiny_graph(graph), programs(graph, (np.ones((5, 6), np.float32),))
    assert {array.shape for array in tiny.constants.values()} == {(1, 1), (1,)}
    assert [node.op for node in tiny.nodes] == [node.op for node in graph.nodes]
    assert {np.asarray(calls[name]()).shape for name in (TINY, TINY_PREALLOCATED, TINY_PRODUCTS)} == {(1, 1)}


@pytest.mark.parametrize("hidden", [(16,), (16, 16)])
def test_a_cell_is_ablated_end_to_end(hidden: tuple[int, ...]) -> None:
    """A real, tiny cell of any depth has every rung and shares that add up; each process took its turns."""
    steps: list[str] = []
    cell = mlp_cell(2, hidden)
    found = ablate(cell, Effort(processes=2, rounds=1, singles_s=0.0), steps.append)
    assert [each.rung for each in found.effects] == list(rungs())
    assert steps == [cell.id] * 3
    assert next(each for each in found.effects if each.rung.label == f"+ {ORDER[-1]}").variant.allocations in (0, None)
    assert all(math.isfinite(each.effect.estimate) and each.effect.processes == 2 for each in found.effects)
    assert sum((found.shares.products, found.shares.elementwise, found.shares.allocation, found.shares.calls)) == pytest.approx(1)
    assert found.evicted_bytes is None


def test_cold_caches_are_said() -> None:
    """With cold caches the ablation holds how much was evicted, and both tables say it."""
    found = ablate(mlp_cell(1, (8,)), Effort(processes=1, rounds=1, singles_s=0.0), lambda what: None, cold=True)
    assert found.evicted_bytes is not None
    for table in ablation_tables(found):
        assert table.title.endswith("b1-h8, cold caches")
        assert "Cold caches. Before every timed call" in table.notes[-1]


def test_one_row_has_nothing_to_tile() -> None:
    """In a batch of one the tile changes no program, and the digest of the runners shows it."""
    found = ablate(mlp_cell(1, (8,)), Effort(processes=1, rounds=1, singles_s=0.0), lambda what: None)
    idle = {each.rung.label for each in found.effects if each.is_idle}
    assert {"+ tile", "only tile", "all but tile"} <= idle
    assert "only fuse" not in idle


def with_memory(sizes: Mapping[str, int], reasons: Mapping[str, str] | None = None) -> dict[str, Effect]:
    """Return effects by their label, where each runner holds as many bytes as given, 1000 where nothing is."""
    arms = {name: [ArmTimes((10 * US,) * 4, (), None) for _ in range(5)] for name in {BASELINE, CONTROL, *ARMS} | names()}
    held = {name: Variant(name, sizes.get(name, 1000), 0, 50 * US) for name in {BASELINE} | names()}
    return {each.rung.label: each for each in evaluate("b1-h8", held, arms, reasons or {}).effects}


def test_memory_is_compared_as_time_is() -> None:
    """Alone, and taken from all of them: bytes without the optimisation less bytes with it."""
    without = " + ".join(each.name for each in PASSES if each.name != "tile")
    found = with_memory({NOTHING: 5000, "tile": 2000, without: 900, EVERYTHING: 1000})
    assert (found["only tile"].saved_bytes, found["all but tile"].saved_bytes) == (3000, -100)


def test_the_first_rung_is_compared_with_the_baseline() -> None:
    """What compiling costs without any pass is the difference to the eager runner."""
    assert with_memory({BASELINE: 4000, NOTHING: 4200})[NOTHING].saved_bytes == -200


@pytest.mark.parametrize(("size", "verdict"), [(500, "500 B"), (1000, "no bytes"), (1100, "-100 B")])
def test_the_table_answers_for_memory(size: int, verdict: str) -> None:
    """Bytes that are saved, none, or a minus where the optimisation costs memory."""
    assert memory_verdict(with_memory({"fuse": size})["only fuse"]) == verdict


def test_a_file_that_does_not_say_has_no_verdict_on_memory() -> None:
    """Files of earlier versions have no bytes of the runner without."""
    assert memory_verdict(dataclasses.replace(evaluated({})["only fuse"], without_bytes=None)) == "-"


def test_an_idle_optimisation_has_its_reason() -> None:
    """The reason of the pass, or that the same program comes of it; one that did something has none."""
    same = dict.fromkeys(names(), "the same program")
    arms = {name: [ArmTimes((10 * US,) * 4, (), None) for _ in range(5)] for name in {BASELINE, CONTROL, *ARMS} | names()}
    held = {name: Variant(same[name], 1000, 0, 50 * US) for name in names()}
    found = evaluate("b1-h8", held, arms, {"only tile": "one tile is enough"})
    reasons = {each.rung.label: each.idle_reason for each in found.effects}
    assert (reasons["only tile"], reasons["only fuse"]) == ("one tile is enough", SAME_PROGRAM)
    assert {each.idle_reason for each in with_memory({}).values()} == {""}
    assert "Nothing done in only tile: one tile is enough." in effects_table(found).notes


def test_reasons_are_the_compilers() -> None:
    """In-place does nothing to an MLP whose steps are all fused, because every node left is a matrix product."""
    found = idle_reasons(mlp_cell(2, (8,)))
    assert found["all but in_place"] == "every node left is a matrix product"
    assert "only fuse" not in found


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    """A run survives its file; only digits beyond the sixth are lost."""
    found = ablation({BASELINE: 40 * US, CONTROL: 40 * US, PREALLOCATED: 50 * US})
    run = Ablations(HERE, "mlbench ablation", now(), COMPLETE, (found,))
    again = read(write(run, tmp_path / "a.json", ABLATION_FILE), ABLATION_FILE)
    assert again.ablations[0].effects[3].rung == found.effects[3].rung
    assert isinstance(again.ablations[0].shares, Shares)
    assert read(write(again, tmp_path / "b.json", ABLATION_FILE), ABLATION_FILE) == again
    assert [render_plain(table) for table in ablation_tables(again.ablations[0])] == [
        render_plain(table) for table in ablation_tables(found)
    ]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.update(kind="mlbench-result"), "no ablation of mlbench (its kind is not 'mlbench-ablation')"),
        (lambda data: data.update(schema=9), "schema version 9; this mlbench reads version 1"),
        (lambda data: data["ablations"][0]["shares"].update(calls=1.5), "not a valid ablation at $.ablations[0].shares.calls"),
        (lambda data: data["ablations"][0]["effects"][0]["total"].update(low=0), "not a valid ablation at $.ablations[0].effects[0].total"),
        (lambda data: data.update(ablations=[]), "not a valid ablation at $.ablations"),
        (lambda data: data["environment"].pop("cpu"), "not a valid ablation at $.environment"),
    ],
    ids=["kind", "version", "share", "interval", "empty", "environment"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, edit: Any, message: str) -> None:
    """What does not fit the schema is refused with the place and the reason."""
    path = write(Ablations(HERE, "mlbench ablation", now(), COMPLETE, (ablation({}),)), tmp_path / "a.json", ABLATION_FILE)
    data = json.loads(path.read_text(encoding="utf-8"))
    edit(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FileError) as refused:
        read(path, ABLATION_FILE)
    assert message in str(refused.value)


def test_the_input_of_a_cell_reaches_the_programs() -> None:
    """The programs run on the cell's own model and input: their result has its shape."""
    cell = mlp_cell(3, (8,), outputs=5)
    assert np.asarray(programs(model_of(cell).graph(), inputs_of(cell))[PREALLOCATED]()).shape == (3, 5)
