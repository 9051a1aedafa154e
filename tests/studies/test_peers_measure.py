"""How runtimes are measured against ours: by turns, in processes of their own, whatever one of them does."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlbench.compiler.schedule.schedule import Schedule
from mlbench.errors import WorkerError
from mlbench.measure import SPIN_S, Environment, Worker, has_memray
from mlbench.models import Model
from mlbench.results.peers import FAILED, MEASURED, OURS, SLOW, WRONG, PeerCell
from mlbench.studies.autotune import tune
from mlbench.studies.cases import Cell, mlp_cell
from mlbench.studies.peers import heap, scratch
from mlbench.studies.peers import measure as peering
from mlbench.studies.peers import worker as peer_worker
from mlbench.studies.peers.estimate import expected_s
from mlbench.studies.peers.measure import (
    LEAST_ROUNDS,
    PeerEffort,
    Processes,
    find_runtimes,
    measure,
    still_measured,
    time_interleaved,
    too_slow,
)
from mlbench.studies.peers.scratch import NO_FOLDERS, Folders
from mlbench.studies.peers.worker import turn
from support.agree import faults
from support.exhaustive import EXHAUSTIVE
from support.records import peer_cell

HERE = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})
US = 1e-6
TINY = mlp_cell(2, (8,), 4, 3)
QUICK = PeerEffort(processes=2, rounds=2, turn_s=1e-4)
HEAD = """
import os, sys, time
import numpy as np
from mlbench.studies.peers import Package
from mlbench.runtime import BaselineRunner
PACKAGES, SETTINGS = (Package("numpy", "numpy"),), "as it is"
def missing(): return None
"""
PEERS = {
    "right": "def load(model, x, threads):\n    run = BaselineRunner(model).run\n    return lambda: run(x)\n",
    "wrong": "def load(model, x, threads):\n    run = BaselineRunner(model).run\n    return lambda: run(x) + 1\n",
    "spoiling": "def load(model, x, threads):\n    run, given = BaselineRunner(model).run, x.copy()\n"
    "    def call():\n        y = run(given)\n        given[:] = 1\n        return y\n    return call\n",
    "raising": "def load(model, x, threads):\n    raise LookupError('no kernel for this')\n",
    "picky": "def load(model, x, threads):\n    if len(x) == 2: os._exit(7)\n    run = BaselineRunner(model).run\n"
    "    return lambda: run(x)\n",
    "dying": "def load(model, x, threads):\n    os._exit(7)\n",
    "late": "def load(model, x, threads):\n    run, calls = BaselineRunner(model).run, []\n"
    "    def call():\n        calls.append(sys._getframe(1).f_locals.get('warm_ups', 0) > 0)\n"  # of turns of a race alone
    "        if sum(calls) > 3: os._exit(9)\n        return run(x)\n    return call\n",
    "absent": "def missing(): return 'not installed (python -m pip install absent)'\n",
    "slow": "def load(model, x, threads):\n    run = BaselineRunner(model).run\n"
    "    def call():\n        time.sleep(0.08)\n        return run(x)\n    return call\n",
    "hungry": "def load(model, x, threads):\n    run, held = BaselineRunner(model).run, np.ones(3_000_000, np.uint8)\n"
    "    def call():\n        taken = np.ones(5_000_000 + 0 * len(held), np.uint8)\n        return run(x)\n    return call\n",
    "switched": "VARIANTS = {'': {}, 'a switch': {'fast': True}}\n"
    "def load(model, x, threads, fast=False):\n    run = BaselineRunner(model).run\n"
    "    def call():\n        time.sleep(0 if fast else 0.005)\n        return run(x)\n    return call\n",
    "compiled": "from mlbench.studies.peers.scratch import compiled_once\n"
    "def load(model, x, threads):\n    compiled_once('a compiler', b'net', lambda: b'made')\n    run = BaselineRunner(model).run\n"
    "    return lambda: run(x)\n",
    "chatty": "def load(model, x, threads):\n    print('{\"ok\": 1}', flush=True)\n    os.write(2, b'noise')\n"
    "    run = BaselineRunner(model).run\n    return lambda: run(x)\n",
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str | None]]:
    """Return a function that gives ours and made-up runtimes, each a module that a worker can import."""
    for name, source in PEERS.items():
        (tmp_path / f"peer_{name}.py").write_text(HEAD + source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(peering, "FAR_TIMES", float("inf"))  # a busy moment makes any of these slow
    monkeypatch.setattr(peering, "BEHIND_TIMES", (float("inf"),))
    return lambda *names: {OURS: None, **{name: f"peer_{name}" for name in names}}


def measured(modules: dict[str, str | None], effort: PeerEffort = QUICK, cell: Cell = TINY) -> PeerCell:
    """Return a cell when everything has been added to it."""
    return list(measure([cell], modules, effort))[-1]


def test_ours_and_a_peer_are_measured(fake: Callable[..., dict[str, str | None]]) -> None:
    """Each has its rounds of each set of processes, and the ratio is peer / ours."""
    found = measured(fake("right"))
    assert (found.name, found.processes, found.weighed) == ("4-8-3 b2", 2, True)
    assert list(found.outcomes) == [OURS, "right"]
    for each in found.outcomes.values():
        assert each.state == MEASURED
        assert each.worst_error is not None
        assert each.worst_error <= 1
        assert [len(rounds) for rounds in each.rounds_s] == [2, 2]
    assert found.fastest_peer == "right"
    assert found.ratio is not None
    assert found.ratio.processes == 2


@pytest.mark.parametrize("name", ["wrong", "spoiling"])
def test_a_wrong_output_is_never_timed(fake: Callable[..., dict[str, str | None]], name: str) -> None:
    """A peer whose output is off, in the second call alone too, is a wrong row with the error, without times and bytes."""
    found = measured(fake(name, "right"), PeerEffort(1, 1))
    wrong = found.outcomes[name]
    assert (wrong.state, wrong.time_s, wrong.peak_bytes) == (WRONG, None, None)
    assert not any(wrong.rounds_s)
    assert "the float64 reference gives" in wrong.detail
    assert found.fastest_peer == "right"


@pytest.mark.parametrize(
    ("name", "reason"), [("raising", "LookupError: no kernel for this"), ("dying", "exit code 7"), ("late", "exit code 9")]
)
def test_a_peer_that_fails_says_so(fake: Callable[..., dict[str, str | None]], name: str, reason: str) -> None:
    """One that cannot be built, dies while it is built, or dies in a turn is a failed row with the reason, and the others are measured."""
    effort = PeerEffort(processes=1, rounds=40, turn_s=1e-3)
    found = measured(fake(name, "right"), effort)
    assert found.outcomes[name].state == FAILED
    assert reason in found.outcomes[name].detail
    assert found.outcomes[name].time_s is None
    assert len(found.outcomes["right"].rounds_s[0]) == 40
    assert found.ratio is not None


def test_a_failed_peer_is_asked_again_in_the_next_cell(fake: Callable[..., dict[str, str | None]]) -> None:
    """A process that died in a cell is replaced for the next one."""
    with Processes(fake("picky", "right"), 1) as processes:
        assert "exit code 7" in processes.prepare("picky", TINY).detail
        for name in ("picky", "right"):
            assert processes.prepare(name, dataclasses.replace(TINY, batch=3)).state == MEASURED


def test_a_slow_peer_takes_no_turns(fake: Callable[..., dict[str, str | None]]) -> None:
    """A call that takes 0.08 s beside one of microseconds is timed by itself, and is not weighed."""
    found = measured(fake("slow", "right"))
    slow = found.outcomes["slow"]
    assert slow.state == SLOW
    assert slow.time_s == slow.cost_s
    assert slow.cost_s is not None
    assert slow.cost_s >= 0.08
    assert not any(slow.rounds_s)
    assert slow.peak_bytes is None
    assert found.fastest_peer == "right"


def test_the_faster_variant_is_measured_and_named(fake: Callable[..., dict[str, str | None]]) -> None:
    """Of the switches that a peer documents the fastest is kept in each cell, and its name is in the result; the usual one has none."""
    found = measured(fake("switched", "right"), PeerEffort(processes=1, rounds=1, weigh=False))
    assert found.outcomes["switched"].chosen == "a switch"
    assert found.outcomes["switched"].time_s is not None
    assert found.outcomes["right"].chosen == ""
    assert (found.processes, found.weighed) == (1, False)


@pytest.mark.skipif(not hasattr(heap._c_library(), "mallopt"), reason="this system's allocator has no such switch")
def test_a_heap_that_keeps_memory_stops_the_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that frees 8 MB faults in a new process, on a warm heap no more, and again when that is taken back."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    with Worker() as worker:
        assert [count > 4 for count in worker.call(faults)] == [True, False, True]


def say(said: list[str], word: str) -> bool:
    """Write down what was done, which worked."""
    said.append(word)
    return True


def test_a_peer_that_faults_gets_a_warm_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept where the call is faster with it, and given back where it is not; a call that does not fault gets none."""
    said: list[str] = []
    costs = iter([2.0, 2.0, 2.0, 1.5, 1.5, 1.5, 1.5] + [2.0] * 7)
    monkeypatch.setattr(peer_worker, "_cost_s", lambda first_s: next(costs))
    monkeypatch.setattr(peer_worker, "keep_freed_memory", partial(say, said, "kept"))
    monkeypatch.setattr(peer_worker, "release_freed_memory", partial(say, said, "released"))
    assert (peer_worker._warm_cost_s(2.0), said) == (1.5, ["kept"])
    assert (peer_worker._warm_cost_s(2.0), said) == (None, ["kept", "kept", "released"])
    monkeypatch.setattr(peer_worker, "keep_freed_memory", lambda: False)
    costs = iter([2.0] * 3)
    assert peer_worker._warm_cost_s(2.0) is None


