"""The sections about what the compiler does to a network: step by step, what each pass is worth, values, and passes to switch."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mlbench.report import Figure
from mlbench.report.charts import ladder_chart
from mlbench.report.charts.ablation import steps_of
from mlbench.report.charts.steps import steps_charts
from mlbench.report.page.section import Section, Widget
from mlbench.report.tables.ablation import effect_cells, effects_table
from mlbench.results.ablation import Ablation
from mlbench.results.explanation import UNMOVED, Counts, Explanation, Flow, Shown, Switches
from mlbench.results.listing import Listing
from mlbench.results.reasons import in_a_line
from mlbench.units import format_bytes

_RUNGS = (("+ ", "added to those before it on the ladder"), ("only ", "alone"), ("all but ", "taken from all of them"))
_LADDER = (
    "The ladder begins with what every textbook has and ends with what only measuring suggests, which is not the order in which passes "
    "run. So each pass is measured in three ways: added to those before it, alone, and taken from all of them."
)


def explained(found: Explanation, prefix: str = "", ablation: Ablation | None = None) -> tuple[Section, ...]:
    """Return the sections about a network.

    Args:
        found: what the compiler did to it.
        prefix: of the addresses, so that a page may have several.
        ablation: of the same cell from another file, where it has none of its own.
    """
    measured = found.ablation or ablation
    data = _data(found, measured)
    shown = "Not all" if found.code else "No"
    introduction = (*_INTRODUCTION, f"{shown} instructions are shown, because {found.code_gap}.") if found.code_gap else _INTRODUCTION
    name = found.cell
    parts = [
        Section(f"{prefix}steps", f"Step by step: {name}", introduction, widget=Widget("steps", found, data, prefix)),
        Section(
            f"{prefix}totals", f"All steps: {name}", (), steps_charts(found, prefix), figures=figures_of(found), folded=_idle_passes(found)
        ),
        _worth(found, measured, prefix),
        Section(f"{prefix}values", f"Values on their way: {name}", _flow_text(found), widget=Widget("values", found, {}, prefix)),
    ]  # fmt: skip
    if found.switches is not None:
        text = (_compiled(found.switches), f"Left out, because they change nothing here: {', '.join(found.switches.fixed)}.")
        parts.append(
            Section(f"{prefix}switches", f"Switch passes: {found.switches.network}", text, widget=Widget("switches", found, data, prefix))
        )
    if found.code:
        parts.append(Section(f"{prefix}code", f"Generated code: {name}", _CODE, widget=Widget("code", found, data, prefix)))
    return tuple(parts)


def _compiled(switches: Switches) -> str:
    """Return which subsets were compiled."""
    if not switches.subsets:
        return f"Every subset of the passes was compiled when this page was made, for {switches.network}."
    return (
        f"{len(switches.subsets)} of the {2 ** len(switches.names):,} subsets of the passes were compiled when this page was made, for "
        f"{switches.network}: all passes, no pass, all but one, one alone, the first ones in the order in which they run, and the first "
        "ones in the order of the ablation's ladder. The others would take too long and too much room; of one of them the page has the "
        "command that tells of it."
    )


def _idle_passes(found: Explanation) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the passes that change nothing, with their reasons, as a list to open."""
    idle = [step for step in found.steps if step.is_idle]
    if not idle:
        return ()
    lines = tuple(f"{step.name}: {in_a_line(step.reasons)}" for step in idle)
    return ((f"Changed nothing: {', '.join(step.name for step in idle)} (why)", lines),)


def figures_of(found: Explanation) -> tuple[Figure, ...]:
    """Return what all passes come to, and which of them saves most memory."""
    first, last = found.states[0], found.states[found.steps[-1].state] if found.steps else found.states[0]
    was, now = (state.read_bytes + state.written_bytes for state in (first, last))
    figures = [Figure(f"{format_bytes(was)} to {format_bytes(now)}", "Bytes that a call moves at least", _moved(was, now))]
    counted = [each for each in (found.counts, *(step.counts for step in found.steps)) if each is not None]
    if found.steps and len(counted) == 1 + len(found.steps):
        sizes = [each.memory_bytes for each in counted]
        steps = [(before - after, step.name) for before, after, step in zip(sizes[:-1], sizes[1:], found.steps, strict=True)]
        figures.append(Figure(f"{format_bytes(sizes[0])} to {format_bytes(sizes[-1])}", "Memory: peak of a call and bytes held",
                              _saved(steps)))  # fmt: skip
        figures.append(
            Figure(f"{counted[0].calls:,} to {counted[-1].calls:,}", "Calls from Python in a call of the runner", _allocations(counted))
        )
    return tuple(figures)


