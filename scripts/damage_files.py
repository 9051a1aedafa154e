"""Damage a file of every kind that mlbench reads, a thousand ways, and see that each is refused or shown, and none is a traceback.

    python scripts/damage_files.py --files 5000

Bytes are flipped, cut off, inserted and repeated; values of JSON and TOML are exchanged for others, moved, removed, nested. What is still
read is shown, judged and reported as the commands do. Prints a line for each kind; the exit code is 1 where anything but an error of
mlbench was raised, with the number of the damage, which `--only KIND --first N --files 1` repeats.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime as dt
import functools
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mlbench import Model, cli, mlp, tune
from mlbench.cache import CacheWarning
from mlbench.compiler.schedule.heuristics import heuristic_schedule
from mlbench.errors import FileError
from mlbench.gate import judge_results
from mlbench.gate.tolerances import load_tolerances
from mlbench.models import OUTPUT_ACTIVATIONS
from mlbench.results import load, save, to_json
from mlbench.runtime import OptimizedRunner
from mlbench.studies import autotune as tuning
from mlbench.studies import memory_record
from support.report_files import write_every_kind
from support.saved_results import case, result

REFUSED, ACCEPTED, TRACEBACK = "refused", "accepted", "traceback"
MOST_S = 60
"""What takes longer hangs."""
TODAY = dt.date(2026, 1, 1)
TOLERANCES = """schema = 1
kind = "mlbench-tolerances"

[[tolerance]]
rows = "optimized-*"
quantity = "products ratio"
tolerance = 0.1
limit = 0.2
reason = "measured twice"
expires = 2026-12-31

[[accepted]]
rows = "baseline-*"
quantity = "latency"
up_to = 1.5
reason = "a trade"
expires = 2026-12-31
"""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.5, 1e308, 5e-324, 10**9, 2**63, 10**400, float("nan"), float("inf"), -float("inf"),
    "", "text", "\ud800", "\x1b[31m\x9b2J\u202e", "x" * 10_000, "b8-h64-t600", "2026-01-02T03:04:05",
    [], {}, [1], [[]], ["x"], {"a": 1},
)  # fmt: skip
MODEL = mlp(6, (9,), 3, activation="leaky_relu", output_activation=OUTPUT_ACTIVATIONS[-1])
Use = Callable[[Path, bytes], str]


class Hang(BaseException):
    """Something took longer than MOST_S; no handler of errors may take it for one."""


# --- damage ---------------------------------------------------------------------------------------------------------------


def damaged(chosen: random.Random, content: bytes) -> bytes:
    """Return the content with one kind of damage, or several."""
    ways = [_flipped, _cut, _inserted, _repeated, _overwritten]
    if not content.startswith(b"PK"):
        ways += [_exchanged] * 10
    for _ in range(chosen.choice((1, 1, 1, 2, 5))):
        content = chosen.choice(ways)(chosen, content)
    return content


def _flipped(chosen: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(chosen.choice((1, 1, 2, 20)) if changed else 0):
        changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
    return bytes(changed)


def _cut(chosen: random.Random, content: bytes) -> bytes:
    place = chosen.randrange(len(content) + 1)
    return content[:place] if chosen.random() < 0.5 else content[:place] + content[place + chosen.randrange(64) :]


def _inserted(chosen: random.Random, content: bytes) -> bytes:
    place = chosen.randrange(len(content) + 1)
    return (
        content[:place]
        + chosen.choice((chosen.randbytes(8), b"[" * 20_000, b"\0", b"-", b"9" * 5000, b"e400", b'"', b"{"))
        + content[place:]
    )


def _repeated(chosen: random.Random, content: bytes) -> bytes:
    place, size = chosen.randrange(len(content) + 1), chosen.choice((1, 30, 2000))
    return content[: place + size] + content[place:]


def _overwritten(chosen: random.Random, content: bytes) -> bytes:
    """Exchange what may be a number of an archive's directory for one of the largest or smallest."""
    place = chosen.randrange(len(content) + 1)
    number = chosen.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x0c\0", b"\x0e\0", b"\xff" * 8))
    return content[:place] + number + content[place + len(number) :]


