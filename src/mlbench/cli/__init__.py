"""The command `mlbench`, also `python -m mlbench`.

Without a command it lists them on standard error, with exit code 2, because nothing was done.

Exit codes: 0 done, 1 of a command that judges: worse or missing, and nothing else; of one that measures: a result was wrong or a worker
failed; 2 usage, what the system refused, or that there could be no verdict; 3 the gate is inconclusive, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from mlbench._version import __version__
from mlbench.cache import advice
from mlbench.cli import (
    ab,
    ablation,
    baseline,
    calibrate,
    doctor,
    explain,
    flamegraph,
    gate,
    glossary,
    peers,
    plot,
    report,
    roofline,
    run,
    show,
)
from mlbench.cli.options import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SIGNAL, EXIT_USAGE, remark, wrapped
from mlbench.errors import FileError, MissingExtraError, MlbenchError, ModelError, UsageError
from mlbench.files import print_to, refusal

_COMMANDS = (run, show, gate, baseline, ab, calibrate, ablation, roofline, peers, report, plot, explain, flamegraph, doctor, glossary)
"""In the order of the help."""
_RUN_PYTEST = ("ab", "calibrate")
_JUDGE = ("ab", "baseline", "calibrate", "gate")
"""Their exit code 1 is a verdict."""
DESCRIPTION = "Measure what compiler-style optimisations buy in neural-network inference on NumPy."
_SIGPIPE = 13
"""Its number where there is such a signal: the reader left before the end."""
_USAGE_ERRORS = (UsageError, FileError, ModelError, MissingExtraError)


def entry_point() -> None:
    """Run the command and end the process with its exit code; a request to end leaves no worker process behind."""
    signal.signal(signal.SIGTERM, _end)
    code: object = EXIT_USAGE
    try:
        code = main()
    except SystemExit as end:  # of --help, and of a request to end
        code = end.code
    except Exception:  # noqa: BLE001  # a fault of ours, for which Python's exit code is 1, as if something were worse
        traceback.print_exc()
    try:
        print_to(sys.stdout, "", end="")  # what --help has printed may have lost its reader
    except FileError as error:
        remark(str(error))
        code = EXIT_USAGE
    sys.exit(code)  # type: ignore[arg-type]  # what main or sys.exit gave


def _end(number: int, _frame: object) -> None:
    sys.exit(EXIT_SIGNAL + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  # it stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows few characters still gets its table
    if not given:
        print_to(sys.stderr, overview())
        return EXIT_USAGE
    options = _parse(given)
    options.command_line = shlex.join(["mlbench", *given])
    act: Callable[[argparse.Namespace], int] = options.act
    try:
        return act(options)
    except MlbenchError as error:
        remark(f"{error}{advice(str(error), error)}")
        return EXIT_USAGE if isinstance(error, _USAGE_ERRORS) or given[0] in _JUDGE else EXIT_FAILED
    except BrokenPipeError:
        return EXIT_SIGNAL + _SIGPIPE
    except OSError as error:
        told = refusal(error)
        remark(f"{told}{advice(told, error)}")
        return EXIT_USAGE
    except KeyboardInterrupt:
        remark("interrupted")
        return EXIT_INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """A parser of which each command is one as well, so that an argument nobody knows is told with the usage of its own command."""

    def parse_known_args(self, *given: Any, **named: Any) -> Any:  # as argparse has it, which overloads it
        """Parse, and refuse what is left over here instead of in the parser above."""
        found, unknown = super().parse_known_args(*given, **named)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parse(given: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; for commands that run pytest, what stands after `--` is pytest's."""
    if "--" in given:
        place = list(given).index("--")
        if given[0] in _RUN_PYTEST:
            options = command_parser().parse_args(given[:place])
            options.pytest_arguments = list(given[place + 1 :])
            return options
    return command_parser().parse_args(given)


class _Heads:
    """What a command adds itself to, of which only the name and the line about it are kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def add_parser(self, name: str, **given: Any) -> argparse.ArgumentParser:  # as argparse has it
        """Note a command."""
        self.lines.append((name, given["help"]))
        return argparse.ArgumentParser()


def overview() -> str:
    """Return each command in a line, and the first one to try."""
    heads = _Heads()
    for command in _COMMANDS:
        command.add(heads)
    widest = max(len(name) for name, _ in heads.lines)
    commands = "\n".join(f"  {name.ljust(widest)}  {line}" for name, line in heads.lines)
    return (
        f"{wrapped(DESCRIPTION)}\n\nTry first:\n  mlbench run --quick   half a minute: real digits and a small sweep\n\n"
        f"Commands:\n{commands}\n\n'mlbench COMMAND --help' explains one, 'mlbench --help' has more examples."
    )


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with every command. The reference pages of the documentation are made from it."""
    parser: argparse.ArgumentParser = _Parser(
        prog="mlbench",
        description=DESCRIPTION,
        epilog=textwrap.dedent("""\
            start here:
              mlbench run --quick                     half a minute: real digits and a small sweep
              mlbench run model.onnx                  a network of yours, from its file
              mlbench ablation --batch 512            what each optimisation is worth
              mlbench roofline --quick                how far each case is from what this machine can do
              mlbench peers                           how ONNX Runtime, PyTorch and others do on the same models
              mlbench explain --batch 512             what the compiler does to such a model, and why
              mlbench flamegraph baseline-b512-h256   where the bytes of one call go
              mlbench gate before.json now.json       is it slower, or does it need more memory?

            'mlbench COMMAND --help' explains one. Exit codes: 0 done, 1 a wrong result, a failed worker
            or a red gate, 2 usage, unreadable input, or what the system refused, 3 an inconclusive gate,
            130 interrupted (what was measured is kept)."""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mlbench {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