def test_a_peer_far_behind_takes_no_turns_either() -> None:
    """A call that takes 100 times the fastest one's and 1 ms, or 20 times and 0.05 s, has one sample and the reason; ours has its turns."""
    assert too_slow({OURS: 1e-5, "near": 99e-5, "far": 250e-5}) == {
        "far": "a call takes 250 times the fastest one's; one sample, and not timed further"
    }
    assert list(too_slow({OURS: 4e-3, "near": 49e-3, "behind": 81e-3})) == ["behind"]
    assert too_slow({OURS: 1.0, "fast": 1e-3}) == {}
    assert too_slow({OURS: 1e-7, "short": 250e-6}) == {}
    assert too_slow({}) == {}


def test_what_a_runtime_prints_is_no_answer(fake: Callable[..., dict[str, str | None]], capfd: pytest.CaptureFixture[str]) -> None:
    """Frameworks that print disturb neither the answers nor the terminal."""
    assert measured(fake("chatty")).outcomes["chatty"].state == MEASURED
    assert capfd.readouterr() == ("", "")


CORES = ("", "Haswell", "Zen", "SkylakeX", "Nehalem")
"""Those whose kernels OpenBLAS is made to take, after its own choice; a thread more takes more memory, so that two are tried of each."""


def can_run(core: str) -> bool:
    """Whether this processor runs the kernels that OpenBLAS has for a core; a BLAS of another make does not read the variable."""
    program = "import numpy as np; a = np.ones((64, 64), np.float32); a @ a; a @ a[0]"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "OPENBLAS_CORETYPE": core}, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not has_memray(), reason="memray is not installed")
