"""What was measured of the runtimes, for people: times, bytes, the headline, and how well two runs agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mlbench.measure import describe
from mlbench.measure.stats import FEWEST_PROCESSES, Interval, geometric_mean, geometric_mean_interval, median
from mlbench.report import Table, format_interval, render
from mlbench.results.peers import MEASURED, OURS, SLOW, WRONG, Outcome, PeerCell, PeerResult
from mlbench.units import format_bytes, format_duration, format_percent, format_ratio, paragraph

FASTEST = "*"


def peers_text(result: PeerResult, *, colour: bool) -> str:
    """Return everything a person should see of a result."""
    made = [times_table(result)] if result.cells else []
    made += [batches_table(result)] if any(cell.ratio is not None for cell in result.cells) else []
    made += [bytes_table(result)] if any(cell.weighed for cell in result.cells) else []
    tables = [render(table, colour=colour) for table in made]
    return "\n\n".join([f"$ {result.command}   ({result.date})", *tables, headline(result), runtimes_text(result)])


def times_table(result: PeerResult) -> Table:
    """Return seconds per call, a row a cell, and how far ours is ahead."""
    names = _present(result)
    rows = []
    for cell in result.cells:
        ratio = cell.ratio
        ends = ("-", "-", "-")
        if ratio is not None:
            ends = (str(cell.fastest_peer), format_ratio(ratio.estimate), format_interval(ratio))
        rows.append((cell.name, *(_time(cell, name) for name in names), *ends))
    notes = [
        "Time of a call, inputs-hidden-outputs and batch, over rounds in which the runtimes alternated: the geometric mean of the "
        f"processes' medians. {FASTEST} is the fastest. peer / ours: the fastest peer of the cell over ours, above 1 ours is "
        "faster; the interval is Student's over sets of processes.",
    ]
    if any(each.state == SLOW for cell in result.cells for each in cell.outcomes.values()):
        notes.append("~: one sample by itself; a call takes too long for turns, or 100 times the fastest one's, and is not timed further.")
    notes += [
        f"{name} had turns in {sets} of {most} sets, because it was too far behind the fastest peer: {', '.join(cells)}."
        for (name, sets, most), cells in _left(result).items()
    ]
    notes += [
        f"{name} with {chosen}, which was faster there than its usual settings: {', '.join(cells)}."
        for (name, chosen), cells in _chosen(result).items()
    ]
    notes += [
        f"{cell.name}, {name}: {each.detail}" for cell in result.cells for name, each in cell.outcomes.items() if _is_worth_a_note(each)
    ]
    return Table("Runtimes", ("cell", *names, "fastest peer", "peer / ours", "95 % interval"), tuple(rows), tuple(notes))


def batches_table(result: PeerResult) -> Table:
    """Return the geometric mean of fastest peer / ours, the worst cell and how many are behind, for each batch size and for all."""
    found = [cell for cell in result.cells if cell.ratio is not None]
    groups = {
        str(batch): [cell for cell in found if cell.cell["batch"] == batch] for batch in sorted({each.cell["batch"] for each in found})
    }
    rows = []
    for batch, cells in {**groups, "all": found}.items():
        mean, (worst, ratio) = _mean(cells), _worst(cells)
        behind = _behind(cells)
        rows.append((batch, str(len(cells)), format_ratio(mean.estimate), format_interval(mean), f"{format_ratio(ratio.estimate)} {worst}",
                     str(sum(each.ratio is not None and each.ratio.estimate < 1 for each in cells)), str(len(behind))))  # fmt: skip
    note = (
        "Fastest peer / ours over the cells of a batch size, and over all. Below 1.00x ours is slower; the last column counts the cells "
        "whose interval excludes 1 as well."
    )
    headers = ("batch", "cells", "geometric mean", "95 % interval", "worst cell", "below 1.00x", "and excludes 1")
    return Table("By batch size", headers, tuple(rows), (note,))


def bytes_table(result: PeerResult) -> Table:
    """Return bytes, a row a cell: the peak of a call and what is held between calls."""
    names = _present(result)
    rows = tuple(
        (cell.name, *(_bytes(cell.outcomes.get(name)) for name in names), _without_copies(cell.outcomes.get(OURS))) for cell in result.cells
    )
    notes = (
        "Peak of a call + held between calls, outputs included, by memray. Neither contains the input or one set of weights. A "
        "peer holds what it allocated from before it was built until after its first calls: its arena, packed weights, compiled "
        "code, a bound output. What a library keeps for its whole process, such as the workspace of a BLAS, is set up before and "
        "counts for no runtime. Ours holds its arena, with the output, code, operands and copies of weights, on top of the "
        "model's own; the last column is without these copies.",
    )
    return Table("Bytes", ("cell", *names, f"{OURS} without copies"), rows, notes)


def headline(result: PeerResult) -> str:
    """Return the geometric mean of fastest peer / ours, the worst cell, and how far apart the processes were."""
    found = [cell for cell in result.cells if cell.ratio is not None]
    if not found:
        return "No cell has both ours and a peer, so there is no ratio to state."
    mean, (worst, ratio) = _mean(found), _worst(found)
    ahead = sum(cell.ratio is not None and cell.ratio.estimate >= 1 for cell in found)
    behind = _behind(found)
    text = (
        f"Fastest peer / ours over {len(found)} cells: geometric mean {format_ratio(mean.estimate)} "
        f"(95 % interval {format_interval(mean)}). Ours is at least as fast in {ahead} of them; the worst is "
        f"{format_ratio(ratio.estimate)} ({worst}). "
    )
    text += f"Ours is slower, with an interval that excludes 1, in {len(behind) or 'none'} of them{': ' * bool(behind)}{', '.join(behind)}."
    spreads = [cell.spread for cell in found if cell.spread is not None]
    if spreads:
        text += (
            f" The ratios of {mean.processes} sets of processes differ by {_excess(median(spreads))} in the median cell and by "
            f"{_excess(max(spreads))} at most."
        )
    else:
        text += f" One set of processes hides its own bias; take {FEWEST_PROCESSES} or more."
    return paragraph(text)


def _mean(cells: Sequence[PeerCell]) -> Interval:
    """Return the geometric mean of fastest peer / ours over cells that have it."""
    return geometric_mean_interval([cell.sets(str(cell.fastest_peer)) for cell in cells])


def _worst(cells: Sequence[PeerCell]) -> tuple[str, Interval]:
    """Return the cell with the smallest fastest peer / ours, of cells that have it."""
    ratios = {cell.name: cell.ratio for cell in cells if cell.ratio is not None}
    return min(ratios.items(), key=lambda each: each[1].estimate)


def _behind(cells: Sequence[PeerCell]) -> list[str]:
    """Return the cells in which ours is slower than the fastest peer, with an interval that excludes 1."""
    return [cell.name for cell in cells if cell.ratio is not None and cell.ratio.high < 1]


def runtimes_text(result: PeerResult) -> str:
    """Return versions and settings of each runtime, what is missing, and the machine."""
    lines = []
    for each in result.runtimes:
        told = f"{each.missing}" if each.missing else "; ".join(part for part in (each.versions, each.settings) if part)
        lines.append(paragraph(f"  {each.name}: {told}", "    "))
    return "\n".join(["Runtimes:", *lines, "", paragraph(f"Machine: {describe(result.environment)}", "         ")])


def compare_table(one: PeerResult, other: PeerResult) -> Table:
    """Return how the ratios of two runs differ, a row for each cell that both have."""
    theirs = {cell.name: cell for cell in other.cells}
    rows, changes = [], []
    for cell in one.cells:
        again = theirs.get(cell.name)
        a, b = cell.ratio, None if again is None else again.ratio
        if again is None or a is None or b is None:
            continue
        change = b.estimate / a.estimate
        changes.append(change)
        peers = " / ".join(dict.fromkeys((str(cell.fastest_peer), str(again.fastest_peer))))
        meet = "yes" if max(a.low, b.low) <= min(a.high, b.high) else "no"
        rows.append((cell.name, format_ratio(a.estimate), format_ratio(b.estimate), f"{change:.3f}", meet, peers))
    headers = ("cell", "first", "second", "second / first", "intervals meet", "fastest peer")
    return Table("Two runs", headers, tuple(rows), _agreement(changes, one, other))


def _agreement(changes: Sequence[float], one: PeerResult, other: PeerResult) -> tuple[str, ...]:
    if not changes:
        return ("No cell has a ratio in both files.",)
    sizes = [max(change, 1 / change) for change in changes]
    mean = geometric_mean(changes)
    notes = [
        f"Fastest peer / ours in two runs. They differ by {_excess(median(sizes))} in the median cell and by {_excess(max(sizes))} at "
        f"most; their geometric means by {_excess(max(mean, 1 / mean))}."
    ]
    if one.environment != other.environment:
        notes.append("The two environments differ: machine, software or threads.")
    return tuple(notes)


def _present(result: PeerResult) -> list[str]:
    return [each.name for each in result.runtimes if each.missing is None]


def _time(cell: PeerCell, name: str) -> str:
    outcome = cell.outcomes.get(name)
    if outcome is None:
        return "-"
    seconds = outcome.time_s
    if seconds is None:
        return outcome.state
    timed = [each.time_s for each in cell.outcomes.values() if each.state == MEASURED and each.time_s is not None]
    mark = FASTEST if outcome.state == MEASURED and seconds == min(timed) else ""
    return f"{'~' if outcome.state == SLOW else ''}{format_duration(seconds)}{mark}"


def _chosen(result: PeerResult) -> dict[tuple[str, str], list[str]]:
    """Return in which cells a runtime was measured with which of its documented switches, or a warm heap."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in result.cells:
        for name, each in cell.outcomes.items():
            if each.chosen:
                found.setdefault((name, each.chosen), []).append(cell.name)
    return found


def _left(result: PeerResult) -> dict[tuple[str, int, int], list[str]]:
    """Return in which cells a runtime had turns in how many sets of how many."""
    found: dict[tuple[str, int, int], list[str]] = {}
    for cell in result.cells:
        for name, sets in cell.left.items():
            found.setdefault((name, sets, cell.processes), []).append(cell.name)
    return found


def _is_worth_a_note(outcome: Outcome) -> bool:
    return bool(outcome.detail) and outcome.state != SLOW


def _bytes(outcome: Outcome | None) -> str:
    if outcome is None or outcome.state == WRONG or outcome.peak_bytes is None or outcome.held_bytes is None:
        return "-"
    return f"{format_bytes(outcome.peak_bytes)} + {format_bytes(outcome.held_bytes)}"


def _without_copies(outcome: Outcome | None) -> str:
    if outcome is None or outcome.weight_copies is None or outcome.held_bytes is None:
        return "-"
    return _bytes(dataclasses.replace(outcome, held_bytes=outcome.held_bytes - outcome.weight_copies))


def _excess(ratio: float) -> str:
    """Return how far a ratio of 1 or more lies above 1."""
    return format_percent(ratio - 1)
