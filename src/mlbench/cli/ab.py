"""`mlbench ab`: is this version slower or hungrier than that one?"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
import tomllib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlbench.cli.judgement import add_gate_options, check_gate_options, tell
from mlbench.cli.options import EXIT_INTERRUPTED, Commands, fraction, positive, remark, seconds, wrapped
from mlbench.errors import FileError, UsageError
from mlbench.files import check_place, print_to
from mlbench.gate import RED, Judgement
from mlbench.gate.revisions.judge import judge
from mlbench.measure import FRESH_HEAP, environment
from mlbench.report import progress
from mlbench.report.github import summary_place
from mlbench.results import now
from mlbench.results.comparison import COMPARISON_FILE, MOST_SETS, Comparison, PairedPolicy, Version
from mlbench.results.samples import Effort
from mlbench.results.storage import plain, read, write
from mlbench.studies.ab.checkouts import Checkout, Repository, check_out, find_repository, held, is_installable, packages
from mlbench.studies.ab.environments import DEFAULT_INSTALL, environment_folder, prepare, share_libraries
from mlbench.studies.ab.process import Arm, ArmError
from mlbench.studies.ab.session import Interrupted, Session, draw_graphs

SECTION = "tool.mlbench.ab"
POLICY = PairedPolicy()
GRAPHS = Path("mlbench-results/ab")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ab",
        usage="mlbench ab [options] BASE [HEAD] [-- PYTEST-ARGUMENTS]",
        help="compare two git revisions by their pytest-benchmark suite",
        description=wrapped(
            "Check out two revisions of this project, give each an environment of its own, and run its pytest-benchmark suite in "
            "live processes of both. The processes alternate every millisecond, and a second copy of the base runs as control. "
            "Fresh processes then do the same. A row is red only if it stays slower in fresh processes alone, by more than the "
            "control's noise. Peak memory and allocations are compared exactly. Without HEAD, the working tree is compared with "
            "BASE."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench ab main                                  the working tree against main
              mlbench ab v1.2 v1.3 -- benchmarks -k fast       two tags, and arguments for pytest
              mlbench ab main --same-env -- benchmarks         pure Python: this environment for both
              mlbench ab main --install '-e .[bench]'          what `pip install` is given in each checkout
              mlbench ab main --max-time 300 --json ab.json    end after five minutes, keep the data
              mlbench ab main --resume                         continue after Ctrl-C or --max-time

            a project's settings are in its pyproject.toml:
              [tool.mlbench.ab]
              install = ["-e .[bench]"]
              arguments = ["benchmarks"]

            Exit codes: 0 nothing is worse, 1 something is worse or missing, 2 usage, 3 inconclusive, 130 interrupted."""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", metavar="BASE", help="revision to compare with: a branch, a tag, a commit")
    parser.add_argument("head", metavar="HEAD", nargs="?", help="revision to judge (default: the working tree)")
    add_environments(parser)
    parser.add_argument("--tolerance", type=fraction, default=POLICY.tolerance, metavar="PERCENT",
                        help=f"slowdown to tolerate (default {100 * POLICY.tolerance:g})")  # fmt: skip
    parser.add_argument("--limit", type=fraction, default=POLICY.limit, metavar="PERCENT",
                        help=f"a row passes if its whole interval is below this slowdown (default {100 * POLICY.limit:g})")  # fmt: skip
    parser.add_argument("--sets", type=positive, default=POLICY.screen, metavar="N",
                        help=f"sets of processes that screen every row (default {POLICY.screen}; with 5 nothing settles)")  # fmt: skip
    parser.add_argument("--most-sets", type=positive, default=POLICY.most, metavar="N",
                        help=f"most sets of processes for one row (default {POLICY.most})")  # fmt: skip
    parser.add_argument("--max-time", type=seconds, metavar="SECONDS", help="begin no set that would end after this much measuring")
    parser.add_argument("--timeout", type=seconds, default=Effort().timeout_s, metavar="SECONDS",
                        help=f"limit for the setup of one test, and for one turn (default {Effort().timeout_s:g})")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the data here after every set (default: in the cache)")
    parser.add_argument("--resume", action="store_true", help="continue the last run, or the one in --json FILE")
    parser.add_argument("--keep-graphs", type=Path, default=GRAPHS, metavar="DIR",
                        help=f"folder for memray flame graphs of red rows, of both versions (default {GRAPHS})")  # fmt: skip
    add_gate_options(parser)
    parser.set_defaults(act=_run, pytest_arguments=[])


def add_environments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say in which environment a version runs."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--same-env", action="store_true", help="run both versions in this environment, with the checkouts first on the path")
    how.add_argument("--install", action="append", metavar="ARGUMENTS",
                     help=f"arguments of a `pip install` in each checkout; can be repeated (default {DEFAULT_INSTALL[0]!r})")  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    check_gate_options(options)
    repository = find_repository(Path.cwd())
    with held(repository):
        base = check_out(repository, "base", options.base)
        ours = [place for place in (options.json, options.output, options.keep_graphs, summary_place()) if place]
        head = check_out(repository, "head", options.head, ours)
        for path in dict.fromkeys((*base.empty, *head.empty)):
            remark(f"the submodule {path} is empty in your working tree and so in both versions; git submodule update --init fills it")
        settings = pyproject_settings(head)
        arguments = tuple(options.pytest_arguments or settings.get("arguments", ()))
        place = options.json or repository.place / "last.json"
        check_place(place)
        comparison = dataclasses.replace(_new(options, base, head, arguments), install=_install(options, settings))
        if options.resume:
            comparison = _resumed(place, comparison)
        arms = arms_of(repository, base, head, options, settings)
        try:
            with progress(1) as shown:
                Session(comparison, arms, partial(write, comparison, place, COMPARISON_FILE), shown, options.max_time).run()
        except Interrupted:
            tell(judge(comparison), options)
            remark("interrupted; what was measured is kept, and --resume continues")
            return EXIT_INTERRUPTED
        judgement = _with_graphs(judge(comparison), comparison, arms, options.keep_graphs)
    code = tell(judgement, options)
    remark(f"every number is in {place}; mlbench show prints it")
    return code


