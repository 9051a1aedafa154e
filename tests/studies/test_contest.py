"""What a search found must win again before it replaces the default rules, and again before it is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from mlbench.cache import cache_folder
from mlbench.compiler.pipeline import PASSES
from mlbench.compiler.schedule.heuristics import heuristic_schedule
from mlbench.compiler.schedule.schedule import OpSchedule, Schedule
from mlbench.measure import ArmTimes
from mlbench.measure.stats import Interval
from mlbench.models import mlp
from mlbench.studies import autotune, contest
from mlbench.studies.autotune import Settled, settle, tune
from mlbench.studies.contest import CONTROL, DEFAULT, FOUND, Contest

OURS, BETTER = Schedule(None, (OpSchedule(),)), Schedule(28, (OpSchedule(),))
NAMES = [each.name for each in PASSES]


def outcome(low: float, spread: float = 1.0) -> Contest:
    """Return a contest whose interval starts here."""
    return Contest(Interval(low + 0.05, low, low + 0.1, 0.95, 5, 5), spread)


def settled(found: Schedule, *contests: Contest) -> tuple[Settled, int]:
    """Return what is settled after these contests, and how many of them were held."""
    held: list[tuple[Schedule, Schedule]] = []

    def compete(one: Schedule, other: Schedule) -> Contest:
        held.append((one, other))
        return contests[len(held) - 1]

    return settle(found, OURS, compete), len(held)


def test_a_found_schedule_must_win_twice() -> None:
    """It replaces the default after two contests that it won; one that it lost, first or second, leaves the default."""
    assert settled(BETTER, outcome(1.01), outcome(1.02)) == (Settled(BETTER, may_be_remembered=True), 2)
    assert settled(BETTER, outcome(0.99)) == (Settled(OURS, may_be_remembered=True), 1)
    assert settled(BETTER, outcome(1.01), outcome(0.99)) == (Settled(OURS, may_be_remembered=True), 2)


@pytest.mark.parametrize("busy", [0, 1])
def test_what_won_on_a_busy_machine_is_used_and_not_remembered(busy: int) -> None:
    """A control that differs from the default in either contest keeps the answer out of the cache."""
    contests = [outcome(1.01, spread=2.0 if number == busy else 1.0) for number in range(2)]
    assert settled(BETTER, *contests) == (Settled(BETTER, may_be_remembered=False), 2)


def test_a_default_that_nothing_beat_on_a_busy_machine_is_not_remembered() -> None:
    """Noise may have hidden what is faster, so the next process searches again."""
    assert settled(OURS, outcome(0.95, spread=2.0)) == (Settled(OURS, may_be_remembered=False), 1)
    assert settled(OURS, outcome(0.95)) == (Settled(OURS, may_be_remembered=True), 1)
    assert settled(BETTER, outcome(0.9, spread=2.0)) == (Settled(OURS, may_be_remembered=False), 1)


def held(
    monkeypatch: pytest.MonkeyPatch, seconds: Mapping[str, Iterator[float]], *, apart: bool = False
) -> tuple[Contest, list[list[str]]]:
    """Return a contest in which each call takes what is said next, and which arms were timed together."""
    timed: list[list[str]] = []

    def turns(arms: Mapping[str, Any], rounds: int, *_: object, **__: object) -> dict[str, ArmTimes]:
        timed.append(list(arms))
        return {name: ArmTimes(tuple(next(seconds[name]) for _ in range(rounds)), (), None) for name in arms}

    monkeypatch.setattr(contest, "time_interleaved", turns)
    monkeypatch.setattr(contest, "wait_for_threads", lambda: None)
    return contest.contest({name: lambda: lambda: None for name in seconds}, apart=apart), timed


def always(*values: float) -> Iterator[float]:
    """Return these numbers again and again."""
    while True:
        yield from values


def test_the_faster_default_is_the_one_to_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A found schedule that only beats a slow copy of the default has not won, and one that beats both has."""
    between, _ = held(monkeypatch, {DEFAULT: always(3.0), CONTROL: always(2.0), FOUND: always(2.5)})
    assert between.gain.estimate == pytest.approx(0.8)
    assert not between.is_won
    ahead, _ = held(monkeypatch, {DEFAULT: always(3.0), CONTROL: always(2.0), FOUND: always(1.0)})
    assert ahead.gain.estimate == pytest.approx(2.0)
    assert ahead.is_won


def test_a_lucky_set_wins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gain of 4 % on average, of which one set of five has everything, has an interval that holds 1."""
    rounds = contest.MOST_ROUNDS
    sets = [value for number in range(contest.SETS) for value in [0.8 if number == 2 else 1.0] * rounds]
    lucky = iter([1.0, *sets])  # with the trial
    found, _ = held(monkeypatch, {DEFAULT: always(1e-3), CONTROL: always(1e-3), FOUND: (1e-3 * each for each in lucky)})
    assert found.gain.estimate > 1.03
    assert not found.is_won


def test_the_control_says_whether_the_machine_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runners of one schedule that differ by a factor of two in every other round are no quiet machine."""
    busy, _ = held(monkeypatch, {DEFAULT: always(1.0), CONTROL: always(1.0, 2.0), FOUND: always(0.5)})
    assert (busy.spread, busy.is_quiet) == (2.0, False)
    quiet, _ = held(monkeypatch, {DEFAULT: always(1.0, 2.0), CONTROL: always(1.0, 2.0), FOUND: always(0.5)})
    assert (quiet.spread, quiet.is_quiet) == (1.0, True)


def test_schedules_with_other_threads_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each arm is timed by itself, forwards and backwards from set to set; otherwise all of them in turns."""
    names = {name: always(1.0) for name in (DEFAULT, CONTROL, FOUND)}
    _, timed = held(monkeypatch, names, apart=True)
    assert timed[1:7] == [[CONTROL], [DEFAULT], [FOUND], [FOUND], [DEFAULT], [CONTROL]]  # after a trial
    _, timed = held(monkeypatch, names)
    assert timed[1] == [CONTROL, DEFAULT, FOUND]


def test_a_noisy_search_neither_replaces_nor_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """What a search found on a busy machine loses a contest, the default comes back, and the cache stays empty."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    model = mlp(20, 400, 12)
    default = heuristic_schedule(autotune.undecided(model.graph(), 200, 1, NAMES), NAMES)
    unlucky = replace(default, tile_rows=28)
    monkeypatch.setattr(autotune, "best_schedule", lambda *_: unlucky)
    monkeypatch.setattr(autotune, "contest", lambda *_, **__: outcome(0.9, spread=3.0))
    assert tune(model, 200) == default
    assert list(cache_folder().glob("*")) == []
    monkeypatch.setattr(autotune, "contest", lambda *_, **__: outcome(1.1))
    assert tune(model, 200) == unlucky
    assert len(list(cache_folder().glob("*"))) == 1
