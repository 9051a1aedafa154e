"""What a reader of a comparison should know beside its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlbench.gate import INCONCLUSIVE, NEW, Row
from mlbench.gate.revisions.outcomes import because, last_line, told_of_base
from mlbench.results.comparison import Comparison, visits_by_row
from mlbench.results.samples import SKIPPED, UNUSED, Visit


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
               "calibration, and those rows should be red")  # fmt: skip
    for name, found in head.versions.items():
        old = base.versions.get(name, "none")
        if old != found:
            yield f"{name} {old} in {base.revision} and {found} in {head.revision}: what differs may be theirs"


def _of_files(comparison: Comparison) -> Iterator[str]:
    base, head = comparison.base, comparison.head
    for file, error in base.errors.items():
        if file not in head.errors:
            yield f"{file} could not be collected in {base.revision}{because(error)}"
    for file, reason in base.skipped.items():
        if file in head.skipped:
            yield f"{file} was skipped in both versions{because(reason)}"


def _of_rows(comparison: Comparison, rows: Sequence[Row], aside: Sequence[str]) -> Iterator[str]:
    base, head, visits = comparison.base, comparison.head, visits_by_row(comparison)
    yield from _of_aside(aside, visits)
    marked = [row for row in base.marked if row in head.marked]
    if marked:
        yield (f"{_some(marked)}: the mark `benchmark`, and no use of the fixture: pytest-benchmark does not measure that, and nothing "
               "here does")  # fmt: skip
    renamed = _renamed(base.ids, head.ids)
    if renamed:
        yield (f"{_some(renamed)}: the same tests in both versions, with other parameters; their rows are missing under the old names and "
               "new under the new ones, and nothing compares them")  # fmt: skip
    if not base.ids and not head.ids:
        yield "No test that was collected asks for the fixture `benchmark`: nothing was judged"
    elif rows and not comparison.rows and all(row.verdict == NEW for row in rows):
        yield (f"{base.revision} has none of the benchmarks of {head.revision}: nothing was compared, which is red; where these are the "
               "first ones, there is nothing to judge until the base has them")  # fmt: skip
    for row in rows:
        told = told_of_base(visits.get(row.id, ()), base.revision)
        if told and row.findings[0].quantity == "latency":
            yield f"{row.id} {told}; the other sets decide"
    coroutines = [row.id for row in rows if any(visit.coroutine for visit in visits.get(row.id, ()))]
    if coroutines:
        yield (f"{_some(coroutines)}: a call makes a coroutine and does not run it, so only its construction was timed; hand "
               "`benchmark` a function that runs it, such as asyncio.run")  # fmt: skip
    exhausted = [row.id for row in rows if any(visit.exhausted for visit in visits.get(row.id, ()))]
    if exhausted:
        why = next(visit.exhausted for visit in visits[exhausted[0]] if visit.exhausted)
        yield (f"{_some(exhausted)} cannot be called more often than the rounds of pedantic say ({last_line(why)}): later sets keep to "
               "these rounds and take no footprint")  # fmt: skip
    once = [row.id for row in rows if any(visit.once for visit in visits.get(row.id, ()))]
    if once:
        yield (f"{len(once)} of the targets may be called once only (pedantic with one round and no setup): each set of processes "
               "measures them by a single call, without a footprint, so they need more sets")  # fmt: skip


def _of_aside(aside: Sequence[str], visits: Mapping[str, Sequence[Visit]]) -> Iterator[str]:
    """Give a line for each reason why tests are no benchmarks in either version."""
    reasons: dict[str, list[str]] = {}
    for row in aside:
        how, why = visits[row][-1].ends.get("head", (UNUSED, ""))
        reasons.setdefault(f"skipped in both versions{because(why)}" if how == SKIPPED else "no call of `benchmark`", []).append(row)
    for reason, rows in reasons.items():
        yield f"{_some(rows)}: {reason}; not judged"


def _renamed(base: Sequence[str], head: Sequence[str]) -> list[str]:
    """Return the tests, without parameters, of which each version has a row that the other one lacks."""
    gone, come = ({row.partition("[")[0] for row in some if row not in others}
                  for some, others in ((base, frozenset(head)), (head, frozenset(base))))  # fmt: skip
    return [name for name in dict.fromkeys(row.partition("[")[0] for row in base) if name in gone & come]


def _of_the_end(comparison: Comparison, rows: Sequence[Row]) -> Iterator[str]:
    if comparison.is_complete:
        return
    yield "Broken off: what was still open counts as inconclusive; --resume goes on"
    if comparison.trouble:
        yield f"The last set could not be measured: {comparison.trouble}"
    slower = [row.id for row in rows for each in row.findings
              if each.verdict == INCONCLUSIVE and each.change is not None and each.change.low > 1]  # fmt: skip
    if slower:
        yield (f"{_some(slower)} looked slower, and the fresh sets that would confirm or clear it were not measured")  # fmt: skip


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
