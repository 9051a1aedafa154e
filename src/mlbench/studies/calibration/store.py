"""The folder that comparisons of known answer are kept in, one file each; every sitting adds to it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlbench.errors import FileError
from mlbench.results.comparison import COMPARISON_FILE, Comparison
from mlbench.results.storage import read

SAME, PLANTED = "same", "planted"


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of comparisons.

    Attributes:
        folder: where they are.
    """

    folder: Path

    def comparisons(self, kind: str) -> list[Comparison]:
        """Return the complete comparisons of a kind, `same` or `planted`, oldest first.

        Raises:
            FileError: for a file that cannot be read.
        """
        return [each for _, each in self._all(kind) if each.is_complete]

    def next(self, kind: str) -> tuple[Path, Comparison | None]:
        """Return where the next comparison of a kind goes, and what is there of it, where it was broken off."""
        known = list(self._all(kind))
        broken_off = [(path, each) for path, each in known if not each.is_complete]
        return broken_off[0] if broken_off else (next(path for path in self._places(kind) if not path.exists()), None)

    def check(self, wanted: Comparison) -> None:
        """Refuse to add up what was measured on another machine, by other rules, or of another suite.

        Raises:
            FileError: naming what is different.
        """
        for path, each in (*self._all(SAME), *self._all(PLANTED)):
            different = [name for name in ("machine", "policy", "effort", "arguments") if _plain(each, name) != _plain(wanted, name)]
            if different:
                raise FileError(f"{path}: was measured with another {', '.join(different)}; keep this calibration in another folder")

    def _places(self, kind: str) -> Iterator[Path]:
        return (self.folder / f"{kind}-{number:04}.json" for number in itertools.count(1))

    def _all(self, kind: str) -> Iterator[tuple[Path, Comparison]]:
        for path in sorted(self.folder.glob(f"{kind}-*.json")):
            yield path, read(path, COMPARISON_FILE)


def _plain(comparison: Comparison, name: str) -> object:
    value = getattr(comparison, name)
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
