"""The summary of a CI job: the file that GitHub Actions, and what follows it, shows on the job's page."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlbench.errors import FileError
from mlbench.files import check_place, print_to, refusal
from mlbench.gate import Judgement
from mlbench.report.markdown import markdown

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file that becomes the summary of a CI job (GitHub Actions, and what follows it)."""


def summary_place() -> Path | None:
    """Return the file that becomes the summary of a CI job, where there is one."""
    place = os.environ.get(SUMMARY_VARIABLE)
    return Path(place) if place else None


def check_summary() -> None:
    """Refuse a summary that could not be written.

    Raises:
        FileError: naming the variable.
    """
    summary = summary_place()
    if summary is not None and summary.exists():
        _add("")
    elif summary is not None:
        try:
            check_place(summary)
        except FileError as error:
            raise FileError(f"{error} (it is what {SUMMARY_VARIABLE} names)") from error


def _add(text: str) -> bool:
    """Append to the summary of a CI job, and return whether there is one."""
    place = summary_place()
    if place is None:
        return False
    try:
        with place.open("a", encoding="utf-8") as summary:
            summary.write(text)
    except OSError as error:
        raise FileError(f"{refusal(error, place)} (it is what {SUMMARY_VARIABLE} names)") from error
    return True


def add_to_summary(judgement: Judgement, *, inconclusive_passes: bool) -> None:
    """Append the judgement as Markdown to the file that a CI job shows as its summary, where there is one, and say so.

    Raises:
        FileError: when it cannot be written.
    """
    if _add(markdown(judgement, inconclusive_passes=inconclusive_passes) + "\n"):
        print_to(sys.stderr, f"mlbench: the verdicts were added to the job's summary ({SUMMARY_VARIABLE})")
