"""Turns and single calls under a fake clock that advances only by what the arms take: every number is exact."""

from __future__ import annotations

import functools
import gc
import itertools
from collections.abc import Callable, Iterator

import pytest

from mlbench.measure import time_interleaved as warm_time_interleaved
from mlbench.measure.latency import FAULT_CALLS, MOST_SINGLES, SINGLES_IN_TURN, SINGLES_S, ArmTimes

time_interleaved = functools.partial(warm_time_interleaved, warm_up_s=0.0)
"""Without the calls that warm up the caches, which have tests of their own at the end."""
MS = 2.0**-10
"""About a millisecond, and exact in binary, so that sums of it are exact too."""
WARM_UP = 2
"""Calls before the rounds of an arm that takes a millisecond: one to warm up, one to learn its cost."""


class Clock:
    """A clock that stands still but for `advance`, and writes down who ran; its readings stand as a bar."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        """Read the clock."""
        self.log.append("|")
        return self.now_s

    def arm(self, name: str, *costs_s: float) -> Callable[[], None]:
        """Return a call that takes these times in turn; the last one for ever."""
        costs = itertools.chain(costs_s, itertools.repeat(costs_s[-1]))

        def call() -> None:
            self.log.append(name)
            self.now_s += next(costs)

        return call

    @property
    def calls(self) -> str:
        """Who ran, in order, without the readings."""
        return "".join(entry for entry in self.log if entry != "|")


@pytest.fixture(autouse=True)
def no_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the calls that count page faults, so that the log ends with what is timed."""
    monkeypatch.setattr("mlbench.measure.latency._minor_faults", lambda call, calls: None)


@pytest.fixture
def clock() -> Clock:
    """A clock at zero."""
    return Clock()


def test_rounds_are_abba_and_who_starts_alternates(clock: Clock) -> None:
    """Two arms take turns as ABBA, then BAAB, then ABBA again, after two warm-up calls each."""
    time_interleaved({"A": clock.arm("A", MS), "B": clock.arm("B", MS)}, rounds=3, turn_s=MS, singles_s=0, clock=clock)
    assert clock.calls == "AABB" + "ABBA" + "BAAB" + "ABBA"


def test_three_arms_go_forwards_and_then_backwards(clock: Clock) -> None:
    """Three arms take turns as ABCCBA and then BCAACB, so that none follows itself more often than another."""
    arms = {name: clock.arm(name, MS) for name in "ABC"}
    time_interleaved(arms, rounds=2, turn_s=MS, singles_s=0, clock=clock)
    assert clock.calls == "AABBCC" + "ABCCBA" + "BCAACB"


