"""`mlbench calibrate`: how often is the gate wrong on this machine?"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import random
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mlbench.cli.ab import add_environments, arms_of, machine, pyproject_settings
from mlbench.cli.options import EXIT_DONE, EXIT_INTERRUPTED, Commands, natural, remark, say_for_people, wrapped
from mlbench.errors import UsageError, WorkerError
from mlbench.files import check_place, write_atomically
from mlbench.gate.calibration.false_alarms import saved_pairs, saved_runs
from mlbench.gate.calibration.injected import FRACTIONS, plants
from mlbench.gate.calibration.rates import planted_rates, rates, recombined, recombined_power
from mlbench.report import progress, render
from mlbench.report.tables.calibration import calibration_tables, saved_table
from mlbench.results import now
from mlbench.results.comparison import COMPARISON_FILE, Comparison, Version
from mlbench.results.storage import write
from mlbench.studies.ab.checkouts import Checkout, check_out, find_repository, held
from mlbench.studies.ab.session import Interrupted, Session
from mlbench.studies.calibration.store import PLANTED, SAME, Store

MORE = 5
"""Comparisons of each kind that a sitting adds."""
STORE = Path("mlbench-results/calibration")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        usage="mlbench calibrate [options] [-- PYTEST-ARGUMENTS]",
        help="measure how often the gate is wrong on this machine",
        description=wrapped(
            "Run comparisons whose answer is known, as `mlbench ab` runs them: this version against itself, and against itself "
            "with slowdowns and allocations planted in several rows at once. The rounds are stored, and later runs add to them. "
            "Thousands of suites are recombined from all stored sets of processes. The output is false alarms, inconclusive "
            "answers and the detection curve, with exact bounds."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench calibrate                             5 more comparisons of each kind, about ten minutes
              mlbench calibrate --same 20 --planted 10      until the folder holds so many
              mlbench calibrate --same 0 --planted 0        measure nothing, analyse what is stored
              mlbench calibrate --saved first.json more/*.json   judge saved runs of unchanged code
              mlbench calibrate -- benchmarks -k fast       another suite; give it another --store

            After Ctrl-C the same command continues."""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_environments(parser)
    parser.add_argument("--same", type=natural, metavar="N", help="comparisons of this version with itself to store in total")
    parser.add_argument("--planted", type=natural, metavar="N", help="comparisons with planted slowdowns to store in total")
    parser.add_argument("--store", type=Path, default=STORE, metavar="DIR", help=f"where the comparisons are kept (default {STORE})")
    parser.add_argument("--suites", type=natural, default=10_000, metavar="N", help="suites to recombine (default 10000)")
    parser.add_argument("--saved", type=Path, nargs="+", metavar="FILE",
                        help="measure nothing; judge saved runs of unchanged code by the first of them, and each by every other one. "
                             "Runs of pytest-benchmark are also judged by its own --benchmark-compare-fail=min:10%%")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE", help="write what is printed here as well")
    parser.set_defaults(act=_run, pytest_arguments=[])


def _run(options: argparse.Namespace) -> int:
    if options.output is not None:
        check_place(options.output)
    if options.saved is not None:
        return _judge_saved(options)
    store = Store(options.store)
    stored = {kind: len(store.comparisons(kind)) for kind in (SAME, PLANTED)}
    asked = {SAME: options.same, PLANTED: options.planted}
    wanted = {kind: stored[kind] + MORE if asked[kind] is None else asked[kind] for kind in stored}
    is_interrupted = any(wanted[kind] > stored[kind] for kind in stored) and _measure(options, store, stored, wanted)
    _print(options, _told(store, options.suites))
    return EXIT_INTERRUPTED if is_interrupted else EXIT_DONE


def _judge_saved(options: argparse.Namespace) -> int:
    if len(options.saved) < 2:
        raise UsageError("--saved needs two files or more: the baseline, then the runs to judge")
    today = dt.datetime.now().astimezone().date()
    _print(options, partial(render, saved_table(saved_runs(options.saved, today), saved_pairs(options.saved, today))))
    return EXIT_DONE


