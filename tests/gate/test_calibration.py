"""The proof of the gate: what is planted, what is kept, how it is counted and recombined, and the command."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.cache import VARIABLE
from mlbench.cli import calibrate, main
from mlbench.errors import FileError
from mlbench.gate.calibration.injected import FRACTIONS, PLANTED_BYTES, plants
from mlbench.gate.calibration.rates import Rate, planted_rates, rates, recombined, recombined_power, whole_sets
from mlbench.report import render
from mlbench.report.tables.calibration import calibration_tables
from mlbench.results.comparison import COMPARISON_FILE, Comparison, PairedPolicy
from mlbench.results.samples import Effort
from mlbench.results.storage import read, write
from mlbench.studies.ab.session import Interrupted, Session
from mlbench.studies.calibration.store import PLANTED, SAME, Store
from support.comparisons import comparison, memory, visit, weighed
from support.repositories import Project

ROWS = [f"t.py::test_{number}" for number in range(26)]
TWO = ("t.py::test_a", "t.py::test_b")
LIGHT, GROWN = weighed(memory(), memory()), weighed(memory(), memory(8192))


def planted(rows: Sequence[str], seed: str = "x") -> dict[str, dict[str, float]]:
    """Return plants."""
    return plants(rows, random.Random(seed))


def test_the_shares_of_26_rows() -> None:
    """Mostly 5 and 10 %, one array, one allocation; two rows get nothing."""
    found = Counter(next(iter(plant.items())) for plant in planted(ROWS).values())
    assert found == {
        ("bytes", PLANTED_BYTES): 1, ("allocation", PLANTED_BYTES): 1, ("slower", 0.05): 8, ("slower", 0.10): 6, ("slower", 0.03): 3,
        ("slower", 0.02): 3, ("slower", 0.20): 2,
    }  # fmt: skip
    assert {fraction for _, fraction in found} == {*FRACTIONS, PLANTED_BYTES}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 100])
def test_never_every_row(count: int) -> None:
    """One row or more is left as it is, in whatever suite; each gets one thing at most."""
    rows = [str(number) for number in range(count)]
    found = planted(rows)
    assert len(found) < max(1, count)
    assert set(found) <= set(rows)
    assert all(len(plant) == 1 for plant in found.values())


def test_the_seed_decides() -> None:
    """The same one plants the same, another one elsewhere."""
    assert planted(ROWS, "a") == planted(ROWS, "a") != planted(ROWS, "b")


def suite(heads: Sequence[float] = (1.0,) * 8, **more: Any) -> Comparison:
    """Return a comparison of two rows: the ratios of the first one, and a second one in which nothing changed."""
    sets = [
        [visit(TWO[0], head=head, weights=None if number else LIGHT), visit(TWO[1], weights=None if number else LIGHT)]
        for number, head in enumerate(heads)
    ]
    return comparison(sets, rows=TWO, **more)


def test_a_store_adds_up(tmp_path: Path) -> None:
    """Complete comparisons of a kind in their order; each next one has a name of its own."""
    store = Store(tmp_path)
    assert store.comparisons(SAME) == []
    for number in range(3):
        path, begun = store.next(SAME)
        assert (path.name, begun) == (f"same-000{number + 1}.json", None)
        write(suite(spent_s=float(number)), path, COMPARISON_FILE)
    write(suite(), store.next(PLANTED)[0], COMPARISON_FILE)
    assert [each.spent_s for each in store.comparisons(SAME)] == [0.0, 1.0, 2.0]
    assert len(store.comparisons(PLANTED)) == 1


def test_what_was_broken_off_is_gone_on_with(tmp_path: Path) -> None:
    """It is no comparison yet, and comes next."""
    store = Store(tmp_path)
    write(suite(), tmp_path / "same-0001.json", COMPARISON_FILE)
    write(suite(status="interrupted"), tmp_path / "same-0002.json", COMPARISON_FILE)
    assert len(store.comparisons(SAME)) == 1
    path, begun = store.next(SAME)
    assert path.name == "same-0002.json"
    assert begun == suite(status="interrupted")


def test_a_gap_in_the_numbers_costs_no_file(tmp_path: Path) -> None:
    """Where one was taken away the next one takes its name, not that of another."""
    for number in (1, 3):
        write(suite(), tmp_path / f"same-000{number}.json", COMPARISON_FILE)
    assert Store(tmp_path).next(SAME)[0].name == "same-0002.json"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"machine": {**suite().machine, "cpu": "Other CPU"}}, "machine"),
        ({"policy": PairedPolicy(most=99)}, "policy"),
        ({"effort": Effort(rounds=3)}, "effort"),
        ({"arguments": ("other",)}, "arguments"),
    ],
)
def test_other_measurements_are_not_added(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    """Another machine, rule, effort or suite is refused by its name; the same is not."""
    store = Store(tmp_path)
    write(suite(), tmp_path / "planted-0001.json", COMPARISON_FILE)
    store.check(suite())
    with pytest.raises(FileError, match=f"planted-0001.json: was measured with another {named};"):
        store.check(suite(**change))


def test_a_damaged_file_of_a_store_is_refused(tmp_path: Path) -> None:
    """It is neither left out in silence nor overwritten."""
    (tmp_path / "same-0001.json").write_text("{")
    with pytest.raises(FileError):
        Store(tmp_path).comparisons(SAME)


def test_a_rate_has_exact_bounds() -> None:
    """Without trials nothing is known."""
    assert Rate(0, 20).bounds == pytest.approx((0.0, 0.16843), abs=1e-5)
    assert Rate(5, 20).share == 0.25
    assert Rate(0, 0).bounds == (0.0, 1.0)
    assert np.isnan(Rate(0, 0).share)


def test_false_alarms_are_counted_by_suite_and_by_row() -> None:
    """A red and an open suite among three."""
    found = rates([suite(spent_s=1.0), suite([1.1] * 16, spent_s=2.0), suite([1.1] * 8, spent_s=3.0)])
    assert (found.red_suites, found.open_suites) == (Rate(1, 3), Rate(1, 3))
    assert (found.red_rows, found.open_rows) == (Rate(1, 6), Rate(1, 6))
    assert found.spent_s == (1.0, 2.0, 3.0)


def test_a_missing_row_makes_a_suite_red() -> None:
    """Every verdict that fails a suite counts, also where no row regressed."""
    lost = suite()
    lost.head = dataclasses.replace(lost.head, ids=TWO[:1])
    assert rates([lost]).red_suites == Rate(1, 1)


def test_no_comparisons_have_no_rates() -> None:
    """Nothing of nothing."""
    assert rates([]).red_suites == Rate(0, 0)


def test_plants_are_counted_by_what_they_are() -> None:
    """Found and left open for each kind and size, by the quantity that it changes, and what nothing was planted in."""
    heavier = suite(plants={TWO[0]: {"bytes": 4096.0}})
    heavier.sets = [[visit(row, weights=weighed(memory(), memory(8192 if row == TWO[0] else 4096))) for row in TWO]] * 8
    found = planted_rates(
        [suite([1.1] * 16, plants={TWO[0]: {"slower": 0.1}}), suite([1.1] * 8, plants={TWO[0]: {"slower": 0.1}}),
         suite([1.1] * 16, plants={TWO[0]: {"bytes": 4096.0}}), heavier]
    )  # fmt: skip
    assert found == {
        ("slower", 0.1): (Rate(1, 2), Rate(1, 2)),
        ("bytes", 4096.0): (Rate(1, 2), Rate(0, 2)),
        ("nothing", 0.0): (Rate(0, 4), Rate(0, 4)),
    }


def pool(sets: int, spread: float, rows: Sequence[str] = TWO, seed: int = 1) -> Comparison:
    """Return a comparison whose arms differ by chance alone."""
    chance = np.random.default_rng(seed)
    ratios = np.exp(spread * chance.normal(size=(sets, len(rows), 2)))
    return comparison(
        [[visit(row, head=head, control=control) for row, (head, control) in zip(rows, found, strict=True)] for found in ratios.tolist()],
        rows=rows,
    )


def test_zero_spread_has_no_false_alarms() -> None:
    """Sets in which nothing differs give suites that all pass."""
    found = recombined([pool(20, 0.0)], PairedPolicy(), suites=50)
    assert (found.red_suites, found.open_suites) == (Rate(0, 50), Rate(0, 50))
    assert (found.red_rows, found.open_rows, found.sets) == (Rate(0, 100), Rate(0, 100), 20)


def test_noise_that_the_gate_knows_gives_few_false_alarms() -> None:
    """Arms that differ by 2 % by chance: no suite of 200 is red."""
    found = recombined([pool(30, 0.02), pool(30, 0.02, seed=2)], PairedPolicy(), suites=200)
    assert (found.red_suites.found, found.sets) == (0, 60)
    assert found.open_suites.share < 0.05


def test_the_counter_of_false_alarms_can_count() -> None:
    """Where the rule tolerates nothing and asks for no confidence, suites are red: the zero above is the gate's, not the counter's."""
    reckless = PairedPolicy(tolerance=0.0, limit=1e-6, confidence=0.2, red_confidence=0.2)
    found = recombined([pool(40, 0.02)], reckless, suites=50)
    assert found.red_suites.found > 5
    assert found.red_rows.found >= found.red_suites.found


def test_a_big_shift_is_always_found() -> None:
    """A slowdown of 30 % is red in every recombined row, and none of nothing in none."""
    made, policy = [pool(60, 0.01)], PairedPolicy()
    assert recombined_power(made, policy, 0.30, rows=100) == (Rate(100, 100), Rate(0, 100))
    assert recombined_power(made, policy, 0.0, rows=100)[0] == Rate(0, 100)


def test_the_arms_of_a_set_are_exchanged() -> None:
    """What only one arm of a set is slower by tells nothing about the others of its name: each of the three could have been it."""
    made = comparison([[visit(row, head=1.2) for row in TWO] for _ in range(40)], rows=TWO)
    found = recombined([made], PairedPolicy(), suites=50)
    assert found.open_rows.share > 0
    assert found.red_rows == Rate(0, 100)
    assert recombined([made], PairedPolicy(), suites=50, exchanged=False).red_rows == Rate(100, 100)


def test_recombining_is_seeded() -> None:
    """The same seed gives the same answer."""
    made, policy = [pool(24, 0.08)], PairedPolicy()
    assert recombined(made, policy, 30, seed=3) == recombined(made, policy, 30, seed=3)
    assert recombined_power(made, policy, 0.05, 30, seed=3) == recombined_power(made, policy, 0.05, 30, seed=3)


@pytest.mark.parametrize("sets", [0, 11])
def test_too_few_sets_cannot_be_recombined(sets: int) -> None:
    """A suite draws eight sets to screen and a batch."""
    with pytest.raises(ValueError, match=f"{sets} whole sets are stored; a recombined suite draws 12 or more"):
        recombined([pool(sets, 0.0)], PairedPolicy())
    with pytest.raises(ValueError, match=f"{sets} whole sets are stored; a recombined row draws 12 or more"):
        recombined_power([pool(sets, 0.0)], PairedPolicy(), 0.05)


def test_only_whole_sets_are_recombined() -> None:
    """Those of open rows alone, and those of another suite, are left out."""
    partial = pool(3, 0.01)
    partial.sets[2] = partial.sets[2][:1]
    assert len(whole_sets([partial])) == 2
    assert len(whole_sets([partial, pool(5, 0.01, rows=("other",))])) == 2


def test_a_test_that_is_skipped_keeps_no_set_from_being_whole() -> None:
    """Its row is left out of them."""
    made = pool(4, 0.01)
    skipped = dataclasses.replace(made.sets[0][1], rounds_s={}, ends=dict.fromkeys(("base", "head", "control"), ("skipped", "")))
    made.sets = [[visits[0], skipped] if number == 0 else visits[:1] for number, visits in enumerate(made.sets)]
    found = whole_sets([made])
    assert (len(found), set(found[0])) == (4, {TWO[0]})


def test_tables_say_what_was_found() -> None:
    """False alarms of real and recombined suites with bounds, the detection curve, and the time of a comparison."""
    made = [suite(spent_s=60.0)]
    power = {0.05: (Rate(97, 100), Rate(2, 100))}
    tables = calibration_tables(
        rates(made), planted_rates([suite(plants={TWO[0]: {"bytes": 4096.0}})]), [recombined([pool(12, 0.0)], PairedPolicy(), 10)], power
    )
    text = "\n".join(render(table) for table in tables)
    for part in ("The same version twice", "recombined from 12 sets, arms exchanged", "0 of 1", "0 % to 97.5 %", "0 of 20",
                 "60.0 s in the median", "one more array (4096 bytes)", "nothing", "slower by 5 %", "97 of 100", "97 %"):  # fmt: skip
        assert part in text


def test_tables_of_nothing() -> None:
    """There is none where nothing was measured."""
    assert calibration_tables(None, {}, [], {}) == ()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of two benchmarks, entered, and comparisons of two sets each."""
    made = Project(tmp_path / "toy")
    made.write("src/toy/__init__.py", "")
    made.write("benchmarks/test_toy.py", "def test_a(benchmark): benchmark(sum, range(300))\ndef test_b(benchmark): benchmark(dict)\n")
    made.write("pyproject.toml", '[tool.mlbench.ab]\narguments = ["benchmarks"]\n')
    made.commit()
    monkeypatch.chdir(made.root)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    real = calibrate._new

    def quick(*given: object) -> Comparison:
        found = real(*given)  # type: ignore[arg-type]  # passed on as it came
        found.policy, found.effort = PairedPolicy(screen=2, most=2), Effort(rounds=2, turn_s=1e-4)
        return found

    monkeypatch.setattr(calibrate, "_new", quick)
    return made


