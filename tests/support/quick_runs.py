"""Runs of pytest that a test starts: what they leave out, which is half the time, and those in this process, which take a fifth of it."""

from __future__ import annotations

import warnings

import pytest

QUICK_RUNS = "-p no:hypothesispytest"
"""Hypothesis's plugin loads all of Hypothesis when a run ends, whether a test used it or not."""


def run_here(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the inner tests in this process, which has loaded what another one would load again; Ctrl-C in them ends them alone.

    Warnings are no errors in it, because it inherits what these tests make of them. What is about imports, the environment or the command
    needs a process of its own: `pytester.runpytest_subprocess`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return pytester.runpytest_inprocess(*arguments, no_reraise_ctrlc=True)
