"""Is the gate right? Comparisons whose answer is known: a version against itself, and against itself with slowdowns planted in it."""

from mlbench.calibrating.planting import FRACTIONS, PLANTED_BYTES, plants
from mlbench.calibrating.rates import Rate, Rates, Recombined, planted_rates, rates, recombined, recombined_power
from mlbench.calibrating.saved import SavedRun, saved_pairs, saved_runs
from mlbench.calibrating.store import PLANTED, SAME, Store
from mlbench.calibrating.told import calibration_tables, saved_table

__all__ = [
    "FRACTIONS",
    "PLANTED",
    "PLANTED_BYTES",
    "SAME",
    "Rate",
    "Rates",
    "Recombined",
    "SavedRun",
    "Store",
    "calibration_tables",
    "planted_rates",
    "plants",
    "rates",
    "recombined",
    "recombined_power",
    "saved_pairs",
    "saved_runs",
    "saved_table",
]
