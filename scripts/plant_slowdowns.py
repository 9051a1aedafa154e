"""Plant slower work in the compiled runner, measure it as `mlbench run` does, and see whether `mlbench gate` finds it.

    python -m mlbench run --json clean.json
    python scripts/plant_slowdowns.py clean.json --sizes 5,10,20 --folder planted

The work is real: `kernel` repeats so many per cent of the multiplications of every block of generated code; `call` waits at the entrance of
generated code for so many per cent of the clean call's time; `both` does so behind every call of either runner, as a slowdown of what both
use would. It is planted in the worker processes alone, after the runners have been checked; mlbench itself has no switch for it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.cli import main as mlbench
from mlbench.cli.gate import today
from mlbench.compiler.x86 import body as bodies
from mlbench.compiler.x86.encoding.assembler import RAX, RCX, Assembler, Label, Mem
from mlbench.compiler.x86.encoding.executable import Code, builtin
from mlbench.compiler.x86.products import blocks, microkernel
from mlbench.gate import INCONCLUSIVE, RED, Judgement, judge_results
from mlbench.measure import ArmTimes, Worker
from mlbench.measure.ceilings import fastest_s
from mlbench.report import Table, render
from mlbench.results import OPTIMIZED, load
from mlbench.studies import sweep as measuring
from mlbench.studies.cases import Case, Cell, call_of
from mlbench.studies.sweep import Arms, Effort

KINDS = ("kernel", "call", "both")
TURNS = 100_000
LFENCE = b"\x0f\xae\xe8"
"""Nothing behind it starts before everything in front of it has ended."""


def put_instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """Put what `make` makes of an attribute in its place, and return what was there."""
    before = getattr(owner, name)
    setattr(owner, name, make(before))
    return before


def put_wait(a: Assembler, turns: int) -> None:
    """Put a loop that takes so many turns, and that nothing behind it overlaps."""
    again = Label()
    a.mov_number(RAX, max(1, turns))
    a.put(again)
    a.sub_number(RAX, 1)
    a.jump_if("ne", again)
    a.code += LFENCE


def waiting(turns: int) -> Callable[[], Any]:
    """Return a builtin function that waits for so many turns."""
    a, given = Assembler(), np.zeros(1)
    put_wait(a, turns)
    a.mov_number(RAX, id(given))
    a.load(RCX, Mem(RAX))
    a.add_number(RCX, 1)
    a.store(Mem(RAX), RCX)
    a.ret()
    return builtin("wait", Code(a.finish()), given)


def turns_of(cell: Cell, share: float) -> int:
    """Return how many turns of waiting take this share of the cell's clean call."""
    turn_s = fastest_s(waiting(TURNS)) / TURNS
    return round(share * fastest_s(call_of(Case(cell, OPTIMIZED))) / turn_s)


def plant_in_kernel(share: float) -> None:
    """Let every block of a product repeat this share of its multiplications; the result is wrong and takes so much longer."""

    def slower(finish: Any) -> Any:
        def repeat_and_finish(writer: Any) -> None:
            unrolled = writer._chunk.unrolled
            turns, left = divmod(round(share * writer._chunk.inputs), unrolled)
            if turns:
                again = Label()
                writer._a.mov_number(RAX, turns)
                writer._a.put(again)
                for k in range(unrolled):
                    writer._multiply(k - unrolled)
                writer._a.sub_number(RAX, 1)
                writer._a.jump_if("ne", again)
            for k in range(left if writer._chunk.inputs >= unrolled else 0):
                writer._multiply(k - unrolled)
            finish(writer)

        return repeat_and_finish

    put_instead(microkernel.BlockWriter, "_finish", slower)
    blocks._family.cache_clear()


def plant_in_call(turns: int) -> None:
    """Let every body of generated code wait where it begins."""

    def slower(enter: Any) -> Any:
        def wait_and_enter(writer: Any, plan: Any) -> None:
            put_wait(writer.a, turns)
            enter(writer, plan)

        return wait_and_enter

    put_instead(bodies, "_emit_body", slower)


