"""Charts as data: functions from what was measured to a Vega-Lite specification and the table of the numbers behind it.

Nothing here draws. A page draws them in the browser, and `mlbench plot` by Vega's own renderer; both take the same specification, so that
what is tested as data is what is seen.
"""

from mlbench.report.charts.ablation import Step, ladder_chart
from mlbench.report.charts.bars import speedup_bars
from mlbench.report.charts.changes import changes_chart
from mlbench.report.charts.chart import Chart
from mlbench.report.charts.heatmap import FLOOR_RATIO, MEMORY, MEMORY_WITHOUT_COPIES, SPEEDUP, heat_maps
from mlbench.report.charts.memory import arena_chart, held_chart
from mlbench.report.charts.roofline import Dot, roofline_chart
from mlbench.report.charts.rounds import rounds_chart
from mlbench.report.charts.side_by_side import MEASURES, beside_chart
from mlbench.report.charts.trend import Moment, trend_chart
from mlbench.report.charts.winners import Race, fastest_chart
from mlbench.results.memory import Place

__all__ = [
    "FLOOR_RATIO",
    "MEASURES",
    "MEMORY",
    "MEMORY_WITHOUT_COPIES",
    "SPEEDUP",
    "Chart",
    "Dot",
    "Moment",
    "Place",
    "Race",
    "Step",
    "arena_chart",
    "beside_chart",
    "changes_chart",
    "fastest_chart",
    "heat_maps",
    "held_chart",
    "ladder_chart",
    "roofline_chart",
    "rounds_chart",
    "speedup_bars",
    "trend_chart",
]
