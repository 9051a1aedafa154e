"""Both runners of a cell, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.results.result import Measurement


@dataclass(frozen=True, slots=True)
class Pair:
    """Both runners of one cell; either may be missing.

    Attributes:
        cell: id of the cell.
        baseline: the eager runner.
        optimized: the compiled runner.
    """

    cell: str
    baseline: Measurement | None = None
    optimized: Measurement | None = None

    @property
    def memory_reduction(self) -> float | None:
        """Share of the baseline's memory that is gone; None where the baseline's peak is 0 or nothing was measured."""
        return reduction(self.baseline, self.optimized, 0)

    @property
    def memory_reduction_without_copies(self) -> float | None:
        """The same without the compiled runner's copies of weights."""
        return reduction(self.baseline, self.optimized, 0 if self.optimized is None else -self.optimized.static.weight_copies)

    @property
    def memory_reduction_staged(self) -> float | None:
        """The same with a staging buffer."""
        extra = 0 if self.optimized is None else self.optimized.static.staging_if_needed - self.optimized.static.staging
        return reduction(self.baseline, self.optimized, extra)


def reduction(baseline: Measurement | None, optimized: Measurement | None, extra_bytes: int) -> float | None:
    """Return 1 - optimized / baseline in bytes, with `extra_bytes` on top of the optimized side."""
    if baseline is None or optimized is None or not baseline.memory_bytes or optimized.memory_bytes is None:
        return None
    return 1 - (optimized.memory_bytes + extra_bytes) / baseline.memory_bytes


def pairs(measurements: Sequence[Measurement]) -> tuple[Pair, ...]:
    """Put the two runners of each cell together, in the order of the cells."""
    found: dict[str, dict[str, Measurement]] = {}
    for each in measurements:
        if each.case["runner"] in ("baseline", "optimized"):
            found.setdefault(each.case["cell"], {})[each.case["runner"]] = each
    return tuple(Pair(cell, **runners) for cell, runners in found.items())
