"""`mlbench peers`: measure the runtimes that people would otherwise use against ours."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, EXIT_INTERRUPTED, Commands, listed, positive, remark, say, sizes
from mlbench.errors import FileError, UsageError
from mlbench.files import check_place
from mlbench.measure import FRESH_HEAP, environment
from mlbench.report import progress, render
from mlbench.report.tables.peers import compare_table, peers_text
from mlbench.results import COMPLETE, INTERRUPTED, now
from mlbench.results.peers import OURS, PEERS_FILE, PeerCell, PeerResult, Runtime
from mlbench.results.storage import read, write
from mlbench.studies.cases import LARGE_BATCHES, MOST_FLOP, Cell
from mlbench.studies.peers import PEERS
from mlbench.studies.peers.measure import PROCESSES, ROUNDS, PeerEffort, find_runtimes, measure
from mlbench.units import format_duration, format_ratio

SHAPES = ((64, 64, 10), (256, 256, 256), (64, 1024, 64), (784, 512, 10), (1024, 4096, 1024))


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "peers",
        help="measure other runtimes against the compiled runner",
        description="Measure ONNX Runtime, PyTorch, XLA, OpenVINO, TensorFlow, TVM and TensorRT, if they are installed, against the "
        "compiled runner. Each has the same weights, the settings that its documentation recommends, and a process of its own. Outputs are "
        "checked against float64.",
        epilog=textwrap.dedent("""\
            examples:
              mlbench peers --json peers.json                       everything, in about fifteen minutes
              mlbench peers --only onnxruntime --batch 1,8          one runtime, some cells
              mlbench peers --json peers.json --resume              continue after Ctrl-C
              mlbench peers --compare first.json second.json        do two runs agree?
              mlbench show peers.json                               the tables again"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="threads of each runtime, and cores it may use (default 1)"
    )
    parser.add_argument(
        "--shapes", type=shapes, default=SHAPES, metavar="I-H-O,…",
        help=f"inputs-hidden-outputs (default {','.join('-'.join(map(str, shape)) for shape in SHAPES)})",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=sizes, default=LARGE_BATCHES, metavar="N,…",
        help=f"rows of a call (default {listed(LARGE_BATCHES)}, without cells above 10 GFLOP)",
    )  # fmt: skip
    parser.add_argument("--only", type=names, metavar="NAME,…", help=f"these peers only: {', '.join(PEERS)}")
    parser.add_argument("--processes", type=positive, default=PROCESSES, metavar="N", help="sets of fresh processes (default %(default)s)")
    parser.add_argument(
        "--rounds", type=positive, default=ROUNDS, metavar="N", help="interleaved rounds in each, at most (default %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the data here, after every cell")
    parser.add_argument("--resume", action="store_true", help="continue --json FILE")
    parser.add_argument("--compare", type=Path, nargs=2, metavar="FILE", help="measure nothing; print how two saved runs differ")
    parser.set_defaults(act=_peers)


def _peers(options: argparse.Namespace) -> int:
    if options.compare is not None:
        one, other = (read(path, PEERS_FILE) for path in options.compare)
        say(render(compare_table(one, other), colour=sys.stdout.isatty()))
        return EXIT_DONE
    cells = _chosen_cells(options)
    here = environment(options.threads, FRESH_HEAP)
    modules: dict[str, str | None] = {OURS: None, **{name: module for name, module in PEERS.items() if name in (options.only or PEERS)}}
    runtimes = find_runtimes(modules, options.threads)
    fresh = PeerResult(here, options.command_line, now(), INTERRUPTED, options.processes, runtimes, ())
    known = _known(options, fresh) if options.resume else {}
    there = {each.name: modules[each.name] for each in runtimes if each.missing is None}
    effort = PeerEffort(options.processes, options.rounds)
    status = INTERRUPTED  # until the last cell is there

    def result() -> PeerResult:
        inside = tuple(known[name] for name in (_name(cell) for cell in cells) if name in known)
        return PeerResult(here, options.command_line, now(), status, options.processes, runtimes, inside)

    try:
        with progress(len(cells) * (effort.processes + 1)) as shown:
            for done in measure(cells, there, effort, dict(known)):
                known[done.name] = done
                shown.step(done.name)
                shown.say(_line(done, effort))
                if options.json is not None:
                    write(result(), options.json, PEERS_FILE)
        status = COMPLETE
    except KeyboardInterrupt:
        pass  # what was measured is kept
    _report(options, result())
    return EXIT_DONE if status == COMPLETE else EXIT_INTERRUPTED


