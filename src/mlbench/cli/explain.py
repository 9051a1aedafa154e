"""`mlbench explain`: show what the compiler does to a model."""

from __future__ import annotations

import argparse

from mlbench.cli.options import EXIT_DONE, Commands, add_sizes, positive, say
from mlbench.compiler.pipeline import PASSES
from mlbench.errors import UsageError
from mlbench.studies.cases import Cell
from mlbench.studies.explain import explanation


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="show what the compiler does to a model",
        description="Print the graph as written, what each optimisation did to it, the graph as it runs, what runs, and the memory map.",
        epilog="example: mlbench explain --batch 512 --hidden 256 --depth 2\n"
        "optimisations, in the order in which they run:\n" + "\n".join(f"  {each.name:<10} {each.summary}" for each in PASSES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sizes(parser, (512,), (256,))
    parser.add_argument("--depth", type=positive, default=1, metavar="N", help="hidden layers (default 1)")
    parser.add_argument("--passes", type=_names, metavar="NAME,…", help="optimisations to switch on (default all); 'none' for none")
    parser.add_argument(
        "--tuned", action="store_true", help="search tile, layouts, packing and threads on this machine, and report how long it took"
    )
    parser.set_defaults(act=_explain)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


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
    say(explanation(cell, options.passes, tuned=options.tuned))
    return EXIT_DONE
