"""Flame graphs of rows that are red, of both sides, in a folder that CI can upload.

The code at hand is the new one, so its side can be recorded now. The old code is gone: its graph is taken from the folder where the
baseline's run left it (`sweep.json` has `sweep-graphs/`), and where there is none a note says how to have one the next time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlbench.errors import MlbenchError
from mlbench.files import file_name
from mlbench.gate import MEAN_ROW, MISSING, RED, REGRESSION, Judgement, Row
from mlbench.studies.cases import case_of, flame_graph, keep_recording

BEFORE, AFTER = "before", "after"
Calls = Mapping[str, Callable[[], object]]


def folder_of(baseline: Path) -> Path:
    """Return where the flame graphs of a baseline belong: next to it, under its name."""
    return baseline.with_name(f"{baseline.stem}-graphs")


def keep_graphs(
    judgement: Judgement, folder: Path, baseline: Path, calls: Calls, cases: Mapping[str, Mapping[str, Any]] | None = None
) -> Judgement:
    """Put the flame graphs of the red rows into `folder`, and return the judgement with their places and with notes on what is missing.

    Args:
        judgement: whose red rows are recorded.
        folder: gets `before/` and `after/`.
        baseline: the baseline's file, next to which its graphs may stand.
        calls: calls of rows that are no cases of ours, as far as they can be made here.
        cases: what identifies each row that was measured, by its id; None where ids alone do, because no row is of a network in a file.
    """
    rows, notes = [], list(judgement.notes)
    for row in judgement.rows:
        if row.verdict not in RED or row.id == MEAN_ROW:
            rows.append(row)
            continue
        before, why_not = _before(row, folder / BEFORE, baseline)
        after, why_not_either = _after(row, folder / AFTER, calls, (cases or {}).get(row.id, {"id": row.id}))
        rows.append(replace(row, graphs=(*before, *after)))
        notes += [f"{row.id}: {why}" for why in (why_not, why_not_either) if why]
    return replace(judgement, rows=tuple(rows), notes=tuple(notes))


def _before(row: Row, folder: Path, baseline: Path) -> tuple[list[str], str]:
    stored = folder_of(baseline) / f"{file_name(row.id)}.html"
    if not stored.is_file():
        place = folder_of(baseline)
        how = f"keep one with --mlbench-memray {place} when the baseline is measured, or with 'mlbench baseline update --graphs'"
        return [], f"no flame graph of the baseline was stored; {how}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stored, folder / stored.name)
    except OSError as error:
        return [], f"the flame graph of the baseline cannot be put into {folder} ({error.strerror or error})"
    return [str(folder / stored.name)], ""


def _after(row: Row, folder: Path, calls: Calls, case: Mapping[str, Any]) -> tuple[list[str], str]:
    """Record the code at hand; whatever it raises then, as when its fixtures have ended, is told and loses no verdict."""
    if row.verdict == MISSING:
        return [], "no flame graph of this run: the row is missing"
    if any(each.verdict == REGRESSION and each.quantity == "test" for each in row.findings):
        return [], "no flame graph of this run: the test failed"
    try:
        if row.id in calls:
            _, page = keep_recording(calls[row.id], folder, file_name(row.id))
        else:
            _, page = flame_graph(case_of(case), folder)
    except MlbenchError as error:
        return [], f"no flame graph of this run: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # the callable is the user's, and what pytest.fail raises is no Exception
        return [], f"no flame graph of this run, because the call raised {type(error).__name__}: {str(error).rstrip('.')}"
    return [str(page)], ""
