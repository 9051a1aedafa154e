"""Results and judgements for people, and judgements for CI: tables, the summary, verdicts, progress."""

from mlbench.report.judgement import verdict_figure, verdict_text
from mlbench.report.machine_readable import junit, load_verdicts, verdicts_json
from mlbench.report.markdown import markdown
from mlbench.report.summary import Figure, figures, summary, sweep_speedup
from mlbench.report.tables.cases import Table, format_interval, tables
from mlbench.report.terminal import Progress, progress, render, result_text
from mlbench.results import time_of
from mlbench.results.pairs import Pair, pairs

__all__ = [
    "Figure",
    "Pair",
    "Progress",
    "Table",
    "figures",
    "format_interval",
    "junit",
    "load_verdicts",
    "markdown",
    "pairs",
    "progress",
    "render",
    "result_text",
    "summary",
    "sweep_speedup",
    "tables",
    "time_of",
    "verdict_figure",
    "verdict_text",
    "verdicts_json",
]
