"""The bridge: a case is model x batch x runner x threads. Build it, check it, measure it.

Here, and in the files beside it, the compiler and the measuring meet. A *cell* is what the two runners have in common, so that their
cases can be compared: one model, one batch, one number of threads.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.compiler.pipeline import Compiled
from mlbench.compiler.schedule.schedule import schedule_to_json
from mlbench.compiler.x86 import find
from mlbench.errors import FileError, UsageError
from mlbench.files import file_name
from mlbench.ir import FloatArray
from mlbench.measure import record, render_flame_graph
from mlbench.models import Model, load_digits_mlp, mlp
from mlbench.results import BASELINE, StaticBytes
from mlbench.runtime import Agreement, BaselineRunner, OptimizedRunner, check_result
from mlbench.runtime.threads import BlasThreads
from mlbench.studies.autotune import tune

DIGITS = "digits"
MLP = "mlp"

BATCHES = (1, 8, 64, 512)
HIDDEN = (64, 256, 1024)
LARGE_BATCHES = (*BATCHES, 4096)
LARGE_HIDDEN = (*HIDDEN, 4096)
LARGE_DEPTHS = (1, 2, 4)
LARGE_INPUTS = (64, 784)
MOST_FLOP = 1e10
"""A larger sweep leaves out cells above 10 GFLOP a call: one call takes longer than all rounds of a small cell."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One model, one batch, one number of BLAS threads.

    Attributes:
        batch: rows of a call.
        hidden: columns of each hidden activation.
        inputs: columns of the input.
        outputs: columns of the output.
        threads: BLAS threads.
        model: `mlp` for a seeded one of these sizes, `digits` for the trained one.
        tuned: the compiled runner has a schedule that a search found on this machine, instead of that of the heuristics.
    """

    batch: int
    hidden: tuple[int, ...]
    inputs: int = 64
    outputs: int = 10
    threads: int = 1
    model: str = MLP
    tuned: bool = False

    @property
    def id(self) -> str:
        """Name of the cell, short where it has the default sizes."""
        threads = (f"-t{self.threads}" if self.threads != 1 else "") + ("-tuned" if self.tuned else "")
        if self.model == DIGITS:
            return f"digits-b{self.batch}{threads}"
        sizes = "" if (self.inputs, self.outputs) == (64, 10) else f"-i{self.inputs}-o{self.outputs}"
        return f"b{self.batch}-h{'x'.join(map(str, self.hidden))}{sizes}{threads}"

    @property
    def work_flop(self) -> float:
        """Floating point operations of the matrix products of a call."""
        sizes = (self.inputs, *self.hidden, self.outputs)
        return float(sum(2 * self.batch * one * other for one, other in itertools.pairwise(sizes)))


@dataclass(frozen=True, slots=True)
class Case:
    """A cell and the runner that runs it."""

    cell: Cell
    runner: str

    @property
    def id(self) -> str:
        """Name of the case, such as `optimized-b512-h256`."""
        return f"{self.runner}-{self.cell.id}"

    def identity(self) -> dict[str, Any]:
        """Return what identifies the case in a saved result."""
        sizes = dataclasses.asdict(self.cell) | {"hidden": list(self.cell.hidden)}
        return {"id": self.id, "cell": self.cell.id, "runner": self.runner, **sizes}


def digits_cell(threads: int = 1) -> Cell:
    """Return the cell of the trained model on all of its held-out images."""
    model, digits = load_digits_mlp()
    return Cell(digits.images.shape[0], model.hidden, model.inputs, model.outputs, threads, DIGITS)


def sweep(
    batches: Sequence[int] = BATCHES,
    hidden: Sequence[int] = HIDDEN,
    inputs: Sequence[int] = (64,),
    outputs: int = 10,
    depths: Sequence[int] = (1,),
    threads: int = 1,
    most_flop: float = math.inf,
) -> tuple[Cell, ...]:
    """Return a cell for each combination, without those above `most_flop` a call."""
    cells = [
        Cell(batch, (width,) * depth, columns, outputs, threads)
        for depth in depths
        for columns in inputs
        for batch in batches
        for width in hidden
    ]
    return tuple(cell for cell in dict.fromkeys(cells) if cell.work_flop <= most_flop)


def parse_case(text: str) -> Case:
    """Return the case with this id.

    >>> parse_case("baseline-b512-h1024").cell.hidden
    (1024,)

    Raises:
        UsageError: when no case is called so.
    """
    match = re.fullmatch(
        r"(baseline|optimized)-(?:digits-b(N)|b(N)-h(N(?:xN)*)(?:-i(N)-o(N))?)(?:-t(N))?(-tuned)?".replace("N", "[0-9]{1,9}"), text
    )
    if match is None:
        raise UsageError(f"no case is called {text!r}; expected RUNNER-bBATCH-hHIDDEN like optimized-b512-h1024 or baseline-digits-b360")
    runner, digits_batch, batch, hidden, inputs, outputs, threads, tuned = match.groups()
    if digits_batch is not None:
        whole = digits_cell(int(threads or 1))
        if not 1 <= int(digits_batch) <= whole.batch or whole.threads < 1:
            raise UsageError(f"{text}: the digits have {whole.batch} held-out images, and threads are 1 or more")
        return Case(dataclasses.replace(whole, batch=int(digits_batch), tuned=tuned is not None), runner)
    sizes = tuple(int(size) for size in hidden.split("x"))
    cell = Cell(int(batch), sizes, int(inputs or 64), int(outputs or 10), int(threads or 1), tuned=tuned is not None)
    if min(cell.batch, cell.inputs, cell.outputs, cell.threads, *sizes) < 1:
        raise UsageError(f"{text}: every size must be 1 or more")
    return Case(cell, runner)


@cache
def _digits() -> tuple[Model, FloatArray]:
    model, digits = load_digits_mlp()
    return model, digits.images


def model_of(cell: Cell) -> Model:
    """Return the cell's model."""
    return _digits()[0] if cell.model == DIGITS else mlp(cell.inputs, cell.hidden, cell.outputs)


