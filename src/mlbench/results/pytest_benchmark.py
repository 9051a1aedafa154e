"""Files that pytest-benchmark saved: which rows of them are ours, and where they stand.

What is ours stands in the `extra_info` of a row, under a key of ours, and in `mlbench` at the top. All else belongs to pytest-benchmark,
whose versions differ, and to the people whose parameters and notes it saved. Nothing is required of that, so that no file is refused for
it: files before version 3.2 have no `extra_info`, for example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.errors import FileError

_HEAD = frozenset({"machine_info", "commit_info", "datetime", "version"})


@dataclass(frozen=True, slots=True)
class Saved:
    """What a row holds under a key of ours.

    Attributes:
        place: in the file, such as `$.benchmarks[3].extra_info.mlbench`.
        test: node id of its test; empty where the row does not say.
        data: what stands there.
    """

    place: str
    test: str
    data: Any


def is_pytest_benchmark(data: Any) -> bool:  # whatever JSON holds
    """Whether pytest-benchmark saved these data."""
    return isinstance(data, dict) and isinstance(data.get("benchmarks"), list) and not _HEAD.isdisjoint(data)


def ours(data: dict[str, Any], key: str) -> list[Saved]:
    """Return what the rows hold under a key of ours. Of a test that was run again the last attempt counts, in the place of the first."""
    found: dict[str, Saved] = {}
    for number, row in enumerate(data["benchmarks"]):
        value = _extra(row).get(key)
        if value is not None:
            test = _test(row)
            place = f"$.benchmarks[{number}].extra_info.{key}"
            found[test or place] = Saved(place, test, value)
    return list(found.values())


def others(data: dict[str, Any], key: str) -> list[str]:
    """Return the tests, each once, whose rows hold nothing under a key of ours."""
    return list(dict.fromkeys(_test(row) or "one without a name" for row in data["benchmarks"] if _extra(row).get(key) is None))


def shortest_s(data: dict[str, Any]) -> dict[str, float]:
    """Return the shortest round of each test, in seconds, as far as there is one."""
    found = {}
    for row in data["benchmarks"]:
        stats = row.get("stats") if isinstance(row, dict) else None
        shortest = stats.get("min") if isinstance(stats, dict) else None
        if _test(row) and isinstance(shortest, (int, float)) and shortest > 0:
            found[_test(row)] = float(shortest)
    return found


def foreign(path: str | Path, data: dict[str, Any]) -> FileError:
    """Return the error that says that nothing in a file of pytest-benchmark is ours."""
    count = len(data["benchmarks"])
    return FileError(
        f"{path}: pytest-benchmark saved it, but none of its {count} benchmarks used the mlbench fixture; 'mlbench ab' "
        "compares such benchmarks"
    )


def document(path: str | Path, data: dict[str, Any], rows: Sequence[Saved], name: str) -> dict[str, Any]:
    """Return a document of ours that a file of pytest-benchmark holds in parts, still without kind and version, and still to be checked.

    Args:
        path: of the file.
        data: what it holds.
        rows: those of ours in it.
        name: of the list of rows in the document.

    Raises:
        FileError: where nothing in it is ours, or nothing says what was run.
    """
    if not rows:
        raise foreign(path, data)
    head = data.get("mlbench")
    if not isinstance(head, dict):
        raise FileError(f"{path}: rows of mlbench, and no environment and status of their run at $.mlbench; measure it again")
    return {"date": data.get("datetime")} | head | {name: [each.data for each in rows]}


def place_of(data: dict[str, Any], rows: Sequence[Saved], name: str) -> Callable[[str], str]:
    """Return what says where in the file a place of the `document` is."""
    dated = "$.mlbench.date" if isinstance(data.get("mlbench"), dict) and "date" in data["mlbench"] else "$.datetime"

    def place(inside: str) -> str:
        found = re.match(rf"\$\.{name}\[(\d+)\]", inside)
        if found:
            row = rows[int(found[1])]
            return f"{row.place}{inside[found.end() :]}{f' ({row.test})' if row.test else ''}"
        return dated if inside == "$.date" else f"$.mlbench{inside[1:]}"

    return place


def _test(row: Any) -> str:  # whatever JSON holds
    name = row.get("fullname") if isinstance(row, dict) else None
    return name if isinstance(name, str) else ""


def _extra(row: Any) -> dict[str, Any]:  # whatever JSON holds
    extra = row.get("extra_info") if isinstance(row, dict) else None
    return extra if isinstance(extra, dict) else {}
