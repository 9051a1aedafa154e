"""Numbers in, frozen answers out. Pure functions; each names the source of its formula.

Latencies are skewed and correlated, so what stands for a process is a median, a quantile or a rank, never a mean. Processes are
independent, so what says how far they are apart is Student's t over the logarithms of their medians, or ranks.
"""

from mlbench.measure.stats.binomial import binomial_bounds
from mlbench.measure.stats.plain import (
    CONFIDENCE,
    FEWEST_PROCESSES,
    Interval,
    fewest_values_for,
    geometric_mean,
    median,
    quantile,
    tail_ratio,
    thinned,
)
from mlbench.measure.stats.ranks import signed_rank_interval, signed_rank_quantile
from mlbench.measure.stats.replicates import geometric_mean_interval, ratio_interval, typical
from mlbench.measure.stats.student import change_interval, spread, student_quantile, trimmed_center

__all__ = [
    "CONFIDENCE",
    "FEWEST_PROCESSES",
    "Interval",
    "binomial_bounds",
    "change_interval",
    "fewest_values_for",
    "geometric_mean",
    "geometric_mean_interval",
    "median",
    "quantile",
    "ratio_interval",
    "signed_rank_interval",
    "signed_rank_quantile",
    "spread",
    "student_quantile",
    "tail_ratio",
    "thinned",
    "trimmed_center",
    "typical",
]
