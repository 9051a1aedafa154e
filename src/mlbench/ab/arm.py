"""One arm of an A/B: runs a project's own pytest-benchmark suite, and lets the process that started it time each benchmark.

It is a script of the standard library and pytest alone, run by path in the interpreter of the project's environment, which is neither
changed nor asked to hold anything of ours. It collects the suite, then runs the tests in the order it is told. Where a test calls
`benchmark`, it stops and does what it is asked until it may go on: single turns, a footprint, a flame graph.

Messages are lines of JSON, answers on what was standard output, requests on what was standard input; whatever the tests print goes to
standard error. Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import tracemalloc
import types
from typing import TYPE_CHECKING

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Plants = Mapping[str, Mapping[str, float]]

WARM_UPS = 3
MOST_REPEATS = 5
COST_S = 2e-4
SMALL_BLOCK, SMALL_BLOCKS = 2048, 128
LARGE_BLOCK, LARGE_BLOCKS = 65536, 16
"""Most bytes, and number, of the blocks that move a test's data."""
LONG_S = 0.2
"""A call that takes longer, a second time too, is not made again to find out what it costs."""


class Channel:
    """Requests from the parent and answers to it; both survive pytest's capturing."""

    def __init__(self) -> None:
        self._requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def tell(self, **message: Any) -> None:
        """Send one message."""
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()

    def listen(self) -> dict[str, Any]:
        """Return the next request; a parent that is gone ends this process."""
        line = self._requests.readline()
        if not line:
            os._exit(0)
        request: dict[str, Any] = json.loads(line)
        return request


