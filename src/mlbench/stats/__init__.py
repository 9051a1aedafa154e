"""Numbers in, frozen answers out. Pure functions; each names the source of its formula.

Latencies are skewed and correlated, so everything here rests on medians, quantiles, ranks and resampling, never on a mean and a standard
deviation.
"""

from mlbench.stats.binomial import binomial_bounds
from mlbench.stats.bootstrap import geometric_mean_interval, ratio_interval
from mlbench.stats.plain import CONFIDENCE, Interval, fewest_values_for, geometric_mean, median, quantile, tail_ratio, thinned
from mlbench.stats.ranks import signed_rank_interval, signed_rank_quantile
from mlbench.stats.student import change_interval, spread, student_quantile

__all__ = [
    "CONFIDENCE",
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
]
