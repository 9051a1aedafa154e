"""`mlbench peers`: measure the runtimes that people would otherwise use against ours."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, Commands, listed, positive, remark, say, sizes
from mlbench.cli.study import add_places, check_places, conduct, earlier_run
from mlbench.cli.subject import add_network, check_same_network, chosen_subjects, subject_cells
from mlbench.errors import FileError, UsageError
from mlbench.files import check_folder
from mlbench.measure import FRESH_HEAP, environment
from mlbench.report import render
from mlbench.report.tables.peers import compare_table, peers_text
from mlbench.results import now
from mlbench.results.network import network_key
from mlbench.results.peers import OURS, PEERS_FILE, PeerCell, PeerResult, Runtime
from mlbench.results.storage import read
from mlbench.studies.cases import BATCHES, LARGE_BATCHES, MOST_FLOP, Cell, mlp_cell
from mlbench.studies.driver import Step, Study
from mlbench.studies.peers import CANNOT_TAKE, PEERS
from mlbench.studies.peers.estimate import expected_s
from mlbench.studies.peers.measure import PROCESSES, ROUNDS, PeerEffort, find_runtimes, measure
from mlbench.studies.peers.plugins import brought_peers
from mlbench.units import format_duration, format_ratio

SHAPES = ((64, 64, 10), (256, 256, 256), (64, 1024, 64), (784, 512, 10), (1024, 4096, 1024))
BY_RULES = "OptimizedRunner by its default rules"
INSTALL = "python -m pip install onnxruntime onnx"
QUICK_SHAPES, QUICK_BATCHES, QUICK_PROCESSES, QUICK_ROUNDS = SHAPES[:2], (1, 64), 1, 7


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "peers",
        help="measure other runtimes against the compiled runner",
        description="Measure ONNX Runtime, PyTorch (eager, torch.compile, AOTInductor), XLA, OpenVINO, LiteRT, TensorFlow, MNN, ncnn, "
        "IREE, tract, scikit-learn, TVM and TensorRT, if they are installed, and the peers that other packages bring, against the compiled "
        "runner. Each has the same weights, the settings that its documentation recommends, and a process of its own. Outputs are checked "
        "against float64.",
        epilog=textwrap.dedent("""\
            examples:
              mlbench peers --json peers.json                       everything; it says first how long that takes
              mlbench peers --quick                                 four cells in one set of processes, for a first look
              mlbench peers --only onnxruntime --batch 1,8          one runtime, some cells
              mlbench peers zoo --builds builds                     the networks of the zoo; what compilers make stays for later runs
              mlbench peers model.onnx --batch 1,8                  a network of yours, on the runtimes that take ONNX files
              mlbench peers --json peers.json --resume              continue after Ctrl-C
              mlbench peers --compare first.json second.json        do two runs agree?
              mlbench show peers.json                               the tables again"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser)
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="threads of each runtime, and cores it may use (default 1)"
    )
    parser.add_argument(
        "--shapes", type=parse_shapes, metavar="I-H-O,…",
        help=f"inputs-hidden-outputs (default {','.join('-'.join(map(str, shape)) for shape in SHAPES)})",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=sizes, metavar="N,…",
        help=f"rows of a call (default {listed(LARGE_BATCHES)}, without cells above 10 GFLOP; with MODEL {listed(BATCHES)})",
    )  # fmt: skip
    parser.add_argument("--only", type=names, metavar="NAME,…", help=f"these peers only: {', '.join(PEERS)}, or one that a package brings")
    parser.add_argument("--processes", type=positive, metavar="N", help=f"sets of fresh processes (default {PROCESSES})")
    parser.add_argument("--rounds", type=positive, metavar="N", help=f"interleaved rounds in each, at most (default {ROUNDS})")
    parser.add_argument(
        "--quick", action="store_true",
        help=f"a first look: {QUICK_PROCESSES} set of processes, {QUICK_ROUNDS} rounds, no bytes, and unless chosen "
        f"{' and '.join('-'.join(map(str, shape)) for shape in QUICK_SHAPES)} at batch {' and '.join(map(str, QUICK_BATCHES))}",
    )  # fmt: skip
    parser.add_argument("--no-bytes", action="store_true", help="time alone; the bytes take one more set of processes")
    parser.add_argument(
        "--rules", action="store_true",
        help="ours by its default rules; without it a search chooses for each cell, for up to a minute, and remembers where it could",
    )  # fmt: skip
    parser.add_argument(
        "--builds", type=Path, metavar="FOLDER",
        help="keep what compilers make here, for later runs and resumed ones (default: until this run ends)",
    )  # fmt: skip
    add_places(parser)
    parser.add_argument("--compare", type=Path, nargs=2, metavar="FILE", help="measure nothing; print how two saved runs differ")
    parser.set_defaults(act=_peers)