class Target:
    """What a test measures.

    Args:
        function: the callable.
        args: its arguments.
        kwargs: its keyword arguments.
        setup: called before every call, untimed; it may return other arguments, as pytest-benchmark's does.
        teardown: called after every call, untimed, with the same arguments.
        iterations: calls that follow each setup.
        once: it may be called once only.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        iterations: int = 1,
        *,
        once: bool = False,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.setup = setup
        self.teardown = teardown
        self.iterations = iterations
        self.once = once
        self.result: Any = None
        self.was_called = False
        self.is_quick = True
        self.interrupted = 0
        self.plant: Mapping[str, float] = {}

    @property
    def is_bare(self) -> bool:
        """Whether nothing happens between two calls."""
        return self.setup is None and self.teardown is None

    def turn(self, calls: int, *, warm_up: bool) -> float:
        """Return the seconds per call of one turn, with the collector off; `warm_up` makes an untimed call before it.

        `interrupted` says how often another process took the core away while the clock ran.
        """
        self.interrupted = 0
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            if self.is_bare:
                if warm_up and not self.once:
                    self.function(*self.args, **self.kwargs)
                return self._timed(calls, self.args, self.kwargs) / calls
            spent = 0.0
            for _ in range(calls):
                spent += self._with_setup()
            return spent / (calls * self.iterations)
        finally:
            if was_enabled:
                gc.enable()

    def call(self) -> None:
        """Make one call, with its setup and teardown."""
        args, kwargs = self._arguments()
        self.result = self.function(*args, **kwargs)
        self.was_called = True
        if self.teardown is not None:
            self.teardown(*args, **kwargs)

    def prepared(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a call without arguments whose setup has been made, and what is to be done after it."""
        args, kwargs = self._arguments()
        array, allocation = int(self.plant.get("bytes", 0)), int(self.plant.get("allocation", 0))

        def call() -> None:
            if array:
                held = bytearray(array)  # noqa: F841  # held while the function runs, as a temporary array is
            self.function(*args, **kwargs)
            if allocation:
                bytearray(allocation)

        def after() -> None:
            if self.teardown is not None:
                self.teardown(*args, **kwargs)

        return call, after

    def costs_s(self) -> tuple[float, float]:
        """Warm up; return about how long the least takes that a turn does, in seconds: its calls alone, and with what is around them."""
        first = self._wall_s(self.call)
        if first > LONG_S:  # it may have imported, compiled, or filled a cache
            first = self._wall_s(self.call)
        if first > LONG_S:
            self.is_quick = False
            return first, first * (1 if self.is_bare else self.iterations)
        if not self.is_bare:
            found: list[float] = []
            wall = self._wall_s(lambda: found.append(self.turn(1, warm_up=False)))
            return found[0] * self.iterations, wall
        calls = 1
        while True:
            cost = self.turn(calls, warm_up=False)
            if cost * calls >= COST_S:  # it may have been a hiccup, which would leave the row with few calls
                cost = min(cost, self.turn(calls, warm_up=False))
            if cost * calls >= COST_S:
                return cost, cost
            calls *= 4

    @staticmethod
    def _wall_s(act: Callable[[], object]) -> float:
        start = time.perf_counter()
        act()
        return max(time.perf_counter() - start, 1e-9)

    def _with_setup(self) -> float:
        args, kwargs = self._arguments()
        spent = self._timed(self.iterations, args, kwargs)
        if self.teardown is not None:
            self.teardown(*args, **kwargs)
        return spent

    def _arguments(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if self.setup is None:
            return self.args, self.kwargs
        given = self.setup()
        if given is None:
            return self.args, self.kwargs
        if self.args or self.kwargs:
            raise TypeError("Can't use `args` or `kwargs` if `setup` returns the arguments.")
        args, kwargs = given
        return args, kwargs

    def _timed(self, calls: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
        function, clock = self.function, time.perf_counter
        before = interruptions()
        if args or kwargs:
            start = clock()
            for _ in range(calls):
                result = function(*args, **kwargs)
        else:
            start = clock()
            for _ in range(calls):
                result = function()
        end = clock()
        self.interrupted += interruptions() - before
        self.result = result
        self.was_called = True
        slower = self.plant.get("slower")
        if slower:  # exactly this share more work, as long as this turn's own work took
            until = start + (end - start) * (1 + slower)
            while end < until:
                end = clock()
        return max(end - start, 1e-9)  # a clock too coarse to see it must not make it nothing


def interruptions() -> int:
    """Return how often the kernel has taken a core away from this thread for another process; 0 where it cannot say, as outside Linux."""
    who = getattr(resource, "RUSAGE_THREAD", None)
    return 0 if who is None else int(resource.getrusage(who).ru_nivcsw)


def move_to(core: int | None) -> None:
    """Move this thread to a core, and leave it, and whatever threads it starts, free to run where they might before.

    A system that refuses, as a sandbox may, leaves the thread where it is: the turn is measured there, with more noise.
    """
    if core is None:
        return
    allowed = os.sched_getaffinity(0)
    if core not in allowed:
        return
    try:
        os.sched_setaffinity(0, {core})
    except OSError:
        return
    os.sched_setaffinity(0, allowed)


def scattered(chance: random.Random) -> list[bytearray]:
    """Return blocks of many sizes, which are to be held while a test makes its data, so that these lie elsewhere in each process.

    Otherwise the same code puts them at the same places of a cache line and of a page in every process, and an edit that changes nothing
    may move them: a few per cent in every set, which no number of sets would remove.
    """
    return [bytearray(chance.randrange(1, most)) for most in (SMALL_BLOCK,) * SMALL_BLOCKS + (LARGE_BLOCK,) * LARGE_BLOCKS]


def footprint(target: Target) -> dict[str, Any]:
    """Return peak bytes and allocations of a call: the least and the most of repeats, until two in a row agree, and the instrument."""
    try:
        import memray  # noqa: F401
    except ImportError:
        measure, instrument = _with_tracemalloc, "tracemalloc"
    else:
        measure, instrument = _with_memray, "memray"
    for _ in range(WARM_UPS if target.is_quick else 1):
        target.call()
    measure(target)
    found = [measure(target), measure(target)]
    while found[-1] != found[-2] and len(found) < MOST_REPEATS:
        found.append(measure(target))
    if found[-1] == found[-2]:
        found = found[-1:]
    peaks, counts = zip(*found)
    return {
        "instrument": instrument,
        "peak_bytes": [min(peaks), max(peaks)],
        "allocations": None if None in counts else [min(counts), max(counts)],
    }


def flame_graph(target: Target, page: str) -> str:
    """Draw what a call allocates, at the moment of its peak; return nothing, or why that is not possible.

    It is drawn in this process, so that lines of generated code can be read in it.
    """
    try:
        import memray
        from memray.commands import main as command
    except ImportError:
        return "its environment has no memray"
    for _ in range(WARM_UPS):
        target.call()
    call, after = target.prepared()
    recording = page + ".bin"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(recording)
    with memray.Tracker(recording):
        call()
    after()
    with contextlib.redirect_stdout(io.StringIO()):
        code = command(["flamegraph", "--no-web", "--force", "--output", page, recording])
    os.unlink(recording)
    return "memray could not draw it (exit code %s)" % code if code else ""


def _with_memray(target: Target) -> tuple[int, int | None]:
    import memray

    kinds = memray.AllocatorType
    frees = (kinds.FREE, kinds.MUNMAP, kinds.PYMALLOC_FREE)
    call, after = target.prepared()
    with tempfile.TemporaryDirectory(prefix="mlbench-ab-") as folder:
        path = os.path.join(folder, "call.bin")
        tracker = memray.Tracker(path)
        with tracker:
            call()
        after()
        with memray.FileReader(path) as reader:
            count = sum(record.allocator not in frees for record in reader.get_allocation_records())
            peak: int = reader.metadata.peak_memory
    return peak, count


def _with_tracemalloc(target: Target) -> tuple[int, int | None]:
    call, after = target.prepared()
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        peak = max(0, tracemalloc.get_traced_memory()[1] - before)
    finally:
        if started:
            tracemalloc.stop()
    after()
    return peak, None


class Benchmark:
    """What a test gets as `benchmark`; it behaves as pytest-benchmark's does with --benchmark-disable."""

    enabled = False
    takes_turns = True

    def __init__(self, node: Any, channel: Channel, plants: Plants) -> None:
        self._node = node
        self._channel = channel
        self._plants = plants
        self._is_used = False
        marker = node.get_closest_marker("benchmark")
        options = dict(marker.kwargs) if marker else {}
        self.name = node.name
        self.fullname = node.nodeid
        self.group = options.get("group")
        self.param = node.callspec.id if hasattr(node, "callspec") else None
        self.params = node.callspec.params if hasattr(node, "callspec") else None
        self.extra_info: dict[str, Any] = {}
        self.disabled = True
        self.stats = None
        self.has_error = False
        self.skipped = False

    def __call__(self, function_to_benchmark: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Measure a callable, and return its result."""
        return self._serve(Target(function_to_benchmark, args, kwargs))

    def pedantic(
        self,
        target: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        """Measure as `benchmark.pedantic` would, but for the number of rounds, which the parent decides."""
        kwargs = {} if kwargs is None else kwargs
        once = rounds == 1 and not warmup_rounds and iterations == 1 and setup is None
        return self._serve(Target(target, args, kwargs, setup, teardown, max(1, iterations), once=once))

    def weave(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002  # whatever it is given
        """Refuse: what is woven in is called by the test itself, and cannot take turns."""
        raise RuntimeError("benchmark.weave cannot be measured in turns; call benchmark(function) instead")

    patch = weave

    def _serve(self, target: Target) -> Any:
        if self._is_used:
            raise RuntimeError("the fixture `benchmark` was called twice in one test; it measures one target")
        self._is_used = True
        gc.collect()
        target.plant = self._plants.get(self._node.nodeid, {})
        cost, wall = (None, None) if target.once else target.costs_s()
        self._channel.tell(ready=self._node.nodeid, once=target.once, cost_s=cost, wall_s=wall)
        while True:
            request = self._channel.listen()
            if "turn" in request:
                move_to(request.get("core"))
                spent = target.turn(request["turn"], warm_up=request["warm_up"])
                self._channel.tell(s=spent, interrupted=target.interrupted)
            elif "footprint" in request:
                self._channel.tell(footprint=footprint(target))
            elif "graph" in request:
                self._channel.tell(graph=flame_graph(target, request["graph"]))
            else:
                break
        if not target.was_called:
            target.call()
        return target.result


def fixture_plugin(pytest: Any, channel: Channel, plants: Plants) -> types.ModuleType:
    """Return a plugin that takes over `benchmark`; the plugin that is registered last is the one that counts."""
    kind: Any = Benchmark
    with contextlib.suppress(ImportError):  # its hooks refuse what is not of its kind, and so may the tests
        from pytest_benchmark.fixture import BenchmarkFixture

        kind = type("Benchmark", (Benchmark, BenchmarkFixture), {})

    @pytest.fixture  # type: ignore[untyped-decorator]  # whatever pytest the project has
    def benchmark(request: Any) -> Any:
        """Measure in turns with the other arms."""
        return kind(request.node, channel, plants)

    plugin = types.ModuleType("mlbench_ab_fixture")  # pytest looks for fixtures in modules and classes, not in instances
    vars(plugin)["benchmark"] = benchmark
    return plugin


class Suite:
    """The plugin that runs the tests as it is told, and tells how they ended."""

    def __init__(self, pytest: Any, channel: Channel, settings: Mapping[str, Any]) -> None:
        self._pytest = pytest
        self._channel = channel
        self._settings = settings
        self._errors: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._outcome = ("passed", "")
        self._chance = random.Random()  # noqa: S311  # no secret, and not the generator that tests may seed
        self._apart: list[bytearray] = []

    def pytest_sessionstart(self, session: Any) -> None:
        """Take over after every plugin has come."""
        config = session.config
        theirs = getattr(config, "_benchmarksession", None)
        if theirs is not None:
            theirs.skip = False
        config.pluginmanager.register(fixture_plugin(self._pytest, self._channel, self._settings["plants"]), "mlbench-ab-fixture")

    def pytest_collectreport(self, report: Any) -> None:
        """Keep what could not be collected, and what skipped itself as a whole."""
        if report.failed:
            self._errors[report.nodeid] = str(report.longrepr)[-4000:]
        elif report.skipped:
            self._skipped[report.nodeid] = _reason(report)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Say what there is, and run it in the order that comes back."""
        if session.config.option.collectonly:
            self._channel.tell(failed="--collect-only measures nothing")
            return True
        items = {}
        for item in session.items:
            if "benchmark" in getattr(item, "fixturenames", ()):
                items[item.nodeid] = item
        self._channel.tell(collected=list(items), errors=self._errors, skipped=self._skipped, outside=self._outside(), versions=versions())
        while True:
            request = self._channel.listen()
            if "order" not in request:
                return True
            order = [items[name] for name in request["order"]]
            for item, following in zip(order, [*order[1:], None]):
                self._run(item, following)
            self._channel.tell(finished=True)

    def _run(self, item: Any, following: Any) -> None:
        self._outcome = ("passed", "")
        self._apart = scattered(self._chance)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        outcome, text = self._outcome
        self._channel.tell(ended=item.nodeid, outcome=outcome, text=text)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the first thing that went wrong in a test."""
        if self._outcome[0] != "passed":
            return
        if report.failed:
            self._outcome = ("failed", report.longreprtext[-4000:])
        elif report.skipped:
            self._outcome = ("skipped", _reason(report))

    def _outside(self) -> dict[str, str]:
        """Return packages that come from elsewhere than the checkout, or would when a test imports them, name to file."""
        homes = tuple(os.path.realpath(home) + os.sep for home in self._settings["homes"])
        found = {}
        for name in self._settings["packages"]:
            file = getattr(sys.modules.get(name), "__file__", None)
            if name not in sys.modules:
                with contextlib.suppress(Exception):  # it may import what a namespace lies in, whatever that does
                    file = getattr(importlib.util.find_spec(name), "origin", None)
            if file and os.path.isabs(file) and not os.path.realpath(file).startswith(homes):
                found[name] = file
        return found


def _reason(report: Any) -> str:
    """Return why a test or a file was skipped."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    return str(reason)[-1000:]


def versions() -> dict[str, str]:
    """Return the versions of Python and of what decides how fast the suite is, as far as it is installed."""
    from importlib import metadata

    found = {"python": "%d.%d.%d" % sys.version_info[:3]}
    for name in ("numpy", "memray", "pytest", "pytest-benchmark"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def quiet_arguments() -> list[str]:
    """Return arguments against what a project's own settings may ask for: processes, coverage, shuffling, an early end."""
    against = {
        "xdist": ["-n0"],
        "pytest_cov": ["--no-cov"],
        "pytest_randomly": ["-p", "no:randomly"],
        "pytest_rerunfailures": ["--reruns=0"],
        "pytest_timeout": ["--timeout=0"],
        "random_order": ["-p", "no:random_order"],
    }
    found = ["-q", "-p", "no:cacheprovider", "--maxfail=0"]
    for module, arguments in against.items():
        if importlib.util.find_spec(module) is not None:
            found += arguments
    return found


def end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, which a test that hangs would not notice; Linux alone can."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def main() -> int:
    """Run the suite as the first request says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    end_with_parent()
    channel = Channel()
    settings = channel.listen()
    sys.path[0] = os.getcwd()  # as `python -m pytest` has it, and not the folder of this script
    try:
        import pytest
    except ImportError as error:
        channel.tell(failed="this environment has no pytest (%s)" % error)
        return 2
    code = pytest.main([*settings["arguments"], *quiet_arguments()], plugins=[Suite(pytest, channel, settings)])
    channel.tell(failed="pytest ended with %d before it ran a test" % int(code))
    return int(code)


if __name__ == "__main__":
    # not the interpreter's own end: threads of the project that do not end would keep this process
    os._exit(main())
