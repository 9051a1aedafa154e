"""One driver for every study: it saves what is complete, ends in order on Ctrl-C, and goes on with a saved file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mlbench.errors import FileError, WorkerError
from mlbench.measure import Environment
from mlbench.results import COMPLETE, INTERRUPTED, Run
from mlbench.results.schema import Schema
from mlbench.results.storage import plain, read, write

Item = TypeVar("Item")
AnyRun = TypeVar("AnyRun", bound=Run)
Step = Callable[[str], None]


class Shown(Protocol):
    """Where progress is shown."""

    def step(self, name: str) -> None:
        """Say that a part of the work ended."""

    def say(self, line: str) -> None:
        """Say what was measured."""


@dataclass(frozen=True, slots=True)
class Study(Generic[Item, AnyRun]):
    """What a study has of its own.

    Attributes:
        schema: of its file.
        names: of the cells to measure, in the order of the file.
        known: cells that an earlier run measured, by name.
        measure: is given the known cells and what to call when a part ended; gives name, item and a line for people whenever a cell was
            measured or something was added to it. On Ctrl-C it may give what it has of a cell before it raises.
        run: makes a run of items and a status.
    """

    schema: Schema[AnyRun]
    names: tuple[str, ...]
    known: Mapping[str, Item]
    measure: Callable[[Mapping[str, Item], Step], Iterator[tuple[str, Item, str]]]
    run: Callable[[Sequence[Item], str], AnyRun]


@dataclass(frozen=True, slots=True)
class Conducted(Generic[AnyRun]):
    """How a study went.

    Attributes:
        run: everything that was measured.
        cells: how many cells it has.
        is_saved: it is in its file.
        failure: what ended it early; None where nothing did but Ctrl-C.
    """

    run: AnyRun
    cells: int
    is_saved: bool
    failure: WorkerError | None


def conduct(study: Study[Any, AnyRun], place: Path | None, shown: Shown) -> Conducted[AnyRun]:
    """Measure what is not known yet, and save the run whenever a cell was measured, whole or not at all.

    Args:
        study: what is measured.
        place: of the file; None where none is wanted. None is written for a study of which no cell was measured.
        shown: where progress is shown.
    """
    found = {name: study.known[name] for name in study.names if name in study.known}

    def so_far(status: str) -> AnyRun:
        return study.run([found[name] for name in study.names if name in found], status)

    status, failure = INTERRUPTED, None
    try:
        if found:
            shown.say(f"{len(found)} of {len(study.names)} cells are in {place} already")
        for name, item, line in study.measure(dict(found), shown.step):
            found[name] = item
            shown.say(f"[{study.names.index(name) + 1}/{len(study.names)}] {line}")
            if place is not None:
                write(so_far(status), place, study.schema)
        status = COMPLETE
    except KeyboardInterrupt:
        pass  # what was measured is kept
    except WorkerError as error:
        failure = error
    run = so_far(status)
    is_saved = place is not None and bool(found or not study.names)
    if place is not None and is_saved:
        write(run, place, study.schema)
    return Conducted(run, len(found), is_saved, failure)


def earlier_run(place: Path, schema: Schema[AnyRun], here: Environment) -> AnyRun | None:
    """Return the run to go on with; None where there is no file yet.

    Raises:
        FileError: when it cannot be read, or was measured in another environment.
    """
    if not place.exists():
        return None
    earlier = read(place, schema)
    check_same_environment(place, earlier.environment, here)
    return earlier


def check_same_environment(path: Path, before: Environment, here: Environment) -> None:
    """Refuse to go on with what was measured elsewhere, or with other software.

    Raises:
        FileError: naming what is different.
    """
    old, new = (plain(dataclasses.asdict(each)) for each in (before, here))
    different = sorted(name for name in new if old[name] != new[name])
    if different:
        raise FileError(f"{path}: was measured with another {', '.join(different)}; measure anew into another file")
