"""The run of a comparison, with processes that are made up: what each set measures, when it ends, and what it goes on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from mlbench.files import file_name
from mlbench.gate import INCONCLUSIVE, NEW, PASS, REGRESSION
from mlbench.gate.revisions.judge import judge
from mlbench.results.comparison import COMPARISON_FILE, Comparison, PairedPolicy
from mlbench.results.samples import Collected, Effort, Visit
from mlbench.results.storage import read, write
from mlbench.studies.ab import session
from mlbench.studies.ab.process import Arm, ArmError
from mlbench.studies.ab.session import Interrupted, Session, draw_graphs
from support.comparisons import comparison, ended, memory, visit, weighed

SAME, SLOW, HEAVY = "t.py::test_same", "t.py::test_slow", "t.py::test_heavy"
ARMS = [Arm(name, "python", Path()) for name in ("base", "head", "control")]
LIGHT, GROWN = weighed(memory(), memory()), weighed(memory(), memory(8192))
SPEEDS = {SAME: 1.0, SLOW: 1.1, HEAVY: 1.0}


class World:
    """Stands for the processes: what they collect and measure, a clock of 10 s a set, and a diary."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, ...]] = {arm.name: (SAME, SLOW, HEAVY) for arm in ARMS}
        self.measure: Callable[[str], Visit | None] = lambda row: None
        self.starts = 0
        self.firsts: list[int] = []
        self.orders: list[list[str]] = []
        self.efforts: list[Effort] = []
        self.visited: list[list[str]] = []
        self.weighed: list[set[str]] = []
        self.lines: list[str] = []
        self.steps: list[str] = []
        self.expected: list[int] = []
        self.kept = 0
        self.now = 0.0
        self.live = 0

    def start(self, arms: Sequence[Arm], arguments: Sequence[str], logs: Path, first: int = 0, known: object = None) -> FakeArms:
        """Start processes."""
        assert logs.is_dir()
        self.firsts.append(first)
        self.orders.append([arm.name for arm in arms])
        self.starts += 1
        self.live += 1
        self.visited.append([])
        self.weighed.append(set())
        return FakeArms(self, arms)

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def expect(self, steps: int) -> None:
        """Be told how much is to come."""
        self.expected.append(steps)

    def step(self, what: str) -> None:
        """Be told what ended."""
        self.steps.append(what)

    def say(self, line: str) -> None:
        """Be told a line."""
        self.lines.append(line)

    def keep(self) -> None:
        """Save."""
        self.kept += 1


class FakeArms:
    """Processes that are made up."""

    def __init__(self, world: World, arms: Sequence[Arm]) -> None:
        self.world = world
        self.arms = arms
        self.collected = {arm.name: Collected(world.rows[arm.name], {}, {"python": "3"}) for arm in arms}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End."""
        self.world.live -= 1

    def visit(self, rows: Sequence[str], effort: Effort, weighed: Collection[str], spared: Collection[str] = ()) -> Iterator[Visit]:
        """Measure."""
        self.world.now += 10
        self.world.efforts.append(effort)
        self.world.weighed[-1] = set(weighed)
        for row in rows:
            self.world.visited[-1].append(row)
            weights = (GROWN if row == HEAVY else LIGHT) if row in weighed else None
            done = self.world.measure(row) or visit(row, head=SPEEDS.get(row, 1.0), weights=weights)
            yield done
            if any(how == "died" for how, _ in done.ends.values()):
                return

    def draw(self, rows: Sequence[str], pages: dict[str, Path], timeout_s: float) -> Iterator[tuple[str, dict[str, str]]]:
        """Draw nothing, and say where."""
        for row in rows:
            yield row, {arm.name: f"{pages[row]}-{arm.name}.html" if row != SLOW else "no memray" for arm in self.arms}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in place of the processes."""
    made = World()
    monkeypatch.setattr(session, "Arms", made.start)
    return made


def fresh(**policy: int) -> Comparison:
    """Return a comparison of which nothing was collected or measured."""
    return comparison([], rows=[], policy=PairedPolicy(**policy), status="interrupted")


def run(world: World, made: Comparison, most_s: float | None = None) -> Comparison:
    """Measure."""
    Session(made, ARMS, world.keep, world, most_s, world.clock).run()
    return made


def verdicts(made: Comparison) -> dict[str, str]:
    """Return row to verdict."""
    return {row.id: row.verdict for row in judge(made).rows}