def _report(options: argparse.Namespace, result: PeerResult) -> None:
    written = [f"Data: {write(result, options.json, PEERS_FILE)}"] if options.json is not None and result.cells else []
    say("\n\n".join([peers_text(result, colour=sys.stdout.isatty()), *written]))
    if result.status == INTERRUPTED:
        remark(f"interrupted; {len(result.cells)} cells were measured, the last ones perhaps in part")


def _line(cell: PeerCell, effort: PeerEffort) -> str:
    where = "memory" if cell.weighed and cell.processes == 1 else f"processes {cell.processes}/{effort.processes}"
    ours, peer, ratio = cell.outcomes.get(OURS), cell.fastest_peer, cell.ratio
    if ours is None or ours.time_s is None or peer is None or ratio is None:
        return f"[{where}] {cell.name}: no ratio"
    seconds = cell.outcomes[peer].time_s
    assert seconds is not None
    return (
        f"[{where}] {cell.name}: {OURS} {format_duration(ours.time_s)}, {peer} {format_duration(seconds)}, {format_ratio(ratio.estimate)}"
    )


def _chosen_cells(options: argparse.Namespace) -> list[Cell]:
    cores = environment(options.threads, FRESH_HEAP).cores
    if options.threads > cores:
        raise UsageError(f"--threads {options.threads}: this process may use {cores} cores; more threads would wait for each other")
    if options.resume and options.json is None:
        raise UsageError("--resume needs --json FILE, the result to continue")
    if options.json is not None:
        check_place(options.json)
    every = [
        Cell(batch, shape[1:-1], shape[0], shape[-1], options.threads, tuned=True)
        for shape in dict.fromkeys(options.shapes)
        for batch in options.batch
    ]
    cells = [cell for cell in dict.fromkeys(every) if cell.work_flop <= MOST_FLOP]
    if not cells:
        raise UsageError("no cell is left: every one of them needs more than 10 GFLOP a call; choose smaller sizes")
    return cells


def _name(cell: Cell) -> str:
    return f"{'-'.join(str(size) for size in (cell.inputs, *cell.hidden, cell.outputs))} b{cell.batch}"


def _known(options: argparse.Namespace, here: PeerResult) -> dict[str, PeerCell]:
    """Return the cells of an earlier result of the same machine, threads and runtimes."""
    if not options.json.exists():
        return {}
    earlier = read(options.json, PEERS_FILE)
    if earlier.environment != here.environment or _versions(earlier.runtimes) != _versions(here.runtimes):
        raise FileError(f"{options.json}: was measured with another machine, software, runtimes or threads; measure anew into another file")
    return {cell.name: cell for cell in earlier.cells}


def _versions(runtimes: Sequence[Runtime]) -> list[tuple[str, str]]:
    return [(each.name, each.versions) for each in runtimes]


def shapes(text: str) -> tuple[tuple[int, ...], ...]:
    """Parse a list of shapes for argparse.

    >>> shapes("64-64-10,784-512-10")
    ((64, 64, 10), (784, 512, 10))
    """
    parts = text.split(",")
    if not all(re.fullmatch(r"\d{1,9}(-\d{1,9}){2,}", part.strip()) for part in parts):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected inputs-hidden-outputs like 64-64-10,784-512-10")
    return tuple(tuple(positive(size) for size in part.strip().split("-")) for part in parts)


def names(text: str) -> tuple[str, ...]:
    """Parse a list of peers for argparse."""
    found = tuple(part.strip() for part in text.split(","))
    for name in found:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    return found