COMMAND = ("calibrate", "--same-env", "--store", "kept", "--suites", "20")


def test_the_command_measures_plants_and_tells(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """One comparison of each kind, tables, machine and policy; what cannot be recombined yet is said; the next sitting adds."""
    Path("kept").mkdir()
    assert main([*COMMAND, "--same", "1", "--planted", "1", "--output", "told.txt"]) == 0
    captured = capsys.readouterr()
    for part in ("The same version twice", "Planted slowdowns and allocations", "one more array (4096 bytes)", "Machine: cpu",
                 "Policy: tolerance 0.02", "Nothing was recombined: 2 whole sets are stored"):  # fmt: skip
        assert part in captured.out
    assert captured.out.strip() in Path("told.txt").read_text()
    assert "planted-0001.json: stored are 1 of 1 the same, 0 of 1 planted" in captured.err
    same, planted_one = read("kept/same-0001.json", COMPARISON_FILE), read("kept/planted-0001.json", COMPARISON_FILE)
    assert (same.plants, list(planted_one.plants.values())) == ({}, [{"bytes": PLANTED_BYTES}])
    assert (same.is_complete, planted_one.is_complete) == (True, True)
    assert main([*COMMAND, "--same", "1", "--planted", "1"]) == 0
    assert main([*COMMAND, "--same", "0", "--planted", "0"]) == 0
    assert len(list(Path("kept").iterdir())) == 2


def test_ctrl_c_keeps_the_sitting_and_the_same_command_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 130 with what is stored; then the broken-off comparison is completed, in its own file."""
    Path("kept").mkdir()
    calls: list[Session] = []

    def session_run(self: Session) -> None:
        calls.append(self)
        self._comparison.status = "interrupted" if len(calls) == 2 else "complete"
        self._comparison.sets.append([visit(TWO[0]), visit(TWO[1])])
        self._comparison.base = dataclasses.replace(self._comparison.base, ids=TWO)
        self._comparison.head = dataclasses.replace(self._comparison.head, ids=TWO)
        self._keep()
        if len(calls) == 2:
            raise Interrupted

    monkeypatch.setattr(Session, "run", session_run)
    assert main([*COMMAND, "--same", "2", "--planted", "0"]) == 130
    captured = capsys.readouterr()
    assert "the same command continues" in captured.err
    assert "0 of 1" in captured.out
    assert main([*COMMAND, "--same", "2", "--planted", "0"]) == 0
    assert [len(read(path, COMPARISON_FILE).sets) for path in sorted(Path("kept").iterdir())] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--same", "0", "--planted", "0"), "holds no comparison yet"),
        (("--same", "0", "--planted", "1"), "nothing can be planted before"),
    ],
)
def test_what_cannot_be_told_is_exit_code_2(
    project: Project, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """The message says what to do."""
    Path("kept").mkdir()
    assert main([*COMMAND, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_another_suite_is_not_added(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before anything is measured."""
    Path("kept").mkdir()
    write(suite(), Path("kept/same-0001.json"), COMPARISON_FILE)
    assert main([*COMMAND, "--same", "2", "--planted", "0"]) == 2
    assert "was measured with another machine, policy, effort; keep this calibration in another folder" in capsys.readouterr().err