def test_every_row_is_screened_and_then_the_open_ones_alone(world: World) -> None:
    """Eight sets of every row, and two batches of the slow one; then it is complete."""
    made = run(world, fresh())
    assert [len(rows) for rows in world.visited] == [3] * 8 + [1] * 8
    assert world.visited[8:] == [[SLOW]] * 8
    assert verdicts(made) == {SAME: PASS, SLOW: REGRESSION, HEAVY: REGRESSION}
    assert made.is_complete
    assert (len(made.sets), world.starts, world.live) == (16, 16, 0)
    assert world.firsts == list(range(16))


def test_the_fewer_rows_are_open_the_more_rounds_each_gets(world: World) -> None:
    """Screening has the rounds it was told; one row that is open after it has five times as many, and as much more time for them."""
    made = run(world, dataclasses.replace(fresh(), effort=Effort(rounds=10, row_s=2.0)))
    assert [len(rows) for rows in world.visited] == [3] * 8 + [1] * 8
    assert {(each.rounds, each.row_s) for each in world.efforts[:8]} == {(10, 2.0)}
    assert {(each.rounds, each.row_s) for each in world.efforts[8:]} == {(50, 10.0)}
    assert made.effort == Effort(rounds=10, row_s=2.0)


def test_many_open_rows_have_the_rounds_of_screening(world: World) -> None:
    """As many as it takes as long to measure as to start the processes."""
    rows = tuple(f"t.py::test_{number}" for number in range(30))
    world.rows = {arm.name: rows for arm in ARMS}
    world.measure = lambda row: visit(row, head=1.1)
    run(world, fresh(most=16))
    assert {each.rounds for each in world.efforts} == {Effort().rounds}


def test_which_arm_starts_first_is_chance(world: World) -> None:
    """Of 40 sets each begins one or more: what the first process gets is not always the base's."""
    run(world, fresh(screen=40, most=48))
    assert {tuple(sorted(order)) for order in world.orders} == {("base", "control", "head")}
    assert {order[0] for order in world.orders} == {"base", "head", "control"}


def test_footprints_are_taken_first_and_again_where_they_grew(world: World) -> None:
    """All in the first set, the heavier one in all eight, and then none."""
    run(world, fresh())
    assert world.weighed == [{SAME, SLOW, HEAVY}, *[{HEAVY}] * 7, *[set()] * 8]


def test_nothing_is_measured_once_all_is_settled(world: World) -> None:
    """Rows that pass when screened get no other set."""
    world.rows = dict.fromkeys(world.rows, (SAME,))
    made = run(world, fresh())
    assert (len(made.sets), verdicts(made)) == (8, {SAME: PASS})
    run(world, made)
    assert world.starts == 8


def test_it_is_kept_after_each_set(world: World) -> None:
    """And once more when it is complete, with the seconds that were spent."""
    world.rows = dict.fromkeys(world.rows, (SAME,))
    made = run(world, fresh())
    assert (world.kept, made.spent_s) == (9, 80.0)


def test_what_is_said(world: World) -> None:
    """What there is, the time left of screening, the open rows by name, and the end; a step for each row."""
    run(world, fresh())
    assert world.lines[0] == "3 benchmarks in both versions, 3 in main and 3 in topic"
    assert world.lines[1] == "set 1: 3 rows in 10.0 s; about 70.0 s left of screening"
    assert world.lines[8].startswith("set 8: 3 rows in 10.0 s; 1 open: test_slow")
    assert world.lines[-1] == "set 16: 1 rows in 10.0 s; every row is settled after 160 s"
    assert world.expected[:2] == [24, 21]
    assert len(world.steps) == sum(map(len, world.visited))


def test_the_most_sets_end_it(world: World) -> None:
    """What is open then is inconclusive, and the comparison complete."""
    made = run(world, fresh(screen=2, most=2))
    assert len(made.sets) == 2
    assert made.is_complete
    assert verdicts(made)[SAME] == INCONCLUSIVE


@pytest.mark.parametrize(("most", "sets"), [(11, 8), (12, 12), (15, 12)])
def test_batches_are_whole(world: World, most: int, sets: int) -> None:
    """A batch that would exceed the most sets is not begun."""
    world.rows = dict.fromkeys(world.rows, (SLOW,))
    assert len(run(world, fresh(most=most)).sets) == sets


