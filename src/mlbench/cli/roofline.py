"""`mlbench roofline`: what this machine can do at most, and how far each case is from it."""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from mlbench.cli.options import Commands, add_effort, add_sizes, add_sweep, add_tuned, wrapped
from mlbench.cli.study import add_places, check_places, conduct, earlier_run
from mlbench.cli.subject import add_model, check_same_network, chosen_cells
from mlbench.errors import UsageError
from mlbench.measure import describe, environment
from mlbench.report import render
from mlbench.report.tables.roofline import ceilings_table, distances_table, sentences
from mlbench.results import now
from mlbench.results.roofline import ROOFLINE_FILE, Distance, Roofline
from mlbench.studies.cases import Cell
from mlbench.studies.driver import Step, Study
from mlbench.studies.roofline.measure import distances, find_ceilings
from mlbench.studies.sweep import Effort

Both = tuple[Distance, ...]
"""Both runners of a cell."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "roofline",
        help="measure how close each case comes to this machine's limits",
        description=wrapped(
            "Measure the ceilings of this machine (matrix product, product with one row, copy, the cost of a call). Then measure "
            "both runners of each cell, and report what bounds each of them."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench roofline                                  the ceilings and the default sweep, about a minute
              mlbench roofline --ceilings                       the ceilings alone, a few seconds
              mlbench roofline model.onnx --batch 1,64          a network of yours
              mlbench roofline --batch 8 --hidden 1024 --no-digits
              mlbench roofline --quick --json roofline.json       'mlbench show roofline.json' prints it again"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(parser, "the digits and the sweep are measured")
    parser.add_argument("--ceilings", action="store_true", help="the ceilings alone")
    add_sizes(parser)
    add_sweep(parser)
    add_tuned(parser)
    add_effort(parser)
    add_places(parser)
    parser.set_defaults(act=_roofline)


def _roofline(options: argparse.Namespace) -> int:
    check_places(options)
    cells = {cell.id: cell for cell in _cells(options)}
    here = environment(options.threads, options.heap)
    earlier = earlier_run(options, ROOFLINE_FILE, here)
    if earlier is not None:
        check_same_network(options.json, [(each.case.partition("-")[2], each.network) for each in earlier.distances], cells)
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap, singles_s=0.0)
    ceilings = find_ceilings(options.threads) if earlier is None else earlier.ceilings

    def measure(known: Mapping[str, Both], step: Step) -> Iterator[tuple[str, Both, str]]:
        for name, cell in cells.items():
            if name not in known:
                found = distances(cell, ceilings, effort, step)
                yield name, found, f"{found[-1].case}: {found[-1].limit.sentence}"

    def run(found: Sequence[Both], status: str) -> Roofline:
        return Roofline(here, options.command_line, now(), status, ceilings, tuple(itertools.chain.from_iterable(found)))

    known: dict[str, Both] = {}
    for each in () if earlier is None else earlier.distances:
        cell = each.case.partition("-")[2]  # after the runner
        known[cell] = (*known.get(cell, ()), each)
    return conduct(options, Study(ROOFLINE_FILE, tuple(cells), known, measure, run), roofline_text)


def roofline_text(run: Roofline, *, colour: bool) -> str:
    """Return everything a person should see of a run: the command, both tables, the sentences, the machine."""
    parts = [f"$ {run.command}   ({run.date})", render(ceilings_table(run.ceilings), colour=colour)]
    if run.distances:
        parts += [render(distances_table(run.distances, run.ceilings), colour=colour), sentences(run.distances)]
    return "\n\n".join([*parts, f"Machine: {describe(run.environment)}"])


def _cells(options: argparse.Namespace) -> list[Cell]:
    if not options.ceilings:
        return chosen_cells(options)
    given = [name for name in ("quick", "large", "no_digits", "batch", "hidden", "inputs", "depth", "model") if getattr(options, name)]
    if given:
        name = "MODEL" if given[0] == "model" else f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{name} chooses cells, and --ceilings measures none; leave one of them out")
    return []
