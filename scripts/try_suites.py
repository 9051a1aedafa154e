"""Try the A/B on small projects that have what other people's suites have: equal code, then a version that is 30 % slower.

    python scripts/try_suites.py                                      # all of them, in this environment
    python scripts/try_suites.py --python ENV/bin/python --output F   # with another environment's pytest and pytest-benchmark
    python scripts/try_suites.py --only unittest,by-name --sets 2     # some, quickly: equal code is measured, and nothing settles

Development only. Every comparison is a line of JSON that is appended at once, and the same command goes on where it was broken off. The
projects stand in `tests/support/suites.py`. One whose plugins the environment lacks is named and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.suites import SITUATIONS, SLOWER, Situation

from mlbench.studies.ab.process import Arm, ArmError
from mlbench.results.comparison import Comparison, Version
from mlbench.results.samples import Effort
from mlbench.studies.ab.session import Session
from mlbench.gate.revisions.judge import judge
from mlbench.cli.ab import machine
from mlbench.gate import RED, Judgement
from mlbench.results.comparison import PairedPolicy
from mlbench.report import verdict_text
from mlbench.results import now

OUTPUT = Path("mlbench-results/suites.jsonl")
INSTALLED = """
import json
from importlib import metadata
found = {each.name.lower(): each.version for each in metadata.distributions()}
print(json.dumps({name: version for name, version in found.items() if name.startswith("pytest")}))
"""


class Quiet:
    """Is told what happens, and keeps it to itself."""

    def expect(self, steps: int) -> None:
        """So many steps are still to come."""

    def step(self, what: str) -> None:
        """One step ended."""

    def say(self, line: str) -> None:
        """Print nothing."""


def main() -> int:
    """Run what is lacking, and sum up."""
    options = _options()
    versions = _versions(options.python)
    print("environment:", ", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
    stored = [json.loads(line) for line in options.output.read_text(encoding="utf-8").splitlines()] if options.output.exists() else []
    done = {(each["name"], each["slower"]) for each in stored}
    for name in options.only or SITUATIONS:
        situation = SITUATIONS[name]
        lacking = [each for each in situation.needs if each.lower() not in versions]
        if lacking:
            print(f"{name}: left out, the environment has no {', '.join(lacking)}", flush=True)
            continue
        for slower in (False, True) if situation.rows and options.sets is None else (False,):
            if (name, slower) not in done:
                found = _tried(name, situation, options, slower=slower)
                options.output.parent.mkdir(parents=True, exist_ok=True)
                with options.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
                stored.append(found)
                print(_line(found), flush=True)
    good = sum(each["good"] for each in stored)
    print(f"{good} of {len(stored)} comparisons of {len({each['name'] for each in stored})} projects say what they are to say")
    return 0 if good == len(stored) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="interpreter that runs the projects (default: this one)")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAMES", help="projects (default: all)")
    parser.add_argument("--sets", type=int, metavar="N", help="no more than so many sets of processes (default: until all is settled)")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help=f"where the lines go (default {OUTPUT})")
    return parser.parse_args()


def _versions(python: str) -> dict[str, str]:
    """Return the distributions of an environment that the projects may need."""
    found = subprocess.run([python, "-c", INSTALLED], capture_output=True, text=True, check=True)  # noqa: S603  # the user's interpreter
    return dict(sorted(json.loads(found.stdout).items()))


def _tried(name: str, situation: Situation, options: argparse.Namespace, *, slower: bool) -> dict[str, Any]:
    """Compare two versions of a project, and return what was said and whether that is right."""
    with tempfile.TemporaryDirectory() as place, _variables(situation.variables):
        homes = {"base": Path(place) / "base", "head": Path(place) / "head"}
        for side, home in homes.items():
            home.mkdir()
            situation.write(home, is_head=side == "head", scale=SLOWER if slower and side == "head" else 1.0)
        arms = [Arm(each, options.python, homes["head" if each == "head" else "base"]) for each in ("base", "head", "control")]
        policy = PairedPolicy() if options.sets is None else dataclasses.replace(PairedPolicy(), screen=options.sets, most=options.sets)
        sides = (Version("base", "base"), Version("head", "head"))
        comparison = Comparison(machine(), "try_suites", now(), situation.arguments, *sides, policy, Effort(timeout_s=20))
        begun = time.monotonic()
        try:
            Session(comparison, arms, lambda: None, Quiet()).run()
            judgement: Judgement | None = judge(comparison)
            text = verdict_text(judge(comparison), colour=False)
        except ArmError as error:
            judgement, text = None, str(error)
    verdict = "" if judgement is None else judgement.verdict
    red = [] if judgement is None else sorted(row.id for row in judgement.rows if row.verdict in RED)
    whole = {visit.id for visits in comparison.sets for visit in visits if visit.is_whole}
    good = situation.says in " ".join(text.split()) and set(situation.rows) <= whole
    if slower:
        good &= set(situation.rows) <= set(red)
    elif options.sets is None:
        good &= verdict == situation.equal
    return {"name": name, "slower": slower, "verdict": verdict, "red": red, "good": good, "sets": len(comparison.sets),
            "seconds": round(time.monotonic() - begun, 1), "text": text}  # fmt: skip


@contextlib.contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _line(found: Mapping[str, Any]) -> str:
    what = "slower" if found["slower"] else "equal"
    mark = "ok " if found["good"] else "BAD"
    head = f"{mark} {found['name']:28} {what:7} {found['verdict'] or 'refused':14}"
    return f"{head} {found['sets']:3} sets {found['seconds']:7.1f} s"


if __name__ == "__main__":
    sys.exit(main())
