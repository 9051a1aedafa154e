"""What bounds a case: a roofline in time, from numbers alone.

Every NumPy call costs its overhead. On top of that a matrix product takes at least its arithmetic at the core's peak, or at least the
time to read its weights as fast as anything reads them and to move its operand and its result at copy speed, whichever is longer; an
element-wise pass takes at least the time to read and write what it rewrites. The sum is the least time of the case by these ceilings, and
what takes most of it bounds the case (Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", CACM 52(4), 2009; here per operation and with the calls, because they do not overlap in NumPy).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbench.measure.ceilings import Ceilings, rate_at
from mlbench.results.roofline import BANDWIDTH, BOUNDS, CALLS, ELEMENTWISE, PRODUCT, WEIGHTS, Limit
from mlbench.units import format_bytes, format_duration

FAR = 0.5
"""Where the ceilings explain less of a call than this, what bounds it is something else."""
NEAR_PRODUCTS = 0.75
"""Where NumPy's bare products take more of an eager call than this, they bound it, however far from the peak their shape keeps them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One operation of a call, on all tiles and strips together.

    Attributes:
        calls: of NumPy.
        work_flop: floating point operations of a product; 0 for a pass.
        weight_bytes: of a product's weights, read once in each call; 0 for a pass.
        moved_bytes: read and written besides.
        at_once_bytes: what one call of them touches besides the weights, which decides which cache it finds it in.
        is_product: a matrix product; else an element-wise pass.
    """

    calls: int
    work_flop: float
    weight_bytes: int
    moved_bytes: int
    at_once_bytes: int
    is_product: bool = False


def least_seconds(pieces: Sequence[Piece], ceilings: Ceilings) -> dict[str, float]:
    """Return what each of BOUNDS takes at least, in seconds; what does not hold the case up takes 0."""
    spent = dict.fromkeys(BOUNDS, 0.0)
    all_weights = sum(piece.weight_bytes for piece in pieces)
    for piece in pieces:
        spent[CALLS] += piece.calls * (ceilings.dot_call_s if piece.is_product else ceilings.ufunc_call_s)
        moving_s = piece.moved_bytes / rate_at(ceilings.copy, piece.at_once_bytes)
        if not piece.is_product:
            spent[ELEMENTWISE] += moving_s
            continue
        arithmetic_s = piece.work_flop / ceilings.peaks.flop_per_s
        reading_s = max(1, piece.calls) * piece.weight_bytes / ceilings.peaks.read_bytes_per_s(all_weights)
        if arithmetic_s >= reading_s + moving_s:
            spent[PRODUCT] += arithmetic_s
        else:
            spent[WEIGHTS] += reading_s
            spent[BANDWIDTH] += moving_s
    return spent


def classify(pieces: Sequence[Piece], must_move_bytes: int, latency_s: float, products_share: float, ceilings: Ceilings) -> Limit:
    """Hold a case against its ceilings.

    Args:
        pieces: what a call consists of.
        must_move_bytes: weights, input and output once, and each intermediate written and read.
        latency_s: of a call.
        products_share: NumPy's bare products of this shape / the latency of an eager call; 0 of a call that does not run them.
        ceilings: of the machine.
    """
    spent = least_seconds(pieces, ceilings)
    bound = max(BOUNDS, key=lambda name: spent[name])
    is_of_this_shape = math.fsum(spent.values()) < FAR * latency_s and products_share >= NEAR_PRODUCTS
    if is_of_this_shape:
        bound = PRODUCT
    flop_per_s = math.fsum(piece.work_flop for piece in pieces) / latency_s
    of_peak = flop_per_s / ceilings.peaks.flop_per_s
    bytes_per_s = must_move_bytes / latency_s
    return Limit(
        flop_per_s=flop_per_s,
        of_peak=of_peak,
        bytes_per_s=bytes_per_s,
        of_bandwidth=bytes_per_s / ceilings.peaks.read_bytes_per_s(must_move_bytes),
        calls=sum(piece.calls for piece in pieces),
        calls_share=spent[CALLS] / latency_s,
        least_s=math.fsum(spent.values()),
        bound=bound,
        bound_share=spent[bound] / latency_s,
        sentence=_of_this_shape(products_share, of_peak) if is_of_this_shape else _sentence(bound, spent, pieces, latency_s),
    )


def _of_this_shape(products_share: float, of_peak: float) -> str:
    return (
        f"bound by the matrix product at this shape: NumPy's bare products take {min(100.0, 100 * products_share):.0f} % of the time, at "
        f"{100 * of_peak:.0f} % of the peak"
    )


def _sentence(bound: str, spent: Mapping[str, float], pieces: Sequence[Piece], latency_s: float) -> str:
    share = f"{100 * spent[bound] / latency_s:.0f} %"
    weights = sum(piece.weight_bytes for piece in pieces)
    passes = sum(piece.moved_bytes for piece in pieces if not piece.is_product)
    activations = sum(piece.moved_bytes for piece in pieces if piece.is_product)
    calls = sum(piece.calls for piece in pieces)
    what = {
        CALLS: f"call overhead: {calls} NumPy calls take {format_duration(spent[bound])} at least, {share} of the time",
        WEIGHTS: f"reading {format_bytes(weights)} of weights, which takes {share} of the time at least",
        PRODUCT: f"the matrix product: {share} of the peak",
        ELEMENTWISE: f"element-wise passes: moving {format_bytes(passes)} at copy speed takes {share} of the time",
        BANDWIDTH: f"memory bandwidth: moving {format_bytes(activations)} of activations at copy speed takes {share} of the time",
    }[bound]
    explained = math.fsum(spent.values()) / latency_s
    if explained < FAR:
        return f"far from its limits, which explain {100 * explained:.0f} % of the time; the first of them is {what}"
    return f"bound by {what}; all limits together {100 * explained:.0f} %"