def _exchanged(chosen: random.Random, content: bytes) -> bytes:
    """Exchange, remove, add or move a value of a document; of TOML a word."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        words = content.decode("utf-8", "replace").split(" ")
        number = chosen.randrange(len(words))
        words[number] = chosen.choice(
            ("inf", "nan", "-1", "1e400", "[]", '"x"', "2026-99-99", "2026-01-01T00:00:00Z", "true", "9" * 30, "\n")
        )
        return " ".join(words).encode()
    places = list(_places(data))
    place = chosen.choice(places)
    if not place:
        return content
    holder = data
    for name in place[:-1]:
        holder = holder[name]
    way = chosen.random()
    if way < 0.1:
        del holder[place[-1]]
    elif way < 0.2 and isinstance(holder, dict):
        holder[chosen.choice(("new", "__class__", "", "a\x1b[2Jb"))] = holder.pop(place[-1])
    elif way < 0.3:
        other: Any = data
        for name in chosen.choice(places):
            other = other[name]
        holder[place[-1]] = copy.deepcopy(other)
    elif way < 0.4 and isinstance(holder[place[-1]], (int, float)):
        holder[place[-1]] *= chosen.choice((-1, 0, 1000, 1e-9, 1e9))
    else:
        holder[place[-1]] = chosen.choice(VALUES)
    return json.dumps(data).encode()


def _places(data: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    for name, part in data.items() if isinstance(data, dict) else enumerate(data[:40]) if isinstance(data, list) else ():
        yield from _places(part, (*here, name))


# --- what is done with a file ------------------------------------------------------------------------------------------------


def through(*arguments: str) -> Use:
    """Return what runs a command on a file, `{}` in it; refused is exit code 2, and nothing that is printed controls a terminal."""

    def use(path: Path, content: bytes) -> str:
        path.write_bytes(content)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([each.replace("{}", str(path)) for each in arguments])
        text = out.getvalue() + err.getvalue()
        assert not set(text) & set("\x1b\x07\x08\r\x7f\x9b\u202e"), f"controls a terminal: {text!r}"
        assert code in (0, 1, 2, 3), code
        if code != 2:
            return ACCEPTED
        assert err.getvalue().startswith("mlbench: "), err.getvalue()
        assert " could not be made (" not in err.getvalue(), err.getvalue()
        return REFUSED

    return use


def both(*uses: Use) -> Use:
    """Return what does one after the other, until one of them refuses the file."""
    return lambda path, content: REFUSED if any(use(path, content) == REFUSED for use in uses) else ACCEPTED


def as_model(path: Path, content: bytes) -> str:
    """Load a model, and run it."""
    path.write_bytes(content)
    try:
        model = Model.load(path)
    except FileError:
        return REFUSED
    OptimizedRunner(model, 2)
    return ACCEPTED


def as_tolerances(path: Path, content: bytes) -> str:
    """Judge with a tolerance file."""
    path.write_bytes(content)
    try:
        allowed = load_tolerances(path)
    except FileError:
        return REFUSED
    judge_results(result(case()), result(case(ratio=1.4)), allowed, TODAY)
    return ACCEPTED


def as_memory(path: Path, content: bytes) -> str:
    """Recall choices, and run with them; a file that cannot be used is warned about, and the search is made anew."""
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedule = tune(MODEL, 3)
    OptimizedRunner(MODEL, 3, schedule=schedule)
    assert all(isinstance(each.message, CacheWarning) for each in caught), caught
    return REFUSED if caught else ACCEPTED


def kinds(folder: Path) -> dict[str, tuple[Path, Use]]:
    """Return a whole file of each kind, and what is done with a damaged one."""
    write_every_kind(folder)
    save(result(case(), case("baseline-b8-h64")), folder / "baseline.json")
    document = to_json(load(folder / "baseline.json"))
    benchmarks = [{"name": each["case"]["id"], "fullname": each["case"]["id"], "stats": {"min": 1e-5, "median": 1e-5},
                   "extra_info": {"mlbench": each | {"schema": 2}}} for each in document["measurements"]]  # fmt: skip
    head = {name: document[name] for name in ("environment", "command", "status")}
    text = json.dumps({"machine_info": {}, "datetime": document["date"], "benchmarks": benchmarks, "mlbench": head})
    (folder / "pytest-benchmark.json").write_text(text)
    (folder / "baseline.toml").write_text(TOLERANCES)
    MODEL.save(folder / "model.npz")
    os.environ["MLBENCH_CACHE"] = str(folder / "cache")
    tune(MODEL, 3)
    (remembered,) = (folder / "cache").iterdir()
    (folder / "calibration").mkdir()
    (folder / "calibration" / "same-0001.json").write_bytes((folder / "ab.json").read_bytes())
    page = str(folder / "page.html")
    shown, report = through("show", "{}"), through("report", "{}", "-o", page)
    baseline = str(folder / "baseline.json")
    calibrate = ("calibrate", "--store", str(folder / "calibration"), "--same", "0", "--planted", "0", "--suites", "3")
    return {
        "model": (folder / "model.npz", as_model),
        "result": (folder / "c.json", both(shown, report)),
        "pytest-benchmark": (folder / "pytest-benchmark.json", both(shown, report)),
        "baseline": (folder / "baseline.json", through("gate", "{}", str(folder / "c.json"), "--format", "markdown")),
        "peers": (folder / "peers.json", both(shown, report)),
        "ablation": (folder / "ablation.json", both(shown, report)),
        "explanation": (folder / "explain.json", report),
        "roofline": (folder / "roofline.json", both(shown, report)),
        "verdicts": (folder / "gate.json", report),
        "ab": (folder / "ab.json", both(shown, report)),
        "calibration": (folder / "calibration" / "same-0001.json", through(*calibrate)),
        "tolerances": (folder / "baseline.toml", both(as_tolerances, through("gate", baseline, str(folder / "c.json")))),
        "cache": (remembered, as_memory),
    }


# --- the count ------------------------------------------------------------------------------------------------------------


def ending(use: Use, path: Path, content: bytes) -> tuple[str, str]:
    """Return how the use of a file ended, and where it is a traceback, the traceback."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _hang)
        signal.alarm(MOST_S)
    try:
        return use(path, content), ""
    except (Exception, SystemExit, Hang):  # noqa: BLE001  # what this script is to count
        return TRACEBACK, traceback.format_exc()
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)


