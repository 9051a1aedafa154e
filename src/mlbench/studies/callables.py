"""Measure any callable in this process: its footprint, what it holds between calls, and its ratio to a reference.

A callable of a person's lives in their process, so it has no fresh processes of its own, and its interval is of one process alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlbench.measure import footprint, time_interleaved
from mlbench.measure.latency import ROUNDS
from mlbench.measure.stats import ratio_interval
from mlbench.results import Measurement, timing_of
from mlbench.studies.holding import Held, still_grows
from mlbench.studies.sweep import THIS, affordable_rounds, doubts, per_round

REFERENCE = "reference"
Call = Callable[[], object]


def measure_callable(
    case: Mapping[str, Any], call: Call, held: Callable[[], Held], reference: Call | None = None, between: Call | None = None
) -> Measurement:
    """Measure a call, which was made once before and gave the right result.

    Args:
        case: what identifies it in a result: `id`, `cell`, `runner` and `threads`.
        call: what is measured.
        held: asked twice for what the callable holds between calls, to see whether that grows.
        reference: what it is compared with, in interleaved rounds; the ratio is reference / call.
        between: called between the footprint and the rounds, as for a clock of another library.
    """
    first = held()
    found = footprint(call)
    now = held()
    compared = None if reference is None else footprint(reference)
    if between is not None:
        between()
    arms = {THIS: call} if reference is None else {THIS: call, REFERENCE: reference}
    times = time_interleaved(arms, affordable_rounds(arms, ROUNDS))
    ratios, others = {}, {}
    if reference is not None:
        ratios["reference_ratio"] = ratio_interval(per_round([times[REFERENCE]], [times[THIS]]))
        others[REFERENCE] = timing_of([times[REFERENCE]]).rounds_s
    return Measurement(
        dict(case),
        footprint=found,
        reference_footprint=compared,
        static=now.static,
        counted=now.counted,
        plan=now.plan,
        timing=timing_of([times[THIS]]),
        ratios=ratios,
        arms=others,
        warnings=(*still_grows(first, now), *doubts(ratios, found, is_lone=True)),
    )