def _print(options: argparse.Namespace, text: Callable[..., str]) -> None:
    if options.output is not None:
        write_atomically(options.output, f"$ {options.command_line}   ({now()})\n\n{text(colour=False)}\n")
    say_for_people(text)


def _measure(options: argparse.Namespace, store: Store, stored: dict[str, int], wanted: dict[str, int]) -> bool:
    """Run what is lacking, the kinds in turn; return whether Ctrl-C ended it."""
    store.folder.mkdir(parents=True, exist_ok=True)
    repository = find_repository(Path.cwd())
    with held(repository):
        apart = [store.folder, *([] if options.output is None else [options.output])]
        base, head = (check_out(repository, side, None, apart) for side in ("base", "head"))
        settings = pyproject_settings(head)
        arguments = tuple(options.pytest_arguments or settings.get("arguments", ()))
        arms = arms_of(repository, base, head, options, settings)
        store.check(_new(options, base, head, arguments))
        with progress(1) as shown:
            while kinds := [kind for kind in stored if stored[kind] < wanted[kind]]:
                kind = min(kinds, key=lambda each: stored[each] / wanted[each])
                path, begun = store.next(kind)
                shown.say(f"{path.name}: stored are {stored[SAME]} of {wanted[SAME]} the same, {stored[PLANTED]} of {wanted[PLANTED]} "
                          "planted")  # fmt: skip
                is_same = begun is not None and begun.head.commit == head.commit
                comparison = begun if begun is not None and is_same else _new(options, base, head, arguments)
                if kind == PLANTED and not comparison.plants:
                    comparison.plants = plants(_rows(store), random.Random(path.name))  # noqa: S311  # no secret
                here = [dataclasses.replace(arm, plants=comparison.plants if arm.name == "head" else None) for arm in arms]
                try:
                    Session(comparison, here, partial(write, comparison, path, COMPARISON_FILE), shown).run()
                except Interrupted:
                    remark("interrupted; what was measured is kept, and the same command continues")
                    return True
                if comparison.trouble:
                    raise WorkerError(f"{path}: {comparison.trouble}; the same command continues")
                stored[kind] += 1
    return False


def _rows(store: Store) -> tuple[str, ...]:
    """Return the rows to plant in: those that a stored comparison found."""
    known = store.comparisons(SAME)
    if not known:
        raise UsageError("nothing can be planted before one comparison of a version with itself is stored; take --same 1 or more")
    return known[0].rows


def _new(options: argparse.Namespace, base: Checkout, head: Checkout, arguments: tuple[str, ...]) -> Comparison:
    versions = Version(base.revision, base.commit), Version(head.revision, head.commit)
    return Comparison(machine(), options.command_line, now(), arguments, *versions)


def _told(store: Store, suites: int) -> Callable[..., str]:
    """Return what makes the text, with colours or without."""
    same, planted = store.comparisons(SAME), store.comparisons(PLANTED)
    if not same and not planted:
        raise UsageError(f"{store.folder} holds no comparison yet; take --same 1 or more")
    try:
        mixed = [recombined(same, same[0].policy, suites, exchanged=each) for each in (True, False)] if same and suites else []
        power = {fraction: recombined_power(same, same[0].policy, fraction, suites) for fraction in FRACTIONS} if mixed else {}
        left_out = ""
    except ValueError as error:
        mixed, power, left_out = [], {}, f"\n\nNothing was recombined: {error}."
    tables = calibration_tables(rates(same) if same else None, planted_rates(planted), mixed, power)
    found = (same or planted)[0]
    where = ", ".join(f"{name} {value}" for name, value in found.machine.items() if value is not None)
    policy = ", ".join(f"{name} {value:g}" for name, value in dataclasses.asdict(found.policy).items())
    end = f"{left_out}\n\nMachine: {where}\nPolicy: {policy}"
    return lambda *, colour: "\n\n".join(render(table, colour=colour) for table in tables) + end
