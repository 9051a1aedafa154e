"""`mlbench ablation`: measure what each optimisation is worth, and where the baseline's time goes."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from mlbench.cli.options import QUICK, Commands, add_effort, add_sizes, sizes, wrapped
from mlbench.cli.study import add_places, check_places, conduct, earlier_run
from mlbench.cli.subject import add_model, check_same_network, chosen_cells
from mlbench.errors import UsageError
from mlbench.measure import describe, environment
from mlbench.measure.latency import ROUNDS
from mlbench.report import format_interval, render
from mlbench.report.tables.ablation import ablation_tables
from mlbench.results import now
from mlbench.results.ablation import ABLATION_FILE, Ablation, Ablations
from mlbench.studies.ablation.measure import ablate
from mlbench.studies.ablation.variants import rungs
from mlbench.studies.driver import Step, Study
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
              mlbench ablation model.onnx --batch 8,64              a network of yours
              mlbench ablation --batch 64 --cold                    with cold caches
              mlbench ablation --json now.json --resume             continue after Ctrl-C"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(parser, "an MLP has the sizes below")
    add_sizes(parser, QUICK["batches"], QUICK["hidden"])
    parser.add_argument("--depth", type=sizes, metavar="N,…", help="hidden layers (default 1)")
    parser.add_argument("--cold", action="store_true", help="cold caches: time single calls, with the caches evicted before each")
    add_effort(parser, PROCESSES, ROUNDS)
    add_places(parser)
    parser.set_defaults(act=_ablation, quick=True, large=False, tuned=False)


def _ablation(options: argparse.Namespace) -> int:
    check_places(options)
    cells = {cell.id: cell for cell in chosen_cells(options)}
    here = environment(options.threads, options.heap)
    earlier = earlier_run(options, ABLATION_FILE, here)
    if earlier is not None:
        check_same_network(options.json, [(each.cell, each.network) for each in earlier.ablations], cells)
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap, singles_s=0.0)

    def measure(known: Mapping[str, Ablation], step: Step) -> Iterator[tuple[str, Ablation, str]]:
        for name, cell in cells.items():
            if name not in known:
                found = ablate(cell, effort, step, cold=options.cold)
                yield name, found, _line(found)

    def run(found: Sequence[Ablation], status: str) -> Ablations:
        return Ablations(here, options.command_line, now(), status, tuple(found))

    known = {} if earlier is None else _known(options, earlier)
    return conduct(options, Study(ABLATION_FILE, tuple(cells), known, measure, run), ablations_text)


def ablations_text(run: Ablations, *, colour: bool) -> str:
    """Return everything a person should see of a run: the command, the tables, the machine."""
    drawn = [render(table, colour=colour) for each in run.ablations for table in ablation_tables(each)]
    return "\n\n".join([f"$ {run.command}   ({run.date})", *drawn, f"Machine: {describe(run.environment)}"])


def _known(options: argparse.Namespace, earlier: Ablations) -> dict[str, Ablation]:
    """Return the cells with the same optimisations, if the caches were as now."""
    if any((each.evicted_bytes is not None) != options.cold for each in earlier.ablations):
        raise UsageError(f"{options.json}: was measured with {'warm' if options.cold else 'cold'} caches; measure anew into another file")
    return {each.cell: each for each in earlier.ablations if tuple(effect.rung for effect in each.effects) == rungs()}


def _line(found: Ablation) -> str:
    best = next(each for each in reversed(found.effects) if each.rung.label.startswith("+ "))
    return f"{found.cell}: everything {format_ratio(best.total.estimate)} ({format_interval(best.total)})"
