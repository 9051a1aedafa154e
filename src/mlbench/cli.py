"""The command `mlbench`, also `python -m mlbench`.

Exit codes: 0 done, 1 a result was wrong or a worker failed, 2 usage or unreadable input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from mlbench import __version__
from mlbench.cases import (
    BATCHES,
    HIDDEN,
    LARGE_BATCHES,
    LARGE_DEPTHS,
    LARGE_HIDDEN,
    LARGE_INPUTS,
    Cell,
    digits_cell,
    flame_graph,
    parse_case,
    sweep,
)
from mlbench.errors import FileError, MissingExtraError, MlbenchError, ModelError, UsageError
from mlbench.explaining import explanation
from mlbench.files import write_atomically
from mlbench.measure import FRESH_HEAP, HEAPS, Environment, environment
from mlbench.measure.latency import ROUNDS
from mlbench.measuring import PROCESSES, Effort, Interrupted, measure_cell
from mlbench.report import Progress, pairs, progress, render, summary, tables
from mlbench.results import COMPLETE, INTERRUPTED, Measurement, Result, load, new_result, save, to_json
from mlbench.units import format_duration, format_ratio, parse_sizes

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
_USAGE_ERRORS = (UsageError, FileError, ModelError, MissingExtraError)
QUICK = {"batches": (1, 64, 512), "hidden": (256,)}


def entry_point() -> None:
    """Run the command and end the process with its exit code."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows few characters still gets its table
    options = _parser().parse_args(given)
    options.command_line = shlex.join(["mlbench", *given])
    act: Callable[[argparse.Namespace], int] = options.act
    try:
        code = act(options)
        sys.stdout.flush()
    except _USAGE_ERRORS as error:
        print(f"mlbench: {error}", file=sys.stderr)
        return EXIT_USAGE
    except MlbenchError as error:
        print(f"mlbench: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("mlbench: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader left, as `head` does. What is left in the buffer goes nowhere, or Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlbench",
        description="Measure what compiler-style optimisations buy in neural-network inference on NumPy.",
        epilog=textwrap.dedent("""\
            start here:
              mlbench run --quick                     half a minute: real digits and a small sweep
              mlbench explain --batch 512             what the compiler does to such a model, and why
              mlbench flamegraph baseline-b512-h256   where the bytes of one call go

            'mlbench COMMAND --help' tells more. Exit codes: 0 done, 1 a wrong result or a failed worker,
            2 usage or unreadable input, 130 interrupted (what was measured is kept)."""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mlbench {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_show(commands)
    _add_explain(commands)
    _add_flamegraph(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="measure the digits model and the sweep, and sum up",
        description="Measure both runners on the trained digits model and over batch x hidden, without pytest. Each case is checked "
        "against float64 first, then its memory is recorded, then both runners and the floor take turns in fresh processes.",
        epilog=textwrap.dedent("""\
            examples:
              mlbench run                                    the default sweep, under a minute on two cores
              mlbench run --json now.json --output now.txt   keep the data and the log
              mlbench run --batch 32 --hidden 128,512        single values
              mlbench run --large --no-digits                up to 10 GFLOP a call, depths 1, 2 and 4
              mlbench run --heap kept                        without the page faults of a fresh process
              mlbench run --json now.json --resume           go on where Ctrl-C broke off"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help=f"a small sweep: batch {_list(QUICK['batches'])}, hidden {_list(QUICK['hidden'])}"
    )
    size.add_argument(
        "--large", action="store_true", help=f"batch to {LARGE_BATCHES[-1]}, hidden to {LARGE_HIDDEN[-1]}, more depths and inputs"
    )
    _add_sizes(parser)
    parser.add_argument("--depth", type=_sizes, metavar="N,…", help="hidden layers (default 1)")
    parser.add_argument("--no-digits", action="store_true", help="leave out the trained model")
    parser.add_argument(
        "--processes", type=_positive, default=PROCESSES, metavar="N", help=f"fresh processes per case (default {PROCESSES})"
    )
    parser.add_argument(
        "--rounds", type=_positive, default=ROUNDS, metavar="N", help=f"interleaved rounds in each process (default {ROUNDS})"
    )
    parser.add_argument(
        "--heap", choices=HEAPS, default=FRESH_HEAP, help="allocator of the measuring processes: as new, or keeping freed memory"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the data here, after every case")
    parser.add_argument("--resume", action="store_true", help="take complete cases from --json FILE instead of measuring them again")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the log here as well")
    parser.set_defaults(act=_run)


def _add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "show",
        help="print the tables of a saved result again",
        description="Print tables and summary of a file that 'mlbench run --json' or pytest-benchmark saved.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.set_defaults(act=_show)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "explain",
        help="show what the compiler does to a model",
        description="Print the graph as written, what each optimisation did to it, the graph as it runs, the Python that runs, "
        "and the memory map.",
        epilog="example: mlbench explain --batch 512 --hidden 256 --depth 2",
    )
    _add_sizes(parser)
    parser.add_argument("--depth", type=_positive, default=1, metavar="N", help="hidden layers (default 1)")
    parser.set_defaults(act=_explain)


def _add_flamegraph(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "flamegraph",
        help="record the memory of one case and draw memray's flame graph",
        description="Record one call of a case with memray and render its flame graph. Of the baseline the graph shows the "
        "peak of the call. A call of the optimized runner allocates nothing, so for it the making of the runner is recorded too, and "
        "the graph shows what it holds afterwards (what memray calls leaks).",
        epilog="examples: mlbench flamegraph baseline-b512-h1024   mlbench flamegraph optimized-digits-b360 --folder flames",
    )
    parser.add_argument("case", metavar="CASE", help="RUNNER-bBATCH-hHIDDEN, or RUNNER-digits-bBATCH")
    parser.add_argument("--folder", type=Path, default=Path("mlbench-results"), metavar="DIR", help="where it goes (default %(default)s)")
    parser.set_defaults(act=_flamegraph)


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=_sizes, metavar="N,…", help=f"rows of a call (default {_list(BATCHES)})")
    parser.add_argument("--hidden", type=_sizes, metavar="N,…", help=f"columns of a hidden activation (default {_list(HIDDEN)})")
    parser.add_argument("--inputs", type=_sizes, metavar="N,…", help="columns of the input (default 64)")
    parser.add_argument("--outputs", type=_positive, default=10, metavar="N", help="columns of the output (default 10)")
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="BLAS threads (default 1)")


def _run(options: argparse.Namespace) -> int:
    _check_places(options)
    cells = _cells(options)
    found = environment(options.threads, options.heap)
    results = _known(options, found) if options.resume else {}
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap)
    status = INTERRUPTED  # until the last cell is there

    def result() -> Result:
        return new_result(found, options.command_line, [each for both in results.values() for each in both], status)

    try:
        with progress(len(cells) * (1 + effort.processes)) as shown:
            for number, cell in enumerate(cells, start=1):
                if cell.id not in results:
                    results[cell.id] = measure_cell(cell, effort, shown.step)
                shown.say(f"[{number}/{len(cells)}] {_line(results[cell.id])}")
                if options.json is not None:
                    save(result(), options.json)
        status = COMPLETE
    except Interrupted as half:
        if half.measurements:
            results[cell.id] = list(half.measurements)
    except KeyboardInterrupt:
        pass  # between two cells: nothing is lost
    _report(options, result())
    return EXIT_DONE if status == COMPLETE else EXIT_INTERRUPTED


def _check_places(options: argparse.Namespace) -> None:
    """Refuse what could not be written in the end, before anything is measured."""
    if options.resume and options.json is None:
        raise UsageError("--resume needs --json FILE, the result to go on with")
    for path in (options.json, options.output):
        if path is not None and not path.parent.is_dir():
            raise FileError(f"{path}: its folder does not exist; make it first, so that nothing is measured in vain")


def _report(options: argparse.Namespace, result: Result) -> None:
    """Print tables and summary, and write the files that were asked for."""
    if options.json is not None and result.measurements:
        save(result, options.json)
    print(_text(result, colour=sys.stdout.isatty()))
    if options.output is not None:
        write_atomically(options.output, _text(result, colour=False) + "\n")
        print(f"\nLog: {options.output}")
    if options.json is not None and result.measurements:
        print(f"\nData: {options.json}")
    if result.status == INTERRUPTED:
        print(f"mlbench: interrupted; {len(result.measurements)} cases were measured, the last ones perhaps in part", file=sys.stderr)


def _text(result: Result, *, colour: bool) -> str:
    drawn = [render(table, colour=colour) for table in tables(result.measurements)]
    return "\n\n".join([f"$ {result.command}   ({result.date})", *drawn, summary(result.measurements, result.environment)])


def _line(done: Sequence[Measurement]) -> str:
    pair = pairs(done)[-1]
    assert pair.baseline is not None
    assert pair.baseline.timing is not None
    assert pair.optimized is not None
    assert pair.optimized.timing is not None
    ratio = pair.optimized.ratios["speedup"]
    return (
        f"{pair.cell}: {format_duration(pair.baseline.timing.median_s)} > {format_duration(pair.optimized.timing.median_s)}, "
        f"{format_ratio(ratio.estimate)} ({format_ratio(ratio.low)} to {format_ratio(ratio.high)})"
    )


def _cells(options: argparse.Namespace) -> list[Cell]:
    batches, hidden = (QUICK["batches"], QUICK["hidden"]) if options.quick else (BATCHES, HIDDEN)
    inputs: Sequence[int] = (64,)
    depths: Sequence[int] = (1,)
    if options.large:
        batches, hidden, inputs, depths = LARGE_BATCHES, LARGE_HIDDEN, LARGE_INPUTS, LARGE_DEPTHS
    chosen = sweep(
        options.batch or batches,
        options.hidden or hidden,
        options.inputs or inputs,
        options.outputs,
        options.depth or depths,
        options.threads,
    )
    cells = [*([] if options.no_digits else [digits_cell(options.threads)]), *chosen]
    if not cells:
        raise UsageError("no cell is left: every one of them needs more than 10 GFLOP a call; choose smaller sizes")
    return cells


def _known(options: argparse.Namespace, found: Environment) -> dict[str, list[Measurement]]:
    """Return the complete cells of an earlier result of the same environment."""
    if not options.json.exists():
        return {}
    earlier = load(options.json)
    before, here = (to_json(new_result(each, "", ()))["environment"] for each in (earlier.environment, found))
    different = sorted(name for name in here if before[name] != here[name])
    if different:
        raise FileError(f"{options.json}: was measured with another {', '.join(different)}; measure anew into another file")
    complete: dict[str, list[Measurement]] = {}
    for each in earlier.measurements:
        if each.status == COMPLETE:
            complete.setdefault(each.case["cell"], []).append(each)
    return {cell: both for cell, both in complete.items() if len(both) == 2}  # the two runners


def _show(options: argparse.Namespace) -> int:
    print(_text(load(options.file), colour=sys.stdout.isatty()))
    return EXIT_DONE


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
    print(explanation(cell))
    return EXIT_DONE


def _flamegraph(options: argparse.Namespace) -> int:
    recording, page = flame_graph(parse_case(options.case), options.folder)
    print(f"{page}\n{recording}")
    return EXIT_DONE


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return parse_sizes(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    sizes = _sizes(text)
    if len(sizes) != 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected one whole number of 1 or more")
    return sizes[0]


def _list(sizes: Sequence[int]) -> str:
    return ",".join(map(str, sizes))


__all__ = ["Progress", "entry_point", "main"]
