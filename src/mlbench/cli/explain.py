"""`mlbench explain`: show what the compiler does to a model."""

from __future__ import annotations

import argparse

from mlbench.cli.options import EXIT_DONE, Commands, add_sizes, listed, positive, say
from mlbench.cli.subject import OUTPUTS, add_model, chosen_subject, given_sizes, one_size, subject_cells
from mlbench.compiler.pipeline import PASSES
from mlbench.errors import UsageError
from mlbench.studies.cases import Cell, mlp_cell
from mlbench.studies.explain import explanation

BATCH = (512,)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="show what the compiler does to a model",
        description="Print the graph as written, what each optimisation did to it, the graph as it runs, what runs, and the memory map.",
        epilog="examples:\n  mlbench explain --batch 512 --hidden 256 --depth 2\n  mlbench explain model.onnx --batch 64\n\n"
        "optimisations, in the order in which they run:\n" + "\n".join(f"  {each.name:<10} {each.summary}" for each in PASSES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(parser, "an MLP has the sizes below")
    add_sizes(parser, BATCH, (256,))
    parser.add_argument("--depth", type=positive, metavar="N", help="hidden layers (default 1)")
    parser.add_argument("--passes", type=_names, metavar="NAME,…", help="optimisations to switch on (default all); 'none' for none")
    parser.add_argument(
        "--tuned", action="store_true", help="search tile, layouts, packing and threads on this machine, and report how long it took"
    )
    parser.set_defaults(act=_explain)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def _explain(options: argparse.Namespace) -> int:
    say(explanation(_cell(options), options.passes, tuned=options.tuned))
    return EXIT_DONE


def _cell(options: argparse.Namespace) -> Cell:
    subject = chosen_subject(options)
    values = {"batch": options.batch, "inputs": None if subject else given_sizes(options, "inputs")}
    for name, found in values.items():
        if len(found or ()) > 1:
            raise UsageError(f"--{name} {listed(found or ())}: explain takes one value")
    if subject is not None:
        return subject_cells(subject, options.batch, BATCH, options.threads, tuned=False)[0]
    hidden, depth = options.hidden or (256,), options.depth or 1
    if len(hidden) > 1 and depth > 1:
        raise UsageError(f"--hidden {listed(hidden)} has a size for each layer already; leave out --depth {depth}")
    (inputs,) = values["inputs"] or (64,)
    outputs = one_size(options, "outputs", OUTPUTS)
    return mlp_cell((options.batch or BATCH)[0], hidden if len(hidden) > 1 else hidden * depth, inputs, outputs, options.threads)
