"""`mlbench baseline`: replace a baseline, on request only, add runs to it, and show what was accepted into it."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlbench.cli.gate import add_files, judge_files
from mlbench.cli.judgement import add_inconclusive
from mlbench.cli.options import EXIT_DONE, Commands, remark, say, say_for_people, wrapped
from mlbench.errors import FileError, UsageError
from mlbench.files import check_place
from mlbench.gate import EXIT_PASS, OPEN, RED, Judgement
from mlbench.measure import describe
from mlbench.report import Table, render, result_text, verdict_text
from mlbench.results import COMPLETE, Accepted, Result, load, now, save, with_run
from mlbench.studies.cases import case_of, flame_graph
from mlbench.studies.driver import check_same_environment
from mlbench.studies.flame_graphs import folder_of


def add(commands: Commands) -> None:
    """Add the command and its two verbs."""
    parser = commands.add_parser(
        "baseline",
        help="replace a baseline on request, add a run to one, or show one",
        description=wrapped("A baseline is a saved result that later ones are judged by. Only this command replaces it."),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="what to do", required=True, metavar="VERB")
    _add_update(verbs)
    _add_add(verbs)
    shown = verbs.add_parser("show", help="print a baseline and what was accepted into it", description="Print a baseline.")
    shown.add_argument("baseline", type=Path, metavar="BASELINE", help="the file")
    shown.set_defaults(act=_show)


def _add_update(verbs: Commands) -> None:
    update = verbs.add_parser(
        "update",
        help="replace a baseline by a new result",
        description=wrapped(
            "Replace a baseline, or make the first one. A result that is worse in a row, lacks a row, or is inconclusive is "
            "refused. --force accepts such rows by name, and needs a reason, which the baseline stores."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench baseline update baseline.json now.json
              mlbench baseline update baseline.json now.json --force optimized-b8-h64 --reason 'the new layout needs a copy'

            exit codes: 0 replaced, 1 refused: worse or missing, 2 usage or unreadable input, 3 refused: inconclusive"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_files(update)
    add_inconclusive(update)
    update.add_argument("--force", action="extend", nargs="+", default=[], metavar="ROW", help="accept this row although it is red")
    update.add_argument("--reason", metavar="TEXT", help="why, stored in the baseline")
    update.add_argument("--graphs", action="store_true", help="store flame graphs of its cases next to it, for a later red gate")
    update.set_defaults(act=_update)


def _add_add(verbs: Commands) -> None:
    more = verbs.add_parser(
        "add",
        help="add one more run of the same version to a baseline",
        description=wrapped(
            "Add a run of the same version on the same machine to a baseline. From three runs on, the gate measures how much runs "
            "differ instead of assuming it. A run that is worse than the baseline in a row, or lacks one, is refused: make a new "
            "baseline."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench baseline update baseline.json one.json
              mlbench baseline add baseline.json two.json && mlbench baseline add baseline.json three.json

            exit codes: 0 added, 1 refused: worse or missing, 2 usage or unreadable input, 3 refused: inconclusive"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_files(more)
    add_inconclusive(more)
    more.set_defaults(act=_add)


def _add(options: argparse.Namespace) -> int:
    check_place(options.baseline)
    judged, before, after = judge_files(options)
    _check_whole(options.current, after)
    check_same_environment(options.baseline, before.environment, after.environment)
    passes = options.inconclusive == "pass"
    code = judged.exit_code(inconclusive_passes=passes)
    if code != EXIT_PASS:
        say(verdict_text(judged, colour=sys.stdout.isatty(), inconclusive_passes=passes))
        remark(f"{options.current} was not added to {options.baseline}, because they differ")
        return code
    together = with_run(before, after)
    runs = len(together.measurements[0].runs)
    say(f"Baseline: {save(together, options.baseline)}, {runs} runs")
    return EXIT_DONE


def _update(options: argparse.Namespace) -> int:
    check_place(options.baseline)
    if bool(options.force) != bool((options.reason or "").strip()):
        raise UsageError("--force ROW and --reason TEXT belong together: a row is forced by name, and its reason is stored")
    after = load(options.current)
    _check_whole(options.current, after)
    accepted: tuple[Accepted, ...] = ()
    if options.baseline.exists():
        judged, before, after = judge_files(options)
        accepted = before.accepted
        forced = _forced(judged, options.force)
        left = [row for row in judged.rows if row.verdict in (*RED, *OPEN) and row.id not in options.force]
        code = replace(judged, rows=tuple(left)).exit_code(inconclusive_passes=options.inconclusive == "pass") if left else EXIT_PASS
        say(verdict_text(judged, colour=sys.stdout.isatty(), inconclusive_passes=options.inconclusive == "pass"))
        if code != EXIT_PASS:
            _refuse([row.id for row in left], options)
            return code
        accepted += tuple(Accepted(name, why, options.reason, now()) for name, why in forced)
    elif options.force:
        raise UsageError(f"--force: {options.baseline} does not exist, so nothing in it can be worse")
    say(f"Baseline: {save(replace(after, accepted=accepted), options.baseline)}")
    if options.graphs:
        _keep_graphs(after, options.baseline)
    return EXIT_DONE


def _refuse(names: Sequence[str], options: argparse.Namespace) -> None:
    remark(
        f"{options.baseline} was not replaced, because of {', '.join(names)}; fix the cause, or accept each by name: --force "
        f"{' '.join(names)} --reason TEXT"
    )


def _check_whole(path: Path, result: Result) -> None:
    """Refuse a result that cannot be a baseline, forced or not."""
    halves = [each.case["id"] for each in result.measurements if each.status != COMPLETE]
    if halves or result.status != COMPLETE:
        raise FileError(f"{path}: is no baseline, because it is not complete ({', '.join(halves) or result.status}); measure it again")


def _forced(judged: Judgement, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and reason of the gate for each row that is forced."""
    doubtful = {row.id: row.why for row in judged.rows if row.verdict in (*RED, *OPEN)}
    for name in names:
        if name not in doubtful:
            raise UsageError(f"--force {name}: this row is not red; red are {', '.join(doubtful) or 'none'}")
    return [(name, doubtful[name]) for name in dict.fromkeys(names)]


def _keep_graphs(result: Result, baseline: Path) -> None:
    for each in result.measurements:
        try:
            case = case_of(each.case)
        except UsageError:
            continue  # a callable of somebody's, which is not at hand here
        flame_graph(case, folder_of(baseline))
    say(f"Flame graphs: {folder_of(baseline)}")


def _show(options: argparse.Namespace) -> int:
    found = load(options.baseline)
    rows = tuple((each.id, each.date, each.reason, each.why) for each in found.accepted)
    accepted = Table("Accepted although it was red", ("row", "date", "reason", "why it was red"), rows)

    def text(*, colour: bool) -> str:
        machine = f"Machine of the baseline: {describe(found.environment)}"
        told = render(accepted, colour=colour) if rows else "No red row was accepted into it."
        return "\n\n".join([result_text(found, colour=colour), machine, told])

    say_for_people(text)
    return EXIT_DONE
