"""Which file fills a section: the newest that can, whatever other files hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Dated(Protocol):
    """A run of any kind."""

    @property
    def date(self) -> str:
        """ISO 8601."""


Run = TypeVar("Run", bound=Dated)


def moment_of(run: Dated) -> dt.datetime:
    """Return when a run was made; without an offset it is UTC, as pytest-benchmark means it, and what is no date is older than all."""
    try:
        found = dt.datetime.fromisoformat(run.date)
    except ValueError:
        return dt.datetime.min.replace(tzinfo=dt.UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)


def by_date(runs: Sequence[tuple[str, Run]]) -> list[tuple[str, Run]]:
    """Return runs with their files' names, the oldest first; runs of one moment in the order in which they were named."""
    return sorted(runs, key=lambda each: moment_of(each[1]))


def newest(runs: Sequence[tuple[str, Run]], can_fill: Callable[[Run], object] = bool) -> tuple[str, Run] | None:
    """Return the newest run that can fill a section, with its file's name; None where none can."""
    return next((each for each in reversed(by_date(runs)) if can_fill(each[1])), None)
