"""The bridge: a case is subject x batch x runner x threads. Build it, check it, measure it.

Here, and in the files beside it, the compiler and the measuring meet. A *cell* is what the two runners have in common, so that their
cases can be compared: one model, one batch, one number of threads.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from mlbench.compiler.pipeline import Compiled
from mlbench.compiler.schedule.schedule import schedule_to_json
from mlbench.compiler.x86 import find
from mlbench.errors import FileError, UsageError
from mlbench.files import file_name
from mlbench.ir import FloatArray
from mlbench.measure import record, render_flame_graph
from mlbench.results import BASELINE, StaticBytes
from mlbench.runtime import Agreement, BaselineRunner, OptimizedRunner, check_result
from mlbench.runtime.threads import BlasThreads
from mlbench.studies.autotune import tune
from mlbench.studies.network_files import AnyModel, only_batch
from mlbench.studies.subjects import NetworkFile, Sizes, Subject, TrainedDigits, of_identity

Outputs: TypeAlias = FloatArray | tuple[FloatArray, ...]
"""What a call gives: an array, or a tuple of them where a network has several outputs."""
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
        subject: what is measured: an MLP of these sizes, the trained digits, or a network in a file.
        threads: BLAS threads.
        tuned: the compiled runner has a schedule that a search found on this machine, instead of that of the heuristics.
    """

    batch: int
    subject: Subject
    threads: int = 1
    tuned: bool = False

    @property
    def id(self) -> str:
        """Name of the cell, short where it has the default sizes."""
        threads = (f"-t{self.threads}" if self.threads != 1 else "") + ("-tuned" if self.tuned else "")
        return self.subject.cell_name(self.batch) + threads

    @property
    def work_flop(self) -> float:
        """Floating point operations of the matrix products of a call."""
        return self.subject.work_flop(self.batch)

    def identity(self) -> dict[str, Any]:
        """Return what identifies the cell in a saved result, besides its name."""
        return {"batch": self.batch, **self.subject.identity(), "threads": self.threads, "tuned": self.tuned}


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
        return {"id": self.id, "cell": self.cell.id, "runner": self.runner, **self.cell.identity()}


def mlp_cell(batch: int, hidden: tuple[int, ...], inputs: int = 64, outputs: int = 10, threads: int = 1, *, tuned: bool = False) -> Cell:
    """Return the cell of a seeded MLP.

    >>> mlp_cell(8, (64,)).id
    'b8-h64'
    """
    return Cell(batch, Sizes(hidden, inputs, outputs), threads, tuned)


def digits_cell(threads: int = 1) -> Cell:
    """Return the cell of the trained model on all of its held-out images."""
    return Cell(TrainedDigits().images, TrainedDigits(), threads)


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
        mlp_cell(batch, (width,) * depth, columns, outputs, threads)
        for depth in depths
        for columns in inputs
        for batch in batches
        for width in hidden
    ]
    return tuple(cell for cell in dict.fromkeys(cells) if cell.work_flop <= most_flop)


def network_cells(
    network: NetworkFile, batches: Sequence[int] | None = None, default: Sequence[int] = BATCHES, threads: int = 1, *, tuned: bool = False
) -> tuple[Cell, ...]:
    """Return a cell of a network for each batch: those asked for, or else the only one that its file allows, or else the default ones.

    Raises:
        UsageError: when its file fixes another batch than one that was asked for.
    """
    only = only_batch(network.model())
    if only is not None and any(batch != only for batch in batches or ()):
        other = next(batch for batch in batches or () if batch != only)
        raise UsageError(
            f"batch {other}: {network.path} runs at batch {only} alone, because the file fixes it; ask for no batch, or this one"
        )
    chosen = batches or (default if only is None else (only,))
    return tuple(Cell(batch, network, threads, tuned) for batch in dict.fromkeys(chosen))


