"""What a run of pytest that a test starts leaves out, so that it takes half the time."""

QUICK_RUNS = "-p no:hypothesispytest"
"""Hypothesis's plugin loads all of Hypothesis when a run ends, whether a test used it or not."""
