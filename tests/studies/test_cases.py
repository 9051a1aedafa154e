"""Cells and cases: their names, their sweeps, and what is built from them."""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.errors import FileError, UsageError, WrongResultError
from mlbench.measure import has_memray, held_bytes
from mlbench.models import Model, load_digits_mlp
from mlbench.results import BASELINE, OPTIMIZED, RUNNERS, StaticBytes
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.studies.cases import (
    BATCHES,
    HIDDEN,
    LARGE_BATCHES,
    LARGE_DEPTHS,
    LARGE_HIDDEN,
    LARGE_INPUTS,
    MOST_FLOP,
    Case,
    Cell,
    call_of,
    check,
    digits_cell,
    flame_graph,
    inputs_of,
    mlp_cell,
    model_of,
    parse_case,
    recording_call,
    static_bytes,
    sweep,
)

TINY = mlp_cell(2, (8,))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (mlp_cell(8, (64,)), "b8-h64"),
        (mlp_cell(512, (64, 32)), "b512-h64x32"),
        (mlp_cell(1, (8,), inputs=784), "b1-h8-i784-o10"),
        (mlp_cell(1, (8,), outputs=3), "b1-h8-i64-o3"),
        (mlp_cell(1, (8,), threads=2), "b1-h8-t2"),
        (mlp_cell(1, (8, 8), 7, 5, 4), "b1-h8x8-i7-o5-t4"),
        (digits_cell(), "digits-b360"),
        (digits_cell(2), "digits-b360-t2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_id_of_a_cell(cell: Cell, expected: str) -> None:
    """The name says what differs from the default sizes, and nothing else."""
    assert cell.id == expected
    assert Case(cell, OPTIMIZED).id == f"optimized-{expected}"


def test_parse_case_is_the_inverse_of_the_id() -> None:
    """Every cell of both sweeps, of odd sizes and of the digits comes back from its name, for both runners."""
    odd = [
        mlp_cell(*sizes)
        for sizes in itertools.product((1, 17), ((5,), (3, 4, 5)), (64, 100), (10, 1), (1, 2))
        if (sizes[2], sizes[3]) != (64, 10) or sizes[4] == 2
    ]
    large = sweep(LARGE_BATCHES, LARGE_HIDDEN, LARGE_INPUTS, 10, LARGE_DEPTHS, most_flop=MOST_FLOP)
    digits = [digits_cell(), digits_cell(2), dataclasses.replace(digits_cell(), batch=1)]
    for cell, runner in itertools.product([*sweep(), *large, *odd, *digits], RUNNERS):
        case = Case(cell, runner)
        assert case == parse_case(case.id)


def test_ids_are_unique() -> None:
    """No two cells of the large sweep have one name."""
    cells = sweep(LARGE_BATCHES, LARGE_HIDDEN, LARGE_INPUTS, 10, LARGE_DEPTHS, most_flop=MOST_FLOP)
    assert len({cell.id for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b8-h64",
        "fastest-b8-h64",
        "baseline-b8",
        "baseline-h64-b8",
        "baseline-b8-h64x",
        "baseline-b8-h-64",
        "baseline-b8-h6.4",
        "baseline-b8-h64-i5",
        "baseline-b8-h64 ",
        "baseline-b0-h64",
        "baseline-b8-h0",
        "baseline-b8-h64x0",
        "baseline-b8-h64-i0-o10",
        "baseline-b8-h64-t0",
        "optimized-digits",
        "optimized-digits-b0",
        "optimized-digits-b361",
        "optimized-digits-b360-t0",
    ],
)
def test_a_case_that_does_not_exist_is_refused(text: str) -> None:
    """A name that no case can have is a usage error that repeats it."""
    with pytest.raises(UsageError) as caught:
        parse_case(text)
    assert text in str(caught.value)


def test_the_digits_have_360_images() -> None:
    """The held-out images go from one to all of them."""
    assert parse_case("optimized-digits-b1").cell.batch == 1
    assert parse_case("optimized-digits-b360").cell == digits_cell()


def test_the_default_sweep_is_batch_times_hidden() -> None:
    """Without sizes the sweep is every default batch with every default hidden width, batch by batch."""
    expected = [(batch, (width,)) for batch in BATCHES for width in HIDDEN]
    assert expected == [(cell.batch, cell.subject.sizes(cell.batch)["hidden"]) for cell in sweep()]


def test_a_sweep_is_a_product_of_its_sizes() -> None:
    """Depth repeats the hidden width; threads and outputs are those of every cell."""
    cells = sweep((1, 2), (3,), (4, 5), 6, (1, 2), 7)
    assert len(cells) == 8
    assert {cell.subject.sizes(1)["hidden"] for cell in cells} == {(3,), (3, 3)}
    assert {(*cell.subject.sizes(1)["outputs"], cell.threads) for cell in cells} == {(6, 7)}


def test_work_is_that_of_the_products() -> None:
    """Two operations for each weight and row: 2 x 3 x (4 x 5 + 5 x 6 + 6 x 7)."""
    assert mlp_cell(3, (5, 6), 4, 7).work_flop == 2 * 3 * (20 + 30 + 42)


def test_the_sweep_stops_at_ten_gflop() -> None:
    """A cell of exactly 10 GFLOP a call is in; one more row is not, unless it is asked for."""
    width, outputs = 1000, 10
    inputs = 4990
    rows = int(MOST_FLOP / (2 * width * (inputs + outputs)))
    assert mlp_cell(rows, (width,), inputs, outputs).work_flop == MOST_FLOP == 1e10
    assert [rows] == [cell.batch for cell in sweep((rows, rows + 1), (width,), (inputs,), outputs, most_flop=MOST_FLOP)]
    assert len(sweep((rows, rows + 1), (width,), (inputs,), outputs)) == 2


def test_the_large_sweep_leaves_cells_out() -> None:
    """The large sweep holds cells near the cut and none above it."""
    everything = len(LARGE_BATCHES) * len(LARGE_HIDDEN) * len(LARGE_INPUTS) * len(LARGE_DEPTHS)
    cells = sweep(LARGE_BATCHES, LARGE_HIDDEN, LARGE_INPUTS, 10, LARGE_DEPTHS, most_flop=MOST_FLOP)
    assert 0 < len(cells) < everything
    assert max(cell.work_flop for cell in cells) <= MOST_FLOP


@pytest.mark.parametrize("cell", [TINY, mlp_cell(3, (4, 5), 6, 7), dataclasses.replace(digits_cell(), batch=5)], ids=lambda cell: cell.id)
def test_the_input_is_the_same_every_time(cell: Cell) -> None:
    """Two processes, and both runners, see the same numbers: float32, C-contiguous, batch x inputs."""
    one, other = inputs_of(cell)[0], inputs_of(cell)[0]
    assert one is not other
    np.testing.assert_array_equal(one, other)
    assert one.shape == (cell.batch, model_of(cell).inputs)
    assert one.dtype == np.float32
    assert one.flags.c_contiguous


@pytest.mark.parametrize("cell", [TINY, mlp_cell(3, (4, 5), 6, 7)], ids=lambda cell: cell.id)
def test_the_model_is_the_same_every_time(cell: Cell) -> None:
    """The weights are seeded, and of the sizes of the cell."""
    model, again = model_of(cell), model_of(cell)
    assert isinstance(model, Model)
    assert isinstance(again, Model)
    for one, other in zip(model.layers, again.layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)
    assert (model.hidden, model.inputs, model.outputs) == dataclasses.astuple(cell.subject)


def test_the_digits_are_the_trained_model_on_real_images() -> None:
    """The digits cell is the shipped model on the first of its held-out images."""
    _, digits = load_digits_mlp()
    cell = parse_case("baseline-digits-b7").cell
    np.testing.assert_array_equal(digits.images[:7], inputs_of(cell)[0])
    model = model_of(cell)
    assert isinstance(model, Model)
    assert (model.inputs, model.hidden, model.outputs) == (64, (128,), 10)


def test_the_digits_cannot_be_written_over() -> None:
    """Every call gets images of its own; what one measurement does to them the next one does not see."""
    cell = digits_cell()
    before = inputs_of(cell)[0]
    inputs_of(cell)[0][:] = 0
    np.testing.assert_array_equal(before, inputs_of(cell)[0])


@pytest.mark.parametrize(("runner", "kind"), [(BASELINE, BaselineRunner), (OPTIMIZED, OptimizedRunner)], ids=RUNNERS)
def test_a_case_is_run_by_its_runner(monkeypatch: pytest.MonkeyPatch, runner: str, kind: type) -> None:
    """Each case calls the runner it is named after, once it is made."""
    made: list[str] = []

    class Spy(kind):  # type: ignore[misc]  # one of the two runners
        def __init__(self, *given: object, **options: object) -> None:
            made.append(kind.__name__)
            super().__init__(*given, **options)

    monkeypatch.setattr(f"mlbench.studies.cases.{kind.__name__}", Spy)
    assert np.shape(call_of(Case(TINY, runner))()) == (2, 10)
    assert made == [kind.__name__]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_right_runner_agrees(runner: str) -> None:
    """Both runners are within what rounding explains, on random numbers and on real images."""
    assert check(Case(TINY, runner)).worst <= 1
    assert check(Case(digits_cell(), runner)).worst <= 1


class Off:
    """A runner whose output is off by a hundredth in one element."""

    def __init__(self, *given: object, **options: object) -> None:
        self._right = BaselineRunner(given[0])  # type: ignore[arg-type]  # the model

    def run(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return nearly the right output."""
        y = self._right.run(x)
        y[1, 3] += 1e-2
        return y


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_wrong_runner_is_refused(monkeypatch: pytest.MonkeyPatch, runner: str) -> None:
    """A runner that is off by 0.01 in one element is a WrongResultError that names the case and the element."""
    monkeypatch.setattr("mlbench.studies.cases.BaselineRunner", Off)
    monkeypatch.setattr("mlbench.studies.cases.OptimizedRunner", Off)
    with pytest.raises(WrongResultError, match=f"^{runner}-b2-h8 gave .* at row 1, column 3"):
        check(Case(TINY, runner))


def test_the_baseline_holds_nothing_between_calls() -> None:
    """The eager runner has no static bytes."""
    assert static_bytes(Case(TINY, BASELINE)) == StaticBytes()


def test_the_optimized_runner_holds_what_it_says() -> None:
    """Static bytes are the runner's own figures; staging counts only as what it would take."""
    runner = OptimizedRunner(model_of(TINY), TINY.batch)
    runner.run(inputs_of(TINY)[0])
    memory = runner.memory
    found = static_bytes(Case(TINY, OPTIMIZED))
    assert (found.arena, found.operands, found.weight_copies) == (memory.arena_bytes, memory.operand_bytes, memory.weight_copy_bytes)
    assert found.staging == 0
    assert found.staging_if_needed >= inputs_of(TINY)[0].nbytes
    assert found.total == found.arena + found.operands + found.weight_copies


def test_the_identity_of_a_case_is_plain_data() -> None:
    """What identifies a case in a saved result: names and every size, as JSON holds them."""
    expected = {
        "id": "optimized-b2-h8x9-t2",
        "cell": "b2-h8x9-t2",
        "runner": "optimized",
        "batch": 2,
        "hidden": [8, 9],
        "inputs": 64,
        "outputs": 10,
        "threads": 2,
        "model": "mlp",
        "tuned": False,
    }
    assert expected == Case(mlp_cell(2, (8, 9), threads=2), OPTIMIZED).identity()


@pytest.mark.skipif(not has_memray(), reason="memray is not installed")
def test_a_recording_of_the_optimized_runner_has_all_it_holds() -> None:
    """Packed weights too, although a runner of the same model was made before, for warming up."""
    case = Case(digits_cell(), OPTIMIZED)
    call = recording_call(case)
    call()
    assert held_bytes(call) >= static_bytes(case).total - 4096


@pytest.mark.skipif(not has_memray(), reason="memray is not installed")
def test_a_recording_of_the_optimized_runner_has_no_weights_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """One set of them belongs to the model, also where the runner reads it because nothing is packed."""
    monkeypatch.setattr("mlbench.studies.cases.OptimizedRunner", partial(OptimizedRunner, passes=["static", "fuse"]))
    cell = mlp_cell(1, (2048,), 1024, 10)
    weights = 4 * (1024 * 2048 + 2048 * 10)
    call = recording_call(Case(cell, OPTIMIZED))
    call()
    assert held_bytes(call) < static_bytes(Case(cell, OPTIMIZED)).total + weights / 4


@pytest.mark.skipif(sys.platform == "win32", reason="memray does not run on Windows")
@pytest.mark.parametrize("runner", RUNNERS)
def test_the_flame_graph_of_a_case(tmp_path: Path, runner: str) -> None:
    """Recording and page are named after the case, in a folder that is made if need be."""
    recording, page = flame_graph(Case(mlp_cell(64, (64,)), runner), tmp_path / "made" / "flames")
    assert (recording.name, page.name) == (f"{runner}-b64-h64.bin", f"{runner}-b64-h64.html")
    assert recording.stat().st_size > 0
    text = page.read_text(encoding="utf-8")
    assert "<!DOCTYPE html>" in text
    title = re.findall("<title>(.*?)</title>", text)[0]
    what = "one call at the moment of its peak" if runner == BASELINE else "what the runner holds from call to call"
    assert title == f"{runner}-b64-h64: {what} (memray&#x27;s kB are 1000 bytes, mlbench&#x27;s KB 1024)"
    assert text.count(title) == 2  # in the tab and on the bar
    assert "leak" not in re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", text)


def test_a_folder_that_cannot_be_made_is_a_file_error(tmp_path: Path) -> None:
    """A file where the folder should be is refused with its path."""
    (tmp_path / "file").write_text("here")
    with pytest.raises(FileError, match="file"):
        flame_graph(Case(TINY, BASELINE), tmp_path / "file" / "folder")
