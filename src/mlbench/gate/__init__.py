"""The gate: the policy that turns two measurements of the same thing into a verdict, and verdicts into an exit code.

`verdict` is the vocabulary, `policy` the numbers, `machine` says how two machines are related, `memory`, `yardsticks` and `timing` make
findings, `tolerances` is what a person allows besides, and `saved` judges one result by another.
"""

from mlbench.gate.saved import check_rows, judge_results
from mlbench.gate.tolerances import Tolerances, load_tolerances, matches
from mlbench.gate.verdict import (
    BROKEN,
    EXIT_INCONCLUSIVE,
    EXIT_PASS,
    EXIT_REGRESSION,
    IMPROVED,
    INCONCLUSIVE,
    MEAN_ROW,
    MISSING,
    NEW,
    OPEN,
    PASS,
    RED,
    REGRESSION,
    VERDICTS,
    Finding,
    Judgement,
    Row,
    row_of,
    worst,
)

__all__ = [
    "BROKEN",
    "EXIT_INCONCLUSIVE",
    "EXIT_PASS",
    "EXIT_REGRESSION",
    "IMPROVED",
    "INCONCLUSIVE",
    "MEAN_ROW",
    "MISSING",
    "NEW",
    "OPEN",
    "PASS",
    "RED",
    "REGRESSION",
    "VERDICTS",
    "Finding",
    "Judgement",
    "Row",
    "Tolerances",
    "check_rows",
    "judge_results",
    "load_tolerances",
    "matches",
    "row_of",
    "worst",
]
