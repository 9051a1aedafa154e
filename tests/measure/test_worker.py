"""Worker processes: answers, errors, deaths, and what is left behind."""

from __future__ import annotations

import io
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlbench.errors import WorkerError
from mlbench.measure import FRESH_HEAP, WARM_HEAP, Worker
from mlbench.measure.worker import THREAD_VARIABLES, serve, worker_environment
from support import asked

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker can import the module of these tests."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker."""
    with Worker() as started:
        yield started


def is_gone(worker: Worker) -> bool:
    """Whether the process of the worker has ended and was waited for."""
    return worker._process.returncode is not None


def test_a_call_returns_what_json_holds(worker: Worker) -> None:
    """Keyword arguments go out and the answer comes back as JSON."""
    assert worker.call(asked.add, one=1.5, other=2) == {"sum": 3.5, "seen": [1.5, 2, None, True]}


def test_a_worker_answers_many_calls_in_order(worker: Worker) -> None:
    """One process serves one call after the other, each with its own answer."""
    answers = [worker.call(asked.add, one=number, other=0)["sum"] for number in range(20)]
    assert answers == list(range(20))


def test_numbers_and_text_survive_the_way(worker: Worker) -> None:
    """Floats come back to the last bit, and text with line ends, quotes and any letters too."""
    assert worker.call(asked.add, one=math.pi, other=0)["sum"] == math.pi
    text = 'two\nlines "µ" \u2028 €'
    assert worker.call(asked.add, one=text, other="")["sum"] == text


def test_a_function_that_raises_is_a_worker_error(worker: Worker) -> None:
    """The error says what was called, the kind, the message, and where in the worker it was raised."""
    with pytest.raises(WorkerError, match="asked:fail failed in a worker: LookupError: no luck") as caught:
        worker.call(asked.fail, message="no luck")
    assert "in fail" in str(caught.value)


def test_a_worker_goes_on_after_an_error(worker: Worker) -> None:
    """An error of a function is an answer, not an end."""
    with pytest.raises(WorkerError):
        worker.call(asked.fail, message="no luck")
    assert worker.call(asked.add, one=1, other=2)["sum"] == 3


def test_an_answer_that_json_cannot_hold_is_a_worker_error(worker: Worker) -> None:
    """A set is no JSON: the worker says so and goes on."""
    with pytest.raises(WorkerError, match="TypeError"):
        worker.call(asked.no_json)
    assert worker.is_alive


def test_what_a_worker_cannot_find_is_refused(worker: Worker) -> None:
    """A function without a place at the top of a module is refused before anything is sent."""
    with pytest.raises(ValueError, match="expected a function at the top of a module"):
        worker.call(lambda: 1)


def test_dataclasses_and_tuples_survive_the_way(worker: Worker) -> None:
    """Arguments and answers have the types of the function's annotations."""
    first = asked.Part("a", (1, 2.5), None)
    whole = worker.call(asked.whole_of, (first, asked.Part("b", (), 3)), {"x": first})
    assert whole == asked.Whole({"a": first, "b": asked.Part("b", (), 3), "x": first}, 3)


@pytest.mark.parametrize("code", [0, 3])
def test_a_worker_that_dies_is_an_error_with_its_exit_code(worker: Worker, code: int) -> None:
    """A process that ends without an answer is an error, also when it ends with 0."""
    with pytest.raises(WorkerError, match=rf":_exit: the process died \(exit code {code}\)"):
        worker.call(os._exit, status=code)


def test_sys_exit_in_a_function_is_a_death_too(worker: Worker) -> None:
    """SystemExit ends the worker; the parent learns the exit code."""
    with pytest.raises(WorkerError, match="exit code 4"):
        worker.call(asked.leave, code=4)


def test_a_dead_worker_stays_an_error(worker: Worker) -> None:
    """Asking a dead worker again gives the same error and not a broken pipe."""
    for _ in range(3):
        with pytest.raises(WorkerError, match="exit code 3"):
            worker.call(os._exit, status=3)