def _peers(options: argparse.Namespace) -> int:
    if options.compare is not None:
        one, other = (read(path, PEERS_FILE) for path in options.compare)
        say(render(compare_table(one, other), colour=sys.stdout.isatty()))
        return EXIT_DONE
    check_places(options)
    if options.builds is not None:
        check_folder(options.builds)
    cells = _chosen_cells(options)
    here = environment(options.threads, FRESH_HEAP)
    modules = _chosen_modules(options)
    runtimes = find_runtimes(modules, options.threads, cells[0].subject)
    if options.rules:
        runtimes = tuple(dataclasses.replace(each, settings=BY_RULES) if each.name == OURS else each for each in runtimes)
    there = {each.name: modules[each.name] for each in runtimes if each.missing is None}
    _say_what_is_missing(runtimes, options.only)
    earlier = earlier_run(options, PEERS_FILE, here)
    if earlier is not None and _versions(earlier.runtimes) != _versions(runtimes):
        raise FileError(f"{options.json}: was measured with other runtimes; measure anew into another file")
    if earlier is not None:
        if any(each.cell["tuned"] == options.rules for each in earlier.cells):
            how = "without" if options.rules else "with"
            raise FileError(f"{options.json}: was measured {how} --rules; do the same, or measure anew into another file")
        check_same_network(
            options.json, [(each.name, network_key(each.cell)) for each in earlier.cells], {_name(cell): cell for cell in cells}
        )
    effort = _effort(options)
    options.processes = effort.processes - (not effort.weigh)  # of which the bar counts the steps, and those of bytes besides

    def measured(known: Mapping[str, PeerCell], step: Step) -> Iterator[tuple[str, PeerCell, str]]:
        for done in measure(cells, there, effort, known, options.builds):
            step(done.name)
            yield done.name, done, _line(done, effort)

    def run(found: Sequence[PeerCell], status: str) -> PeerResult:
        return PeerResult(here, options.command_line, now(), status, effort.processes, runtimes, tuple(found))

    known = {} if earlier is None else {cell.name: cell for cell in earlier.cells}
    done = [known[_name(cell)].processes if _name(cell) in known else 0 for cell in cells]
    remark(_expectation(options, cells, list(there), effort, done))
    start = time.monotonic()
    code = conduct(options, Study(PEERS_FILE, tuple(map(_name, cells)), known, measured, run), peers_text)
    remark(f"took {_minutes(time.monotonic() - start)}")
    return code


def _chosen_modules(options: argparse.Namespace) -> dict[str, str | None]:
    """Return ours and the peers to measure, by name, with their adapters; a peer that cannot be had is said on standard error."""
    brought, trouble = brought_peers(frozenset(PEERS))
    for line in trouble:
        remark(line)
    known = {**PEERS, **brought}
    for name in options.only or ():
        if name not in known:
            raise UsageError(f"argument --only: no peer is called {name!r}; there are {', '.join(known)}")
    return {OURS: None, **{name: module for name, module in known.items() if name in (options.only or known)}}


def _say_what_is_missing(runtimes: Sequence[Runtime], only: Sequence[str] | None) -> None:
    """Say which runtimes cannot take what is measured, and which peers of packages do not work.

    Raises:
        UsageError: where there is nothing to measure against.
    """
    lacking = {each.name: each.missing for each in runtimes if each.missing is not None}
    if all(each.name == OURS or each.name in lacking for each in runtimes):
        raise UsageError(_nothing(lacking, only))
    for name, reason in lacking.items():
        if reason.startswith(CANNOT_TAKE) or name not in PEERS:
            remark(f"{name}: {reason}")


def _nothing(lacking: Mapping[str, str], only: Sequence[str] | None) -> str:
    """Return that there is nothing to measure against, and what to install, in one line.

    Args:
        lacking: name of each runtime to what it lacks.
        only: the runtimes that were asked for; None for all.
    """
    if only is None and not any(reason.startswith(CANNOT_TAKE) for reason in lacking.values()):
        return (
            f"no other runtime is installed; the fastest one to get is onnxruntime ({INSTALL}), and all of them are mlbench's extra 'peers'"
        )
    alike: dict[str, list[str]] = {}
    for name, reason in lacking.items():
        if only or reason.startswith(CANNOT_TAKE):
            alike.setdefault(reason, []).append(name)
    reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in alike.items())
    return f"no runtime can be measured against ours here; {reasons}"


