"""Send Ctrl-C to calls of several threads at random moments, and check the call that follows each of them.

Every pair of a model and a number of threads runs in a process of its own, which calls a runner without a pause. This process sends it a
SIGINT, waits for its KeyboardInterrupt and for the answer of a checked call with another input, and sends the next one. An answer is wrong
when its numbers are, and when it is an error; a process that does not answer in time hangs. The exit code is 1 if there was either.

    python scripts/interrupt_calls.py --interrupts 2000
"""

from __future__ import annotations

import argparse
import gc
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

from mlbench import BaselineRunner, OptimizedRunner, Schedule, mlp
from mlbench.compiler.pipeline import PASSES
from mlbench.compiler.schedule.schedule import OpSchedule
from mlbench.models import Model

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softmax")
BATCH, SIZES = 96, (48, 96, 24)
HANGS_S = 30.0
LONGEST_PAUSE_S = 2e-3
READY, RIGHT = "ready", "right"


def model_of(name: str) -> Model:
    """Return a model with this activation, or a ReLU and this output."""
    if name == "softmax":
        return mlp(*SIZES, output_activation="softmax")
    return mlp(*SIZES, activation=name)


def serve(name: str, threads: int, *, has_code: bool) -> None:
    """Call a runner until Ctrl-C, answer with a checked call, and go on, as long as the parent lives."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what runs in its background ignore it
    parent = os.getppid()
    model = model_of(name)
    op = OpSchedule(generated=has_code)
    schedule = Schedule(16, (op,) * len(model.layers), "tiles" if threads > 1 else "one")
    passes = [each.name for each in PASSES if has_code or each.name != "codegen"]
    runner = OptimizedRunner(model, BATCH, passes=passes, schedule=schedule, threads=threads)
    random_numbers = np.random.default_rng(0)
    inputs = [random_numbers.standard_normal((BATCH, SIZES[0])).astype(np.float32) for _ in range(2)]
    expected = [BaselineRunner(model).run(x) for x in inputs]
    out = np.empty_like(expected[0])
    gc.collect()  # Python loses an exception that arrives in a finalizer, and the baseline runners have one
    number = 0
    answer = READY
    while os.getppid() == parent:
        fault = ""
        try:
            print(answer, flush=True)
            try:
                while os.getppid() == parent:
                    runner.run(inputs[0])
                    runner.run(inputs[0], out)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
                fault = f"{type(error).__name__}: {error}"
            while os.getppid() == parent:
                time.sleep(1)
        except KeyboardInterrupt:
            number += 1
        try:
            y = runner.run(inputs[1]) if number % 2 else runner.run(inputs[1], out)
            close = np.allclose(y, expected[1], rtol=1e-3, atol=1e-3)
            answer = RIGHT if close else f"wrong by up to {np.abs(y - expected[1]).max()}"
        except Exception as error:  # noqa: BLE001
            answer = f"{type(error).__name__}: {error}"
        answer = fault or answer


class Caller:
    """A process that calls a runner.

    Args:
        arguments: of this script, for the process.
    """

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # this very script
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put("the process ended")

    def answer(self) -> str | None:
        """Return what it says next, or None when it hangs."""
        try:
            return self._lines.get(timeout=HANGS_S)
        except queue.Empty:
            return None

    def interrupt(self) -> None:
        """Send Ctrl-C."""
        os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def answers(caller: Caller, interrupts: int, seed: int) -> Iterator[str | None]:
    """Interrupt a process so often, and give its answers; stop at one that is none."""
    moments = random.Random(seed)  # noqa: S311  # no secret
    if caller.answer() != READY:
        yield "the process did not start"
        return
    for _ in range(interrupts):
        time.sleep(moments.random() * LONGEST_PAUSE_S)
        caller.interrupt()
        said = caller.answer()
        yield said
        if said is None or said == "the process ended":
            return


def main() -> int:
    """Interrupt and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interrupts", type=int, default=2000, metavar="N", help="of all processes together (default %(default)s)")
    parser.add_argument("--threads", default="1,2,3", metavar="N,…", help="threads of a runner (default %(default)s)")
    parser.add_argument("--activations", default=",".join(ACTIVATIONS), metavar="NAME,…", help="models (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default %(default)s)")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        name, threads, code = options.serve
        serve(name, int(threads), has_code=code == "code")
        return 0
    kinds = [
        (name, threads, code)
        for name in options.activations.split(",")
        for threads in options.threads.split(",")
        for code in ("code", "numpy")
    ]
    each = -(-options.interrupts // len(kinds))
    sent = wrong = hung = 0
    for index, kind in enumerate(kinds):
        caller = Caller("--serve", *kind)
        said = list(answers(caller, each, options.seed + index))
        caller.end()
        faults = [one for one in said if one != RIGHT]
        sent += len(said)
        hung += faults.count(None)
        wrong += len(faults) - faults.count(None)
        name, threads, code = kind
        found = " ".join(map(str, dict.fromkeys(faults))) or "all right"
        print(f"{name:8} threads {threads} {code:6} {len(said):5} interrupts  {found}", flush=True)
    print(f"{sent} interrupts, {wrong} wrong, {hung} hung")
    return 1 if wrong or hung else 0


if __name__ == "__main__":
    sys.exit(main())
