"""What the ablation compares, and when it calls a difference an effect."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from mlbench.ablating import BASELINE, CONTROL, ORDER, STATIC, Ablation, Effect, Variant, ablate, ablation_table, evaluate, rungs
from mlbench.cases import Cell
from mlbench.cli import main
from mlbench.measure import ArmTimes
from mlbench.measuring import Effort
from mlbench.passes import PASSES
from mlbench.report.terminal import render_plain

US = 1e-6
EVERYTHING = " + ".join(each.name for each in PASSES)


def names() -> set[str]:
    """Return the names of all runners that any rung compares."""
    order = [each.name for each in PASSES]
    found = {passes for rung in rungs() for passes in (rung.with_it, rung.without_it) if passes is not None}
    assert all(list(passes) == sorted(passes, key=order.index) for passes in found)
    return {" + ".join(passes) or STATIC for passes in found}


def evaluated(costs_s: Mapping[str, float], graphs: Mapping[str, str] | None = None, jitter: float = 0.0) -> dict[str, Effect]:
    """Return effects by their label, where each runner takes as long as given, 10 us where nothing is."""
    return {each.rung.label: each for each in ablation(costs_s, graphs, jitter).effects}


def ablation(costs_s: Mapping[str, float], graphs: Mapping[str, str] | None = None, jitter: float = 0.0) -> Ablation:
    """Return the ablation of made-up times: 5 processes of 4 rounds; `jitter` spreads those of the second baseline."""
    arms = {}
    for name in {BASELINE, CONTROL} | names():
        cost = costs_s.get(name, 10 * US)
        spread = jitter if name == CONTROL else 0.0
        arms[name] = [ArmTimes((cost * (1 + spread * (process - 2)),) * 4, (), None) for process in range(5)]
    variants = {name: Variant((graphs or {}).get(name, name), 1000, 0, 50 * US) for name in names()}
    return evaluate("b1-h8", variants, arms)


def test_every_optimisation_is_on_the_ladder() -> None:
    """The ladder climbs from static buffers to everything, over each optimisation once."""
    assert sorted(ORDER) == sorted(each.name for each in PASSES)
    ladder = [rung for rung in rungs() if rung.label.startswith("+ ")]
    assert [rung.optimisation for rung in ladder] == list(ORDER)
    assert ladder[0].without_it == ()
    assert set(ladder[-1].with_it) == set(ORDER)
    assert all(set(rung.with_it) - set(rung.without_it or ()) == {rung.optimisation} for rung in ladder)


@pytest.mark.parametrize("name", ORDER)
def test_each_is_compared_alone_and_left_out(name: str) -> None:
    """Each optimisation stands by itself on static buffers, and is missing once from everything."""
    by_label = {rung.label: rung for rung in rungs()}
    assert (by_label[f"only {name}"].with_it, by_label[f"only {name}"].without_it) == ((name,), ())
    left_out = by_label[f"all but {name}"]
    assert set(left_out.with_it) - set(left_out.without_it or ()) == {name}


def test_an_effect_is_time_without_over_time_with() -> None:
    """A runner that takes half as long with the optimisation has the effect 2, and the speed-up is over the baseline."""
    found = evaluated({BASELINE: 40 * US, CONTROL: 40 * US, STATIC: 20 * US, "fuse": 10 * US})["only fuse"]
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
    """Where two identical baselines are 8 % apart, 1 % is noise, whatever its interval; a factor of 2 is not."""
    found = ablation({"fuse": cost_us * US}, jitter=0.04)
    assert found.noise == pytest.approx(1 / 0.92, rel=1e-6)
    row = next(row for row in ablation_table(found).rows if row[0] == "only fuse")
    assert row[5] == verdict


def test_the_same_program_is_said_to_do_nothing() -> None:
    """Where an optimisation leaves the graph as it is, the row says so, whatever the clock said."""
    found = ablation({"tile": 5 * US}, {"tile": "the same", STATIC: "the same"})
    row = next(row for row in ablation_table(found).rows if row[0] == "only tile")
    assert row[3:6] == ("-", "-", "does nothing here")


@pytest.mark.parametrize(("cost_us", "calls", "said"), [(5.0, 10.0, "after 10 calls"), (10.0, None, "never"), (12.0, None, "never")])
def test_when_the_compile_time_is_earned_back(cost_us: float, calls: float | None, said: str) -> None:
    """50 us of compiling are earned back in 10 calls that save 5 us each, and never where nothing is saved."""
    found = ablation({EVERYTHING: cost_us * US})
    assert found.break_even_calls == (None if calls is None else pytest.approx(calls))
    assert f"earned back {said}." in render_plain(ablation_table(found)).replace("\n", " ")


def test_a_cell_is_ablated_end_to_end() -> None:
    """A real, tiny cell has every rung; everything allocates nothing, and each process took its turns."""
    steps: list[str] = []
    found = ablate(Cell(2, (8,)), Effort(processes=2, rounds=1, singles_s=0.0), steps.append)
    assert [each.rung for each in found.effects] == list(rungs())
    assert steps == ["b2-h8"] * 3
    assert next(each for each in found.effects if each.rung.label == "+ strips").variant.allocations in (0, None)
    assert all(math.isfinite(each.effect.estimate) and each.effect.processes == 2 for each in found.effects)


def test_the_command_prints_a_table_for_each_cell(capsys: pytest.CaptureFixture[str]) -> None:
    """`mlbench ablation` ends with a table a cell, and the machine."""
    assert main(["ablation", "--batch", "1,2", "--hidden", "8", "--processes", "1", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert [cell in out for cell in ("Ablation of b1-h8", "Ablation of b2-h8", "all but strips", "Machine: ")] == [True] * 4