def input_of(cell: Cell) -> FloatArray:
    """Return the cell's input, (batch, inputs) float32: real images for the digits, else seeded normal numbers."""
    if cell.model == DIGITS:
        return _digits()[1][: cell.batch].copy()
    return np.random.default_rng(1).standard_normal((cell.batch, cell.inputs), dtype=np.float32)


def optimized_runner(case: Case) -> OptimizedRunner:
    """Return the compiled runner of a case, by the heuristics or tuned."""
    cell = case.cell
    schedule = tune(model_of(cell), cell.batch, threads=cell.threads) if cell.tuned else None
    return OptimizedRunner(model_of(cell), cell.batch, schedule=schedule, threads=cell.threads)


def call_of(case: Case) -> Callable[[], FloatArray]:
    """Return the call that is measured."""
    runner = BaselineRunner(model_of(case.cell)) if case.runner == BASELINE else optimized_runner(case)
    return partial(runner.run, input_of(case.cell))


def check(case: Case) -> Agreement:
    """Run the case once and compare it with the float64 reference.

    Raises:
        WrongResultError: when it is farther off than rounding explains; such a case is never timed.
    """
    return check_result(model_of(case.cell), input_of(case.cell), call_of(case)(), case.id)


def static_bytes(case: Case) -> StaticBytes:
    """Return what the runner of the case holds between calls."""
    if case.runner == BASELINE:
        return StaticBytes()
    runner = optimized_runner(case)
    runner.run(input_of(case.cell))
    bare = runner.memory
    runner.reserve_staging()
    return StaticBytes(bare.arena_bytes, bare.operand_bytes, bare.staging_bytes, runner.memory.staging_bytes, bare.weight_copy_bytes)


def plan_of(case: Case) -> dict[str, Any] | None:
    """Return the plan of the compiled runner of the case as JSON data; None for the eager one.

    It has what was chosen, the names of the passes, and the instructions of generated code, because its size depends on them.
    """
    return None if case.runner == BASELINE else plan_of_compiled(optimized_runner(case).compiled)


def plan_of_compiled(compiled: Compiled) -> dict[str, Any] | None:
    """Return the plan of a compiled graph as JSON data; None where none of its passes choose anything."""
    if compiled.schedule is None:
        return None
    vectors, _ = find()
    code = vectors.name if vectors is not None and compiled.program.has_code else None
    return schedule_to_json(compiled.schedule) | {"passes": [each.name for each in compiled.passes], "code": code}


def recording_call(case: Case) -> Callable[[], object]:
    """Return what a memory recording should hold: one call; of the optimized runner, whose calls allocate nothing, also its making.

    The model and what a search chose are there before: they are no memory of the runner. The runner that is made stays alive as long as the
    callable: what it holds is what the recording is to show, and with it would go the lines of its code.
    """
    if case.runner == BASELINE:
        return call_of(case)
    x, model, threads = input_of(case.cell), model_of(case.cell), case.cell.threads
    schedule = tune(model, case.cell.batch, threads=threads) if case.cell.tuned else None
    kept: list[OptimizedRunner] = []

    def make_and_run() -> FloatArray:
        kept.clear()  # a runner of the same model would share its packed weights, which would not be recorded
        kept.append(OptimizedRunner(model, case.cell.batch, schedule=schedule, threads=threads))
        return kept[-1].run(x)

    return make_and_run


def flame_graph(case: Case, folder: Path) -> tuple[Path, Path]:
    """Record the case's memory and render its flame graph: of the baseline the peak of a call, of the optimized runner what it holds.

    Returns:
        the recording and the page, both in `folder`, which is made if need be.

    Raises:
        FileError: when the folder or the files cannot be written.
        MissingExtraError: without memray.
    """
    call = recording_call(case)
    with BlasThreads(case.cell.threads):
        call()  # BLAS takes its own workspace at its first product, which is no part of the case
        return keep_recording(call, folder, file_name(case.id), held=case.runner != BASELINE)


def keep_recording(call: Callable[[], object], folder: Path, name: str, *, held: bool = False) -> tuple[Path, Path]:
    """Record one call and render its flame graph as `name` in `folder`: the peak, or with `held` what is held at the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot make this folder ({error.strerror})") from error
    recording, page = folder / f"{name}.bin", folder / f"{name}.html"
    record(call, recording, held=held)
    title = f"{name}: {'what the runner holds from call to call' if held else 'one call at the moment of its peak'}"
    return recording, render_flame_graph(recording, page, held=held, title=title)
