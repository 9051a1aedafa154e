"""What a reader of a comparison should know beside its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlbench.ab.ends import because, last_line, told_of_base
from mlbench.ab.records import Comparison, visits_by_row
from mlbench.gate import INCONCLUSIVE, NEW, Row


def notes(comparison: Comparison, rows: Sequence[Row], aside: Sequence[str]) -> tuple[str, ...]:
    """Return the notes on a comparison.

    Args:
        comparison: that is judged.
        rows: as they were judged.
        aside: tests that are no benchmark in either version.
    """
    return (*_of_versions(comparison), *_of_files(comparison), *_of_rows(comparison, rows, aside), *_of_the_end(comparison, rows))


def _of_versions(comparison: Comparison) -> Iterator[str]:
    base, head = comparison.base, comparison.head
    if base.commit == head.commit:
        yield "Both versions are the same: this is an A/A comparison"
    if comparison.plants:
        yield (f"Slowdowns or allocations were planted in {len(comparison.plants)} rows to see whether they are found: this is a "
               "calibration, and those rows are to be red")  # fmt: skip
    for name, found in head.versions.items():
        old = base.versions.get(name, "none")
        if old != found:
            yield f"{name} {old} in {base.revision} and {found} in {head.revision}: what differs may be theirs"


def _of_files(comparison: Comparison) -> Iterator[str]:
    base, head = comparison.base, comparison.head
    for file, error in base.errors.items():
        where = "either version" if file in head.errors else base.revision
        yield f"{file} could not be collected in {where}: {last_line(error)}"
    for file, reason in base.skipped.items():
        if file in head.skipped:
            yield f"{file} was skipped in both versions{because(reason)}"


def _of_rows(comparison: Comparison, rows: Sequence[Row], aside: Sequence[str]) -> Iterator[str]:
    base, head, visits = comparison.base, comparison.head, visits_by_row(comparison)
    if aside:
        yield f"{_some(aside)}: skipped in both versions, or without a call of `benchmark`, and not judged"
    if not base.ids and not head.ids:
        yield "No test that was collected asks for the fixture `benchmark`: nothing was judged"
    elif rows and not comparison.rows and all(row.verdict == NEW for row in rows):
        yield (f"{base.revision} has none of the benchmarks of {head.revision}: nothing was compared, which is red; where these are the "
               "first ones, there is nothing to judge until the base has them")  # fmt: skip
    for row in rows:
        told = told_of_base(visits.get(row.id, ()), base.revision)
        if told and row.findings[0].quantity == "latency":
            yield f"{row.id} {told}; the other sets decide"
    once = [row.id for row in rows if any(visit.once for visit in visits.get(row.id, ()))]
    if once:
        yield (f"{len(once)} of the targets may be called once only (pedantic with one round and no setup): each set of processes measures "
               "them by a single call, without a footprint, so that they need more sets")  # fmt: skip


def _of_the_end(comparison: Comparison, rows: Sequence[Row]) -> Iterator[str]:
    if comparison.is_complete:
        return
    yield "Broken off: what was still open counts as inconclusive; --resume goes on"
    if comparison.trouble:
        yield f"The last set could not be measured: {comparison.trouble}"
    slower = [row.id for row in rows for each in row.findings
              if each.verdict == INCONCLUSIVE and each.change is not None and each.change.low > 1]  # fmt: skip
    if slower:
        yield (f"{_some(slower)} looked slower, and the fresh sets that confirm it or clear it were not measured")  # fmt: skip


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
