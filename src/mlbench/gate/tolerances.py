"""The tolerance file: what a person allows beyond the policy, row by row, each with a reason and a day on which it ends.

It is TOML, because people write it, and stands next to the baseline under its name:

    kind = "mlbench-tolerances"
    schema = 1

    [[tolerance]]
    rows = "optimized-*"           # * and ? stand for anything; brackets mean themselves, as in test ids
    quantity = "products ratio"    # or: baseline ratio, reference ratio, latency, peak bytes, peak bytes without weight copies,
                                   # allocations, instructions, bytes loaded and stored
    tolerance = 0.3                # a growth to 1.3 is tolerated
    limit = 1.0                    # of ratios and latency: a growth to 2 must have been excluded
    reason = "page faults differ between kernels"
    expires = 2030-01-01

    [[accepted]]
    rows = "optimized-b8-h64"
    quantity = "peak bytes"        # or "missing": the row is gone on purpose
    up_to = 81920                  # bytes, a count, a ratio, or seconds
    reason = "the new layout needs it, see the change log"
    expires = 2026-12-31

`extra` of a tolerance is for bytes and counts: so much more is allowed on top. Of several entries that fit a row the last one counts. On
the day it expires an entry is still valid.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import math
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mlbench.errors import FileError
from mlbench.files import read_limited
from mlbench.results.schema import MAY_LACK, Amount, As, Bounds, Name, Schema
from mlbench.results.storage import MOST_BYTES, parsed, shown

GONE = "missing"
RATIOS = ("baseline ratio", "products ratio", "reference ratio", "latency")
COUNTS = ("peak bytes", "peak bytes without weight copies", "allocations", "instructions", "bytes loaded and stored")
Growth = Annotated[float, Bounds(ge=0, le=1000)]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of either list.

    Attributes:
        rows: pattern on the id.
        quantity: what it is about; GONE of an accepted row that is missing.
        reason: why.
        expires: the last day on which it counts.
        tolerance: relative growth that is allowed; None in what is accepted.
        limit: relative growth that must be excluded, of ratios and latency; None for the policy's distance from the tolerance.
        extra: absolute growth that is allowed on top, of bytes and counts.
        up_to: the value that is accepted; None in a tolerance and of a row that is gone.
    """

    rows: str
    quantity: str
    reason: str
    expires: dt.date
    tolerance: float | None = None
    limit: float | None = None
    extra: float = 0.0
    up_to: float | None = None

    def fits(self, name: str, quantity: str) -> bool:
        """Whether it is about this quantity of the row."""
        return quantity == self.quantity and matches(self.rows, name)


@dataclass(frozen=True, slots=True)
class Tolerances:
    """A tolerance file.

    Attributes:
        source: the file, for people.
        tolerances: what is allowed.
        accepted: changes that were accepted.
    """

    source: str = ""
    tolerances: tuple[Entry, ...] = ()
    accepted: tuple[Entry, ...] = ()

    def on(self, today: dt.date) -> Tolerances:
        """Return what counts today."""
        current = [tuple(each for each in entries if each.expires >= today) for entries in (self.tolerances, self.accepted)]
        return Tolerances(self.source, *current)

    def tolerance(self, name: str, quantity: str) -> Entry | None:
        """Return the entry that counts for a quantity of a row."""
        return next((each for each in reversed(self.tolerances) if each.fits(name, quantity)), None)

    def acceptance(self, name: str, quantity: str) -> Entry | None:
        """Return what was accepted of a quantity of a row."""
        return next((each for each in reversed(self.accepted) if each.fits(name, quantity)), None)

    def notes(self, names: Iterable[str], today: dt.date) -> tuple[str, ...]:
        """Return what a reader should know: entries that have expired, and entries that fit no row."""
        known = tuple(names)
        told = []
        for each in (*self.tolerances, *self.accepted):
            what = f"{self.source}: the entry for {each.rows!r} ({each.quantity})"
            if each.expires < today:
                told.append(f"{what} expired on {each.expires} and no longer counts; its reason was: {each.reason}")
            elif not any(matches(each.rows, name) for name in known):
                told.append(f"{what} fits no row")
        return tuple(told)


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern, in which * and ? stand for anything and all else for itself.

    >>> matches("test_mlp[*]", "test_mlp[optimized-b8-h64]")
    True
    """
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))  # whose time does not grow with the power of the stars


def beside(baseline: Path) -> Path | None:
    """Return the tolerance file that stands next to a baseline under its name, if there is one."""
    path = baseline.with_suffix(".toml")
    return path if path.is_file() else None


def load_tolerances(path: str | Path) -> Tolerances:
    """Read a tolerance file.

    Raises:
        FileError: when it is missing, no TOML, or holds something that does not belong in it; with the place.
        MissingExtraError: without msgspec.
    """
    content = read_limited(path, MOST_BYTES)
    try:
        data = shown(tomllib.loads(content.decode("utf-8"), parse_float=_finite))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be read as TOML ({error})") from error
    found = parsed(path, data, TOLERANCES_FILE)
    return Tolerances(str(path), found.tolerance, found.accepted)


@dataclass(frozen=True, slots=True)
class _ToleranceFields:
    rows: Name
    quantity: Annotated[str, Bounds(one_of=(*RATIOS, *COUNTS))]
    tolerance: Growth
    reason: Name
    expires: dt.date
    limit: Annotated[Growth, MAY_LACK]
    extra: Annotated[Amount, MAY_LACK]


@dataclass(frozen=True, slots=True)
class _AcceptedFields:
    rows: Name
    quantity: Annotated[str, Bounds(one_of=(*RATIOS, *COUNTS, GONE))]
    reason: Name
    expires: dt.date
    up_to: Annotated[Amount, MAY_LACK]


@dataclass(frozen=True, slots=True)
class _Lists:
    """What a tolerance file holds."""

    tolerance: Annotated[tuple[Annotated[Entry, As(_ToleranceFields)], ...], MAY_LACK] = ()
    accepted: Annotated[tuple[Annotated[Entry, As(_AcceptedFields)], ...], MAY_LACK] = ()


def _trouble(found: _Lists) -> Iterator[tuple[str, str]]:
    for number, each in enumerate(found.tolerance):
        if each.limit is not None and each.quantity not in RATIOS:
            yield f"$.tolerance[{number}].limit", f"found it for {each.quantity}; expected it for {', '.join(RATIOS)} only"
        if each.extra and each.quantity not in COUNTS:
            yield f"$.tolerance[{number}].extra", f"found it for {each.quantity}; expected it for {', '.join(COUNTS)} only"
    for number, each in enumerate(found.accepted):
        if (each.up_to is None) != (each.quantity == GONE):
            wrong, right = ("found it", "none") if each.quantity == GONE else ("found none", "one")
            yield f"$.accepted[{number}].up_to", f"{wrong}; expected {right} for {each.quantity}"


TOLERANCES_FILE = Schema(
    "mlbench-tolerances", 1, _Lists, "tolerance file", "1: first version; later with peak bytes without weight copies.", trouble=_trouble
)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
