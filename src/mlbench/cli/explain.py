"""`mlbench explain`: show what the compiler does to a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, Commands, add_sizes, listed, positive, say, say_for_people
from mlbench.cli.subject import OUTPUTS, add_model, chosen_subject, given_sizes, one_size, subject_cells
from mlbench.compiler.pipeline import PASSES
from mlbench.errors import UsageError
from mlbench.files import check_place
from mlbench.measure import FRESH_HEAP, environment
from mlbench.measure.latency import ROUNDS
from mlbench.report import progress, render
from mlbench.report.extra import check_report_extra
from mlbench.report.tables.ablation import ablation_tables
from mlbench.results import COMPLETE, now
from mlbench.results.ablation import Ablation
from mlbench.results.explanation import EXPLANATION_FILE, Explanations
from mlbench.results.storage import write
from mlbench.studies.ablation.measure import ablate
from mlbench.studies.cases import Cell, mlp_cell
from mlbench.studies.explain import explain, explanation
from mlbench.studies.sweep import PROCESSES, Effort
from mlbench.units import format_bytes

BATCH = (512,)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="show what the compiler does to a model",
        description="Print the graph as written, what each optimisation did to it and why, the graph as it runs, what runs, and the memory "
        "map. Or make a page of all that, on which a reader moves from step to step.",
        epilog="examples:\n  mlbench explain --batch 512 --hidden 256 --depth 2\n  mlbench explain model.onnx --batch 64\n"
        "  mlbench explain digits --html digits.html --measure\n\n"
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
    parser.add_argument(
        "--html", type=Path, metavar="PAGE", help="make a page instead, which opens from disk and needs no network; needs the extra report"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the data of the page here, for mlbench report")
    parser.add_argument(
        "--measure", action="store_true", help="measure what each optimisation is worth on this machine, as mlbench ablation does"
    )
    parser.set_defaults(act=_explain)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def _explain(options: argparse.Namespace) -> int:
    if options.measure and (options.passes is not None or options.tuned):
        raise UsageError("--measure switches optimisations itself, and by the heuristics; leave out --passes and --tuned")
    cell = _cell(options)
    if options.html is None and options.json is None:
        told = explanation(cell, options.passes, tuned=options.tuned)
        tables = ablation_tables(_measured(cell)) if options.measure else ()
        say_for_people(lambda *, colour: "\n\n".join([told, *(render(table, colour=colour) for table in tables)]))
        return EXIT_DONE
    for path in (options.html, options.json):
        if path is not None:
            check_place(path)
    if options.html is not None:
        check_report_extra()
    found = explain(cell, options.passes, measure=f"{options.command_line} --measure", tuned=options.tuned,
                    ablation=_measured(cell) if options.measure else None)  # fmt: skip
    run = Explanations(environment(options.threads, FRESH_HEAP), options.command_line, now(), COMPLETE, (found,))
    if options.json is not None:
        say(f"Data: {write(run, options.json, EXPLANATION_FILE)}")
    if options.html is not None:
        from mlbench.report.page.page import write_explanation  # noqa: PLC0415  # no other command needs it

        page = write_explanation(run, options.html)
        say(f"Page: {page} ({format_bytes(page.stat().st_size)})")
    return EXIT_DONE


def _measured(cell: Cell) -> Ablation:
    """Measure what each pass is worth, with the progress on the terminal."""
    effort = Effort(processes=PROCESSES, rounds=ROUNDS, singles_s=0.0)
    with progress(1 + effort.processes) as shown:
        return ablate(cell, effort, shown.step)


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
