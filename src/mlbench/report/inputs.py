"""Read result files of any kind. One that cannot be used is named, and the others are read all the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlbench.errors import FileError
from mlbench.gate import Judgement
from mlbench.report.machine_readable import VERDICTS_FILE, load_verdicts
from mlbench.results import RESULT_FILE, Result
from mlbench.results.ablation import ABLATION_FILE, Ablations
from mlbench.results.comparison import COMPARISON_FILE, Comparison
from mlbench.results.explanation import EXPLANATION_FILE, Explanations
from mlbench.results.memory import MemoryRecord
from mlbench.results.newest import by_date
from mlbench.results.peers import PEERS_FILE, PeerResult
from mlbench.results.pytest_benchmark import foreign, is_pytest_benchmark
from mlbench.results.roofline import ROOFLINE_FILE, Roofline
from mlbench.results.schema import Schema
from mlbench.results.storage import holds, parsed, read_json


@dataclass(slots=True)
class Files:
    """What the files hold, each kind with the names of its files.

    Attributes:
        results: of `mlbench run` and of pytest-benchmark, oldest first.
        beside: the same, in the order in which they were named.
        ablations: of `mlbench ablation`.
        rooflines: of `mlbench roofline`.
        peers: of `mlbench peers`.
        comparisons: of `mlbench ab`.
        judgements: of `mlbench gate --format json`.
        memory: of cells of a result, recorded for the page.
        explanations: of `mlbench explain`.
        graphs: names of memray's pages that were kept, and their addresses as seen from the page.
        refused: why a file was not used.
    """

    results: list[tuple[str, Result]] = field(default_factory=list)
    beside: list[tuple[str, Result]] = field(default_factory=list)
    ablations: list[tuple[str, Ablations]] = field(default_factory=list)
    rooflines: list[tuple[str, Roofline]] = field(default_factory=list)
    peers: list[tuple[str, PeerResult]] = field(default_factory=list)
    comparisons: list[tuple[str, Comparison]] = field(default_factory=list)
    judgements: list[tuple[str, Judgement]] = field(default_factory=list)
    explanations: list[tuple[str, Explanations]] = field(default_factory=list)
    graphs: list[tuple[str, str]] = field(default_factory=list)
    memory: MemoryRecord | None = None
    refused: list[str] = field(default_factory=list)


def read_files(paths: Sequence[Path], step: Callable[[str], object] = str) -> Files:
    """Read the files.

    Args:
        paths: of the files.
        step: told the name of each file when it is read.

    Raises:
        MissingExtraError: without msgspec.
    """
    found = Files()
    kinds: tuple[tuple[Schema[Any], list[Any]], ...] = (
        (RESULT_FILE, found.results),
        (ABLATION_FILE, found.ablations),
        (ROOFLINE_FILE, found.rooflines),
        (PEERS_FILE, found.peers),
        (COMPARISON_FILE, found.comparisons),
        (EXPLANATION_FILE, found.explanations),
    )
    names = {path: path.name if [each.name for each in paths].count(path.name) == 1 else str(path) for path in paths}
    for path in paths:
        try:
            data = read_json(path)
            read_whole = [(place, parsed(path, data, schema)) for schema, place in kinds if holds(data, schema)]  # all of it or nothing
            if holds(data, VERDICTS_FILE):
                read_whole.append((found.judgements, load_verdicts(path)))
            if not read_whole and is_pytest_benchmark(data):
                raise foreign(path, data)
            if not read_whole:
                raise FileError(f"{path}: no result of mlbench; expected what --json wrote or pytest-benchmark saved")
            for place, content in read_whole:
                place.append((names[path], content))
        except FileError as error:
            found.refused.append(str(error))
        step(path.name)
    found.beside += found.results
    found.results[:] = by_date(found.results)
    return found


def graphs_in(folder: Path, page: Path) -> list[tuple[str, str]]:
    """Return the HTML pages in a folder: names that tell them apart, with their folders, and addresses relative to `page`.

    So page and folder can be moved together.

    Raises:
        FileError: when there is no such folder.
    """
    if not folder.is_dir():
        raise FileError(f"{folder}: no such folder; name the one that flame graphs were kept in")
    home = page.resolve().parent
    pages = [each for each in sorted(folder.rglob("*.html")) if each.resolve() != page.resolve()]
    return [
        (each.relative_to(folder).with_suffix("").as_posix(), quote(Path(os.path.relpath(each.resolve(), home)).as_posix()))
        for each in pages
    ]