def test_a_settled_arm_waits_for_threads_when_it_follows_another(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits before its first calls and before each turn behind another arm's; the other arm never does."""
    monkeypatch.setattr("mlbench.measure.latency.wait_for_threads", lambda: clock.log.append("w"))
    arms = {"A": clock.arm("A", MS), "B": clock.arm("B", MS)}
    time_interleaved(arms, rounds=2, turn_s=MS, singles_s=0, clock=clock, settled=["B"])
    assert clock.calls == "AA" + "BwB" + "AwBBA" + "wBAAwB"


def test_one_arm_alone_has_two_turns_in_a_round(clock: Clock) -> None:
    """A round has two turns of every arm, also of the only one."""
    time_interleaved({"A": clock.arm("A", MS)}, rounds=2, turn_s=MS, singles_s=0, clock=clock)
    assert clock.calls == "AA" + "AA" + "AA"


def test_a_round_is_the_mean_of_its_two_turns(clock: Clock) -> None:
    """A round's duration is seconds per call over both of its turns, for each arm by itself."""
    warm_up = [MS] * WARM_UP
    one = clock.arm("A", *warm_up, 1 * MS, 3 * MS, 5 * MS, 7 * MS)
    other = clock.arm("B", *warm_up, 4 * MS, 4 * MS, 8 * MS, 2 * MS)
    times = time_interleaved({"A": one, "B": other}, rounds=2, turn_s=MS, singles_s=0, clock=clock)
    assert times["A"].rounds_s == (2 * MS, 6 * MS)
    assert times["B"].rounds_s == (4 * MS, 5 * MS)


def test_a_steady_drift_hits_all_arms_alike(clock: Clock) -> None:
    """When every call takes longer than the one before, by the same amount, ABBA still gives the arms the same rounds."""
    ramp = itertools.count(1)

    def drifting() -> None:
        clock.now_s += MS * next(ramp)

    times = time_interleaved({"A": drifting, "B": drifting}, rounds=4, turn_s=MS, singles_s=0, clock=clock)
    assert times["A"].rounds_s == times["B"].rounds_s


@pytest.mark.parametrize(
    ("cost_s", "turn_s", "calls"),
    [(MS, 8 * MS, 8), (MS, MS, 1), (MS, 0.9 * MS, 1), (3 * MS, 8 * MS, 2), (MS / 16, MS, 16)],
    ids=["eight", "one", "longer-than-a-turn", "rounded-down", "short"],
)
def test_calls_of_a_turn_follow_from_the_cost(clock: Clock, cost_s: float, turn_s: float, calls: int) -> None:
    """A turn has as many calls as fit in it, and never less than one."""
    time_interleaved({"A": clock.arm("A", cost_s)}, rounds=0, turn_s=turn_s, singles_s=0, clock=clock)
    warm_up = len(clock.log)
    time_interleaved({"A": clock.arm("A", cost_s)}, rounds=1, turn_s=turn_s, singles_s=0, clock=clock)
    turn = ["|", *["A"] * calls, "|"]
    assert clock.log[2 * warm_up :] == turn * 2


def test_each_arm_has_calls_of_its_own(clock: Clock) -> None:
    """Turns last alike, so the faster arm has more calls in one, and its seconds per call stay exact."""
    times = time_interleaved({"A": clock.arm("A", MS), "B": clock.arm("B", 4 * MS)}, rounds=1, turn_s=8 * MS, singles_s=0, clock=clock)
    assert clock.calls == "AABB" + "A" * 8 + "BB" + "BB" + "A" * 8
    assert (times["A"].rounds_s, times["B"].rounds_s) == ((MS,), (4 * MS,))


def test_the_cost_of_a_short_call_comes_from_enough_of_them(clock: Clock) -> None:
    """A call below the clock's resolution is repeated 4, 16, 64, ... times until 200 us have passed."""
    time_interleaved({"A": clock.arm("A", 2.0**-20)}, rounds=0, singles_s=0, clock=clock)
    assert clock.calls == "A" * (1 + 1 + 4 + 16 + 64 + 256)


def test_the_first_call_is_not_timed(clock: Clock) -> None:
    """What only the first call pays for is in no number and does not set the length of a turn."""
    times = time_interleaved({"A": clock.arm("A", 1000.0, MS)}, rounds=1, turn_s=2 * MS, singles_s=2 * MS, clock=clock)
    assert times["A"] == ArmTimes((MS,), (MS, MS), None)
    assert clock.calls == "AA" + "AAAA" + "AAAA"


def test_singles_are_preceded_by_an_untimed_call(clock: Clock) -> None:
    """Arms alternate, each with one call outside the clock and one inside."""
    time_interleaved({"A": clock.arm("A", MS), "B": clock.arm("B", MS)}, rounds=0, turn_s=MS, singles_s=4 * MS, clock=clock)
    assert clock.log[-16:] == [*"A|A|", *"B|B|"] * 2


def test_singles_hold_what_the_timed_calls_took(clock: Clock) -> None:
    """The untimed calls of 9 ms are in no single."""
    costs = [MS, MS, 9 * MS, 1 * MS, 9 * MS, 2 * MS]
    times = time_interleaved({"A": clock.arm("A", *costs)}, rounds=0, singles_s=2 * MS, clock=clock)
    assert times["A"].singles_s == (1 * MS, 2 * MS)


@pytest.mark.parametrize(
    ("singles_s", "expected"),
    [(0.0, 0), (7.9 * MS, 1), (8 * MS, 2), (4 * MS * MOST_SINGLES, MOST_SINGLES), (4 * MS * (MOST_SINGLES + 1), MOST_SINGLES)],
    ids=["none", "below", "two", "most", "more"],
)
def test_how_many_singles(clock: Clock, singles_s: float, expected: int) -> None:
    """As many as fit for all arms together, and no more than the stated most."""
    arms = {"A": clock.arm("A", MS), "B": clock.arm("B", 3 * MS)}
    times = time_interleaved(arms, rounds=0, singles_s=singles_s, clock=clock)
    assert [expected, expected] == [len(times[name].singles_s) for name in "AB"]


def test_five_processes_of_short_calls_support_a_p99() -> None:
    """With the default time, the singles of five processes of a 1 ms cell suffice for the 99th percentile: 299 of an arm."""
    assert 5 * min(MOST_SINGLES, int(SINGLES_S / (3 * 1e-3))) >= 299


def test_page_faults_are_counted_in_untimed_calls(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are the mean of a stated number of calls, after everything that is timed."""
    monkeypatch.undo()
    pytest.importorskip("resource")
    readings: Iterator[int] = iter([100, 100 + 3 * FAULT_CALLS])

    class Usage:
        @property
        def ru_minflt(self) -> int:
            return next(readings)

    monkeypatch.setattr("resource.getrusage", lambda who: Usage())
    times = time_interleaved({"A": clock.arm("A", MS)}, rounds=0, singles_s=0, clock=clock)
    assert times["A"].minor_faults_per_call == 3.0
    assert clock.log[-FAULT_CALLS:] == ["A"] * FAULT_CALLS


def test_arms_keep_their_names_and_order(clock: Clock) -> None:
    """The answer has a row for each arm, in the order in which they were given."""
    arms = {name: clock.arm(name, MS) for name in ("z", "a", "m")}
    times = time_interleaved(arms, rounds=1, singles_s=0, clock=clock)
    assert list(times) == ["z", "a", "m"]


def test_the_collector_is_off_inside_a_turn(clock: Clock) -> None:
    """Python's garbage collector runs in no call that is timed."""
    states: list[bool] = []

    def call() -> None:
        states.append(gc.isenabled())
        clock.now_s += MS

    time_interleaved({"A": call}, rounds=2, singles_s=MS, clock=clock)
    assert set(states) == {False}


@pytest.mark.parametrize("was_enabled", [True, False], ids=["enabled", "disabled"])
def test_the_collector_is_left_as_it_was(clock: Clock, was_enabled: bool) -> None:
    """Afterwards the collector runs if it ran before, and only then."""
    before = gc.isenabled()
    try:
        (gc.enable if was_enabled else gc.disable)()
        time_interleaved({"A": clock.arm("A", MS)}, rounds=1, singles_s=0, clock=clock)
        assert gc.isenabled() is was_enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_an_arm_that_raises_ends_it_and_the_collector_runs_again(clock: Clock) -> None:
    """The error of an arm comes out unchanged, and the garbage collector is on again."""

    def broken() -> None:
        raise LookupError("mine")

    assert gc.isenabled()
    with pytest.raises(LookupError, match="mine"):
        time_interleaved({"A": clock.arm("A", MS), "B": broken}, clock=clock)
    assert gc.isenabled()


def test_ctrl_c_inside_a_turn_comes_out(clock: Clock) -> None:
    """KeyboardInterrupt in the middle of a round is not swallowed, and the garbage collector is on again."""
    calls = itertools.count()

    def interrupted() -> None:
        clock.now_s += MS
        if next(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        time_interleaved({"A": interrupted}, rounds=9, turn_s=MS, clock=clock)
    assert next(calls) == 5
    assert gc.isenabled()


def test_with_cold_caches_every_turn_is_one_call_after_an_eviction(clock: Clock) -> None:
    """Before each timed call something else runs outside the clock, and a short call is not repeated to fill its turn."""
    arms = {"A": clock.arm("A", MS / 8), "B": clock.arm("B", MS)}
    times = time_interleaved(arms, rounds=1, turn_s=MS, singles_s=0, clock=clock, before=clock.arm("e", 9 * MS))
    assert "".join(clock.log[-16:]) == "e|A|" + "e|B|" + "e|B|" + "e|A|"
    assert (times["A"].rounds_s, times["B"].rounds_s) == ((MS / 8,), (MS,))


def test_cold_singles_are_preceded_by_an_eviction(clock: Clock) -> None:
    """A single call with cold caches has the eviction before it, not a call that would warm them again."""
    times = time_interleaved({"A": clock.arm("A", MS)}, rounds=0, singles_s=2 * MS, clock=clock, before=clock.arm("e", 9 * MS))
    assert "".join(clock.log[-8:]) == "e|A|" * 2
    assert times["A"].singles_s == (MS, MS)


def test_a_turn_after_another_arms_begins_with_untimed_calls(clock: Clock) -> None:
    """Another arm has had the caches; the second of two turns of the same arm needs no warm-up."""
    arms = {"A": clock.arm("A", MS), "B": clock.arm("B", MS)}
    times = warm_time_interleaved(arms, rounds=1, turn_s=MS, singles_s=0, clock=clock, warm_up_s=2 * MS)
    assert clock.calls == "AAAA" + "BBBB" + "AAA" + "BBB" + "B" + "AAA"
    assert times["A"].rounds_s == (MS,)


def test_only_warm_calls_are_timed(clock: Clock) -> None:
    """A call that is slow until the caches are its own counts with its time after that."""
    slow_until = {"A": 0, "B": 0}
    ran = {"A": 0, "B": 0}
    last = ["A"]

    def arm(name: str) -> Callable[[], None]:
        def call() -> None:
            if last[0] != name:
                last[0], slow_until[name] = name, ran[name] + 2
            clock.now_s += 8 * MS if ran[name] < slow_until[name] else MS
            ran[name] += 1

        return call

    arms = {"A": arm("A"), "B": arm("B")}
    times = warm_time_interleaved(arms, rounds=3, turn_s=2 * MS, singles_s=8 * MS, clock=clock, warm_up_s=16 * MS)
    assert set(times["A"].rounds_s + times["B"].rounds_s + times["A"].singles_s + times["B"].singles_s) == {MS}


def test_a_long_call_is_not_repeated_to_warm_up(clock: Clock) -> None:
    """It fills the caches in its first few per cent, and an untimed one would double the time that measuring takes."""
    arms = {"A": clock.arm("A", 11 * MS), "B": clock.arm("B", 11 * MS)}
    warm_time_interleaved(arms, rounds=1, turn_s=MS, singles_s=0, clock=clock, warm_up_s=2 * MS)
    assert clock.calls == "AAA" + "BBB" + "ABBA"


def test_cold_calls_are_not_warmed_up(clock: Clock) -> None:
    """What is called before each turn makes the caches cold, and nothing warms them again."""
    arms = {"A": clock.arm("A", MS), "B": clock.arm("B", MS)}
    warm_time_interleaved(arms, rounds=1, turn_s=MS, singles_s=0, clock=clock, before=clock.arm("e", MS), warm_up_s=2 * MS)
    assert clock.calls == "AA" + "BB" + "eAeBeBeA"


def test_singles_have_turns_of_their_own(clock: Clock) -> None:
    """Some calls of an arm follow each other, behind a warm-up, each timed by itself."""
    arms = {"A": clock.arm("A", MS), "B": clock.arm("B", MS)}
    warm_time_interleaved(arms, rounds=0, singles_s=60 * MS, clock=clock, warm_up_s=2 * MS)
    block = SINGLES_IN_TURN + 2
    assert clock.calls == "AAAA" + "BBBB" + "A" * block + "B" * block + "A" * 12 + "B" * 12
