"""One arm of an A/B: runs a project's own pytest-benchmark suite, and lets the process that started it time each benchmark.

It is a script of the standard library and pytest alone, run by path in the interpreter of the project's environment, which is neither changed
nor asked to hold anything of ours. It collects the suite, then runs the tests in the order it is told. Where a test calls `benchmark`, it
stops and does what it is asked until it may go on: single turns, a footprint.

Messages are lines of JSON, answers on what was standard output, requests on what was standard input; whatever the tests print goes to
standard error. Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
import tracemalloc
import types

WARM_UPS = 3
MOST_REPEATS = 5
COST_S = 2e-4
LONG_S = 0.2
"""A call that takes longer is not made again to find out what it costs."""


class Channel:
    """Requests from the parent and answers to it; both survive pytest's capturing."""

    def __init__(self):
        self._requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def tell(self, **message):
        """Send one message."""
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()

    def listen(self):
        """Return the next request; a parent that is gone ends this process."""
        line = self._requests.readline()
        if not line:
            os._exit(0)
        return json.loads(line)


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

    def __init__(self, function, args, kwargs, setup=None, teardown=None, iterations=1, once=False):
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.setup = setup
        self.teardown = teardown
        self.iterations = iterations
        self.once = once
        self.result = None
        self.was_called = False
        self.plant = {}

    @property
    def is_bare(self):
        """Whether nothing happens between two calls."""
        return self.setup is None and self.teardown is None

    def turn(self, calls, warm_up):
        """Return the seconds per call of one turn, with the collector off; `warm_up` makes an untimed call before it."""
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

    def call(self):
        """Make one call, with its setup and teardown."""
        args, kwargs = self._arguments()
        self.result = self.function(*args, **kwargs)
        self.was_called = True
        if self.teardown is not None:
            self.teardown(*args, **kwargs)

    def prepared(self):
        """Return a call without arguments whose setup has been made, and what is to be done after it."""
        args, kwargs = self._arguments()
        array = self.plant.get("bytes", 0)

        def call():
            if array:
                held = bytearray(array)  # noqa: F841  # held while the function runs, as a temporary array is
            self.function(*args, **kwargs)
            if self.plant.get("allocation"):
                bytearray(self.plant["allocation"])

        def after():
            if self.teardown is not None:
                self.teardown(*args, **kwargs)

        return call, after

    def cost_s(self):
        """Warm up and return about how long a call takes, in seconds."""
        start = time.perf_counter()
        self.call()
        first = time.perf_counter() - start
        if first > LONG_S:
            return first
        calls, cost = 1, first
        while True:
            cost = self.turn(calls, False)
            if cost * calls >= COST_S or not self.is_bare:
                return max(cost, 1e-9)
            calls *= 4

    def _with_setup(self):
        args, kwargs = self._arguments()
        spent = self._timed(self.iterations, args, kwargs)
        if self.teardown is not None:
            self.teardown(*args, **kwargs)
        return spent

    def _arguments(self):
        if self.setup is None:
            return self.args, self.kwargs
        given = self.setup()
        if given is None:
            return self.args, self.kwargs
        if self.args or self.kwargs:
            raise TypeError("Can't use `args` or `kwargs` if `setup` returns the arguments.")
        return given

    def _timed(self, calls, args, kwargs):
        function, clock = self.function, time.perf_counter
        if args or kwargs:
            start = clock()
            for _ in range(calls):
                result = function(*args, **kwargs)
        else:
            start = clock()
            for _ in range(calls):
                result = function()
        end = clock()
        self.result = result
        self.was_called = True
        slower = self.plant.get("slower")
        if slower:  # exactly this share more work, as long as this turn's own work took
            until = start + (end - start) * (1 + slower)
            while end < until:
                end = clock()
        return end - start


def footprint(target):
    """Return peak bytes and allocations of a call: the least and the most of repeats, until two in a row agree, and the instrument."""
    try:
        import memray  # noqa: F401
    except ImportError:
        measure, instrument = _with_tracemalloc, "tracemalloc"
    else:
        measure, instrument = _with_memray, "memray"
    for _ in range(WARM_UPS):
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


def _with_memray(target):
    import memray

    kinds = memray.AllocatorType
    frees = (kinds.FREE, kinds.MUNMAP, kinds.PYMALLOC_FREE)
    call, after = target.prepared()
    with tempfile.TemporaryDirectory(prefix="mlbench-ab-") as folder:
        path = os.path.join(folder, "call.bin")
        with memray.Tracker(path):
            call()
        after()
        with memray.FileReader(path) as reader:
            count = sum(record.allocator not in frees for record in reader.get_allocation_records())
            return reader.metadata.peak_memory, count


