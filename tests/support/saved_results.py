"""Results as a run would save them, made up: what the gate's tests judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlbench.measure import Environment, Footprint
from mlbench.results import COMPLETE, Measurement, Result, StaticBytes, Timing

ENVIRONMENT = Environment("CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas (Haswell)", 1, "fresh", "1.19", "0.1.0", None, None, None, {})
PLAN = {"tile_rows": 48, "ops": [{"layout": "rows", "order": "C", "parts": 1, "generated": False}], "threading": "one", "passes": ["fuse"]}
SPREAD = (1.0, 0.99, 1.01, 1.005, 0.995)
"""Of five processes: some 0.8 % of standard deviation."""
RATIO = 1.2
ROW = "optimized-b8-h64"
CALLABLE = "test_mine.py::test_square"


def case(
    name: str = ROW,
    *,
    ratio: float = RATIO,
    eager_ratio: float | None = None,
    latency_s: float = 1e-5,
    spread: Sequence[float] = SPREAD,
    peak_bytes: int = 0,
    allocations: int | None = 0,
    static_bytes: int = 4096,
    weight_copies: int = 0,
    plan: dict[str, Any] | None = PLAN,
    status: str = COMPLETE,
    error: str | None = None,
    instrument: str = "memray",
    steady: bool = True,
) -> Measurement:
    """Return a case of ours: a time and ratios to its yardsticks for each process, and a footprint.

    `ratio` is its time / the products', of which `latency_s` sets the seconds; the ratio to the eager runner, `eager_ratio`, is a
    quarter of that where nothing else is said.
    """
    runner, _, cell = name.partition("-")
    this_s = latency_s * ratio / RATIO
    own = tuple((this_s * factor,) * 3 for factor in spread)
    yardsticks = {"products": latency_s / RATIO} | ({} if runner == "baseline" else {"baseline": this_s / (eager_ratio or ratio / 4)})
    arms: dict[str, tuple[tuple[float, ...], ...]] = {
        "this": own,
        **{arm: ((each,) * 3,) * len(spread) for arm, each in yardsticks.items()},
    }
    return Measurement(
        case={"id": name, "cell": cell, "runner": runner},
        status=status,
        footprint=Footprint(peak_bytes, allocations, instrument, steady),
        static=StaticBytes(arena=static_bytes, weight_copies=weight_copies),
        timing=Timing(this_s, None, 0, None, own),
        arms=arms,
        plan=plan,
        error=error,
    )


def callable_of_a_user(name: str = CALLABLE, *, ratio: float | None = 0.5, latency_s: float = 1e-5, peak_bytes: int = 800) -> Measurement:
    """Return a row of the fixture: one process, and a reference or none."""
    arms: dict[str, tuple[tuple[float, ...], ...]] = {} if ratio is None else {"reference": ((latency_s / ratio,) * 3,)}
    return Measurement(
        case={"id": name, "cell": name.rpartition("::")[2], "runner": "square"},
        footprint=Footprint(peak_bytes, 1, "memray"),
        timing=Timing(latency_s, None, 0, None, ((latency_s,) * 3,)),
        arms=arms,
    )


def result(*rows: Measurement, environment: Environment = ENVIRONMENT, status: str = COMPLETE) -> Result:
    """Return a result with these rows."""
    return Result(environment, "mlbench run", "2026-01-02T03:04:05+00:00", status, rows)
