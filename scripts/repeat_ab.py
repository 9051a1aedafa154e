"""Repeat an A/B of a version with itself, and count how often it is red or in doubt.

    python scripts/repeat_ab.py --runs 20                 # on an idle machine
    python scripts/repeat_ab.py --runs 20 --busy          # with one core kept busy
    python scripts/repeat_ab.py --runs 0                  # sum up what is stored

Development only. Every run is a process of its own, `mlbench ab HEAD HEAD`, and its outcome is a line of JSON that is appended at once. The
same command goes on where it was broken off. Two times are stored: `seconds` of measuring, and `whole_s` with the checkouts and, in
the first run, with building the environments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlbench.cli.ab import machine
from mlbench.gate import INCONCLUSIVE, RED
from mlbench.gate.revisions.judge import judge
from mlbench.measure.stats import binomial_bounds, median
from mlbench.results import now
from mlbench.results.comparison import COMPARISON_FILE
from mlbench.results.storage import read
from mlbench.units import format_duration

OUTPUT = Path("mlbench-results/repeat-ab.jsonl")
INTERRUPTED = 130
LOOP = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(10**6): pass
"""


def main() -> int:
    """Run what is lacking, and sum up."""
    options = _options()
    stored = _stored(options.output, options)
    with _busy_cores(options.busy):
        while len(stored) < options.runs:
            outcome = _run(options)
            options.output.parent.mkdir(parents=True, exist_ok=True)
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(outcome) + "\n")
                file.flush()
                os.fsync(file.fileno())
            stored.append(outcome)
            print(f"{len(stored)} of {options.runs}: {_line(outcome)}", flush=True)
    print(_summary(stored) if stored else f"{options.output} holds no such run yet; take --runs 1 or more")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="HEAD", help="revision that is compared with (default HEAD)")
    parser.add_argument("head", nargs="?", default="HEAD", help="revision that is judged (default HEAD)")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="runs that are to be stored in all (default 20)")
    parser.add_argument("--busy", type=int, nargs="?", const=1, default=0, metavar="CORES",
                        help="keep so many cores busy meanwhile (default 0; 1 without a number)")  # fmt: skip
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help=f"where outcomes are appended (default {OUTPUT})")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the data of every run in this folder")
    return parser.parse_args()


@contextlib.contextmanager
def _busy_cores(count: int) -> Iterator[None]:
    """Keep so many cores busy by processes that compute until they are ended, or this one is gone."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]  # noqa: S603  # our own interpreter
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _run(options: argparse.Namespace) -> dict[str, Any]:
    """Compare once, and return what came of it."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlbench-repeat-") as folder:
        place = Path(folder if options.keep is None else options.keep).resolve() / f"{time.time_ns()}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlbench", "ab", options.base, options.head, "--json", str(place)]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  # this package
        if ran.returncode == INTERRUPTED or not place.exists():
            raise SystemExit(f"{' '.join(command)} ended with exit code {ran.returncode} before it measured; the same command goes on\n"
                             f"{ran.stdout}")  # fmt: skip
        comparison = read(place, COMPARISON_FILE)
    judgement = judge(comparison)
    return {
        "date": now(),
        "base": comparison.base.commit,
        "head": comparison.head.commit,
        "machine": comparison.machine,
        "busy": options.busy,
        "verdict": judgement.verdict,
        "open": {row.id: row.why for row in judgement.rows if row.verdict == INCONCLUSIVE},
        "red": {row.id: row.why for row in judgement.rows if row.verdict in RED},
        "rows": len(judgement.rows),
        "sets": len(comparison.sets),
        "seconds": comparison.spent_s,
        "whole_s": time.monotonic() - begun,
    }


def _stored(output: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the stored outcomes of this machine with as many busy cores."""
    if not output.exists():
        return []
    found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines() if line.strip()]
    here = machine()["cpu"]
    return [each for each in found if (each["busy"], each["machine"]["cpu"]) == (options.busy, here)]


def _line(outcome: dict[str, Any]) -> str:
    names = ", ".join(sorted(row.rpartition("::")[2] for row in (*outcome["red"], *outcome["open"])))
    measuring, whole = (format_duration(outcome[key]) for key in ("seconds", "whole_s"))
    end = f": {names}" if names else ""
    return f"{outcome['verdict']} of {outcome['rows']} rows after {outcome['sets']} sets, {measuring} of measuring, {whole} in all{end}"


def _summary(outcomes: Sequence[dict[str, Any]]) -> str:
    """Return shares with exact 95 % bounds, times, and the rows that were red or in doubt."""
    lines = [f"{len(outcomes)} runs, {outcomes[0]['busy']} cores kept busy, {outcomes[0]['machine']['cpu']}"]
    commits = sorted({f"{each['base'][:9]}..{each['head'][:9]}" for each in outcomes})
    lines.append(f"versions: {', '.join(commits)}")
    for name, key in (("red", "red"), ("inconclusive", "open")):
        count = sum(bool(each[key]) for each in outcomes)
        low, high = (100 * bound for bound in binomial_bounds(count, len(outcomes)))
        share = 100 * count / len(outcomes)
        lines.append(f"{name}: {count} of {len(outcomes)} ({share:.3g} %, exact 95 % bounds {low:.3g} % to {high:.3g} %)")
    for name, key in (("measuring", "seconds"), ("in all, the first run with its environments", "whole_s")):
        middle, least, most = (format_duration(each([outcome[key] for outcome in outcomes])) for each in (median, min, max))
        lines.append(f"{name}: {middle} in the median, {least} to {most}")
    sets = [each["sets"] for each in outcomes]
    lines.append(f"sets: {median(sets):g} in the median, {min(sets)} to {max(sets)}")
    often = Counter(row for each in outcomes for row in (*each["red"], *each["open"]))
    lines += [f"  {count} times {row}" for row, count in often.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
