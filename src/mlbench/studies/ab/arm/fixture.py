"""pytest-benchmark's own fixture, measured in turns.

The class of the project's pytest-benchmark stays what it is, whatever its version: its attributes, markers, `weave`, `stats`, and the
errors of its use. Only the two methods that call and time the target are replaced. Versions 3.4 to 5.3 have them, and those from 4.0 on are
tried.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING

from .footprint import flame_graph, footprint
from .target import Target, move_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Serve = Callable[[Target, Any], Any]
    Takes = Callable[[Any], bool]


OURS = "mlbench"
"""The fixture that measures by itself unless benchmarks are disabled, so that they are where a test asks for it."""
HELD = "held_bytes"
"""What it says in `extra_info` that the target holds between calls."""


def take_over(kind: Any, serve: Serve, takes: Takes) -> None:
    """Let a class of fixtures hand each target to `serve`, which measures it and returns its result.

    Args:
        kind: the class, of the project's pytest-benchmark.
        serve: is given the target and the fixture.
        takes: whether a fixture of this test is ours to measure; not that of a pytest which the test runs in its own process.
    """
    begin, plain, plain_pedantic = kind.__init__, kind._raw, kind._raw_pedantic

    def init(self: Any, node: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, node, *args, **kwargs)
        self.takes_turns = takes(node)
        if self.takes_turns:
            self.disabled = OURS in getattr(node, "fixturenames", ())

    def raw(self: Any, function_to_benchmark: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self.takes_turns:
            return plain(self, function_to_benchmark, *args, **kwargs)
        return serve(Target(function_to_benchmark, args, kwargs, clock=self._timer), self)

    def raw_pedantic(
        self: Any,
        target: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        if not self.takes_turns:
            more = {} if teardown is None else {"teardown": teardown}  # which is younger than some versions
            return plain_pedantic(self, target, args, kwargs, setup=setup, rounds=rounds, warmup_rounds=warmup_rounds,
                                  iterations=iterations, **more)  # fmt: skip
        given: list[tuple[str, Any, int]] = [("iterations", iterations, 1), ("rounds", rounds, 1), ("warmup_rounds", warmup_rounds, 0)]
        for name, number, least in given:
            if not isinstance(number, int) or number < least:
                raise ValueError("Must have positive int for `%s`." % name)
        if iterations > 1 and setup:
            raise ValueError("Can't use more than 1 `iterations` with a `setup` function.")
        foreseen = (rounds + warmup_rounds) * iterations
        return serve(Target(target, args, kwargs or {}, setup, teardown, iterations, foreseen, self._timer), self)

    kind.__init__, kind._raw, kind._raw_pedantic = init, raw, raw_pedantic


class Turns:
    """Serves the requests that measure one target.

    Args:
        channel: to the parent.
        test: the test's id.
        plant: a slowdown or an allocation that is planted in it; for calibration alone.
    """

    def __init__(self, channel: Any, test: str, plant: Mapping[str, float]) -> None:
        self._channel = channel
        self._test = test
        self._plant = plant

    def serve(self, target: Target, fixture: Any) -> Any:
        """Measure a target as it is asked for, and return its result, with the statistics of what was measured in the fixture.

        A call beyond those that the test foresees may fail because the test has no more data: that is told as `exhausted`, and does not
        fail the test.
        """
        target.plant = self._plant
        target.held_bytes = fixture.extra_info.get(HELD)
        with untraced():
            gc.collect()
            cost, whole = (None, None) if target.once else target.costs_s()
            left = target.left if target.left is None or target.is_bare else target.left // target.iterations
            self._channel.tell(test=self._test, ready=True, once=target.once, cost_s=cost, whole_s=whole, left=left,
                               coroutine=target.makes_coroutine, calls=target.calls)  # fmt: skip
            while True:
                request = self._channel.listen_for(self._test, "turn", "footprint", "graph", "go")
                if "go" in request:
                    break
                self._answer(target, request)
            if not target.calls:
                target.turn(1, warm_up=False)
        keep_stats(fixture, target)
        return target.result

    def _answer(self, target: Target, request: Mapping[str, Any]) -> None:
        answer: dict[str, Any]
        try:
            if "turn" in request:
                move_to(request.get("core"))
                answer = {"s": target.turn(request["turn"], warm_up=request["warm_up"]), "interrupted": target.interrupted}
            elif "footprint" in request:
                answer = {"footprint": {**footprint(target), HELD: target.held_bytes}}
            else:
                answer = {"graph": flame_graph(target, request["graph"])}
        except Exception as error:
            if target.foreseen is None or target.calls <= target.foreseen:
                raise
            answer = {"exhausted": "%s: %s" % (type(error).__name__, error)}
        self._channel.tell(test=self._test, calls=target.calls, **answer)


def keep_stats(fixture: Any, target: Target) -> None:
    """Give the fixture the statistics of the turns, one round each; they are no row of pytest-benchmark's own tables and files."""
    fixture._add_stats = [].append  # as if there were no session
    stats = fixture._make_stats(target.iterations)
    for spent in target.spent_s:
        stats.update(spent * target.iterations)


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Keep tracers, such as that of a coverage tool, away from what is measured, as pytest-benchmark does."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)
