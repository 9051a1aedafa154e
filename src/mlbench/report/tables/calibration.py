"""What a calibration found, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlbench.gate.calibration.false_alarms import SavedRun
from mlbench.gate.calibration.rates import Rate, Rates, Recombined
from mlbench.report import Table
from mlbench.units import format_duration

_NAMES = {"slower": "slower by", "bytes": "one more array", "allocation": "one more allocation", "nothing": "nothing"}


def calibration_tables(
    real: Rates | None,
    planted: Mapping[tuple[str, float], tuple[Rate, Rate]],
    same: Sequence[Recombined],
    power: Mapping[float, tuple[Rate, Rate]],
) -> tuple[Table, ...]:
    """Return the tables of false alarms and of what was found, as far as there is something in them."""
    alarms = []
    if real is not None:
        alarms += _alarms("real comparisons", real)
    for each in same:
        alarms += _alarms(f"recombined from {each.sets} sets{', arms exchanged' if each.exchanged else ', as they ran'}", each)
    found = [
        (_planted(kind, size), "real comparisons", *_cells(red), *_cells(still_open)) for (kind, size), (red, still_open) in planted.items()
    ]
    found += [
        (_planted("slower", size), "recombined", *_cells(red, bounds=False), *_cells(still_open, bounds=False))
        for size, (red, still_open) in power.items()
    ]
    tables = []
    if alarms:
        notes: tuple[str, ...] = (
            "Nothing was different, so every red row is a false alarm. 95 % bounds are exact (Clopper and Pearson) and need "
            "independent trials. Comparisons are independent; rows share their processes, and recombined suites their sets.",
        )
        if real is not None and real.spent_s:
            spent = sorted(real.spent_s)
            notes += (f"A comparison took {format_duration(spent[len(spent) // 2])} in the median, {format_duration(spent[-1])} at most.",)
        headers = ("False alarms", "of", "red", "share", "95 % bounds", "inconclusive", "share", "95 % bounds")
        tables.append(Table("The same version twice", headers, tuple(alarms), notes))
    if found:
        headers = ("Planted", "in", "found", "share", "95 % bounds", "inconclusive", "share", "95 % bounds")
        note = "Bounds treat the rows of a comparison as independent, although they share its processes."
        tables.append(Table("Planted slowdowns and allocations", headers, tuple(found), (note,)))
    return tuple(tables)


def saved_table(runs: Sequence[SavedRun], pairs: Sequence[SavedRun]) -> Table:
    """Return the table of saved runs of unchanged code, judged by us and by pytest-benchmark.

    Args:
        runs: each judged by the one baseline.
        pairs: every run judged by every other one.
    """
    rows = tuple(
        (each.name, each.judgement.verdict, str(each.red), str(each.still_open), str(len(each.judgement.rows)),
         f"{each.their_red} of {each.their_rows}" if each.their_rows else "-")
        for each in runs
    )  # fmt: skip
    headers = ("run", "our gate", "red rows", "inconclusive", "of", "red by min:10%")
    notes = (*_suites("Against the one baseline", runs), *_suites("Every run against every other one", pairs),
             "Pairs share their runs, and the runs their baseline, so these shares have no bounds.")  # fmt: skip
    return Table("Saved runs of unchanged code against one saved baseline", headers, rows, notes)


def _suites(what: str, runs: Sequence[SavedRun]) -> Iterator[str]:
    """Give how many runs are red, in doubt, and red by the other gate, which compares nothing in files of `mlbench run`."""
    counts = {"red": [run.red for run in runs], "inconclusive": [run.still_open for run in runs]}
    if any(run.their_rows for run in runs):
        counts["red by min:10%"] = [run.their_red for run in runs]
    for name, each in counts.items():
        count, share, _ = _cells(Rate(sum(number > 0 for number in each), len(each)), bounds=False)
        yield f"{what}: {count} runs {name} ({share})."


def _alarms(what: str, found: Rates | Recombined) -> list[tuple[str, ...]]:
    are_real = isinstance(found, Rates)
    return [
        ("suites", what, *_cells(found.red_suites, bounds=are_real), *_cells(found.open_suites, bounds=are_real)),
        ("rows", what, *_cells(found.red_rows, bounds=False), *_cells(found.open_rows, bounds=False)),
    ]


def _planted(kind: str, size: float) -> str:
    if kind == "slower":
        return f"{_NAMES[kind]} {100 * size:g} %"
    return f"{_NAMES[kind]} ({size:g} bytes)" if size else _NAMES[kind]


def _cells(rate: Rate, *, bounds: bool = True) -> tuple[str, str, str]:
    low, high = rate.bounds
    return f"{rate.found} of {rate.trials}", _percent(rate.share), f"{_percent(low)} to {_percent(high)}" if bounds else "-"


def _percent(share: float) -> str:
    """Return a share with as many decimals as a small one needs."""
    return "-" if share != share else f"{100 * share:.3g} %"  # noqa: PLR0124  # NaN is the only number unlike itself
