"""Compare a function of generated code with float64 on every float32 there is, all 2**32 bit patterns.

    python scripts/check_all_floats.py exp                      # some minutes a function
    python scripts/check_all_floats.py sin --state sin.json     # go on where the last run stopped

Development only. The function runs in a sweep, on chunks of consecutive bit patterns. The error is counted in units in the last place
(ULP) of the float32 result, of a denormal result in the smallest normal number's. NaN and infinities must be where the exact result,
rounded to float32, has them. The worst argument is printed. A run ends with 1 where the error is beyond `--bound`, or something is no
number that should be one.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.compiler.x86 import Argument, Body, BodyPlan, View, find
from mlbench.compiler.x86.sweeps.elementwise import EMITS
from mlbench.compiler.x86.sweeps.expressions import apply, read
from mlbench.compiler.x86.sweeps.rowwise import Sweep
from mlbench.ir import OPS, REFERENCES

COLUMNS, ROWS = 1 << 12, 1 << 6
CHUNK = COLUMNS * ROWS
PATTERNS = 1 << 32
LEAST_NORMAL = np.float32(2.0**-126)
FUNCTIONS = sorted(name for name in EMITS if OPS[name].values == 1 and not OPS[name].constants)
Wide = npt.NDArray[np.float64]


@dataclass(slots=True)
class State:
    """How far a run came.

    Attributes:
        function: its name.
        next: the first bit pattern that was not looked at.
        worst_ulp: the largest error so far.
        at: the bit pattern of its argument.
        wrong: arguments whose result is no number where one is due, or the other way round.
    """

    function: str
    next: int = 0
    worst_ulp: float = 0.0
    at: int = 0
    wrong: int = 0


def compiled(name: str, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> Callable[[], object]:
    """Return what computes a function of all of `x` into `y`."""
    vectors, why = find()
    if vectors is None:
        sys.exit(f"no generated code here: {why}")
    source, target = (View(Argument(index), 4 * COLUMNS) for index in range(2))
    sweep = Sweep(COLUMNS, ((target, apply(EMITS[name], read(source))),))
    body = Body(vectors, BodyPlan((sweep,), (4 * COLUMNS, 4 * COLUMNS), ROWS), x, y)
    places = np.array([x.ctypes.data, y.ctypes.data], np.uint64)
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(body.address)

    def run(kept: object = (body, places)) -> None:
        function(places.ctypes.data, ROWS)

    return run


def look(state: State, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], reference: Callable[..., Any]) -> None:
    """Take the results of one chunk into the state."""
    with np.errstate(all="ignore"):
        exact: Wide = np.asarray(reference(x.astype(np.float64)), np.float64)
        single = exact.astype(np.float32)
        units = np.spacing(np.maximum(np.abs(single), LEAST_NORMAL))
        error = np.abs(y - exact) / units
    is_finite = np.isfinite(single)
    state.wrong += int(((y != single) & ~(np.isnan(y) & np.isnan(single)) & ~is_finite).sum() + (is_finite & ~np.isfinite(y)).sum())
    error[~(is_finite & np.isfinite(y))] = 0
    worst = int(error.argmax())
    if error.flat[worst] > state.worst_ulp:
        state.worst_ulp, state.at = float(error.flat[worst]), state.next + worst
    state.next += CHUNK


def main(arguments: list[str] | None = None) -> int:
    """Run the chunks that are left and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("function", choices=FUNCTIONS, metavar="FUNCTION", help=f"one of {', '.join(FUNCTIONS)}")
    parser.add_argument("--state", type=Path, help="a file to keep how far it came, and to go on from")
    parser.add_argument("--bound", type=float, default=float("inf"), help="the largest error that is right, in ULP (default: none)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds (default: no limit)")
    options = parser.parse_args(arguments)
    state = State(options.function)
    if options.state is not None and options.state.exists():
        state = State(**json.loads(options.state.read_text()))
        if state.function != options.function:
            sys.exit(f"{options.state} is about {state.function}; expected {options.function}: name another file")
    x, y = (np.empty((ROWS, COLUMNS), np.float32) for _ in range(2))
    run, reference = compiled(options.function, x, y), REFERENCES[options.function]
    start = told = time.monotonic()
    while state.next < PATTERNS and time.monotonic() - start < options.seconds:
        x.view(np.uint32).reshape(-1)[:] = np.arange(state.next, state.next + CHUNK, dtype=np.uint64)
        run()
        look(state, x, y, reference)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            _keep(state, options.state)
            print(f"{state.next / PATTERNS:.1%}, {_text(state)}, {told - start:.0f} s", file=sys.stderr, flush=True)
    _keep(state, options.state)
    print(f"{options.function}: {state.next:,} of {PATTERNS:,} arguments, {_text(state)}")
    return 1 if state.wrong or state.worst_ulp > options.bound else 0


def _keep(state: State, path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(asdict(state)))


def _text(state: State) -> str:
    x = np.array(state.at, np.uint32).view(np.float32)
    return f"largest error {state.worst_ulp:.3f} ULP at {x!s} ({state.at:#010x}), {state.wrong} wrong NaN or infinities"


if __name__ == "__main__":
    sys.exit(main())