@pytest.mark.parametrize(
    ("core", "threads"), [(core, threads) for core in CORES for threads in (1, 2) if EXHAUSTIVE or threads == 2 or not core], ids=str
)
def test_bytes_of_a_call_and_between_calls(
    fake: Callable[..., dict[str, str | None]], monkeypatch: pytest.MonkeyPatch, core: str, threads: int
) -> None:
    """A peer that holds 3 MB and takes 5 MB in a call is weighed so, whatever kernels BLAS has; ours says what it holds, part by part."""
    if not can_run(core):
        pytest.skip(f"this processor cannot run OpenBLAS's kernels for {core}")
    monkeypatch.setenv("OPENBLAS_CORETYPE", core)
    found = measured(fake("hungry"), PeerEffort(processes=1, rounds=1), dataclasses.replace(TINY, threads=threads))
    hungry, ours = found.outcomes["hungry"], found.outcomes[OURS]
    assert hungry.held_bytes is not None
    assert 3_000_000 - 4 * (4 * 8 + 8 + 8 * 3 + 3) <= hungry.held_bytes < 3_100_000
    assert hungry.peak_bytes is not None
    assert 5_000_000 <= hungry.peak_bytes < 5_100_000
    assert hungry.weight_copies is None
    assert (ours.peak_bytes, ours.weight_copies is not None) == (0, True)
    assert ours.held_bytes


def test_missing_runtimes_are_found(fake: Callable[..., dict[str, str | None]]) -> None:
    """A runtime that is not installed is known by its reason, and one whose module cannot even be imported as well."""
    found = find_runtimes({**fake("right", "absent"), "gone": "no_such_module"}, 1, TINY.subject)
    assert [each.name for each in found] == [OURS, "right", "absent", "gone"]
    assert [each.missing for each in found[:3]] == [None, None, "not installed (python -m pip install absent)"]
    assert "no_such_module" in str(found[3].missing)
    assert found[1].versions.startswith("numpy ")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be stopped there")
