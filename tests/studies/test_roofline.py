"""What bounds a case, from made-up ceilings and times with known answers; what a case consists of; and the command."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlbench.cli import main, roofline
from mlbench.errors import FileError
from mlbench.measure.ceilings import Ceilings
from mlbench.report.tables.roofline import ceilings_table, distances_table, sentences
from mlbench.report.terminal import render_plain
from mlbench.results import BASELINE, COMPLETE, OPTIMIZED
from mlbench.results.roofline import BANDWIDTH, BOUNDS, CALLS, ELEMENTWISE, PRODUCT, ROOFLINE_FILE, WEIGHTS, Distance
from mlbench.results.storage import read
from mlbench.runtime import OptimizedRunner
from mlbench.studies.cases import Case, Cell, mlp_cell, model_of
from mlbench.studies.roofline.bounds import Piece, classify, least_seconds
from mlbench.studies.roofline.measure import must_move_bytes, pieces_of
from mlbench.studies.sweep import Effort
from support.records import CEILINGS, HERE, distance, one_pass, product

US, MB = 1e-6, 1024**2
TINY = ("--no-digits", "--hidden", "8", "--processes", "1", "--rounds", "1")


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([product(), one_pass(calls=4)], {CALLS: 3 * US}),
        ([product(flop=1e9, weights=MB)], {CALLS: US, PRODUCT: 1e-2}),
        ([product(flop=1e6, weights=64 * MB)], {CALLS: US, WEIGHTS: 64 * MB / 20e9}),
        ([product(flop=1e6, weights=MB // 2), product(weights=MB // 2)], {CALLS: 2 * US, PRODUCT: 1e-5, WEIGHTS: MB / 2 / 100e9}),
        ([product(flop=1e6, moved=64 * MB)], {CALLS: US, BANDWIDTH: 64 * MB / 10e9}),
        ([one_pass(moved=MB)], {CALLS: US / 2, ELEMENTWISE: MB / 80e9}),
        ([product(flop=1e6, weights=MB, calls=3)], {CALLS: 3 * US, WEIGHTS: 3 * MB / 100e9}),
    ],
    ids=["calls", "product", "weights", "each-by-itself", "bandwidth", "pass", "tiles-read-again"],
)
def test_least_seconds(pieces: list[Piece], expected: dict[str, float]) -> None:
    """Each piece takes its calls and what holds it up longest: arithmetic, or its memory traffic; a pass its traffic."""
    found = least_seconds(pieces, CEILINGS)
    assert set(found) == set(BOUNDS)
    assert found == {**dict.fromkeys(BOUNDS, 0.0), **{name: pytest.approx(value) for name, value in expected.items()}}


@pytest.mark.parametrize(
    ("pieces", "latency_s", "bound", "sentence"),
    [
        (
            [product(calls=2), one_pass(calls=2)],
            4 * US,
            CALLS,
            "bound by call overhead: 4 NumPy calls take 3.00 us at least, 75 % of the time; all limits together 75 %",
        ),
        (
            [product(flop=1e6, weights=32 * MB)],
            32 * MB / 20e9 / 0.91,
            WEIGHTS,
            "bound by reading 32.0 MB of weights, which takes 91 % of the time at least; all limits together 91 %",
        ),
        (
            [product(flop=1e9)],
            1e-2 / 0.8,
            PRODUCT,
            "bound by the matrix product: 80 % of the peak; all limits together 80 %",
        ),
        (
            [product(flop=1e6), one_pass(moved=64 * MB)],
            64 * MB / 10e9 / 0.7,
            ELEMENTWISE,
            "bound by element-wise passes: moving 64.0 MB at copy speed takes 70 % of the time; all limits together 70 %",
        ),
        (
            [product(flop=1e6, moved=64 * MB)],
            64 * MB / 10e9 / 0.6,
            BANDWIDTH,
            "bound by memory bandwidth: moving 64.0 MB of activations at copy speed takes 60 % of the time; all limits together 60 %",
        ),
        (
            [product(flop=1e9)],
            1e-2 / 0.2,
            PRODUCT,
            "far from its limits, which explain 20 % of the time; the first of them is the matrix product: 20 % of the peak",
        ),
    ],
    ids=["calls", "weights", "product", "passes", "bandwidth", "far"],
)
def test_what_bounds_a_case(pieces: list[Piece], latency_s: float, bound: str, sentence: str) -> None:
    """The largest part of the least time bounds the case, and one sentence says how much of the ceiling was reached."""
    found = classify(pieces, MB, latency_s, 0.5, CEILINGS)
    assert (found.bound, found.sentence) == (bound, sentence)
    assert found.bound_share == pytest.approx(least_seconds(pieces, CEILINGS)[bound] / latency_s)
    assert found.least_s == pytest.approx(sum(least_seconds(pieces, CEILINGS).values()))


@pytest.mark.parametrize(("products_share", "is_near"), [(1.0, True), (0.75, True), (0.74, False), (0.0, False)])
def test_a_shape_that_keeps_products_from_the_peak_is_told(products_share: float, is_near: bool) -> None:
    """Where the ceilings explain little and NumPy's bare products take three quarters of an eager call, they bound the case."""
    found = classify([product(flop=1e6, calls=12)], MB, 1e-4, products_share, CEILINGS)
    assert (found.bound == PRODUCT) is is_near
    assert ("the matrix product at this shape" in found.sentence) is is_near
    assert found.sentence.startswith("far from its limits") is not is_near