def _with_graphs(judgement: Judgement, comparison: Comparison, arms: Sequence[Arm], folder: Path) -> Judgement:
    """Return the judgement with the flame graphs of its red rows, where a version has memray."""
    red = [row.id for row in judgement.rows if row.verdict in RED and row.id in comparison.rows]
    if not red:
        return judgement
    try:
        drawn = draw_graphs(comparison, arms, red, folder)
    except (ArmError, OSError, KeyboardInterrupt) as error:  # none of them is a reason to lose the verdict
        return dataclasses.replace(judgement, notes=(*judgement.notes, f"No flame graphs: {str(error) or 'interrupted'}"))
    rows = tuple(dataclasses.replace(row, graphs=drawn.get(row.id, ())) for row in judgement.rows)
    return dataclasses.replace(judgement, rows=rows)


def arms_of(repository: Repository, base: Checkout, head: Checkout, options: argparse.Namespace, settings: dict[str, Any]) -> list[Arm]:
    """Return the three arms: base, head, and the base once more."""
    sides = {}
    for checkout in (base, head):
        names, place = packages(checkout.home)
        if options.same_env:
            if not names and is_installable(checkout.home):
                raise UsageError(f"--same-env: {checkout.revision} has no package or module of its own that git knows, so it is unclear "
                                 "whether both versions run their own code; leave out --same-env")  # fmt: skip
            sides[checkout.side] = Arm(checkout.side, sys.executable, checkout.home, names, (str(place),))
        else:
            install = _install(options, settings)
            python = prepare(checkout, repository.place, install, lambda line: print_to(sys.stderr, line))
            sides[checkout.side] = Arm(checkout.side, python, checkout.home, names, environment=environment_folder(python))
    if not options.same_env:
        share_libraries([sides["base"].python, sides["head"].python])
    return [sides["base"], sides["head"], dataclasses.replace(sides["base"], name="control")]


def _install(options: argparse.Namespace, settings: dict[str, Any]) -> tuple[str, ...]:
    """Return what is installed for a version; nothing where both run in this environment."""
    return () if options.same_env else tuple(options.install or settings.get("install", DEFAULT_INSTALL))


def _new(options: argparse.Namespace, base: Checkout, head: Checkout, arguments: tuple[str, ...]) -> Comparison:
    policy = dataclasses.replace(
        POLICY, tolerance=options.tolerance, limit=options.limit, screen=options.sets, most=max(options.sets, options.most_sets)
    )
    if max(policy.most, policy.screen) > MOST_SETS:
        raise UsageError(f"{max(policy.most, policy.screen)} sets of processes; ask for {MOST_SETS} or fewer")
    if policy.most < policy.least:
        raise UsageError(f"--most-sets {policy.most}: a slowdown is red after {policy.least} sets at the earliest, {policy.screen} that "
                         f"screen and {policy.least - policy.screen} that confirm; ask for as many or more")  # fmt: skip
    if policy.tolerance >= policy.limit:
        raise UsageError(
            f"--tolerance {100 * policy.tolerance:g} must be less than --limit {100 * policy.limit:g}: between them lies what settles a row"
        )
    before, after = (Version(each.revision, each.commit) for each in (base, head))
    return Comparison(machine(), options.command_line, now(), arguments, before, after, policy, Effort(timeout_s=options.timeout))


def machine() -> dict[str, Any]:
    """Return what a comparison was measured on; what its versions ran with stands with them."""
    found = environment(1, FRESH_HEAP)
    return {name: plain(getattr(found, name)) for name in ("cpu", "cores", "system", "governor", "cpu_limit")}


def _resumed(place: Path, wanted: Comparison) -> Comparison:
    """Return the comparison that is gone on with, if it is the same one."""
    if not place.exists():
        raise UsageError(f"--resume: {place} does not exist; there is nothing to continue")
    found = read(place, COMPARISON_FILE)
    was, now_ = ((each.base.commit, each.head.commit, each.arguments, each.install, each.machine) for each in (found, wanted))
    names = ("base", "head", "pytest arguments", "environment", "machine")
    different = [name for name, old, new in zip(names, was, now_, strict=True) if old != new]
    if different:
        raise FileError(f"{place}: is of another {', '.join(different)}; leave out --resume to measure anew")
    found.policy, found.effort, found.command = wanted.policy, wanted.effort, wanted.command
    return found


def pyproject_settings(checkout: Checkout) -> dict[str, Any]:
    """Return what the project's pyproject.toml says.

    Raises:
        FileError: when it says something else than lists of strings.
    """
    path = checkout.home / "pyproject.toml"
    if not path.exists():
        return {}
    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: not a valid TOML file ({error})") from error
    for name in SECTION.split("."):
        found = found.get(name, {}) if isinstance(found, dict) else found
    if not isinstance(found, dict):
        raise FileError(f"{path}: [{SECTION}] is no table; expected one with install and arguments, each a list of strings")
    wrong = [name for name, value in found.items() if name not in ("install", "arguments") or not isinstance(value, list)
             or not all(isinstance(each, str) for each in value)]  # fmt: skip
    if wrong:
        raise FileError(f"{path}: [{SECTION}] has {', '.join(wrong)}; expected install and arguments, each a list of strings")
    return found