def test_with_two_threads_only_the_asked_process_runs(fake: Callable[..., dict[str, str | None]]) -> None:
    """A process is stopped while it is not asked, so that threads that spin take nothing from the others."""
    with Processes(fake("right"), 2) as processes:
        for name in (OURS, "right"):
            assert processes.prepare(name, dataclasses.replace(TINY, threads=2)).state == MEASURED
        states = [Path(f"/proc/{worker._process.pid}/stat") for worker in processes._workers.values()]
        if all(path.exists() for path in states):
            assert [path.read_text().rpartition(")")[2].split()[0] for path in states] == ["T", "T"]
        assert processes.ask("right", turn, 1, 0) > 0


def test_known_cells_are_gone_on_with(fake: Callable[..., dict[str, str | None]]) -> None:
    """A cell with one set of processes gets the second one, and its bytes are not taken again."""
    first = measured(fake("right"), dataclasses.replace(QUICK, processes=1))
    (second,) = measure([TINY], fake("right"), QUICK, {first.name: first})
    assert second.processes == 2
    assert second.outcomes["right"].rounds_s[0] == first.outcomes["right"].rounds_s[0]
    assert list(measure([TINY], fake("right"), QUICK, {second.name: second})) == []


def test_what_is_compiled_is_kept_until_the_run_ends(tmp_path: Path) -> None:
    """The same content is compiled once in a folder, other content or another compiler anew, and every time without a folder."""
    made: list[str] = []

    def make() -> bytes:
        made.append("")
        return b"code %d" % len(made)

    try:
        scratch.use_folders(Folders(builds=str(tmp_path)))
        assert [scratch.compiled_once("a 1.0", b"net", make) for _ in range(2)] == [b"code 1"] * 2
        assert scratch.compiled_once("a 1.0", b"other", make) == b"code 2"
        assert scratch.compiled_once("a 2.0", b"net", make) == b"code 3"
        assert scratch.builds_folder("inductor") == tmp_path / "inductor"
    finally:
        scratch.use_folders(NO_FOLDERS)
    assert [scratch.compiled_once("a 1.0", b"net", make) for _ in range(2)] == [b"code 4", b"code 5"]
    assert scratch.builds_folder("inductor") is None


def test_builds_may_outlive_the_run(tmp_path: Path, fake: Callable[..., dict[str, str | None]]) -> None:
    """A folder that was named still has what compilers made when the run has ended."""
    (tmp_path / "builds").mkdir()
    list(measure([TINY], fake("compiled"), PeerEffort(1, 1, weigh=False), builds=(tmp_path / "builds")))
    assert [path.read_bytes() for path in (tmp_path / "builds").iterdir()] == [b"made"]


def test_the_schedule_of_ours_is_searched_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set of processes, and the one that counts bytes, has the schedule of the first search, remembered by the machine or not."""
    searches: list[int] = []

    def searched(model: Model, max_batch: int, *, threads: int) -> Schedule:
        searches.append(max_batch)
        return tune(model, max_batch, threads=threads)

    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(peer_worker, "tune", searched)
    cell = dataclasses.replace(TINY, tuned=True)
    try:
        scratch.use_folders(Folders(run=str(tmp_path)))
        outcomes = [peer_worker.prepare(None, cell) for _ in range(2)]
        peer_worker.footprint_of(None, cell)
    finally:
        scratch.use_folders(NO_FOLDERS)
    assert [each.state for each in outcomes] == [MEASURED] * 2
    assert searches == [2]


@pytest.mark.parametrize(
    ("sets", "asked"), [(1, [OURS, "fast", "near", "behind"]), (2, [OURS, "fast", "near"]), (3, [OURS, "fast", "near"])]
)
def test_a_peer_that_cannot_be_the_fastest_is_left_out_of_further_sets(sets: int, asked: list[str]) -> None:
    """After one set that is one at more than 10 times the fastest peer's time, after two at more than 3 times; ours always goes on."""
    times_us = {OURS: 1.0, "fast": 10.0, "near": 29.0, "behind": 31.0, "far": 101.0}
    rounds: dict[str, Any] = {name: ((each, each),) * sets for name, each in times_us.items()}
    found = peer_cell(**rounds)
    assert still_measured(dataclasses.replace(found, processes=sets), [*times_us, "new"]) == asked