def test_products_above_the_case_are_all_of_it() -> None:
    """Products that take longer than the call, which noise can give, are told as 100 %, not more."""
    assert "take 100 % of the time" in classify([product(flop=1e6)], MB, 1e-4, 1.1, CEILINGS).sentence


def test_rates_are_of_the_whole_call() -> None:
    """2 GFLOP and 1 MB in 40 ms are 50 GFLOP/s, half of the peak, and 26 MB/s of what is read at that size."""
    found = classify([product(flop=2e9), one_pass(calls=2)], MB, 0.04, 0.5, CEILINGS)
    assert (found.flop_per_s, found.of_peak) == pytest.approx((50e9, 0.5))
    assert (found.bytes_per_s, found.of_bandwidth) == pytest.approx((MB / 0.04, MB / 0.04 / 100e9))
    assert found.calls == 3
    assert found.calls_share == pytest.approx(2 * US / 0.04)


def test_what_must_move_is_counted_once() -> None:
    """Weights, biases, input and output once, the hidden activation written and read."""
    weights, biases = 64 * 32 + 32 * 10, 32 + 10
    assert must_move_bytes(mlp_cell(8, (32,))) == 4 * (weights + biases + 8 * 64 + 8 * 10 + 2 * 8 * 32)


def test_the_baseline_is_five_calls() -> None:
    """Two products, two additions and a ReLU, each once, with the work of the layers."""
    pieces = pieces_of(Case(mlp_cell(8, (32,)), BASELINE))
    assert [piece.is_product for piece in pieces] == [True, False, False, True, False]
    assert {piece.calls for piece in pieces} == {1}
    assert [piece.work_flop for piece in pieces if piece.is_product] == [2 * 8 * 64 * 32, 2 * 8 * 32 * 10]
    assert [piece.weight_bytes for piece in pieces if piece.is_product] == [4 * 64 * 32, 4 * 32 * 10]
    assert pieces[0].moved_bytes == 4 * 8 * (64 + 32)
    assert pieces[1].moved_bytes == 2 * 4 * 8 * 32


@pytest.mark.parametrize(("batch", "hidden"), [(1, 64), (64, 256), (512, 1024)])
def test_work_is_the_same_however_it_is_cut(batch: int, hidden: int) -> None:
    """Tiles and strips change the calls, not the arithmetic; the calls are those of the code that runs."""
    cell = mlp_cell(batch, (hidden,))
    pieces = pieces_of(Case(cell, OPTIMIZED))
    assert sum(piece.work_flop for piece in pieces) == cell.work_flop
    assert all(piece.calls >= 1 for piece in pieces if not piece.is_product)