def _saved(steps: Sequence[tuple[int, str]]) -> str:
    """Return which pass saves most bytes, and which one takes most."""
    (saved, saver), (least, taker) = max(steps), min(steps)
    saves = f"{saver} saves most, {format_bytes(saved)}" if saved > 0 else "no pass saves any"
    return f"{saves}; {taker} takes most, {format_bytes(-least)}" if least < 0 else saves


def _moved(was: int, now: int) -> str:
    again = "; each tile reads the weights again, from the cache" if now > was else ""
    return f"as written, and after all steps{again}"


def _allocations(counted: Sequence[Counts]) -> str:
    first, last = counted[0].allocations, counted[-1].allocations
    return "" if first is None or last is None else f"allocations: {first:,} to {last:,}"


_CODE = (
    "A product is computed in blocks that stay in registers. These are the instructions of one block of each product. "
    "Row, k and columns are those of the block and of the panel; k moves on by the turns of the loop.",
    "A sweep computes what is not a product, one row after the other. These are the instructions of one row of each sweep. "
    "c is the first column of a turn of the loop; t1, t2 and so on are numbers that stay in registers.",
)
_INTRODUCTION = (
    "Move through the passes by the slider, by the buttons, or with the arrow keys while one of them has the focus. The address of the "
    "page names the step.",
)


def _data(found: Explanation, ablation: Ablation | None) -> Mapping[str, Any]:
    """Return what the page's script needs."""
    data = dataclasses.asdict(found)
    for name in ("flow", "ablation", "network", "code"):
        del data[name]
    code = [_walked(each) for each in found.code]
    worth = {} if ablation is None else worth_of(ablation)
    return {**data, "code": code, "worth": worth, "again": _again(found.measure), "unmoved": f"{UNMOVED[:1].upper()}{UNMOVED[1:]}"}


def _walked(listing: Listing) -> Mapping[str, Any]:
    """Return what a walk through a listing needs and its table has not: the register that each instruction writes, and what it has then."""
    written = [(each.register, each.holds) for each in listing.instructions]
    return {
        "written": written, "registers": listing.registers, "loops": [listing.loop, *listing.other_loops], "over": listing.over,
    }  # fmt: skip


def _again(measure: str) -> str:
    """Return the command that prints an explanation, from the one that measures it: without what it writes and measures.

    >>> _again("mlbench explain 'my net.onnx' --html page.html --batch 8 --json=a.json --measure")
    "mlbench explain 'my net.onnx' --batch 8"
    """
    words = shlex.split(measure)
    kept = [
        word
        for before, word in zip(["", *words[:-1]], words, strict=True)
        if word.partition("=")[0] not in _PLACES and before not in _PLACES and word != "--measure"
    ]
    return shlex.join(kept)


_PLACES = ("--html", "--json")


def worth_of(ablation: Ablation) -> dict[str, list[list[str]]]:
    """Return for each pass its three comparisons: what was compared, effect, interval, verdict, memory."""
    found: dict[str, list[list[str]]] = {}
    for effect in ablation.effects:
        how = next((text for beginning, text in _RUNGS if effect.rung.label.startswith(beginning)), "")
        if how:
            found.setdefault(effect.rung.optimisation, []).append([how, *effect_cells(effect)])
    return found


def _worth(found: Explanation, ablation: Ablation | None, prefix: str) -> Section:
    """Return what each pass is worth, or which command would measure it."""
    title = f"What each pass is worth: {found.cell}"
    if ablation is None:
        return Section(f"{prefix}worth", title, command=found.measure)
    chart = ladder_chart(ablation.cell, steps_of(ablation))
    charts = () if chart is None else (dataclasses.replace(chart, name=f"{prefix}{chart.name}"),)
    return Section(f"{prefix}worth", title, (_LADDER,), charts, (effects_table(ablation),))


def pairs_of(flow: Flow) -> list[tuple[str, Shown | None, Shown | None]]:
    """Return each value with what the eager runner and the compiled one have of it, in the order in which they are bound."""
    eager, compiled = ({each.name: each for each in values} for values in (flow.eager, flow.compiled))
    names = list(eager)
    for place, name in enumerate(compiled):
        if name not in eager:
            before = [each for each in list(compiled)[:place] if each in names]
            names.insert(names.index(before[-1]) + 1 if before else 0, name)
    return [(name, eager.get(name), compiled.get(name)) for name in names]


def _flow_text(found: Explanation) -> tuple[str, ...]:
    flow = found.flow
    return (
        f"The first rows of the input go through both runners; at most {flow.columns} numbers of each are shown. The eager runner makes a "
        "new array for every value. The compiled one writes into its arena, where values share bytes.",
        f"At the end the eager result is at most {flow.eager_error} from float64, the compiled one {flow.compiled_error}. "
        f"Rounding explains up to {flow.tolerance} there.",
        "Values between are computed by NumPy from the graph as it runs, because generated code keeps them in registers and the arena "
        "overwrites them. The results are those of the runners themselves.",
    )
