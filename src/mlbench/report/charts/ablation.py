"""The ablation ladder as a waterfall: what each optimisation adds on top of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.measure.stats import Interval
from mlbench.report.charts.chart import Chart, Spec, base_spec
from mlbench.report.tables.cases import Table
from mlbench.results.ablation import Ablation


@dataclass(frozen=True, slots=True)
class Step:
    """One rung.

    Attributes:
        name: of the optimisation.
        total: speed-up over the baseline, with it and everything before it.
        says: `helps`, `costs`, or `within the noise`.
        idle_reason: why it did nothing, in a clause; empty where it did something.
    """

    name: str
    total: Interval
    says: str
    idle_reason: str = ""


def steps_of(ablation: Ablation) -> tuple[Step, ...]:
    """Return the ladder of an ablation: the effects of which each has what the one before had, and one optimisation more."""
    steps: list[Step] = []
    before = None
    for effect in ablation.effects:
        if effect.rung.without_it != before:
            break
        before = effect.rung.with_it
        gained = "helps" if effect.effect.estimate > 1 else "costs"
        says = gained if effect.is_beyond_noise and not effect.is_idle else "within the noise"
        steps.append(Step(effect.rung.label, effect.total, says, effect.idle_reason if effect.is_idle else ""))
    return tuple(steps)


LEAST_SPAN = 0.5
"""What the axis holds at least, in times as fast as the baseline: steps within the noise look as small as they are."""


def ladder_chart(cell: str, steps: Sequence[Step]) -> Chart | None:
    """Return the waterfall of a cell, or None without steps; those that did nothing are in the table and not drawn."""
    if not steps:
        return None
    every, steps = steps, [step for step in steps if not step.idle_reason]
    before = [1.0, *(step.total.estimate for step in steps)]
    rows = [
        {"step": step.name, "from": start, "to": step.total.estimate, "low": step.total.low, "high": step.total.high, "says": step.says}
        for step, start in zip(steps, before, strict=False)
    ]
    names = [step.name for step in steps]
    ends = [*before, *(step.total.low for step in steps), *(step.total.high for step in steps)]
    scale: Spec = {"zero": False}
    if max(ends) - min(ends) < LEAST_SPAN:
        middle = (max(ends) + min(ends)) / 2
        scale = {"domain": [middle - LEAST_SPAN / 2, middle + LEAST_SPAN / 2]}
    spec = base_spec(rows, f"Ablation ladder of {cell}", 30 * len(names))
    y = {"field": "step", "type": "nominal", "sort": names, "title": None}
    says = {"domain": ["helps", "costs", "within the noise"], "range": ["#2e8b57", "#c44e52", "#9a9a9a"]}
    spec["layer"] = [
        {"mark": {"type": "bar", "size": 16, "tooltip": True},
         "encoding": {"y": y, "x2": {"field": "to"},
                      "x": {"field": "from", "type": "quantitative", "scale": scale, "title": "times as fast as the baseline"},
                      "color": {"field": "says", "type": "nominal", "scale": says, "title": None}}},
        {"mark": {"type": "rule", "strokeWidth": 2},
         "encoding": {"y": y, "x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}},
        {"mark": {"type": "tick", "thickness": 3, "size": 22}, "encoding": {"y": y, "x": {"field": "to", "type": "quantitative"}}},
    ]  # fmt: skip
    cells = tuple(
        (step.name, f"{step.total.estimate:.3f}", f"{step.total.low:.3f}", f"{step.total.high:.3f}{step.total.doubt}",
         "changes nothing" if step.idle_reason else step.says)
        for step in every
    )  # fmt: skip
    how = ("Each row switches on one more optimisation, from top to bottom. A bar begins where the one before it ended. The line through "
           "its end is the 95 % interval of the whole speed-up so far. The colour says whether this step alone, with and without it in "
           "the same rounds, is beyond the noise of the run.")  # fmt: skip
    idle = [step for step in every if step.idle_reason]
    if idle:
        how += f" Not drawn, because they change nothing: {', '.join(step.name.removeprefix('+ ') for step in idle)}."
    notes = tuple(f"{step.name.removeprefix('+ ')} changes nothing: {step.idle_reason}." for step in idle)
    table = Table(f"Ladder of {cell}", ("optimisation", "speed-up", "95 % from", "to", "effect"), cells, notes)
    return Chart(f"ladder-{cell}", f"What each optimisation adds: {cell}", how, spec, table, 3 * len(rows))
