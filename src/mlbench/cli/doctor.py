"""`mlbench doctor`: what on this machine disturbs measuring, and what to do about it."""

from __future__ import annotations

import argparse
import functools

from mlbench.cli.options import EXIT_DONE, Commands, say, say_for_people
from mlbench.measure import FRESH_HEAP, environment
from mlbench.measure.system.doctor import Mood, blas_threads_now, examine, load_now
from mlbench.report import Table, render
from mlbench.units import paragraph


def add(commands: Commands) -> None:
    """Add the command."""
    doctor = commands.add_parser(
        "doctor",
        help="report what disturbs measurements on this machine",
        description="Check load, frequency governor, turbo, shared cores, container limits, huge pages, the hypervisor and BLAS, and "
        "advise what to do. Nothing is changed.",
    )
    doctor.set_defaults(act=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    findings = examine(environment(1, FRESH_HEAP), load_now(), blas_threads_now())
    rows = tuple((each.what, each.found, each.mood.value) for each in findings)
    table = Table("What disturbs measurements here", ("what", "found", "verdict"), rows)
    say_for_people(functools.partial(render, table))
    disturbing = [each for each in findings if each.mood is Mood.DISTURBS]
    say("")
    for each in disturbing:
        say_for_people(lambda each=each, **_: paragraph(f"{each.what}: {each.advice}.", "  "))
    if not disturbing:
        say("Nothing found that disturbs measurements.")
    return EXIT_DONE
