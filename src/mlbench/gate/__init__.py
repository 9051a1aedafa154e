"""The gate: the policy that turns two measurements of the same thing into a verdict, and verdicts into an exit code."""

from mlbench.gate.verdict import (
    EXIT_INCONCLUSIVE,
    EXIT_PASS,
    EXIT_REGRESSION,
    IMPROVED,
    INCONCLUSIVE,
    MISSING,
    NEW,
    PASS,
    REGRESSION,
    VERDICTS,
    Finding,
    Judgement,
    Row,
    row_of,
    worst,
)

__all__ = [
    "EXIT_INCONCLUSIVE",
    "EXIT_PASS",
    "EXIT_REGRESSION",
    "IMPROVED",
    "INCONCLUSIVE",
    "MISSING",
    "NEW",
    "PASS",
    "REGRESSION",
    "VERDICTS",
    "Finding",
    "Judgement",
    "Row",
    "row_of",
    "worst",
]