def _hang(*_: object) -> None:
    raise Hang(f"longer than {MOST_S} s")


def count(name: str, path: Path, use: Use, numbers: range, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how often each ending was that of damaged copies of a file, and the tracebacks."""
    whole = path.read_bytes()
    how, trace = ending(use, path, whole)
    assert how == ACCEPTED, f"the whole file of {name} is {how}\n{trace}"
    counts: Counter[str] = Counter()
    told = []
    for number in numbers:
        content = damaged(random.Random(f"{seed} {name} {number}"), whole)  # noqa: S311  # no secret
        how, trace = ending(use, path, content)
        counts[how] += 1
        if trace:
            told.append(f"{name}, damage {number}:\n{trace}")
    path.write_bytes(whole)
    return counts, told


def _not_recorded(identity: Mapping[str, Any]) -> None:
    """Decide whether the memory of a cell would be recorded, which takes long, and record nothing."""
    memory_record.can_be_drawn(identity)


def quickened() -> tuple[tuple[Any, str, Any], ...]:
    """Return what to put in the place of what takes long and is not decided by a file: a parser made anew, a recording, a search."""
    return (
        (cli, "command_parser", functools.cache(cli.command_parser)),
        (memory_record, "memory_of", _not_recorded),
        (tuning, "best_schedule", lambda program, names, _: heuristic_schedule(program, names)),
        (tuning, "settle", lambda found, *_: tuning.Settled(found, may_be_remembered=True)),
    )


def main() -> int:
    """Damage, use, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000, metavar="N", help="damaged files of each kind (default 5000)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first damage (default 0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the damage (default 0)")
    parser.add_argument("--only", metavar="KIND,...", help="these kinds alone")
    options = parser.parse_args()
    failed = 0
    for holder, name, new in quickened():
        setattr(holder, name, new)
    with tempfile.TemporaryDirectory(prefix="mlbench-damage-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        every = kinds(Path(folder))
        for name in options.only.split(",") if options.only else every:
            start = time.monotonic()
            counts, told = count(name, *every[name], range(options.first, options.first + options.files), options.seed)
            endings = ", ".join(f"{counts[how]} {how}" for how in (REFUSED, ACCEPTED, TRACEBACK))
            print(f"{name}: {endings} ({time.monotonic() - start:.0f} s)", flush=True)
            print("\n".join(told[:5]), end="", flush=True)
            failed += counts[TRACEBACK]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
