"""How far cases are from what their machine can do at most: a file of `mlbench roofline --json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mlbench.measure.ceilings import Ceilings
from mlbench.measure.peaks import Floor
from mlbench.measure.stats import Interval
from mlbench.results.run import Run
from mlbench.results.schema import MAY_LACK, Bounds, Duration, FlopOrBytesPerS, Name, Schema, Size

HISTORY = """\
1: first version. 2: ceilings have the peaks of the cores instead of products of one row, a distance has its floor, which no code under test
is part of, and a limit has of_peak instead of of_gemm; version 1, whose floor was generated code, is not read. The kind was mlbench-limits
at first."""
CALLS = "call overhead"
WEIGHTS = "reading the weights"
PRODUCT = "the matrix product"
ELEMENTWISE = "element-wise passes"
BANDWIDTH = "memory bandwidth"
BOUNDS = (CALLS, WEIGHTS, PRODUCT, ELEMENTWISE, BANDWIDTH)
"""What may bound a case."""
Share = Annotated[float, Bounds(ge=0, le=1e12)]


@dataclass(frozen=True, slots=True)
class Limit:
    """How far a case is from its ceilings.

    Attributes:
        flop_per_s: attained.
        of_peak: share of the core's arithmetic.
        bytes_per_s: attained; of the bytes that must move once: weights, input, output, and each intermediate twice.
        of_bandwidth: share of what reading so much takes at least.
        calls: of NumPy.
        calls_share: what their overhead takes at least / the latency.
        least_s: least time of a call by these ceilings.
        bound: which of BOUNDS takes most of it.
        bound_share: what that takes at least / the latency; of a rate, attained / ceiling.
        sentence: all that in words.
    """

    flop_per_s: FlopOrBytesPerS
    of_peak: Share
    bytes_per_s: FlopOrBytesPerS
    of_bandwidth: Share
    calls: Size
    calls_share: Share
    least_s: Duration
    bound: Annotated[str, Bounds(one_of=BOUNDS)]
    bound_share: Share
    sentence: Name


@dataclass(frozen=True, slots=True)
class Distance:
    """A case and its distance to the limit.

    Attributes:
        case: its id.
        latency_s: time of a call, as `mlbench.results.time_of` has it: the floor times the floor ratio.
        floor: the least time of a call, which no code under test is part of.
        floor_ratio: latency / the floor.
        limit: what the ceilings say.
        network: what identifies a network in a file, as `network_key` gives it; empty for models of ours.
    """

    case: Name
    latency_s: Duration
    floor: Floor
    floor_ratio: Interval
    limit: Limit
    network: Annotated[str, MAY_LACK] = ""


@dataclass(frozen=True, slots=True)
class Roofline(Run):
    """A run, with the ceilings and the distance of each case.

    Attributes:
        ceilings: measured before the cases, in the same run.
        distances: one for each case; none where only the ceilings were asked for.
    """

    ceilings: Ceilings
    distances: tuple[Distance, ...]


ROOFLINE_FILE = Schema("mlbench-roofline", 2, Roofline, "roofline file", HISTORY, items="distances", old_kind="mlbench-limits")