def test_a_dead_worker_that_was_asked_again_can_be_stopped() -> None:
    """Leaving the with block of a dead worker raises nothing, whatever was still to be sent to it."""
    with Worker() as worker:
        for _ in range(2):
            with pytest.raises(WorkerError):
                worker.call(os._exit, status=3)
    assert is_gone(worker)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to die from")
def test_a_killed_worker_names_the_signal(worker: Worker) -> None:
    """A worker killed from outside, as by the kernel when memory runs out, is an error with the signal's name."""
    pid = worker.call(os.getpid)
    os.kill(pid, 9)
    with pytest.raises(WorkerError, match="killed by signal SIGKILL"):
        worker.call(os.getpid)


def test_a_worker_that_hangs_is_stopped() -> None:
    """A function that waits for ever is an error after the given time, and the process is gone."""
    worker = Worker(timeout_s=0.2)
    with pytest.raises(WorkerError, match=r"asked:wait_for_ever: no answer within 0\.2 s; the process was ended"):
        worker.call(asked.wait_for_ever)
    assert is_gone(worker)


def test_prints_do_not_corrupt_answers(worker: Worker) -> None:
    """What a function prints, even below Python and even if it looks like an answer, is not one."""
    assert worker.call(asked.chatter, lines=3) == 3
    assert worker.call(asked.add, one=1, other=1)["sum"] == 2


def test_prints_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """What a function prints is not lost: it is on standard error."""
    with Worker() as worker:
        worker.call(asked.chatter, lines=1)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "from below Python" in captured.err


def test_ctrl_c_does_not_kill_a_worker(worker: Worker) -> None:
    """SIGINT reaches the whole process group; a worker leaves it to its parent to decide what it means."""
    assert worker.call(asked.interrupt) == "still here"


@pytest.mark.parametrize("name", THREAD_VARIABLES)
def test_thread_variables_are_set_before_numpy_loads(name: str) -> None:
    """Every BLAS finds its number of threads in the environment of the process, whatever was there before."""
    assert worker_environment(3, base={name: "64"})[name] == "3"


def test_a_worker_sees_its_threads_and_heap() -> None:
    """The variables are in the worker's own environment."""
    with Worker(threads=2, heap=WARM_HEAP) as worker:
        assert worker.call(os.getenv, key="OPENBLAS_NUM_THREADS") == "2"
        assert worker.call(os.getenv, key="MALLOC_MMAP_MAX_") == "0"


def test_a_kept_heap_keeps_freed_memory() -> None:
    """glibc is told to map no block by itself and to trim never."""
    found = worker_environment(1, WARM_HEAP, base={})
    assert found["MALLOC_MMAP_MAX_"] == "0"
    assert int(found["MALLOC_TRIM_THRESHOLD_"]) >= 2**40


def test_a_fresh_heap_has_no_settings() -> None:
    """A fresh heap is what a new process has: nothing is set."""
    assert not [name for name in worker_environment(1, FRESH_HEAP, base={}) if name.startswith("MALLOC_")]


def test_a_worker_runs_this_very_mlbench(worker: Worker) -> None:
    """The folder this mlbench was imported from is first on the worker's path, before the user's own PYTHONPATH."""
    import mlbench  # noqa: PLC0415  # its place is the subject

    found = worker.call(asked.path)
    home = str(Path(mlbench.__file__).resolve().parents[1])
    assert found.index(home) < found.index(str(TESTS))


def test_the_current_folder_is_not_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the user's that is called like a module of ours or of NumPy's is not imported by accident."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(folder)
    with Worker() as worker:
        assert str(folder) not in worker.call(asked.path)
        assert "" not in worker.call(asked.path)


def test_stop_is_idempotent() -> None:
    """Stopping twice, or leaving the with block after a stop, is harmless."""
    with Worker() as worker:
        worker.stop()
        worker.stop()
    assert is_gone(worker)