@pytest.mark.parametrize(("most_s", "sets"), [(5.0, 1), (19.0, 1), (20.0, 2), (35.0, 3)])
def test_no_set_begins_that_would_end_too_late(world: World, most_s: float, sets: int) -> None:
    """A first set is always measured; then one begins only if it would be over in time. What is open is inconclusive."""
    made = run(world, fresh(), most_s)
    assert len(made.sets) == sets
    assert not made.is_complete
    assert verdicts(made)[SAME] == INCONCLUSIVE
    assert "no time is left for another set" in world.lines[-1]


def test_ctrl_c_keeps_what_was_measured(world: World) -> None:
    """The rows before it stand in the comparison, which is kept, interrupted, and told by its own error."""
    seen: list[str] = []

    def measure(row: str) -> Visit | None:
        seen.append(row)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return None

    world.measure = measure
    made = fresh()
    with pytest.raises(Interrupted):
        run(world, made)
    assert [len(visits) for visits in made.sets] == [3, 1]
    assert (made.is_complete, made.spent_s, world.kept, world.live) == (False, 20.0, 2, 0)


def test_a_loaded_comparison_is_gone_on_with(world: World, tmp_path: Path) -> None:
    """What was broken off after three sets ends as if it had not been, with the footprints that were still wanted."""
    made = fresh()
    run(world, made, most_s=30)
    assert len(made.sets) == 3
    found = read(write(made, tmp_path / "ab.json", COMPARISON_FILE), COMPARISON_FILE)
    world.weighed.clear()
    run(world, found)
    assert (len(found.sets), found.is_complete) == (16, True)
    assert verdicts(found) == {SAME: PASS, SLOW: REGRESSION, HEAVY: REGRESSION}
    assert world.weighed == [{HEAVY}] * 5 + [set()] * 8


def test_a_complete_one_that_is_gone_on_with_is_complete_no_more(world: World) -> None:
    """With more sets allowed its open rows are measured again; Ctrl-C then leaves it interrupted."""
    world.rows = dict.fromkeys(world.rows, (SLOW,))
    made = run(world, fresh(most=8))
    assert made.is_complete
    made.policy = dataclasses.replace(made.policy, most=48)

    def interrupt(row: str) -> Visit | None:
        raise KeyboardInterrupt

    world.measure = interrupt
    with pytest.raises(Interrupted):
        run(world, made)
    assert not made.is_complete


def test_a_set_is_started_again_where_an_arm_died(world: World) -> None:
    """The row that ended it twice is red and not visited again; the others of its sets are measured by new processes."""
    world.measure = lambda row: ended(row, head="died: killed") if row == SLOW else None
    made = run(world, fresh())
    assert sorted(each.id for each in made.sets[0]) == sorted([SAME, SLOW, HEAVY])
    assert sum(SLOW in rows for rows in world.visited) == 2
    assert len(made.sets) == 8
    assert world.starts in (8, 9, 10)  # the row may have been the last one, and then nothing is left to start for
    assert verdicts(made) == {SAME: PASS, SLOW: REGRESSION, HEAVY: REGRESSION}


def test_many_deaths_leave_the_rest_for_the_next_set(world: World) -> None:
    """A set is started again three times; where every row dies twice all of them are red, and the run ends."""
    rows = tuple(f"t.py::test_{number}" for number in range(6))
    world.rows = dict.fromkeys(world.rows, rows)
    world.measure = lambda row: ended(row, head="died: killed")
    made = run(world, fresh())
    assert sum(len(visits) for visits in made.sets) == 12
    assert max(len(visits) for visits in made.sets) == 4
    assert set(verdicts(made).values()) == {REGRESSION}


def test_a_failed_row_is_not_measured_again(world: World) -> None:
    """It is settled when it has failed in a second set of fresh processes."""
    world.measure = lambda row: ended(row, head="failed: E  Error") if row == SLOW else None
    run(world, fresh())
    assert [SLOW in rows for rows in world.visited] == [True] * 2 + [False] * 6


@pytest.mark.parametrize(("arm", "verdict"), [("base", PASS), ("control", PASS), ("head", INCONCLUSIVE)])
def test_one_hiccup_is_made_up_for(world: World, arm: str, verdict: str) -> None:
    """A test that fails in one set is measured in as many good ones as any other; only the head's hiccup leaves doubt."""
    world.measure = lambda row: ended(row, **{arm: "failed: E  Error"}) if row == SAME and world.starts == 3 else None
    made = run(world, fresh())
    assert sum(SAME in rows for rows in world.visited) == 9
    assert verdicts(made)[SAME] == verdict