def _with_tracemalloc(target):
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

    def __init__(self, node, channel, plants):
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
        self.extra_info = {}
        self.disabled = True
        self.stats = None
        self.has_error = False
        self.skipped = False

    def __call__(self, function_to_benchmark, *args, **kwargs):
        return self._serve(Target(function_to_benchmark, args, kwargs))

    def pedantic(self, target, args=(), kwargs=None, setup=None, teardown=None, rounds=1, warmup_rounds=0, iterations=1):
        """Measure as `benchmark.pedantic` would, but for the number of rounds, which the parent decides."""
        kwargs = {} if kwargs is None else kwargs
        once = rounds == 1 and not warmup_rounds and iterations == 1 and setup is None
        return self._serve(Target(target, args, kwargs, setup, teardown, max(1, iterations), once))

    def weave(self, *args, **kwargs):
        """Refuse: what is woven in is called by the test itself, and cannot take turns."""
        raise RuntimeError("benchmark.weave cannot be measured in turns; call benchmark(function) instead")

    patch = weave

    def _serve(self, target):
        if self._is_used:
            raise RuntimeError("the fixture `benchmark` was called twice in one test; it measures one target")
        self._is_used = True
        gc.collect()
        target.plant = self._plants.get(self._node.nodeid, {})
        cost = None if target.once else target.cost_s()
        self._channel.tell(ready=self._node.nodeid, once=target.once, cost_s=cost, bare=target.is_bare, iterations=target.iterations)
        while True:
            request = self._channel.listen()
            if "turn" in request:
                self._channel.tell(s=target.turn(request["turn"], request.get("warm_up", False)))
            elif "footprint" in request:
                self._channel.tell(footprint=footprint(target))
            else:
                break
        if not target.was_called:
            target.call()
        return target.result


def fixture_plugin(pytest, channel, plants):
    """Return a plugin that takes over `benchmark`; the plugin that is registered last is the one that counts."""
    kind = Benchmark
    with contextlib.suppress(ImportError):  # its hooks refuse what is not of its kind, and so may the tests
        from pytest_benchmark.fixture import BenchmarkFixture

        kind = type("Benchmark", (Benchmark, BenchmarkFixture), {})

    @pytest.fixture
    def benchmark(request):
        """Measure in turns with the other arms."""
        return kind(request.node, channel, plants)

    plugin = types.ModuleType("mlbench_ab_fixture")  # pytest looks for fixtures in modules and classes, not in instances
    plugin.benchmark = benchmark
    return plugin


class Suite:
    """The plugin that runs the tests as it is told, and tells how they ended."""

    def __init__(self, pytest, channel, settings):
        self._pytest = pytest
        self._channel = channel
        self._settings = settings
        self._errors = {}
        self._outcome = ("passed", "")

    def pytest_sessionstart(self, session):
        """Take over after every plugin has come."""
        config = session.config
        theirs = getattr(config, "_benchmarksession", None)
        if theirs is not None:
            theirs.skip = False
        config.pluginmanager.register(fixture_plugin(self._pytest, self._channel, self._settings["plants"]), "mlbench-ab-fixture")

    def pytest_collectreport(self, report):
        """Keep what could not be collected."""
        if report.failed:
            self._errors[report.nodeid] = str(report.longrepr)[-4000:]

    def pytest_runtestloop(self, session):
        """Say what there is, and run it in the order that comes back."""
        if session.config.option.collectonly:
            self._channel.tell(failed="--collect-only measures nothing")
            return True
        items = {}
        for item in session.items:
            if "benchmark" in getattr(item, "fixturenames", ()):
                items[item.nodeid] = item
        self._channel.tell(collected=list(items), errors=self._errors, outside=self._outside(), versions=versions())
        while True:
            request = self._channel.listen()
            if "order" not in request:
                return True
            order = [items[name] for name in request["order"]]
            for item, following in zip(order, order[1:] + [None]):
                self._run(item, following)
            self._channel.tell(finished=True)

    def _run(self, item, following):
        self._outcome = ("passed", "")
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        outcome, text = self._outcome
        self._channel.tell(ended=item.nodeid, outcome=outcome, text=text)

    def pytest_runtest_logreport(self, report):
        """Keep the first thing that went wrong in a test."""
        if self._outcome[0] != "passed":
            return
        if report.failed:
            self._outcome = ("failed", report.longreprtext[-4000:])
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self._outcome = ("skipped", str(reason)[-1000:])

    def _outside(self):
        """Return packages that were to come from the checkout and did not, name to file."""
        homes = tuple(os.path.realpath(home) + os.sep for home in self._settings["homes"])
        found = {}
        for name in self._settings["packages"]:
            file = getattr(sys.modules.get(name), "__file__", None)
            if file and not os.path.realpath(file).startswith(homes):
                found[name] = file
        return found


def versions():
    """Return the versions of Python and of what decides how fast the suite is, as far as it is installed."""
    from importlib import metadata

    found = {"python": "%d.%d.%d" % sys.version_info[:3]}
    for name in ("numpy", "memray", "pytest", "pytest-benchmark"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def quiet_arguments():
    """Return arguments against what a project's own settings may ask for and would disturb: processes, coverage, shuffling, an early end."""
    against = {"xdist": ["-n0"], "pytest_cov": ["--no-cov"], "pytest_randomly": ["-p", "no:randomly"], "random_order": ["-p", "no:random_order"]}
    found = ["-q", "-p", "no:cacheprovider", "--maxfail=0", "--continue-on-collection-errors"]
    for module, arguments in against.items():
        if importlib.util.find_spec(module) is not None:
            found += arguments
    return found


def main():
    """Run the suite as the first request says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
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