def plant_in_both(turns: int) -> None:
    """Let every call of either runner wait when it is done."""
    wait = waiting(turns)

    def slower(clean: Any) -> Any:
        def call_of_both(case: Case) -> Callable[[], Any]:
            call = clean(case)

            def call_and_wait() -> Any:
                result = call()
                wait()
                return result

            return call_and_wait

        return call_of_both

    put_instead(measuring, "call_of", slower)


def planted_times(cell: Cell, effort: Effort, kind: str, share: float) -> dict[str, ArmTimes]:
    """Plant, then time the cell; a worker lives for one request."""
    if kind == "kernel":
        plant_in_kernel(share)
    else:
        (plant_in_call if kind == "call" else plant_in_both)(turns_of(cell, share))
    return measuring.times_of_cell(cell, effort)


def run_planted(kind: str, share: float, cells: list[str], arguments: list[str]) -> int:
    """Run `mlbench run` with slower work in these cells, or in all of them where none is named."""
    here = importlib.import_module("plant_slowdowns")  # the name by which a worker finds it

    def planted(clean: Any) -> Any:
        def time_planted(times_of: Any, cell: Cell, effort: Effort, arms: Arms) -> None:
            if cells and cell.id not in cells:
                clean(times_of, cell, effort, arms)
                return
            with Worker(cell.threads, effort.heap) as worker:
                times: dict[str, ArmTimes] = worker.call(here.planted_times, cell, effort, kind, share)
            for name, each in times.items():
                arms.setdefault(name, []).append(each)

        return time_planted

    clean = put_instead(measuring, "time_in_process", planted)
    try:
        return mlbench(["run", *arguments])
    finally:
        put_instead(measuring, "time_in_process", lambda _: clean)


def told(kind: str, size: float, judged: Judgement, cells: list[str]) -> tuple[str, ...]:
    """Return a line of the table: the verdict, and how many of the rows in which work was planted are red or in doubt."""
    rows = [row for row in judged.rows if row.id.startswith(f"{OPTIMIZED}-") and (not cells or row.id.partition("-")[2] in cells)]
    red, still_open = (sum(row.verdict in verdicts for row in rows) for verdicts in (RED, (INCONCLUSIVE,)))
    others = [row.id for row in judged.rows if row.verdict in RED and row not in rows]
    found = "found" if judged.verdict in RED else "in doubt" if judged.verdict == INCONCLUSIVE else "not found"
    return (f"{kind} {size:g} %", found, f"{red} of {len(rows)}", str(still_open), ", ".join(others) or "-")


def main() -> int:
    """Measure what was asked for and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clean", type=Path, help="what `mlbench run --json` measured of the same version, without anything planted")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"what to plant (default {','.join(KINDS)})")
    parser.add_argument("--sizes", default="5,10,20", help="in per cent (default 5,10,20)")
    parser.add_argument("--cells", default="", help="plant in these alone, such as b1-h64,b512-h256 (default all)")
    parser.add_argument(
        "--folder", type=Path, default=Path("mlbench-results/planted"), help="where the runs are kept; those there are judged"
    )
    parser.add_argument("run", nargs="*", metavar="-- RUN-ARGUMENTS", help="for `mlbench run`, the same that measured CLEAN")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH"))))
    options.folder.mkdir(parents=True, exist_ok=True)
    cells, lines = [each for each in options.cells.split(",") if each], []
    for kind in options.kinds.split(","):
        for size in map(float, options.sizes.split(",")):
            path = options.folder / f"{'-'.join([kind, f'{size:g}', *cells])}.json"
            if not path.exists() and (code := run_planted(kind, size / 100, cells, ["--json", str(path), *options.run])):
                return code
            judged = judge_results(load(options.clean), load(path), None, today(), (str(options.clean), str(path)))
            lines.append(told(kind, size, judged, cells))
    headers = ("planted", "the gate", "red rows", "in doubt", "other red rows")
    print(render(Table(f"Slower work against {options.clean}", headers, tuple(lines))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
