"""The suite of an arm: collected as pytest does it, then run in the order that the parent says."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import sys
from typing import TYPE_CHECKING

import pytest

from .fixture import Turns, keep_stats, take_over
from .reach import Reach
from .target import scattered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .channel import Channel

MOST_TEXT = 4000
CALM = {"xdist": {"numprocesses": 0, "dist": "no", "tx": []}, "timeout": {"timeout": 0}}
"""Plugins, and what their options are to be where they are active, whatever the project says: no processes, no limit."""
NOT_ACTIVE = (
    "pytest-benchmark is not active in this suite, so that none of its tests is a benchmark; let its settings load it "
    "(-p pytest_benchmark.plugin)"
)


class Suite:
    """The plugin that runs the tests as it is told, and tells how they ended.

    Args:
        channel: to the parent.
        settings: `plants`, `homes`, `packages`, `seed` of all arms, and `known`: tests that turned out to be benchmarks before, or None
            to find out.
    """

    def __init__(self, channel: Channel, settings: Mapping[str, Any]) -> None:
        self._channel = channel
        self._settings = settings
        self._errors: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._outcome = ("passed", "")
        self._chance = random.Random()  # noqa: S311  # no secret, and not the generator that tests may seed
        self._apart: list[bytearray] = []
        self._item: Any = None
        self._reached: list[str] | None = None
        self.ran = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: Any) -> None:
        """Leave the fixture to pytest-benchmark: pytest-codspeed, where it is told to, takes it when it is configured."""
        if config.pluginmanager.hasplugin("codspeed"):
            config.option.codspeed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: Any) -> None:
        """Keep plugins from what cannot be measured beside other arms: asked which of them are active, not which are installed."""
        for plugin, options in CALM.items():
            if config.pluginmanager.hasplugin(plugin):
                vars(config.option).update(options)
        randomly = config.pluginmanager.getplugin("randomly")
        if randomly is not None and config.option.randomly_seed in ("default", getattr(randomly, "default_seed", None)):
            config.option.randomly_seed = self._settings["seed"]
        coverage = config.pluginmanager.getplugin("_cov")
        if getattr(coverage, "cov_controller", None) is not None:
            coverage.cov_controller.pause()
            config.pluginmanager.unregister(coverage)  # its hooks expect that it traces, or let it begin again

    def pytest_sessionstart(self, session: Any) -> None:
        """Take over the fixture, after every plugin has come."""
        theirs = getattr(session.config, "_benchmarksession", None)
        if theirs is None:
            return
        theirs.skip = theirs.disabled = False
        take_over(sys.modules["pytest_benchmark.fixture"].BenchmarkFixture, self._serve, lambda node: node is self._item)

    def pytest_collectreport(self, report: Any) -> None:
        """Keep what could not be collected, and what skipped itself as a whole."""
        if report.failed:
            self._errors[report.nodeid] = str(report.longrepr)[-MOST_TEXT:]
        elif report.skipped:
            self._skipped[report.nodeid] = _reason(report)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Say what there is, and run it in the order that comes back."""
        self.ran = True
        if session.config.option.collectonly:
            self._channel.tell(failed="--collect-only measures nothing")
            return True
        if session.items and getattr(session.config, "_benchmarksession", None) is None:
            self._channel.tell(failed=NOT_ACTIVE)
            return True
        items = {item.nodeid: item for item in session.items}
        reach = Reach(items.values(), self._settings["homes"])
        known = self._settings["known"]
        hidden = self._probed([items[each] for each in reach.perhaps]) if known is None else [each for each in known if each in items]
        rows = [each for each in items if each in reach.surely or each in hidden]
        marked = [each for each in reach.marked if each not in hidden]
        self._channel.tell(collected=rows, hidden=hidden, marked=marked, errors=self._errors, skipped=self._skipped,
                           outside=self._outside(), versions=versions())  # fmt: skip
        order = self._channel.listen_for("", "order")["order"]
        for name, following in zip(order, [*order[1:], None]):
            self._channel.listen_for(name, "run")
            self._run(items[name], items.get(following))
        while True:  # until the parent ends this process
            self._channel.listen()

    def _run(self, item: Any, following: Any) -> None:
        self._outcome = ("passed", "")
        self._apart = scattered(self._chance)
        self._item = item
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        self._item = None
        outcome, text = self._outcome
        self._channel.tell(test=item.nodeid, ended=True, outcome=outcome, text=text)

    def _probed(self, items: list[Any]) -> list[str]:
        """Run tests once, and return those that come to `benchmark`, by whatever way."""
        self._reached = []
        for item, following in zip(items, [*items[1:], None]):
            self._item = item
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        found, self._reached, self._item = self._reached, None, None
        return found

    def _serve(self, target: Any, fixture: Any) -> Any:
        """Measure what a test hands to `benchmark`, and return its result."""
        test = self._item.nodeid
        if self._reached is not None:
            self._reached.append(test)
            target.turn(1, warm_up=False)
            keep_stats(fixture, target)
            return target.result
        self._stop_the_limit()
        return Turns(self._channel, test, self._settings["plants"].get(test, {})).serve(target, fixture)

    def _stop_the_limit(self) -> None:
        """Let a time limit of pytest-timeout end here: what follows is as long as the other arms take, and the parent has its own limit."""
        hook = getattr(self._item.config.hook, "pytest_timeout_cancel_timer", None)
        if hook is not None and self._item.config.pluginmanager.hasplugin("timeout"):
            hook(item=self._item)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the first thing that went wrong in a test."""
        if self._outcome[0] != "passed":
            return
        if report.failed:
            self._outcome = ("failed", report.longreprtext[-MOST_TEXT:])
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