def test_tiles_and_strips_are_calls() -> None:
    """512 rows of 1024 hidden columns run in tiles: a product for each, and a pass for each strip of each; of generated code nothing."""
    products, *_ = (piece for piece in pieces_of(Case(mlp_cell(512, (1024,)), OPTIMIZED)) if piece.is_product)
    passes = [piece for piece in pieces_of(Case(mlp_cell(512, (1024,)), OPTIMIZED)) if not piece.is_product]
    program = OptimizedRunner(model_of(mlp_cell(512, (1024,))), 512).compiled.program
    assert program.schedule.is_tiled
    tiles = math.ceil(512 / program.schedule.tile_rows)
    if program.is_generated:
        assert (products.calls, passes) == (0, [])
    else:
        assert products.calls == tiles > 1
        assert passes[0].calls > tiles


def test_the_table_and_the_sentences() -> None:
    """A row and a sentence for each case, with shares of the ceilings and the floor ratio."""
    found = [distance("baseline-b1-h8"), distance("optimized-b1-h8")]
    table = distances_table(found, CEILINGS)
    assert table.rows[0] == (
        "baseline-b1-h8",
        "20.0 ms",
        "50.0",
        "50 %",
        "56 %",
        "0.1",
        "0 %",
        "0 %",
        "19.0 ms",
        "1.05x",
        "1.00x to 1.10x",
        "95 %",
        "arithmetic",
    )
    assert len(table.notes) == 3
    assert "optimized-b1-h8: bound by the matrix product: 50 % of the peak" in sentences(found)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([distance("a", high=1.3), distance("b")], "wide in 1 of 2 cases"),
        ([distance("a", processes=2)], "Fewer than 3 processes"),
    ],
    ids=["wide", "few"],
)
def test_doubts_are_notes(found: list[Distance], said: str) -> None:
    """A wide interval and too few processes are told below the table, once for all cases."""
    assert said in distances_table(found, CEILINGS).notes[-1]


def test_large_batches_of_the_compiled_runner_have_a_line() -> None:
    """Shares of the peak, of the best matrix product and of the floor: their mean, and the worst case; small batches have no part."""
    near = distance("optimized-zoo:b7-b64")
    far = dataclasses.replace(near, case="optimized-b512-h8", limit=dataclasses.replace(near.limit, flop_per_s=45e9, of_peak=0.45))
    notes = distances_table([distance("baseline-b64-h8"), near, far, distance("optimized-b8-h64")], CEILINGS).notes
    assert notes[0] == (
        "The compiled runner from batch 64 on, geometric mean of 2: 47 % of the peak (worst 45 %, optimized-b512-h8), "
        "53 % of NumPy's best matrix product (worst 50 %, optimized-b512-h8), 95 % of the floor (worst 95 %, optimized-zoo:b7-b64)."
    )


def test_ceilings_are_a_row_each() -> None:
    """Every size has its row, with its unit."""
    text = render_plain(ceilings_table(CEILINGS))
    for part in (
        "100 GFLOP/s",
        "90 GFLOP/s",
        "reading from L2 (1.00 MB",
        "20.0 GB/s",
        "30.0 ns",
        "copy, source and target 1.00 MB",
        "80.0 GB/s",
        "500 ns",
    ):
        assert part in text


class Measured:
    """What stands for the measuring: made-up numbers, and what happens at a chosen cell."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.threads: list[int] = []
        self.trouble: dict[str, BaseException] = {}

    def ceilings(self, threads: int) -> Ceilings:
        """Return the made-up ceilings."""
        self.threads.append(threads)
        return CEILINGS

    def distances(self, cell: Cell, ceilings: Ceilings, effort: Effort, step: Callable[[str], None]) -> tuple[Distance, ...]:
        """Return both cases of a cell, or raise what was asked for."""
        self.cells.append(cell.id)
        if cell.id in self.trouble:
            raise self.trouble[cell.id]
        return distance(f"baseline-{cell.id}"), distance(f"optimized-{cell.id}")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Measure nothing, on a made-up machine."""
    stand_in = Measured()
    monkeypatch.setattr(roofline, "find_ceilings", stand_in.ceilings)
    monkeypatch.setattr(roofline, "distances", stand_in.distances)
    monkeypatch.setattr(roofline, "environment", lambda threads, heap: dataclasses.replace(HERE, threads=threads, heap=heap))
    return stand_in


