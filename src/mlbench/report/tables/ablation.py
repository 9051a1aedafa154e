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

ORDER_NOTE = (
    "The ladder begins with what every textbook has and ends with what only measuring suggests; passes run in another order. Saves: memory "
    "of the runner without the optimisation, less that of the runner with it, exact to the byte. "
    "An optimisation that saves nothing here may still save where another one is off."
)
ROUNDING = 1e-9
"""By which a mean of logarithms may miss a whole number."""


def ablation_tables(found: Ablation) -> tuple[Table, Table]:
    """Return the effects of a cell, and the shares of its baseline's time."""
    return effects_table(found), shares_table(found)


def effects_table(found: Ablation) -> Table:
    """Return the effects of a cell as a table."""
    headers = ("runner", "speed-up", "95 % interval", "effect", "95 % interval", "verdict", "memory", "saves", "allocations")
    rows = tuple(
        (
            each.rung.label,
            format_ratio(each.total.estimate),
            format_interval(each.total),
            *_of_time(each),
            format_bytes(each.variant.memory_bytes),
            memory_verdict(each),
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
    notes += (ORDER_NOTE, *_idle_notes(found))
    if (found.baseline_faults or 0.0) >= 1:
        notes += (
            f"The baseline pays for {format_count(found.baseline_faults or 0.0)} page faults a call, which every runner with static "
            "buffers avoids: part of each speed-up over the baseline is the kernel's work. --heap kept measures without it.",
        )
    return Table(_title("Ablation of", found), headers, rows, (*notes, *_eviction(found)))


def effect_cells(effect: Effect) -> tuple[str, ...]:
    """Return an effect on time, its interval, the verdict, and the effect on memory."""
    return (*_of_time(effect), memory_verdict(effect))


def _of_time(effect: Effect) -> tuple[str, str, str]:
    if effect.is_idle:
        return "-", "-", _verdict(effect)
    return format_ratio(effect.effect.estimate), format_interval(effect.effect), _verdict(effect)


def memory_verdict(effect: Effect) -> str:
    """Return what the optimisation saves, exactly as recorded: bytes, with a minus where it costs them; `-` where nothing was recorded."""
    saved = effect.saved_bytes
    if saved is None:
        return "-"
    if saved == 0:
        return "no bytes"
    return format_bytes(saved) if saved > 0 else f"-{format_bytes(-saved)}"


def _idle_notes(found: Ablation) -> tuple[str, ...]:
    """Return why optimisations did nothing, each reason once with the runners that it is about."""
    reasons: dict[str, list[str]] = {}
    for each in found.effects:
        if each.idle_reason:
            reasons.setdefault(each.idle_reason, []).append(each.rung.label)
    return tuple(f"Nothing done in {', '.join(labels)}: {reason}." for reason, labels in reasons.items())


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