def test_an_error_in_the_block_stops_the_worker() -> None:
    """Whatever ends the with block, Ctrl-C included, ends the process."""
    with pytest.raises(KeyboardInterrupt), Worker() as worker:
        raise KeyboardInterrupt
    assert is_gone(worker)


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list open files")
@pytest.mark.parametrize("ending", ["stopped", "died", "hung"])
def test_no_process_and_no_file_descriptor_is_left(ending: str) -> None:
    """After a worker that was stopped, that died or that hung, the parent has as many open files and threads as before."""

    def use() -> None:
        before = set(threading.enumerate())
        with Worker(timeout_s=0.1 if ending == "hung" else 60) as worker:
            calls: dict[str, Callable[[], object]] = {
                "stopped": lambda: worker.call(os.getpid),
                "died": lambda: worker.call(os._exit, status=1),
                "hung": lambda: worker.call(asked.wait_for_ever),
            }
            try:
                calls[ending]()
            except WorkerError:
                assert ending != "stopped"
        for listener in set(threading.enumerate()) - before:
            listener.join(timeout=30)
            assert not listener.is_alive()
        assert is_gone(worker)

    use()
    before = open_files()
    use()
    assert before == open_files()


def test_serve_answers_line_by_line() -> None:
    """The protocol: a JSON line in, a JSON line out, errors included, until the input ends."""
    requests = [{"function": "math:gcd", "arguments": {}}, {"function": "builtins:dict", "arguments": {"a": 1}}, {"function": "math:no"}]
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(each) + "\n" for each in requests) + "no JSON\n"), answers)
    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert found[:2] == [{"ok": 0}, {"ok": {"a": 1}}]
    assert [each["kind"] for each in found[2:]] == ["AttributeError", "JSONDecodeError"]


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="a process cannot be stopped, or nobody can tell, on this system")
def test_a_frozen_worker_does_nothing_until_it_is_thawed(worker: Worker) -> None:
    """A request to a stopped process is answered when it goes on; freezing returns when it has stopped."""
    assert worker.freeze()
    worker.send(json.dumps({"function": "support.asked:add", "arguments": {"one": 1, "other": 2}}))
    with pytest.raises(queue.Empty):
        worker._answers.get(timeout=0.3)
    assert worker.thaw()
    assert worker.receive(30)["ok"]["sum"] == 3


def test_a_worker_is_alive_until_it_died(worker: Worker) -> None:
    """A function that raised leaves the process alive; one that left does not."""
    with pytest.raises(WorkerError):
        worker.call(asked.fail, message="no")
    assert worker.is_alive
    with pytest.raises(WorkerError):
        worker.call(asked.leave, code=3)
    assert not worker.is_alive


def test_a_system_without_the_signal_cannot_freeze(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such signal the answer is no, and nothing happens."""
    monkeypatch.setattr("mlbench.measure.process.signal", object())
    assert not worker.freeze()
    assert not worker.thaw()


PARENT = """
import os, sys
from mlbench.measure import Worker
worker = Worker(2)
number = worker.call(os.getpid)
if sys.argv[1] == "stopped":
    worker.freeze()
print(number, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a process with its parent on Linux alone")
@pytest.mark.parametrize("state", ["stopped", "waiting"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_a_worker_ends_with_its_parent(number: signal.Signals, state: str) -> None:
    """Also when the parent has no time to end it, and the worker is stopped."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    try:
        assert lives(worker)
        parent.send_signal(number)
        assert parent.wait(60) == -number
        deadline = time.monotonic() + 60
        while lives(worker) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not lives(worker)
    finally:
        parent.stdin.close()
        parent.stdout.close()
        if lives(worker):
            os.kill(worker, signal.SIGKILL)


def lives(process: int) -> bool:
    """Whether there is such a process that is not just waiting for somebody to ask how it ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_a_worker_of_a_thread_outlives_that_thread() -> None:
    """The kernel would take the thread for the parent; a worker that a thread has started answers when it is gone."""
    started: list[Worker] = []
    thread = threading.Thread(target=lambda: started.append(Worker()))
    thread.start()
    thread.join(60)
    with started[0] as worker:
        assert worker.call(asked.add, one=1, other=2)["sum"] == 3