def test_an_arm_that_cannot_start_any_more_leaves_the_verdict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured stands, what is open is in doubt, and a note says why."""

    def start(*given: object) -> FakeArms:
        if world.starts == 8:
            raise ArmError("head", "no answer within 300 s")
        return world.start(*given)  # type: ignore[arg-type]  # what a session gives

    monkeypatch.setattr(session, "Arms", start)
    made = run(world, fresh())
    assert verdicts(made) == {SAME: PASS, SLOW: INCONCLUSIVE, HEAVY: REGRESSION}
    notes = judge(made).notes
    assert "The last set could not be measured: head: no answer within 300 s" in notes
    assert f"{SLOW} looked slower, and the fresh sets that would confirm or clear it were not measured" in notes
    monkeypatch.setattr(session, "Arms", world.start)
    assert verdicts(run(world, made))[SLOW] == REGRESSION
    assert made.trouble == ""


def test_one_hiccup_at_the_start_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that cannot start are started once more."""
    failures = iter([True, False] * 100)

    def start(*given: object) -> FakeArms:
        if next(failures):
            raise ArmError("head", "died")
        return world.start(*given)  # type: ignore[arg-type]  # what a session gives

    monkeypatch.setattr(session, "Arms", start)
    assert run(world, fresh()).is_complete


def test_what_one_version_cannot_collect_once_is_collected_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an error that comes twice is one."""

    def start(*given: object) -> FakeArms:
        made = world.start(*given)  # type: ignore[arg-type]  # what a session gives
        if world.starts <= hiccups:
            made.collected["head"] = dataclasses.replace(made.collected["head"], errors={"t.py": "E  OSError"})
        return made

    monkeypatch.setattr(session, "Arms", start)
    hiccups = 1
    assert run(world, fresh()).head.errors == {}
    assert world.live == 0
    world.starts, hiccups = 0, 2
    assert run(world, fresh()).head.errors == {"t.py": "E  OSError"}


def test_the_time_is_that_of_a_sitting(world: World) -> None:
    """A run that is gone on with has the whole time again, and not what the first one left."""
    made = run(world, fresh(), most_s=30)
    assert len(run(world, made, most_s=30).sets) == 6


def test_rows_of_one_version_are_not_measured(world: World) -> None:
    """They are listed, and nothing else."""
    world.rows = {"base": (SAME, HEAVY), "control": (SAME, HEAVY), "head": (SAME, SLOW)}
    made = run(world, fresh())
    assert {row for rows in world.visited for row in rows} == {SAME}
    assert verdicts(made) == {SAME: PASS, HEAVY: "missing", SLOW: NEW}
    assert world.lines[0] == "1 benchmarks in both versions, 2 in main and 2 in topic"


def test_a_suite_without_benchmarks_ends_after_one_set(world: World) -> None:
    """There is nothing to measure again."""
    world.rows = dict.fromkeys(world.rows, ())
    made = run(world, fresh())
    assert (made.sets, made.is_complete) == ([[]], True)
    assert judge(made).exit_code() == 1


def test_a_row_that_is_not_collected_again_is_settled(world: World) -> None:
    """Ids that are made at random would leave rows open without an end; such a row failed, and the run ends."""
    world.rows = {"base": (SAME, SLOW), "head": (SAME, SLOW), "control": (SAME,)}
    made = run(world, fresh())
    assert len(made.sets) == 8
    assert verdicts(made) == {SAME: PASS, SLOW: INCONCLUSIVE}
    assert "was not collected again" in judge(made).rows[1].why


def test_an_arm_that_cannot_start_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is passed on with the version that it is of, and no set stands in the comparison."""

    def start(*given: object) -> FakeArms:
        raise ArmError("head", "no pytest")

    monkeypatch.setattr(session, "Arms", start)
    made = fresh()
    with pytest.raises(ArmError, match=f"^{made.head.revision}: no pytest$"):
        run(world, made)
    assert made.sets == []


def test_graphs_are_drawn_of_both_sides(world: World, tmp_path: Path) -> None:
    """Pages have names that any file system takes, in a folder that is made; where there is none the arm says why."""
    row = "t.py::test[a/b <c>]"
    made = comparison([], rows=[row, SLOW])
    found = draw_graphs(made, ARMS, [row, SLOW, "unknown"], tmp_path / "graphs")
    place = tmp_path.resolve() / "graphs"
    assert place.is_dir()
    assert found[row] == tuple(str(place / f"{file_name(row)}-{arm}.html") for arm in ("base", "head"))
    assert found[SLOW] == ("base: no memray", "head: no memray")
    assert set(found) == {row, SLOW}
