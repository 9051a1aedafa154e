"""What each optimisation is worth in a cell, and where the time of its baseline goes.

`rungs` says what is compared, `shares` how the baseline's time is taken apart, `measured` how both are measured, `told` how they are
shown and `saved` how they are kept.
"""

from mlbench.ablating.measured import Ablation, Effect, Variant, ablate, evaluate
from mlbench.ablating.rungs import BASELINE, CONTROL, NOTHING, ORDER, Rung, rungs
from mlbench.ablating.saved import KEY, Ablations, ablation_to_json, has_ablations, load_ablations, new_ablations, save_ablations
from mlbench.ablating.shares import ARMS, Shares, shares_of
from mlbench.ablating.told import ablation_tables, effects_table, shares_table

__all__ = [
    "ARMS",
    "BASELINE",
    "CONTROL",
    "KEY",
    "NOTHING",
    "ORDER",
    "Ablation",
    "Ablations",
    "Effect",
    "Rung",
    "Shares",
    "Variant",
    "ablate",
    "ablation_tables",
    "ablation_to_json",
    "effects_table",
    "evaluate",
    "has_ablations",
    "load_ablations",
    "new_ablations",
    "rungs",
    "save_ablations",
    "shares_of",
    "shares_table",
]