def network_notes(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return what a reader should know of cells of one network: that its file fixes the batch, and that rows are repeated."""
    network = cells[0].subject
    if not isinstance(network, NetworkFile):
        return ()
    notes, only, rows = [], only_batch(network.model()), network.rows
    if only is not None:
        notes.append(f"{network.path}: the file fixes the batch, so that everything is measured at batch {only}")
    repeated = [str(cell.batch) for cell in cells if rows is not None and cell.batch > rows]
    if repeated:
        notes.append(f"{network.inputs_path}: has {rows} rows; batch {', '.join(repeated)} repeats them from the first on")
    return tuple(notes)


def parse_case(text: str) -> Case:
    """Return the case with this id, of an MLP or of the digits. A network's id does not say where its file is; see `case_of`.

    >>> parse_case("baseline-b512-h1024").cell.subject.hidden
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
    cell = mlp_cell(int(batch), sizes, int(inputs or 64), int(outputs or 10), int(threads or 1), tuned=tuned is not None)
    if min(cell.batch, int(inputs or 64), int(outputs or 10), cell.threads, *sizes) < 1:
        raise UsageError(f"{text}: every size must be 1 or more")
    return Case(cell, runner)


def parse_network_case(text: str, network: NetworkFile) -> Case:
    """Return the case of a network with this id, which may leave the network's name out.

    Raises:
        UsageError: when no case of this network is called so.
    """
    pattern = rf"(baseline|optimized)-(?:{re.escape(network.name)}-)?b(N)(?:-t(N))?(-tuned)?".replace("N", "[0-9]{1,9}")
    match = re.fullmatch(pattern, text)
    if match is None:
        raise UsageError(f"no case of {network.name} is called {text!r}; expected RUNNER-bBATCH like optimized-b64")
    runner, batch, threads, tuned = match.groups()
    cell = Cell(int(batch), network, int(threads or 1), tuned is not None)
    if min(cell.batch, cell.threads) < 1:
        raise UsageError(f"{text}: every size must be 1 or more")
    return Case(cell, runner)


def case_of(identity: Mapping[str, Any]) -> Case:
    """Return the case that a row of a saved result is about.

    Raises:
        UsageError: when the row is about no case of ours.
    """
    network = identity.get("network")
    return parse_case(identity["id"]) if network is None else parse_network_case(identity["id"], of_identity(network))


def model_of(cell: Cell) -> AnyModel:
    """Return the cell's model."""
    return cell.subject.model()


def inputs_of(cell: Cell) -> tuple[FloatArray, ...]:
    """Return the cell's inputs, (batch, columns) float32 each."""
    return cell.subject.arrays(cell.batch)


def check_outputs(cell: Cell, ys: Outputs, who: str) -> Agreement:
    """Compare what somebody gave for the cell's inputs with the float64 reference.

    Args:
        cell: the cell.
        ys: an array, or a tuple of them where there are several outputs.
        who: gave it, for the error message.

    Raises:
        WrongResultError: when it is farther off than rounding explains.
    """
    xs = inputs_of(cell)
    return check_result(model_of(cell), xs if len(xs) > 1 else xs[0], ys, who)


def optimized_runner(case: Case) -> OptimizedRunner:
    """Return the compiled runner of a case, by the heuristics or tuned."""
    cell = case.cell
    schedule = tune(model_of(cell), cell.batch, threads=cell.threads) if cell.tuned else None
    return OptimizedRunner(model_of(cell), cell.batch, schedule=schedule, threads=cell.threads)


def call_of(case: Case) -> Callable[[], Outputs]:
    """Return the call that is measured."""
    runner = BaselineRunner(model_of(case.cell)) if case.runner == BASELINE else optimized_runner(case)
    return partial(runner.run, *inputs_of(case.cell))


def check(case: Case) -> Agreement:
    """Run the case once and compare it with the float64 reference.

    Raises:
        WrongResultError: when it is farther off than rounding explains; such a case is never timed.
    """
    return check_outputs(case.cell, call_of(case)(), case.id)


def static_bytes(case: Case) -> StaticBytes:
    """Return what the runner of the case holds between calls."""
    return StaticBytes() if case.runner == BASELINE else static_bytes_of(optimized_runner(case), case.cell)


def static_bytes_of(runner: OptimizedRunner, cell: Cell) -> StaticBytes:
    """Return what a runner of the cell holds between calls."""
    runner.run(*inputs_of(cell))
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
    xs, model, threads = inputs_of(case.cell), model_of(case.cell), case.cell.threads
    schedule = tune(model, case.cell.batch, threads=threads) if case.cell.tuned else None
    kept: list[OptimizedRunner] = []

    def make_and_run() -> Outputs:
        kept.clear()  # a runner of the same model would share its packed weights, which would not be recorded
        kept.append(OptimizedRunner(model, case.cell.batch, schedule=schedule, threads=threads))
        ys: Outputs = kept[-1].run(*xs)
        return ys

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
