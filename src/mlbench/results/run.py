"""The envelope of every run: where, when and how it was measured, and whether it was measured to its end."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from mlbench.measure import Environment
from mlbench.results.schema import Date, Status

COMPLETE = "complete"
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Run:
    """A run; a study adds what it measured.

    Attributes:
        environment: the machine and its software.
        command: what was run.
        date: ISO 8601 with the offset.
        status: `complete`, or `interrupted` when the run was broken off.
    """

    environment: Environment
    command: str
    date: Date
    status: Status


def now() -> str:
    """Return the time as ISO 8601 with the offset."""
    return dt.datetime.now().astimezone().isoformat(timespec="seconds")
