"""`mlbench ablation`: measure what each optimisation is worth, and where the baseline's time goes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap

from mlbench.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    QUICK,
    Commands,
    add_effort,
    add_places,
    add_sizes,
    check_places,
    check_same_environment,
    chosen_cells,
    remark,
    say,
    sizes,
    wrapped,
)
from mlbench.errors import UsageError
from mlbench.files import write_atomically
from mlbench.measure import Environment, describe, environment
from mlbench.measure.latency import ROUNDS
from mlbench.report import format_interval, progress, render
from mlbench.report.tables.ablation import ablation_tables
from mlbench.results import COMPLETE, INTERRUPTED, now
from mlbench.results.ablation import ABLATION_FILE, Ablation, Ablations
from mlbench.results.storage import read, write
from mlbench.studies.ablation.measure import ablate
from mlbench.studies.ablation.variants import rungs
from mlbench.studies.cases import DIGITS, MLP, Cell, digits_cell
from mlbench.studies.sweep import PROCESSES, Effort
from mlbench.units import format_ratio


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ablation",
        help="measure what each optimisation is worth",
        description=wrapped(
            "Measure the ladder from the baseline to all optimisations, each optimisation alone, and all without it. Measure "
            "where the baseline's time goes. All of these runners alternate in the same rounds. A second baseline among them "
            "shows how large the noise is."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench ablation                                      batch 1, 64 and 512, hidden 256
              mlbench ablation --batch 512 --hidden 256,1024        sizes of your own
              mlbench ablation digits                               the trained model on its 360 held-out images
              mlbench ablation --batch 64 --cold                    with cold caches
              mlbench ablation --json now.json --resume             continue after Ctrl-C"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = "mlp (default) has the sizes below; digits is the trained model, and --batch is its number of images"
    parser.add_argument("model", nargs="?", choices=(MLP, DIGITS), default=MLP, metavar="MODEL", help=which)
    add_sizes(parser, QUICK["batches"], QUICK["hidden"])
    parser.add_argument("--depth", type=sizes, metavar="N,…", help="hidden layers (default 1)")
    parser.add_argument("--cold", action="store_true", help="cold caches: time single calls, with the caches evicted before each")
    add_effort(parser, PROCESSES, ROUNDS)
    add_places(parser, "cell")
    parser.set_defaults(act=_ablation, no_digits=True, quick=True, large=False, tuned=False)


def _ablation(options: argparse.Namespace) -> int:
    check_places(options)
    cells = _cells(options)
    here = environment(options.threads, options.heap)
    known = _known(options, here) if options.resume else {}
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap, singles_s=0.0)
    status = INTERRUPTED  # until the last cell is there

    def run() -> Ablations:
        return Ablations(here, options.command_line, now(), status, tuple(known.values()))

    try:
        with progress(len(cells) * (1 + effort.processes)) as shown:
            for number, cell in enumerate(cells, start=1):
                if cell.id not in known:
                    known[cell.id] = ablate(cell, effort, shown.step, cold=options.cold)
                shown.say(f"[{number}/{len(cells)}] {_line(known[cell.id])}")
                if options.json is not None:
                    write(run(), options.json, ABLATION_FILE)
        status = COMPLETE
    except KeyboardInterrupt:
        pass  # the cells that are complete are kept
    _report(options, run())
    return EXIT_DONE if status == COMPLETE else EXIT_INTERRUPTED


def ablations_text(run: Ablations, *, colour: bool) -> str:
    """Return everything a person should see of a run: the command, the tables, the machine."""
    drawn = [render(table, colour=colour) for each in run.ablations for table in ablation_tables(each)]
    return "\n\n".join([f"$ {run.command}   ({run.date})", *drawn, f"Machine: {describe(run.environment)}"])


def _cells(options: argparse.Namespace) -> list[Cell]:
    if options.model != DIGITS:
        return chosen_cells(options)
    given = [name for name in ("hidden", "inputs", "depth") if getattr(options, name) is not None]
    if given:
        raise UsageError(f"--{given[0]}: the trained digits model has its sizes; leave it out, or leave out {DIGITS}")
    whole = digits_cell(options.threads)
    batches = options.batch or (whole.batch,)
    if max(batches) > whole.batch:
        raise UsageError(f"--batch {max(batches)}: the digits have {whole.batch} held-out images")
    return [dataclasses.replace(whole, batch=batch) for batch in dict.fromkeys(batches)]


def _known(options: argparse.Namespace, here: Environment) -> dict[str, Ablation]:
    """Return the cells of an earlier run of the same environment, caches as now, and the same optimisations."""
    if not options.json.exists():
        return {}
    earlier = read(options.json, ABLATION_FILE)
    check_same_environment(options.json, earlier.environment, here)
    if any((each.evicted_bytes is not None) != options.cold for each in earlier.ablations):
        raise UsageError(f"{options.json}: was measured with {'warm' if options.cold else 'cold'} caches; measure anew into another file")
    return {each.cell: each for each in earlier.ablations if tuple(effect.rung for effect in each.effects) == rungs()}


def _line(found: Ablation) -> str:
    best = next(each for each in reversed(found.effects) if each.rung.label.startswith("+ "))
    return f"{found.cell}: everything {format_ratio(best.total.estimate)} ({format_interval(best.total)})"


def _report(options: argparse.Namespace, run: Ablations) -> None:
    """Write the files that were asked for, then print the tables: a reader that leaves early loses no file."""
    written = []
    if options.json is not None and run.ablations:
        written.append(f"Data: {write(run, options.json, ABLATION_FILE)}")
    if options.output is not None:
        written.append(f"Log: {write_atomically(options.output, ablations_text(run, colour=False) + chr(10))}")
    say("\n\n".join([ablations_text(run, colour=sys.stdout.isatty()), *written]))
    if run.status == INTERRUPTED:
        remark(f"interrupted; {len(run.ablations)} cells are complete")
