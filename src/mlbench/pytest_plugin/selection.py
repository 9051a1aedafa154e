"""Which rows of a baseline a pytest run was not asked for, so that they are not missing.

A row is left out where its test was deselected (-k, -m, --deselect), was not named on the command line, was ignored by name, or lies
outside a sweep whose sizes were given. A row whose test was asked for and no longer exists is missing, whatever -k says: a test that is
gone cannot be told from one that -k would have left out, and gone is the worse of the two. So is one of `mlbench run`, which names no
tests, where a folder was asked for, or a file that measures cases.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.errors import UsageError
from mlbench.studies.cases import Case, Cell, case_of
from mlbench.studies.subjects import names_of


@dataclass(frozen=True, slots=True)
class Selection:
    """What a pytest run was asked for.

    Attributes:
        root: folder that node ids are relative to.
        places: absolute paths and selectors (`::name`) from the command line.
        ignored: paths and patterns on paths that were ignored.
        sizes: sizes that were given for the sweep: `batch`, `hidden`, `inputs`, `outputs`, `depth` and `threads`, as far as given.
        networks: what the cases of the networks are called that took the place of the sweep; empty for none.
    """

    root: Path
    places: tuple[tuple[Path, str], ...]
    ignored: tuple[str, ...]
    sizes: Mapping[str, Collection[int]]
    networks: frozenset[str] = frozenset()


def selection_of(config: Any) -> Selection:  # pytest's
    """Read off what a pytest run was asked for."""
    here = Path(config.invocation_params.dir)
    places = []
    for each in config.args:
        path, mark, selector = str(each).partition("::")
        places.append(((here / path).resolve(), mark + selector))
    sizes = {}
    for name in ("batch", "hidden", "inputs", "depth"):
        given = config.getoption(f"--mlbench-{name}", None)
        if given:
            sizes[name] = tuple(given)
    for name, default in (("outputs", 10), ("threads", 1)):
        number = config.getoption(f"--mlbench-{name}", default)
        if number != default:
            sizes[name] = (number,)
    ignored = [str((here / each).resolve()) for option in ("ignore", "ignore_glob") for each in config.getoption(option, None) or ()]
    network = config.getoption("--mlbench-model", None)
    names = frozenset(names_of(network)) if network else frozenset()
    return Selection(Path(config.rootpath), tuple(places), tuple(ignored), sizes, names)


def left_out(rows: Sequence[Mapping[str, Any]], done: Collection[str], deselected: Collection[str], asked: Selection) -> set[str]:
    """Return the ids of the rows of a baseline that were not asked for.

    Args:
        rows: the baseline's cases; those that pytest measured name their tests.
        done: ids of what was measured, which never is left out.
        deselected: node ids and ids of cases whose tests were deselected.
        asked: what the run was asked for.
    """
    found = set()
    has_cases = any(_cell_of({"id": name}, "") for name in done)
    for case in rows:
        name = case["id"]
        node = _node(case)
        is_asked = _is_asked(node, asked) if node else _is_asked_as_a_case(asked, has_cases=has_cases)
        if name not in done and (name in deselected or node in deselected or not is_asked or _is_narrowed(case, node, asked)):
            found.add(name)
    return found


def skips_of(rows: Sequence[Mapping[str, Any]], skipped: Mapping[str, str]) -> dict[str, str]:
    """Return why rows of a baseline are not there: their test was skipped, or the file of it.

    Args:
        rows: the baseline's cases.
        skipped: node ids of tests and of files to the reason.
    """
    found = {}
    for case in rows:
        node = _node(case)
        file = node.partition("::")[0]
        for place, what in ((node, "the test was skipped"), (file, f"{file} was skipped")):
            if place and place in skipped:
                found[case["id"]] = f"{what}: {skipped[place]}"
    return found


def case_ids(item: Any) -> set[str]:  # pytest's
    """Return the node id of a test and the ids of the cases it was to measure."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return {item.nodeid, *(each.id for each in parameters.values() if isinstance(each, Case))}


def _node(case: Mapping[str, Any]) -> str:
    """Return the test of a row, or nothing where nobody knows it."""
    return str(case.get("test") or (case["id"] if "::" in case["id"] else ""))


def _is_asked_as_a_case(asked: Selection, *, has_cases: bool) -> bool:
    """Whether a case was asked for whose test nobody knows, as of `mlbench run`: by a folder, or by a file that measured cases."""
    return any(path.is_dir() or (has_cases and not selector) for path, selector in asked.places)


def _is_asked(node: str, asked: Selection) -> bool:
    file, _, rest = node.partition("::")
    path = (asked.root / file).resolve()
    if any(_is_under(path, Path(each)) or fnmatch.fnmatch(str(path), each) for each in asked.ignored):
        return False
    return any(_is_under(path, place) and _is_selected(f"::{rest}", selector) for place, selector in asked.places)


def _is_under(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _is_selected(rest: str, selector: str) -> bool:
    return not selector or rest == selector or rest.startswith((f"{selector}::", f"{selector}["))


def _is_narrowed(case: Mapping[str, Any], node: str, asked: Selection) -> bool:
    """Whether the sizes of the sweep that were given exclude the row's cell, or it is of another network than the one that was."""
    cell = _cell_of(case, node)
    if cell is None:
        return False
    if (case.get("network") or {}).get("name", "") not in (asked.networks or {""}):
        return True
    sizes = cell.subject.sizes(cell.batch) | {"threads": (cell.threads,)}
    return any(not set(sizes[name]) <= set(given) for name, given in asked.sizes.items() if name in sizes)


def _cell_of(case: Mapping[str, Any], node: str) -> Cell | None:
    """Return the cell that a row is about: it is a case of ours, or its test has one as its parameter."""
    parameter = re.search(r"\[(.*)\]$", node)
    for name in (case["id"], *((parameter[1], f"baseline-{parameter[1]}") if parameter else ())):
        try:
            return case_of({**case, "id": name}).cell
        except UsageError:
            continue
    return None