def _effort(options: argparse.Namespace) -> PeerEffort:
    """Return how much is measured: what was asked for, or else five sets of processes, or one for a first look."""
    processes, rounds = (QUICK_PROCESSES, QUICK_ROUNDS) if options.quick else (PROCESSES, ROUNDS)
    return PeerEffort(options.processes or processes, options.rounds or rounds, weigh=not (options.quick or options.no_bytes))


def _expectation(options: argparse.Namespace, cells: Sequence[Cell], names: Sequence[str], effort: PeerEffort, done: Sequence[int]) -> str:
    """Return how much will be measured, and about how long that takes on an idle machine.

    Args:
        options: of the command.
        cells: that are measured.
        names: of the runtimes that are there.
        effort: how much is measured.
        done: sets of processes in which each cell was measured before.
    """
    sets = f"{effort.processes} set{'s' * (effort.processes > 1)} of processes"
    products = [cell.subject.size(cell.batch)[1] for cell in cells]
    built = options.builds is not None and any(options.builds.iterdir())
    seconds = expected_s(products, names, effort, done, rules=options.rules, built=built)
    return f"{len(cells)} cell{'s' * (len(cells) > 1)}, {len(names)} runtimes, {sets}: about {_minutes(seconds)}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _line(cell: PeerCell, effort: PeerEffort) -> str:
    where = "memory" if cell.weighed and cell.processes == 1 else f"processes {cell.processes}/{effort.processes}"
    ours, peer, ratio = cell.outcomes.get(OURS), cell.fastest_peer, cell.ratio
    if ours is None or ours.time_s is None or peer is None or ratio is None:
        return f"{cell.name} ({where}): no ratio"
    seconds = cell.outcomes[peer].time_s
    assert seconds is not None
    return (
        f"{cell.name} ({where}): {OURS} {format_duration(ours.time_s)}, {peer} {format_duration(seconds)}, {format_ratio(ratio.estimate)}"
    )


def _chosen_cells(options: argparse.Namespace) -> list[Cell]:
    cores = environment(options.threads, FRESH_HEAP).cores
    if options.threads > cores:
        raise UsageError(f"--threads {options.threads}: this process may use {cores} cores; more threads would wait for each other")
    subjects = chosen_subjects(options, ("shapes",))
    if subjects:
        usual = QUICK_BATCHES if options.quick else BATCHES
        return [cell for each in subjects for cell in subject_cells(each, options.batch, usual, options.threads, tuned=not options.rules)]
    for name in ("inputs", "outputs"):
        if getattr(options, name):
            raise UsageError(f"--{name} belongs to a network in a file; name it, or choose sizes by --shapes")
    shapes, batches = (QUICK_SHAPES, QUICK_BATCHES) if options.quick else (SHAPES, LARGE_BATCHES)
    every = [
        mlp_cell(batch, shape[1:-1], shape[0], shape[-1], options.threads, tuned=not options.rules)
        for shape in dict.fromkeys(options.shapes or shapes)
        for batch in options.batch or batches
    ]
    cells = [cell for cell in dict.fromkeys(every) if cell.work_flop <= MOST_FLOP]
    if not cells:
        raise UsageError("no cell is left: every one of them needs more than 10 GFLOP a call; choose smaller sizes")
    return cells


def _name(cell: Cell) -> str:
    return PeerCell(cell.identity(), {}).name


def _versions(runtimes: Sequence[Runtime]) -> list[tuple[str, str]]:
    return [(each.name, each.versions) for each in runtimes]


def parse_shapes(text: str) -> tuple[tuple[int, ...], ...]:
    """Parse a list of shapes for argparse.

    >>> parse_shapes("64-64-10,784-512-10")
    ((64, 64, 10), (784, 512, 10))
    """
    parts = text.split(",")
    if not all(re.fullmatch(r"\d{1,9}(-\d{1,9}){2,}", part.strip()) for part in parts):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected inputs-hidden-outputs like 64-64-10,784-512-10")
    return tuple(tuple(positive(size) for size in part.strip().split("-")) for part in parts)


def names(text: str) -> tuple[str, ...]:
    """Parse a list of peers for argparse; which there are is known later, because packages bring some."""
    return tuple(part.strip() for part in text.split(","))
