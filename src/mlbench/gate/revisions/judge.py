"""From a comparison's sets to its verdicts: latency by `mlbench.gate.paired`, memory by `weights`, and tests by how they ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlbench.gate import BROKEN, IMPROVED, INCONCLUSIVE, MISSING, NEW, PASS, REGRESSION, Finding, Judgement, Row, row_of
from mlbench.gate.paired import Effect, Standing, effect, may_go_on, standing
from mlbench.gate.revisions.footprints import wants_weight, weight_findings
from mlbench.gate.revisions.notes import notes
from mlbench.gate.revisions.outcomes import because, doubt_of_ends, is_no_benchmark, is_settled, last_line, verdict_of_ends
from mlbench.measure.stats import median
from mlbench.results.comparison import Comparison, PairedPolicy, Version, visits_by_row
from mlbench.results.samples import Visit
from mlbench.units import format_change, format_percent

_SUITE = "test"


def judge(comparison: Comparison) -> Judgement:
    """Return the verdict of every row of either version; rows that were not measured to the end are inconclusive."""
    visits = visits_by_row(comparison)
    base, head, known = comparison.base, comparison.head, set(comparison.rows)
    aside = {row for row in comparison.rows if is_no_benchmark(visits.get(row, ()))}
    rows = [_judge_row(row, visits.get(row, ()), comparison) for row in comparison.rows if row not in aside]
    rows += [_lacking(row, MISSING, head, base.unstable) for row in base.ids if row not in known]
    rows += [_lacking(row, NEW, base, base.unstable) for row in head.ids if row not in known]
    rows += [_one(file, REGRESSION, f"could not be collected in {head.revision}: {last_line(error)}")
             for file, error in head.errors.items() if file not in base.errors]  # fmt: skip
    rows += [_one(file, BROKEN, f"could not be collected in either version{because(error)}")
             for file, error in head.errors.items() if file in base.errors]  # fmt: skip
    return Judgement(_name(base), _name(head), tuple(rows), notes(comparison, rows, sorted(aside)))


def open_rows(comparison: Comparison) -> dict[str, bool]:
    """Return the rows that another set may settle, and of each whether its footprint is to be taken again.

    Open rows get their fresh sets in batches, so that they are not judged after each one.
    """
    found = {}
    visits = visits_by_row(comparison)
    for row in comparison.rows:
        mine = visits.get(row, [])
        if is_settled(mine) or len(mine) >= comparison.policy.most:
            continue
        needs_weight = wants_weight(mine)
        stand = standing_of(mine, comparison.policy)
        is_open = stand is None or (stand.verdict == INCONCLUSIVE and may_go_on(stand.sets, comparison.policy))
        if is_open or needs_weight:
            found[row] = needs_weight
    return found


def effects_of(visits: Sequence[Visit]) -> list[Effect]:
    """Return what each set found of a row, of those that measured it whole."""
    return [effect(each.rounds_s["base"], each.rounds_s["head"], each.rounds_s["control"]) for each in visits if each.is_whole]


def standing_of(visits: Sequence[Visit], policy: PairedPolicy) -> Standing | None:
    """Return where the latency of a row stands, or None where no set measured it."""
    effects = effects_of(visits)
    return standing(effects, policy) if effects else None


def standings(comparison: Comparison) -> dict[str, Standing]:
    """Return where the latency of each measured row stands."""
    found = {row: standing_of(mine, comparison.policy) for row, mine in visits_by_row(comparison).items()}
    return {row: stand for row, stand in found.items() if stand is not None}


def _judge_row(row: str, visits: Sequence[Visit], comparison: Comparison) -> Row:
    versions = (comparison.base.revision, comparison.head.revision)
    ended = verdict_of_ends(visits, versions)
    if ended is not None:
        return _one(row, *ended)
    stand = standing_of(visits, comparison.policy)
    if stand is None:
        exhausted = next((visit.exhausted for visit in visits if visit.exhausted), "")
        why = f"could not be called as often as one comparison needs: {exhausted}" if exhausted else "was not measured yet"
        return _one(row, INCONCLUSIVE, why, quantity="latency")
    doubt = doubt_of_ends(visits, versions)
    doubts = [Finding(_SUITE, INCONCLUSIVE, doubt)] if doubt else []
    return row_of(row, [_latency(visits, stand, comparison.policy), *weight_findings(visits), *doubts])


def _lacking(row: str, verdict: str, version: Version, unstable: Collection[str]) -> Row:
    """Return the row of a test that one version does not have, with the reason where its file has one."""
    file = row.partition("::")[0]
    if row in unstable or (verdict == NEW and _function(row) in {_function(each) for each in unstable}):
        return _one(row, INCONCLUSIVE, "its name changes from one process to the next, so that nothing can be compared with it; give its "
                                       "parameters names that stay (ids=)")  # fmt: skip
    if file in version.errors:  # in the head the file has a red row of its own
        verdict = INCONCLUSIVE if verdict == NEW else verdict
        return _one(row, verdict, f"its file could not be collected in {version.revision}{because(version.errors[file])}")
    if file in version.skipped:
        return _one(row, verdict, f"its file was skipped in {version.revision}{because(version.skipped[file])}")
    if _function(row) in {_function(each) for each in version.ids}:
        return _one(row, verdict, f"{version.revision} has this test with other parameters only")
    return _one(row, verdict, f"{version.revision} has no such benchmark")


def _latency(visits: Sequence[Visit], stand: Standing, policy: PairedPolicy) -> Finding:
    whole = [visit for visit in visits if visit.is_whole]
    before, change = median([median(visit.rounds_s["base"]) for visit in whole]), stand.change
    spread = f"{format_change(change.estimate)} ({format_change(change.low)} to {format_change(change.high)}, {stand.sets} sets)"
    noise = f"the base against itself differs by up to {format_percent(stand.noise)}"
    tolerated = format_change(1 + policy.tolerance)
    why = {
        PASS: f"{spread}: less than {format_change(1 + policy.limit)}",
        IMPROVED: f"{spread} is faster by more than the noise: {noise}",
        REGRESSION: f"{spread} is slower by more than {tolerated}, also in {stand.fresh} fresh sets alone; {noise}",
        INCONCLUSIVE: f"{spread} {_doubt(stand, policy, noise)}; {_wish(stand, policy, visits)}",
    }[stand.verdict]
    return Finding("latency", stand.verdict, why, before, before * change.estimate, "s", change, policy.tolerance)


def _doubt(stand: Standing, policy: PairedPolicy, noise: str) -> str:
    tolerated, limit = format_change(1 + policy.tolerance), format_change(1 + policy.limit)
    if stand.change.low <= 1 + policy.tolerance:
        return f"is neither surely less than {limit} nor surely more than {tolerated}"
    if stand.change.low <= 1 + stand.noise:
        return f"is more than {tolerated}, but not surely more than the noise: {noise}"
    alone = "alone have to confirm" if stand.sets < policy.least else "alone do not confirm so far"
    return f"looks slower by more than {tolerated}, which {max(stand.fresh, policy.least - policy.screen)} fresh sets {alone}"


def _wish(stand: Standing, policy: PairedPolicy, visits: Sequence[Visit]) -> str:
    if not may_go_on(stand.sets, policy) or len(visits) >= policy.most:
        return f"{policy.most} sets did not settle it: run it where less else runs, or with --most-sets {2 * policy.most}"
    once = ", because each can call the target only once" if any(visit.once for visit in visits) else ""
    return f"about {stand.missing} more sets of processes would settle it{once}"


def _function(row: str) -> str:
    """Return the name of a test without its parameters."""
    return row.partition("[")[0]


def _one(row: str, verdict: str, why: str, quantity: str = _SUITE) -> Row:
    return Row(row, verdict, (Finding(quantity, verdict, why),))


def _name(version: Version) -> str:
    commit, changed, _ = version.commit.partition("+")
    told = f"{commit[:9]} and changes" if changed else commit[:9]
    return version.revision if version.commit.startswith(version.revision) else f"{version.revision} ({told})"
