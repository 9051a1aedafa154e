"""Worker processes: fresh interpreters that call a function they are asked for and answer in JSON.

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
import dataclasses
import functools
import importlib
import inspect
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import IO, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from mlbench.errors import WorkerError
from mlbench.measure.process import JsonProcess

P = ParamSpec("P")
R = TypeVar("R")
TIMEOUT_S = 600.0
_PR_SET_PDEATHSIG = 1
FRESH_HEAP = "fresh"
WARM_HEAP = "kept"
HEAPS = (FRESH_HEAP, WARM_HEAP)
"""`fresh`: the allocator as a new process has it. `kept`, a warm heap: glibc told to keep freed memory, as it does on its own in a process
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


class Worker(JsonProcess):
    """One worker process.

    Args:
        threads: BLAS threads it may use.
        heap: `fresh` or `kept`.
        timeout_s: time for each call, in seconds.
    """

    def __init__(self, threads: int = 1, heap: str = FRESH_HEAP, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        code = f"from mlbench.measure.worker import main; main({_parent()})"
        super().__init__([sys.executable, "-c", code], worker_environment(threads, heap))

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function of a module in the worker and return its answer.

        Arguments and answer travel as JSON, and are of the types that the function's annotations say: numbers, text, dataclasses, and
        tuples, lists and dictionaries of these.

        Raises:
            WorkerError: where the process died, took too long, or the function raised.
            ValueError: for a function that the worker cannot find by its name.
        """
        name = f"{function.__module__}:{function.__qualname__}"
        if function.__module__ == "__main__" or not function.__qualname__.isidentifier():
            raise ValueError(f"{name}: a worker imports what it calls; expected a function at the top of a module")
        arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        self.send(json.dumps({"function": name, "arguments": arguments}, default=dataclasses.asdict))
        try:
            answer = self.receive(self._timeout_s)
        except WorkerError as error:
            raise WorkerError(f"a worker that ran {name}: {error}") from None
        if "error" in answer:
            raise WorkerError(f"{name} failed in a worker: {answer['kind']}: {answer['error']}\n{answer['trace']}".rstrip())
        found: R = decoded(_hints(function).get("return"), answer["ok"])
        return found


def decoded(kind: Any, data: Any) -> Any:
    """Return JSON data as a value of an annotated type.

    Of a union of dataclasses it is the one that has the fields.

    >>> decoded(tuple[float, ...] | None, [1, 2])
    (1, 2)
    """
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: decoded(hints[name], each) for name, each in data.items()})
    if origin in {Union, UnionType} and data is not None:
        return decoded(_member(parts, data), data)
    if origin is tuple:
        kinds = parts[:1] * len(data) if parts[-1] is Ellipsis else parts
        return tuple(decoded(part, each) for part, each in zip(kinds, data, strict=True))
    if origin is list:
        return [decoded(parts[0], each) for each in data]
    if origin in {dict, Mapping}:
        return {name: decoded(parts[1], each) for name, each in data.items()}
    return data


def _member(parts: tuple[Any, ...], data: Any) -> Any:
    """Return which part of a union JSON data are: the dataclass with these fields, or else the first that is not None."""
    records = [part for part in parts if isinstance(part, type) and dataclasses.is_dataclass(part)]
    names = data.keys() if isinstance(data, dict) else None
    fitting = (each for each in records if {field.name for field in dataclasses.fields(each)} == names)
    return next(fitting, next(part for part in parts if part is not NoneType))


@functools.cache
def _hints(annotated: Any) -> dict[str, Any]:
    return get_type_hints(annotated)


def worker_environment(threads: int, heap: str = FRESH_HEAP, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a worker: threads and heap set, and this very mlbench first on the path."""
    environment = dict(os.environ if base is None else base)
    environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    if heap == WARM_HEAP:
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
        function = getattr(importlib.import_module(module), name)
        hints = _hints(function)
        arguments = {name: decoded(hints.get(name), each) for name, each in request["arguments"].items()}
        return json.dumps({"ok": function(**arguments)}, default=dataclasses.asdict)
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
