"""What a command measures: the sweep of its sizes, the trained digits, or a network in a file that somebody brought."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlbench.cli.options import QUICK, check_threads, listed, positive, remark, sizes
from mlbench.errors import FileError, UsageError
from mlbench.models.archive import MOST_BYTES
from mlbench.results.network import network_key
from mlbench.studies.cases import (
    BATCHES,
    HIDDEN,
    LARGE_BATCHES,
    LARGE_DEPTHS,
    LARGE_HIDDEN,
    LARGE_INPUTS,
    MOST_FLOP,
    Cell,
    digits_cell,
    network_cells,
    network_notes,
    sweep,
)
from mlbench.studies.network_files import ZOO_PREFIX
from mlbench.studies.subjects import DIGITS, MLP, NetworkFile, Sizes, Subject, TrainedDigits, brought_all, layers

MODEL_HELP = "a network of yours: an .onnx file, or an .npz that mlbench saved; or one of the zoo, such as zoo:policy; zoo is all of them"
"""Columns of the input, of each hidden activation, and of the output, such as 64-300-200-10."""


_MB = 1024**2
_SIZES = ("hidden", "depth", "large", "no_digits")
OUTPUTS = 10
"""Columns of the output of a sweep."""


def add_model(parser: argparse.ArgumentParser, without: str) -> None:
    """Add the model to a command that has sizes as well; `without` says what is measured without one."""
    named = f"'{DIGITS}' is the trained model, whose --batch is its number of images; 64-300-200-10 is an MLP with layers of these sizes"
    parser.add_argument("model", nargs="?", metavar="MODEL", help=f"{MODEL_HELP}; {named}; without it {without}")
    _add_limit(parser)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the model to a command without sizes, and what belongs to it."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--inputs", metavar="FILE", help="of MODEL: an .npz with an array for each input (default seeded random numbers)")
    parser.add_argument("--outputs", metavar="NAME,…", help="of MODEL: the outputs that are computed (default all)")
    _add_limit(parser)


def _add_limit(parser: argparse.ArgumentParser) -> None:
    megabytes = MOST_BYTES // _MB
    parser.add_argument(
        "--most-mb",
        type=positive,
        default=megabytes,
        metavar="N",
        help=f"largest file that is read for MODEL, in MB (default {megabytes:,})",
    )


def chosen_subject(options: argparse.Namespace) -> Subject | None:
    """Return the one thing that the options name, as `chosen_subjects` does; None where they name none.

    Raises:
        UsageError: when they name the whole zoo as well.
    """
    found = chosen_subjects(options)
    if len(found) > 1:
        raise UsageError(f"{options.model} is {len(found)} networks, and this takes one of them, such as {ZOO_PREFIX}{found[0].name}")
    return found[0] if found else None


def chosen_subjects(
    options: argparse.Namespace, refused: Iterable[str] = _SIZES
) -> tuple[TrainedDigits] | tuple[Sizes] | tuple[NetworkFile, ...]:
    """Return what the options name: one thing, or each network of the zoo; none where they name no model, and options choose sizes.

    Args:
        options: of the command.
        refused: options that choose sizes or cells, which a model has itself.

    Raises:
        UsageError: when an option contradicts the model.
        FileError: when a file is missing, damaged or foreign.
    """
    if options.model in (None, MLP):
        return ()
    for name in refused:
        if getattr(options, name, None):
            raise UsageError(f"--{name.replace('_', '-')} chooses sizes, and {options.model} has its own; leave one of them out")
    perceptron = layers(options.model)
    if options.model != DIGITS and perceptron is None:
        names = tuple(part.strip() for part in options.outputs.split(",")) if options.outputs else ()
        return brought_all(options.model, names, options.inputs, options.most_mb * _MB)
    for name in ("inputs", "outputs"):
        if getattr(options, name):
            owner = f"{options.model} has its own sizes" if perceptron is not None else "the trained digits have their own images and sizes"
            raise UsageError(f"--{name} belongs to a network in a file; {owner}")
    return (TrainedDigits(),) if perceptron is None else (perceptron,)


def chosen_cells(options: argparse.Namespace) -> list[Cell]:
    """Return the cells that the options of a command with a sweep choose.

    Raises:
        UsageError: where none is left, or options contradict each other.
        FileError: when a file is missing, damaged or foreign.
    """
    check_threads(options.threads)
    batches, hidden = (QUICK["batches"], QUICK["hidden"]) if options.quick else (BATCHES, HIDDEN)
    subjects = chosen_subjects(options)
    if subjects:
        return [cell for each in subjects for cell in subject_cells(each, options.batch, batches, options.threads, tuned=options.tuned)]
    inputs: Sequence[int] = (64,)
    depths: Sequence[int] = (1,)
    if options.large:
        batches, hidden, inputs, depths = LARGE_BATCHES, LARGE_HIDDEN, LARGE_INPUTS, LARGE_DEPTHS
    chosen = sweep(
        options.batch or batches,
        options.hidden or hidden,
        given_sizes(options, "inputs") or inputs,
        one_size(options, "outputs", OUTPUTS),
        options.depth or depths,
        options.threads,
        MOST_FLOP if options.large else math.inf,
    )
    cells = [*([] if getattr(options, "no_digits", True) else [digits_cell(options.threads)]), *chosen]
    if not cells:
        raise UsageError("no cell is left: every one of them needs more than 10 GFLOP a call; choose smaller sizes")
    return [replace(cell, tuned=options.tuned) for cell in cells]


def subject_cells(subject: Subject, batches: Sequence[int] | None, default: Sequence[int], threads: int, *, tuned: bool) -> list[Cell]:
    """Return a cell for each batch, and say on standard error what a reader should know of them.

    Args:
        subject: what is measured.
        batches: what was asked for; None for nothing.
        default: what is measured then.
        threads: of each cell.
        tuned: of each cell.

    Raises:
        UsageError: for a batch at which it cannot run.
    """
    if isinstance(subject, NetworkFile):
        cells = network_cells(subject, batches, default, threads, tuned=tuned)
        for note in network_notes(cells):
            remark(note)
        return list(cells)
    if isinstance(subject, Sizes):
        return [Cell(batch, subject, threads, tuned) for batch in dict.fromkeys(batches or default)]
    whole = digits_cell(threads).batch
    if max(batches or (whole,)) > whole:
        raise UsageError(f"--batch {max(batches or ())}: the digits have {whole} held-out images")
    return [Cell(batch, subject, threads, tuned) for batch in dict.fromkeys(batches or (whole,))]


def given_sizes(options: argparse.Namespace, name: str) -> tuple[int, ...] | None:
    """Return the sizes that --inputs or --outputs has where no model is named; None where it has none.

    Raises:
        UsageError: when it has something else.
    """
    text = getattr(options, name)
    if text is None:
        return None
    try:
        return sizes(text)
    except argparse.ArgumentTypeError as error:
        what = "a file of inputs needs" if name == "inputs" else "names of outputs need"
        raise UsageError(f"--{name}: {error}; {what} MODEL, the network that it belongs to") from error


def one_size(options: argparse.Namespace, name: str, default: int) -> int:
    """Return the one size that an option has where no model is named.

    Raises:
        UsageError: when it has several, or something else.
    """
    found = given_sizes(options, name) or (default,)
    if len(found) > 1:
        raise UsageError(f"--{name} {listed(found)}: expected one whole number of 1 or more")
    return found[0]


def check_same_network(place: Path | None, earlier: Iterable[tuple[str, str]], cells: Mapping[str, Cell]) -> None:
    """Refuse to go on with a file in which a cell of the same name was measured of another network.

    Args:
        place: of the file.
        earlier: name of each of its cells and what identifies the network, as `network_key` gives it.
        cells: the cells by name.

    Raises:
        FileError: naming the first one.
    """
    keys = {name: network_key(cell.identity()) for name, cell in cells.items()}
    for name, key in earlier:
        if keys.get(name, key) != key:
            raise FileError(f"{place}: {name} was measured of another network, or with other inputs; measure anew into another file")
