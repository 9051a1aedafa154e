"""`mlbench doctor`: what on this machine disturbs measuring; `mlbench limits`: what it can do at most."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap

from mlbench.cli.options import EXIT_DONE, Commands, positive, say
from mlbench.measure import FRESH_HEAP, Worker, describe, environment
from mlbench.measure.ceilings import COPY_BYTES, Ceilings, measure_ceilings
from mlbench.measure.doctor import Mood, blas_threads_now, examine, load_now
from mlbench.report import Table, render
from mlbench.units import format_bytes, format_duration


def add(commands: Commands) -> None:
    """Add both commands."""
    doctor = commands.add_parser(
        "doctor",
        help="say what on this machine disturbs measuring",
        description="Look at load, frequency governor, turbo, container limits, huge pages, the hypervisor and BLAS, and say what to do.",
    )
    doctor.set_defaults(act=_doctor)
    limits = commands.add_parser(
        "limits",
        help="measure what this machine can do at most",
        description="Measure the ceilings that a case is held against: matrix product, product with one row, copy, and the cost of a call.",
    )
    limits.add_argument("--threads", type=positive, default=1, metavar="N", help="BLAS threads (default 1)")
    limits.set_defaults(act=_limits)


def _doctor(options: argparse.Namespace) -> int:
    findings = examine(environment(1, FRESH_HEAP), load_now(), blas_threads_now())
    rows = tuple((each.what, each.found, each.mood.value) for each in findings)
    say(render(Table("What disturbs measuring here", ("what", "found", "verdict"), rows), colour=sys.stdout.isatty()))
    disturbing = [each for each in findings if each.mood is Mood.DISTURBS]
    say("")
    for each in disturbing:
        say(textwrap.fill(f"{each.what}: {each.advice}.", 110, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
    if not disturbing:
        say("Nothing found that disturbs measuring.")
    return EXIT_DONE


def _limits(options: argparse.Namespace) -> int:
    with Worker(options.threads) as worker:
        answer = worker.call("mlbench.cli.doctor:ceilings_in_worker")
    found = Ceilings(**{**answer, "copy_bytes_per_s": tuple(answer["copy_bytes_per_s"])})
    copies = (
        (f"copy of {format_bytes(size)}", f"{rate / 1e9:.1f} GB/s") for size, rate in zip(COPY_BYTES, found.copy_bytes_per_s, strict=True)
    )
    rows = (
        ("matrix product, float32", f"{found.gemm_flop_per_s / 1e9:.0f} GFLOP/s"),
        ("weights read by a product with one row", f"{found.gemv_bytes_per_s / 1e9:.1f} GB/s"),
        *copies,
        ("element-wise call on 16 numbers", format_duration(found.ufunc_call_s)),
        ("product (1, 16) @ (16, 16)", format_duration(found.dot_call_s)),
    )
    notes = ("The best of several sizes and repeats. A copy counts bytes read and bytes written.",)
    say(render(Table("Ceilings", ("what", "at most"), rows, notes), colour=sys.stdout.isatty()))
    say(f"\nMachine: {describe(environment(options.threads, FRESH_HEAP))}")
    return EXIT_DONE


def ceilings_in_worker() -> dict[str, object]:
    """Measure the ceilings; what a worker process is asked to call."""
    return dataclasses.asdict(measure_ceilings())
