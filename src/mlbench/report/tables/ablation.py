"""An ablation as tables: what each optimisation is worth, and where the baseline's time goes."""

from __future__ import annotations

import math

from mlbench.report import Table, format_interval
from mlbench.results.ablation import Ablation, Effect
from mlbench.units import format_bytes, format_count, format_duration, format_percent, format_ratio

_SHARES = (
    ("products", "matrix products"),
    ("elementwise", "element-wise passes"),
    ("allocation", "allocation and page faults"),
    ("calls", "call overhead"),
)

ROUNDING = 1e-9
"""By which a mean of logarithms may miss a whole number."""


def ablation_tables(found: Ablation) -> tuple[Table, Table]:
    """Return the effects of a cell, and the shares of its baseline's time."""
    return effects_table(found), shares_table(found)


def effects_table(found: Ablation) -> Table:
    """Return the effects of a cell as a table."""
    headers = ("runner", "speed-up", "95 % interval", "effect", "95 % interval", "verdict", "memory", "allocations")
    rows = tuple(
        (
            each.rung.label,
            format_ratio(each.total.estimate),
            format_interval(each.total),
            "-" if each.is_idle else format_ratio(each.effect.estimate),
            "-" if each.is_idle else format_interval(each.effect),
            _verdict(each),
            format_bytes(each.variant.memory_bytes),
            "-" if each.variant.allocations is None else str(each.variant.allocations),
        )
        for each in found.effects
    )
    calls = found.break_even_calls
    earned = "never" if calls is None else f"after {format_count(math.ceil(calls * (1 - ROUNDING)))} calls"
    notes: tuple[str, ...] = (
        f"Baseline: {format_duration(found.baseline_s)} a call. Speed-up: baseline / this runner. Effect: the same runner "
        "without the optimisation / with it; above 1 it helps.",
        f"Two identical baselines differed by up to {100 * (found.noise - 1):.1f} % here. An effect counts only if its whole "
        f"interval is on one side of 1 and farther away than that. Compiling everything took {format_duration(found.compile_s)}; "
        f"that is earned back {earned}.",
    )
    if (found.baseline_faults or 0.0) >= 1:
        notes += (
            f"The baseline pays for {format_count(found.baseline_faults or 0.0)} page faults a call, which every runner with static "
            "buffers avoids: part of each speed-up over the baseline is the kernel's work. --heap kept measures without it.",
        )
    return Table(_title("Ablation of", found), headers, rows, (*notes, *_eviction(found)))


def shares_table(found: Ablation) -> Table:
    """Return where the time of the baseline goes, as a table whose shares add up."""
    shares = found.shares
    rows = tuple(
        (said, format_percent(share := getattr(shares, name)), format_duration(share * found.baseline_s)) for name, said in _SHARES
    )
    notes = (
        "Each part is a difference between programs that alternate with the baseline and differ from it by one thing each. Matrix "
        "products: the products alone, into existing results. Element-wise passes: what the other operations add. Allocation: "
        "what the baseline takes beyond both, minus what small arrays take. Call overhead: the same calls on a model whose every "
        "size is 1, small arrays included; it is subtracted from the others.",
        *(
            f"{said} came out at {100 * shares.below_zero[name]:.1f} % of a call, which is noise or a side effect on the "
            "caches; it counts as 0, and the others are scaled to add up."
            for name, said in _SHARES
            if name in shares.below_zero
        ),
    )
    total = ("all of a call", format_percent(1.0), format_duration(found.baseline_s))
    return Table(_title("Where the baseline's time goes in", found), ("part", "share", "time"), (*rows, total), (*notes, *_eviction(found)))


def _title(what: str, found: Ablation) -> str:
    return f"{what} {found.cell}" + (", cold caches" if found.evicted_bytes is not None else "")


def _eviction(found: Ablation) -> tuple[str, ...]:
    return (f"Cold caches. {found.eviction}",) if found.eviction else ()


def _verdict(effect: Effect) -> str:
    if effect.is_idle:
        return "does nothing here"
    if not effect.is_beyond_noise:
        return "within noise"
    return "helps" if effect.effect.estimate > 1 else "hurts"
