"""What several commands share: exit codes, sizes, effort."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from mlbench.errors import UsageError
from mlbench.files import print_to
from mlbench.measure import FRESH_HEAP, HEAPS, environment
from mlbench.report.fitting import fitting_text, terminal_width
from mlbench.studies.cases import BATCHES, HIDDEN, LARGE_BATCHES, LARGE_HIDDEN
from mlbench.studies.sweep import CASE_PROCESSES, CASE_ROUNDS
from mlbench.units import paragraph, parse_sizes

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # argparse has no public name for it

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_SIGNAL, EXIT_INTERRUPTED = 0, 1, 2, 128, 130
QUICK = {"batches": (1, 64, 512), "hidden": (256,)}


def add_sizes(parser: argparse.ArgumentParser, batches: Sequence[int] = BATCHES, hidden: Sequence[int] = HIDDEN) -> None:
    """Add the options that choose sizes and threads; `batches` and `hidden` are what the help calls the defaults."""
    parser.add_argument("--batch", type=sizes, metavar="N,…", help=f"rows of a call (default {listed(batches)})")
    parser.add_argument("--hidden", type=sizes, metavar="N,…", help=f"columns of a hidden activation (default {listed(hidden)})")
    parser.add_argument(
        "--inputs", metavar="N,… | FILE",
        help="columns of the input (default 64); with MODEL an .npz with an array for each input (default seeded random numbers)",
    )  # fmt: skip
    parser.add_argument(
        "--outputs", metavar="N | NAME,…", help="columns of the output (default 10); with MODEL the outputs that are computed (default all)"
    )
    parser.add_argument(
        "--threads",
        type=positive,
        default=1,
        metavar="N",
        help="threads for BLAS and for a call of the compiled runner (default 1)",
    )


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a sweep."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help=f"a small sweep: batch {listed(QUICK['batches'])}, hidden {listed(QUICK['hidden'])}"
    )
    size.add_argument(
        "--large", action="store_true", help=f"batch to {LARGE_BATCHES[-1]}, hidden to {LARGE_HIDDEN[-1]}, more depths and inputs"
    )
    parser.add_argument("--depth", type=sizes, metavar="N,…", help="hidden layers (default 1)")
    parser.add_argument("--no-digits", action="store_true", help="leave out the trained model")


def add_tuned(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets a search choose."""
    parser.add_argument(
        "--tuned",
        action="store_true",
        help="search tile, layouts, packing and threads of the compiled runner on this machine, or recall an earlier search; without "
        "it the default rules choose, the same way on every machine",
    )


def add_effort(parser: argparse.ArgumentParser, processes: int = CASE_PROCESSES, rounds: int = CASE_ROUNDS) -> None:
    """Add the options that say how much is measured."""
    parser.add_argument(
        "--processes", type=positive, default=processes, metavar="N", help=f"fresh processes per case (default {processes})"
    )
    parser.add_argument(
        "--rounds", type=positive, default=rounds, metavar="N", help=f"interleaved rounds in each process (default {rounds})"
    )
    parser.add_argument(
        "--heap", choices=HEAPS, default=FRESH_HEAP, help="allocator of the measuring processes: fresh, or keeping freed memory"
    )


def check_threads(threads: int) -> None:
    """Refuse more threads than this process has cores.

    Raises:
        UsageError: with both numbers.
    """
    cores = environment(threads, FRESH_HEAP).cores
    if threads > cores:
        raise UsageError(f"--threads {threads}: this process may use {cores} cores; more threads would wait for each other")


def wrapped(text: str) -> str:
    """Return a description as lines, for a help whose examples keep theirs."""
    return paragraph(text, width=79)


def sizes(text: str) -> tuple[int, ...]:
    """Parse a list of sizes for argparse."""
    try:
        return parse_sizes(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """Parse one size for argparse."""
    found = sizes(text)
    if len(found) != 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected one whole number of 1 or more")
    return found[0]


def natural(text: str) -> int:
    """Parse a count that may be 0, for argparse."""
    return 0 if text == "0" else positive(text)


def fraction(text: str) -> float:
    """Parse per cent for argparse, into a fraction."""
    return _number(text.removesuffix("%"), "per cent of 0 or more") / 100


def seconds(text: str) -> float:
    """Parse seconds for argparse."""
    found = _number(text, "seconds, more than 0")
    if found == 0:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected seconds, more than 0")
    return found


def _number(text: str, expected: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected {expected}")
    return found


def listed(numbers: Sequence[int]) -> str:
    """Return sizes as they are typed."""
    return ",".join(map(str, numbers))


def say(text: str) -> None:
    """Print, also to a reader that leaves early."""
    print_to(sys.stdout, text)


def say_for_people(text: Callable[..., str]) -> None:
    """Print what people read: on a terminal with colours and lines that fit, else as it is.

    Args:
        text: returns it, with `colour` or without.
    """
    is_terminal = sys.stdout.isatty()
    found = text(colour=is_terminal)
    say(fitting_text(found, terminal_width()) if is_terminal else found)


def remark(text: str) -> None:
    """Print on standard error, as the command."""
    print_to(sys.stderr, f"mlbench: {text}")
