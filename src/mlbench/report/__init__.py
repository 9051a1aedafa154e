"""Results for people: tables, the summary, progress."""

from mlbench.report.summary import summary, sweep_speedup
from mlbench.report.tables import Pair, Table, pairs, tables
from mlbench.report.terminal import Progress, progress, render, result_text

__all__ = ["Pair", "Progress", "Table", "pairs", "progress", "render", "result_text", "summary", "sweep_speedup", "tables"]
