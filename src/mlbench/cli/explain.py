"""`mlbench explain`: show what the compiler does to a model."""

from __future__ import annotations

import argparse

from mlbench.cases import Cell
from mlbench.cli.options import EXIT_DONE, Commands, add_sizes, positive, say
from mlbench.errors import UsageError
from mlbench.explaining import explanation


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="show what the compiler does to a model",
        description="Print the graph as written, what each optimisation did to it, the graph as it runs, the Python that runs, "
        "and the memory map.",
        epilog="example: mlbench explain --batch 512 --hidden 256 --depth 2",
    )
    add_sizes(parser, (512,), (256,))
    parser.add_argument("--depth", type=positive, default=1, metavar="N", help="hidden layers (default 1)")
    parser.set_defaults(act=_explain)


def _explain(options: argparse.Namespace) -> int:
    for name in ("batch", "hidden", "inputs"):
        values = getattr(options, name) or ()
        if len(values) > 1 and name != "hidden":
            raise UsageError(f"--{name} {','.join(map(str, values))}: explain takes one value")
    hidden = options.hidden or (256,)
    if len(hidden) > 1 and options.depth > 1:
        raise UsageError(f"--hidden {','.join(map(str, hidden))} has a size for each layer already; leave out --depth {options.depth}")
    cell = Cell((options.batch or (512,))[0], hidden if len(hidden) > 1 else hidden * options.depth, (options.inputs or (64,))[0],
                options.outputs, options.threads)  # fmt: skip
    say(explanation(cell))
    return EXIT_DONE