def test_a_real_cell_end_to_end(
    measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One tiny cell is measured for real, against made-up ceilings, printed, saved and shown again."""
    monkeypatch.undo()
    monkeypatch.setattr(roofline, "find_ceilings", measured.ceilings)
    data = tmp_path / "a.json"
    assert main(["roofline", "--batch", "1", *TINY, "--json", str(data)]) == 0
    out = capsys.readouterr().out
    for part in ("Ceilings", "Distance to the limit", "baseline-b1-h8", "What bounds each case", "optimized-b1-h8: ", "Machine: "):
        assert part in out
    run = read(data, ROOFLINE_FILE)
    assert (run.status, [each.case for each in run.distances]) == (COMPLETE, ["baseline-b1-h8", "optimized-b1-h8"])
    assert main(["show", str(data)]) == 0
    assert capsys.readouterr().out.splitlines()[:20] == out.splitlines()[:20]


def test_real_ceilings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`mlbench roofline --ceilings` measures in a process of its own and prints the ceilings and the machine, no case."""
    assert main(["roofline", "--ceilings"]) == 0
    out = capsys.readouterr().out
    assert "GFLOP/s" in out
    assert "Distance to the limit" not in out


def test_the_cells_and_the_threads(measured: Measured) -> None:
    """The ceilings have the threads of the cases; the cells are the digits and the sweep, or what was chosen."""
    assert main(["roofline", "--quick"]) == 0
    assert measured.cells == ["digits-b360", "b1-h256", "b64-h256", "b512-h256"]
    measured.cells.clear()
    assert main(["roofline", "--batch", "2,4", "--hidden", "8", "--inputs", "16", "--no-digits"]) == 0
    assert measured.cells == ["b2-h8-i16-o10", "b4-h8-i16-o10"]
    assert measured.threads == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ceilings", "--batch", "1"), "--batch chooses cells, and --ceilings measures none"),
        (("--ceilings", "--no-digits"), "--no-digits chooses cells"),
    ],
    ids=["batch", "digits"],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    measured: Measured, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 2 and a message that names the option; nothing is measured, not even a ceiling."""
    assert main(["roofline", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert (measured.cells, measured.threads) == ([], [])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.update(schema=1), "schema version 1; this mlbench reads version 2"),
        (lambda data: data["ceilings"].update(copy=[]), "not a valid roofline file at $.ceilings.copy"),
        (lambda data: data["distances"][0]["limit"].update(bound="luck"), "not a valid roofline file at $.distances[0].limit.bound"),
    ],
    ids=["version", "ceilings", "bound"],
)
def test_a_damaged_file_is_refused(measured: Measured, tmp_path: Path, edit: Any, message: str) -> None:
    """What does not fit the schema is refused with the place and the reason."""
    data = tmp_path / "a.json"
    main(["roofline", "--batch", "1", *TINY, "--json", str(data)])
    content = json.loads(data.read_text(encoding="utf-8"))
    edit(content)
    data.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FileError) as refused:
        read(data, ROOFLINE_FILE)
    assert message in str(refused.value)


def test_a_file_of_the_old_kind_is_read(measured: Measured, tmp_path: Path) -> None:
    """Files called the kind mlbench-limits before the command was renamed; nothing else of them differs."""
    data = tmp_path / "a.json"
    main(["roofline", "--batch", "1", *TINY, "--json", str(data)])
    run = read(data, ROOFLINE_FILE)
    data.write_text(data.read_text(encoding="utf-8").replace('"mlbench-roofline"', '"mlbench-limits"'), encoding="utf-8")
    assert read(data, ROOFLINE_FILE) == run
    assert main(["show", str(data)]) == 0


def test_a_run_that_goes_on_keeps_its_ceilings(measured: Measured, tmp_path: Path) -> None:
    """All cells of a file are held against the same ceilings, which are measured once."""
    data = tmp_path / "a.json"
    main(["roofline", "--batch", "1", *TINY, "--json", str(data)])
    assert main(["roofline", "--batch", "1,2", *TINY, "--json", str(data), "--resume"]) == 0
    assert (measured.threads, measured.cells) == ([1], ["b1-h8", "b2-h8"])
