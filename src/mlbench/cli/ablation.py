"""`mlbench ablation`: measure what each optimisation is worth."""

from __future__ import annotations

import argparse
import sys

from mlbench.ablating import ablate, ablation_table
from mlbench.cli.options import EXIT_DONE, Commands, add_effort, add_sizes, chosen_cells, say, sizes
from mlbench.measure import describe, environment
from mlbench.measuring import Effort
from mlbench.report import progress, render


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ablation",
        help="measure what each optimisation is worth",
        description="Measure the ladder from the baseline to everything, each optimisation by itself, and everything without it. All of "
        "these runners take turns in the same rounds, with a second baseline among them that tells how large the noise is.",
        epilog="example: mlbench ablation --batch 512 --hidden 256,1024",
    )
    add_sizes(parser)
    parser.add_argument("--depth", type=sizes, metavar="N,…", help="hidden layers (default 1)")
    add_effort(parser)
    parser.set_defaults(act=_ablation, no_digits=True, quick=True, large=False)


def _ablation(options: argparse.Namespace) -> int:
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap, singles_s=0.0)
    cells = chosen_cells(options)
    with progress(len(cells) * (1 + effort.processes)) as shown:
        for cell in cells:
            table = render(ablation_table(ablate(cell, effort, shown.step)), colour=sys.stdout.isatty())
            say(table + "\n")
    say(f"Machine: {describe(environment(options.threads, options.heap))}")
    return EXIT_DONE