def test_who_was_left_out_stays_out() -> None:
    """A peer without turns in the last set has none in the next one, whatever the others took since; one that was lost there has."""
    rounds: dict[str, Any] = {OURS: ((1.0,),) * 3, "fast": ((10.0,),) * 3, "out": ((20.0,),) * 2, "lost": ((20.0,), (20.0,), ())}
    found = peer_cell(**rounds)
    cell = dataclasses.replace(found, processes=3)
    assert cell.left == {"out": 2}
    assert still_measured(cell, [OURS, "fast", "out", "lost"]) == [OURS, "fast", "lost"]


def test_the_expected_time_grows_with_what_is_left() -> None:
    """More cells, runtimes and sets take longer; cells that were measured before, and a run without bytes, take less."""
    names, effort = [OURS, "onnxruntime", "iree"], PeerEffort(processes=5)
    four = [2, 2, 2, 2]
    whole = expected_s(four, names, effort)
    assert expected_s(four, names, PeerEffort(processes=1)) < whole < expected_s(four * 2, names, effort)
    assert whole < expected_s([3, 3, 3, 3], names, effort)
    assert expected_s(four, names[:2], effort) < whole
    assert expected_s(four, names, effort, [5, 5, 1, 0]) < expected_s(four, names, effort, [5, 0, 1, 0]) < whole
    assert expected_s([2], names, effort, [5]) == 0
    assert expected_s(four, names, dataclasses.replace(effort, weigh=False)) < whole
    assert expected_s(four, names, effort, rules=True) < whole
    assert expected_s(four, names, effort, built=True) < whole


class Diary:
    """Stands for the processes: every turn takes as long as was said, and is written down."""

    def __init__(self, dies: str = "") -> None:
        self.turns: list[tuple[str, int, int]] = []
        self.dies = dies

    def ask(self, name: str, function: Callable[..., float], calls: int, warm_ups: int) -> float:
        """Take a turn."""
        assert function is turn
        self.turns.append((name, calls, warm_ups))
        if name == self.dies:
            raise WorkerError("a worker died")
        return 2.0


def turns(diary: Diary, costs_s: dict[str, float], effort: PeerEffort) -> tuple[dict[str, tuple[float, ...]], dict[str, str]]:
    """Take turns with a stand-in for the processes."""
    return time_interleaved(diary, costs_s, effort)  # type: ignore[arg-type]  # what it asks of them it finds


def test_turns_go_forwards_and_backwards() -> None:
    """ABBA, another one starts each round, and each is warmed up before it is timed."""
    diary = Diary()
    times, lost = turns(diary, {"a": 1e-3, "b": 1e-4, "c": 1.0}, PeerEffort(rounds=2, turn_s=3e-3))
    assert [name for name, _, _ in diary.turns[:12]] == ["a", "b", "c", "c", "b", "a", "b", "c", "a", "a", "c", "b"]
    assert {name: (calls, warm_ups) for name, calls, warm_ups in diary.turns} == {"a": (3, 2), "b": (30, 20), "c": (1, 1)}
    assert times == {"a": (2.0, 2.0), "b": (2.0, 2.0), "c": (2.0, 2.0)}
    assert lost == {}


def test_long_calls_get_fewer_rounds() -> None:
    """Where a round takes longer than the time for all of them, the fewest rounds are left."""
    diary = Diary()
    assert len(turns(diary, {"a": 10.0}, PeerEffort(rounds=15))[0]["a"]) == LEAST_ROUNDS


def test_the_others_go_on_where_one_dies() -> None:
    """One that dies takes no further turn and has no times; the others have every round."""
    diary = Diary(dies="b")
    times, lost = turns(diary, {"a": 1e-3, "b": 1e-3}, PeerEffort(rounds=3))
    assert times == {"a": (2.0, 2.0, 2.0)}
    assert lost == {"b": "a worker died"}
    assert [name for name, _, _ in diary.turns].count("b") == 1


def test_where_nothing_can_be_stopped_there_is_a_pause(fake: Callable[..., dict[str, str | None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without that signal the threads get time to end spinning."""
    pauses: list[float] = []
    monkeypatch.setattr("mlbench.measure.Worker.freeze", lambda self: False)
    monkeypatch.setattr("mlbench.studies.peers.measure.time.sleep", pauses.append)
    with Processes(fake("right"), 2) as processes:
        processes.prepare("right", dataclasses.replace(TINY, threads=2))
    assert pauses == [SPIN_S]
