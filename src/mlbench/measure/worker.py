"""Worker processes: fresh interpreters that call a function by name and answer in JSON.

One process has a bias of its own, which no number of rounds removes: 2 to 3 % from where its memory landed, and a factor of 2 or
more from what it did before. glibc raises the size above which it returns freed memory to the kernel whenever a larger block is
freed (mallopt(3), M_MMAP_THRESHOLD), so whether an eager runner pays for page faults in every call depends on the history of
the process. So every replicate is a fresh process that does nothing else.

The number of BLAS threads is set in the environment of the process, before NumPy is loaded, which needs no library and cannot come
too late.

A worker ends with its parent, however that ends. It would see the end of its input, but not while a signal has stopped it (`freeze`); so on
Linux it asks the kernel to kill it then. The kernel takes the thread that started a process for its parent, so a worker asks only if that
was the main thread.

A request is a line `{"function": "module:name", "arguments": {...}}` on standard input; the answer is a line `{"ok": ...}` or
`{"error": ..., "kind": ...}` on what was standard output; anything printed meanwhile goes to standard error.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mlbench.errors import WorkerError

TIMEOUT_S = 600.0
_PR_SET_PDEATHSIG = 1
FRESH_HEAP = "fresh"
KEPT_HEAP = "kept"
HEAPS = (FRESH_HEAP, KEPT_HEAP)
"""`fresh`: the allocator as a new process has it. `kept`: glibc told to keep freed memory, as it does on its own in a process
that has freed larger blocks before. Other allocators ignore the variables."""
_KEEP_VARIABLES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
THREAD_VARIABLES = (
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Worker:
    """One worker process.

    Args:
        threads: BLAS threads it may use.
        heap: `fresh` or `kept`.

    Raises:
        WorkerError: from `call`, when the process died, took too long, or the function raised.
    """

    def __init__(self, threads: int = 1, heap: str = FRESH_HEAP) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-c", f"from mlbench.measure.worker import main; main({_parent()})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=worker_environment(threads, heap),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[str] = self._process.stdin
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def call(self, function: str, timeout_s: float = TIMEOUT_S, **arguments: object) -> Any:  # whatever JSON holds
        """Call `module:name` with keyword arguments in the worker and return its answer; both as JSON.

        Raises:
            WorkerError: when the process died, took longer than `timeout_s`, or the function raised.
        """
        try:
            self._requests.write(json.dumps({"function": function, "arguments": arguments}) + "\n")
            self._requests.flush()
            line = self._answers.get(timeout=timeout_s)
        except (BrokenPipeError, OSError):
            line = ""
        except queue.Empty:
            self.stop()
            raise WorkerError(f"a worker did not answer {function} within {timeout_s:g} s and was stopped") from None
        if not line:
            raise WorkerError(f"a worker died while it ran {function} (exit code {self._process.wait()})")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{function} failed in a worker: {answer['kind']}: {answer['error']}\n{answer['trace']}".rstrip())
        return answer["ok"]

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs; one whose function raised does, one that crashed does not."""
        return self._process.poll() is None

    def freeze(self) -> bool:
        """Stop the process until `thaw`, threads that spin included; False where the system cannot do that."""
        is_sent = self._send("SIGSTOP")
        if is_sent and hasattr(os, "waitid"):  # the signal takes a moment
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return is_sent

    def thaw(self) -> bool:
        """Let a frozen process go on."""
        return self._send("SIGCONT")

    def stop(self) -> None:
        """End the process; calling it again is harmless."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what was still to be sent to it has nowhere to go
            self._requests.close()

    def _send(self, name: str) -> bool:
        number = getattr(signal, name, None)  # not on Windows
        if number is not None:
            self._process.send_signal(number)
        return number is not None

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._answers.put(line)
        self._answers.put("")
        stream.close()


def worker_environment(threads: int, heap: str = FRESH_HEAP, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a worker: threads and heap set, and this very mlbench first on the path."""
    environment = dict(os.environ if base is None else base)
    environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    if heap == KEPT_HEAP:
        environment |= _KEEP_VARIABLES
    home = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(part for part in (home, environment.get("PYTHONPATH")) if part)
    environment["PYTHONSAFEPATH"] = "1"
    return environment


def _parent() -> int | None:
    """Return the number of this process, for a worker to end with; None where that cannot be, or this thread may end first."""
    is_main = threading.current_thread() is threading.main_thread()
    return os.getpid() if sys.platform == "linux" and is_main else None


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it ended before
        sys.exit()


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer every request until the input ends."""
    for line in requests:
        answers.write(_answer(line) + "\n")
        answers.flush()


def _answer(line: str) -> str:
    try:
        request = json.loads(line)
        module, _, name = request["function"].partition(":")
        return json.dumps({"ok": getattr(importlib.import_module(module), name)(**request["arguments"])})
    except Exception as error:  # noqa: BLE001  # the outermost frame of this process: whatever it was goes to the parent
        return json.dumps({"error": str(error), "kind": type(error).__name__, "trace": traceback.format_exc()})


@contextmanager
def _answers_only() -> Iterator[IO[str]]:
    """Give the real standard output to the answers, and let prints go to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        yield answers


def main(parent: int | None = None) -> None:
    """Serve the parent process; Ctrl-C reaches the whole process group, and the parent decides what it means.

    Args:
        parent: its number, to end with it; None for when the input ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent is not None:
        _end_with(parent)
    with _answers_only() as stream:
        serve(sys.stdin, stream)
