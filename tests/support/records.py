"""Made-up records of every kind, for tests of what reads them."""

from __future__ import annotations

from mlbench.measure import Environment
from mlbench.measure.ceilings import Ceilings, Rate
from mlbench.measure.peaks import LOOPS, Floor, Level, Peaks
from mlbench.measure.stats import Interval
from mlbench.results import Measurement
from mlbench.results.ablation import Ablation, Effect, Shares, Variant
from mlbench.results.peers import MEASURED, OURS, Outcome, PeerCell, PeerResult, Runtime
from mlbench.results.roofline import Distance
from mlbench.studies.ablation.variants import rungs
from mlbench.studies.roofline.bounds import Piece, classify
from support.saved_results import case

US = 1e-6
MB = 1024 * 1024


HERE = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})


PEAKS = Peaks(100e9, (Level("L2", MB, 100e9), Level("memory", 0, 20e9)), 0.03 * US, LOOPS)


CEILINGS = Ceilings(PEAKS, 90e9, (Rate(MB, 80e9), Rate(64 * MB, 10e9)), 0.5 * US, 1 * US)
"""100 GFLOP/s; reading 100 GB/s from the cache and 20 beyond; copies 80 and 10; half a microsecond a ufunc and one a product."""


def product(flop: float = 0.0, weights: int = 0, moved: int = 0, calls: int = 1) -> Piece:
    """Return a matrix product."""
    return Piece(calls, flop, weights, moved, moved, is_product=True)


def one_pass(moved: int = 0, calls: int = 1) -> Piece:
    """Return an element-wise pass."""
    return Piece(calls, 0.0, 0, moved, moved)


def distance(case: str, low: float = 1.0, high: float = 1.1, processes: int = 5) -> Distance:
    """Return a made-up distance."""
    limit = classify([product(flop=1e9), one_pass(calls=2)], MB, 2e-2, 0.5, CEILINGS)
    return Distance(case, 2e-2, Floor(1.9e-2, "arithmetic"), Interval(1.05, low, high, 0.95, processes, 75), limit)


def interval(estimate: float) -> Interval:
    """Return an interval of 10 % to both sides."""
    return Interval(estimate, estimate * 0.9, estimate * 1.1, 0.95, 5, 75)


def measured(runner: str, batch: int, hidden: int, speedup: float = 2.0) -> Measurement:
    """Return a case of the sweep with its ratios."""
    made = case(f"{runner}-b{batch}-h{hidden}", peak_bytes=10_000 if runner == "baseline" else 0)
    made.case.update(batch=batch, hidden=[hidden], model="mlp")
    made.ratios.update(floor_ratio=interval(1.2), **({"speedup": interval(speedup)} if runner == "optimized" else {}))
    return made


def made_up(cell: str) -> Ablation:
    """Return an ablation in which every rung doubles the speed."""
    twice = Interval(2.0, 1.9, 2.1, 0.95, 1, 1)
    effects = tuple(Effect(rung, Variant(rung.label, 1024, 0, 1e-3), twice, twice, False, True) for rung in rungs())
    return Ablation(cell, 4e-5, 0.0, Shares(0.5, 0.25, 0.125, 0.125, {}), effects, 1.01, 1e-3, 50.0)


def peer_cell(batch: int = 8, **times_us: float | tuple[tuple[float, ...], ...]) -> PeerCell:
    """Return a made-up cell; one number stands for two processes of two rounds."""
    outcomes = {}
    for name, each in times_us.items():
        rounds = each if isinstance(each, tuple) else ((each, each), (each, each))
        seconds = tuple(tuple(round(value * US, 9) for value in process) for process in rounds)
        outcomes[name] = Outcome(MEASURED, "", 0.5, 0.1, 2e-05, seconds, 1024, 2048, 512 if name == OURS else None)
    sizes = {"batch": batch, "hidden": [64], "inputs": 64, "outputs": 10, "threads": 1, "model": "mlp", "tuned": False}
    return PeerCell(sizes, outcomes, 2, weighed=True)


def peers_result(*cells: PeerCell, runtimes: tuple[str, ...] = ("a", "b")) -> PeerResult:
    """Return a made-up result in which `tensorrt` is missing."""
    there = [Runtime(name, "" if name == OURS else f"{name} 1.0", "fast", None) for name in (OURS, *runtimes)]
    away = Runtime("tensorrt", "", "", "needs an NVIDIA GPU")
    return PeerResult(HERE, "mlbench peers", "2024-01-01T00:00:00+00:00", "complete", 2, (*there, away), cells)
