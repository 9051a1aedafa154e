"""The run of a comparison: sets that screen every row, then fresh sets of the rows that are open, until each is settled or time is up."""

from __future__ import annotations

import dataclasses
import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from mlbench.files import file_name
from mlbench.gate.revisions.judge import open_rows
from mlbench.results import COMPLETE, INTERRUPTED
from mlbench.results.comparison import Comparison, Version
from mlbench.results.samples import DIED, FAILED, Collected, Effort, Visit
from mlbench.studies.ab.interleave import Arms, shuffled
from mlbench.studies.ab.process import Arm, ArmError
from mlbench.units import format_duration

RESTARTS = 3
"""Times that a set is started again after a row ended its processes; what is left then waits for the next set."""

START_ROWS = 25
"""Rows whose rounds of screening take about as long as to start the processes of a set."""


class Telling(Protocol):
    """Who is told what happens."""

    def expect(self, steps: int) -> None:
        """So many steps are still to come."""

    def step(self, what: str) -> None:
        """One step ended."""

    def say(self, line: str) -> None:
        """Print a line that stays."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the comparison holds what was measured."""


class Session:
    """Measures a comparison.

    Args:
        comparison: what to compare, and what was measured of it; sets are added to it.
        arms: base, head and control.
        keep: called after each set, to save the comparison.
        telling: told what happens.
        most_s: seconds of measuring after which no set of this sitting begins; None for no end.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        comparison: Comparison,
        arms: Sequence[Arm],
        keep: Callable[[], object],
        telling: Telling,
        most_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._comparison = comparison
        self._arms = arms
        self._keep = keep
        self._telling = telling
        self._most_s = most_s
        self._clock = clock
        self._chance = random.Random()  # noqa: S311  # the order of rows is no secret

    def run(self) -> None:
        """Measure until every row is settled, no set may begin any more, or Ctrl-C.

        An arm that cannot collect its suite any more ends it as well; what was measured stands, with the reason.

        Raises:
            ArmError: when an arm cannot collect its suite in the first set.
            Interrupted: on Ctrl-C, with everything kept that was measured.
        """
        comparison, longest, spent_s = self._comparison, 0.0, 0.0
        comparison.status, comparison.trouble = INTERRUPTED, ""
        while not comparison.sets or open_rows(comparison):
            if self._most_s is not None and spent_s + longest > self._most_s:
                self._telling.say(f"no time is left for another set: {format_duration(spent_s)} of "
                                  f"{format_duration(self._most_s)} are spent")  # fmt: skip
                return
            begun = self._clock()
            try:
                self._set()
            except KeyboardInterrupt:
                comparison.spent_s += self._clock() - begun
                self._keep()
                raise Interrupted from None
            except ArmError as error:
                if not comparison.sets:
                    version = comparison.head if error.arm == "head" else comparison.base
                    raise ArmError(error.arm, f"{version.revision}: {error}") from error
                comparison.trouble = f"{error.arm}: {error}"
                comparison.spent_s += self._clock() - begun
                self._keep()
                return
            took = self._clock() - begun
            spent_s += took
            comparison.spent_s += took
            longest = max(took, longest if len(comparison.sets) > comparison.policy.screen else 0.0)
            self._tell(took)
            self._keep()
        comparison.status = COMPLETE
        self._keep()

    def _set(self) -> None:
        """Measure one more set; what is measured stands in the comparison at once."""
        visits: list[Visit] = []
        waiting: dict[str, bool] | None = None
        for _ in range(1 + RESTARTS):
            with tempfile.TemporaryDirectory(prefix="ab-") as logs, self._start(Path(logs)) as arms:
                if waiting is None:
                    self._collected(arms.collected)
                    waiting = open_rows(self._comparison)
                    self._telling.expect(len(waiting) * max(1, self._comparison.policy.screen - len(self._comparison.sets)))
                    self._comparison.sets.append(visits)
                    visits += _gone(waiting, arms.collected)
                here = [row for row in waiting if all(row in found.ids for found in arms.collected.values())]
                footprints = {row for row, is_wanted in waiting.items() if is_wanted}
                spared = {visit.id for done in self._comparison.sets for visit in done if visit.exhausted}
                effort = self._effort(len(here))
                for visit in arms.visit(shuffled(here, self._chance), effort, footprints, spared):
                    visits.append(visit)
                    waiting.pop(visit.id)
                    self._telling.step(visit.id)
                if not waiting or not visits or all(how != DIED for how, _ in visits[-1].ends.values()):
                    return

    def _effort(self, rows: int) -> Effort:
        """Return how much a set of so many rows measures: the fewer of them are open, the more rounds each gets.

        To start the processes takes as long as some 25 rows with the rounds of screening. The spread of a set's effect for the time of
        the set is least where the rounds grow with the square root of start / rows.
        """
        effort = self._comparison.effort
        if len(self._comparison.sets) <= self._comparison.policy.screen:  # this set has been added
            return effort
        more = max(1.0, math.sqrt(START_ROWS / max(1, rows)))
        return dataclasses.replace(effort, rounds=round(more * effort.rounds), row_s=more * effort.row_s)

    def _start(self, logs: Path) -> Arms:
        """Return live arms. What cannot start, or be collected in one version alone, is tried once more: one hiccup says nothing."""
        first = len(self._comparison.sets)
        order = self._chance.sample(self._arms, len(self._arms))  # which one starts first is chance, and not always the base
        start = partial(Arms, order, self._comparison.arguments, logs, first, self._known())
        try:
            arms = start()
        except ArmError:
            return start()
        if first or len({frozenset(each.errors) for each in arms.collected.values()}) == 1:
            return arms
        arms.stop()
        return start()

    def _known(self) -> dict[str, tuple[str, ...]] | None:
        """Return arm to the hidden benchmarks that the first set found; None before it."""
        comparison = self._comparison
        if not comparison.sets:
            return None
        return {arm.name: (comparison.head if arm.name == "head" else comparison.base).hidden for arm in self._arms}

    def _collected(self, found: dict[str, Collected]) -> None:
        """Keep what the first set collected."""
        comparison = self._comparison
        if comparison.sets:
            return
        base, head, again = found["base"], found["head"], found["control"]
        comparison.base = _filled(comparison.base, base, tuple(sorted(set(base.ids) ^ set(again.ids))))
        comparison.head = _filled(comparison.head, head)
        self._telling.say(f"{len(comparison.rows)} benchmarks in both versions, {len(base.ids)} in {comparison.base.revision} and "
                          f"{len(head.ids)} in {comparison.head.revision}")  # fmt: skip

    def _tell(self, took_s: float) -> None:
        comparison, policy = self._comparison, self._comparison.policy
        done, left = len(comparison.sets), open_rows(comparison)
        line = f"set {done}: {len(comparison.sets[-1])} rows in {format_duration(took_s)}"
        if done < policy.screen:
            self._telling.say(f"{line}; about {format_duration(took_s * (policy.screen - done))} left of screening")
        elif left:
            names = ", ".join(row.rpartition("::")[2] for row in list(left)[:3]) + (", ..." if len(left) > 3 else "")
            self._telling.say(f"{line}; {len(left)} open: {names}")
        else:
            self._telling.say(f"{line}; every row is settled after {format_duration(comparison.spent_s)}")


def _filled(version: Version, found: Collected, unstable: Sequence[str] = ()) -> Version:
    """Return a version with what was collected of it."""
    return dataclasses.replace(
        version,
        ids=found.ids,
        errors=found.errors,
        versions=found.versions,
        skipped=found.skipped,
        hidden=found.hidden,
        marked=found.marked,
        unstable=tuple(unstable),
    )


def _gone(waiting: dict[str, bool], collected: dict[str, Collected]) -> list[Visit]:
    """Take out the rows that not every arm collected this time, as where ids are made at random; without an end they would stay open."""
    found = []
    for row in list(waiting):
        ends = {arm: (FAILED, "was not collected again") for arm, each in collected.items() if row not in each.ids}
        if ends:
            found.append(Visit(row, ends=ends))
            del waiting[row]
    return found


def draw_graphs(comparison: Comparison, arms: Sequence[Arm], rows: Sequence[str], folder: Path) -> dict[str, tuple[str, ...]]:
    """Draw the flame graph of a call of these rows on both sides.

    Args:
        comparison: that the rows are of.
        arms: of which base and head draw.
        rows: names; those that one side does not have are left out.
        folder: where the pages go; made where it does not exist.

    Returns:
        row to its pages, and to why there is none.

    Raises:
        ArmError: when an arm cannot collect its suite.
    """
    here = [row for row in rows if row in comparison.rows]
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    pages = {row: place / file_name(row) for row in here}
    found = {}
    sides = [arm for arm in arms if arm.name in ("base", "head")]
    known = {"base": comparison.base.hidden, "head": comparison.head.hidden}
    with tempfile.TemporaryDirectory(prefix="ab-") as logs, Arms(sides, comparison.arguments, Path(logs), known=known) as live:
        for row, drawn in live.draw(here, pages, comparison.effort.timeout_s):
            found[row] = tuple(page if page.endswith(".html") else f"{arm}: {page}" for arm, page in drawn.items())
    return found
