"""What a call of generated code does, and what it uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlbench.compiler.x86.calls.guard import Guard
from mlbench.compiler.x86.calls.results import Results
from mlbench.compiler.x86.calls.whole import Whole
from mlbench.compiler.x86.team.threads import Team


class Addressed(Protocol):
    """Code with the convention of a body, for as long as this object lives."""

    @property
    def address(self) -> int:
        """Where it begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What a call does.

    Attributes:
        body: computes the rows.
        released_rows: a call of so many rows or more gives the interpreter's lock away.
        team: the threads that the body runs on; None where it runs on the calling one alone.
        refuse: raises what a call raises that the body refused; None where the body refuses none.
    """

    body: Addressed
    released_rows: int
    team: Team | None = None
    refuse: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """What a call without `out` uses.

    Attributes:
        results: what it returns.
        memory: no input may lie here, and no place for a result.
        guard: keeps everybody else away meanwhile.
        whole: for each input what it needs where it may come as whole numbers, or None; empty where none may.
    """

    results: Results
    memory: npt.NDArray[np.uint8]
    guard: Guard
    whole: tuple[Whole | None, ...] = ()
