"""`mlbench ablation`: what it measures, writes, prints and resumes, and `mlbench show` of its files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlbench.cli import ablation, main
from mlbench.measure import Environment
from mlbench.results import COMPLETE
from mlbench.results.ablation import ABLATION_FILE, Ablation
from mlbench.results.storage import read
from mlbench.studies.ablation.variants import rungs
from mlbench.studies.cases import Cell
from mlbench.studies.sweep import Effort
from support.records import made_up

HERE = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})
TINY = ("--hidden", "8", "--processes", "1", "--rounds", "1")


class Measured:
    """What stands for `ablate`: made-up numbers, a diary, and what is raised at a chosen cell."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.colds: list[bool] = []
        self.trouble: dict[str, BaseException] = {}

    def __call__(self, cell: Cell, effort: Effort, step: Callable[[str], None], *, cold: bool) -> Ablation:
        """Ablate a cell, or raise what was asked for."""
        self.cells.append(cell)
        self.colds.append(cold)
        if cell.id in self.trouble:
            raise self.trouble[cell.id]
        return dataclasses.replace(made_up(cell.id), evicted_bytes=1024 if cold else None, eviction="Evicted." if cold else "")

    @property
    def ids(self) -> list[str]:
        """The cells that were measured."""
        return [cell.id for cell in self.cells]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Measure nothing, on a made-up machine."""
    stand_in = Measured()
    monkeypatch.setattr(ablation, "ablate", stand_in)
    monkeypatch.setattr(ablation, "environment", lambda threads, heap: dataclasses.replace(HERE, threads=threads, heap=heap))
    return stand_in


def test_a_real_cell_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One tiny cell is measured, printed with both tables and the machine, saved, logged and shown again."""
    data, log = tmp_path / "a.json", tmp_path / "a.txt"
    assert main(["ablation", "--batch", "1", *TINY, "--json", str(data), "--output", str(log)]) == 0
    out = capsys.readouterr().out
    for part in ("$ mlbench ablation", "Ablation of b1-h8", "Where the baseline's time goes in b1-h8", "all but strips", "Machine: "):
        assert part in out
    assert out.startswith(log.read_text(encoding="utf-8").rstrip("\n"))
    assert read(data, ABLATION_FILE).status == COMPLETE
    assert main(["show", str(data)]) == 0
    shown = capsys.readouterr().out
    assert [len(line.split()) for line in shown.splitlines()[:12]] == [len(line.split()) for line in out.splitlines()[:12]]


def test_the_sizes_make_the_cells(measured: Measured) -> None:
    """Every combination of the sizes given is a cell; without any there are three."""
    assert main(["ablation", "--batch", "1,2", "--hidden", "8", "--depth", "1,2", "--threads", "1"]) == 0
    assert measured.ids == ["b1-h8", "b2-h8", "b1-h8x8", "b2-h8x8"]
    measured.cells.clear()
    assert main(["ablation"]) == 0
    assert measured.ids == ["b1-h256", "b64-h256", "b512-h256"]


def test_the_digits(measured: Measured) -> None:
    """`mlbench ablation digits` takes the trained model on all of its images, or on as many as --batch says."""
    assert main(["ablation", "digits"]) == 0
    assert main(["ablation", "digits", "--batch", "1,8"]) == 0
    assert measured.ids == ["digits-b360", "digits-b1", "digits-b8"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "--hidden", "8"), "--hidden chooses sizes, and digits has its own"),
        (("digits", "--batch", "361"), "--batch 361: the digits have 360 held-out images"),
        (("letters",), "letters: no such file"),
    ],
    ids=["sizes", "batch", "model"],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    measured: Measured, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 2 and a message that names the option; nothing is measured."""
    try:
        code: object = main(["ablation", *arguments])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert measured.ids == []


def test_cold_reaches_the_measuring(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    """With --cold the cells are measured with cold caches, and the tables say so."""
    assert main(["ablation", "--batch", "1", *TINY, "--cold"]) == 0
    assert measured.colds == [True]
    assert "Cold caches. Evicted." in capsys.readouterr().out


def test_resume_measures_a_cell_of_other_optimisations_again(measured: Measured, tmp_path: Path) -> None:
    """A cell whose rungs are not those of today's optimisations is measured anew."""
    data = tmp_path / "a.json"
    main(["ablation", "--batch", "1", *TINY, "--json", str(data)])
    saved = json.loads(data.read_text(encoding="utf-8"))
    saved["ablations"][0]["effects"].pop()
    data.write_text(json.dumps(saved), encoding="utf-8")
    measured.cells.clear()
    assert main(["ablation", "--batch", "1", *TINY, "--json", str(data), "--resume"]) == 0
    assert measured.ids == ["b1-h8"]
    assert len(read(data, ABLATION_FILE).ablations[0].effects) == len(rungs())


@pytest.mark.parametrize(
    ("given", "message"),
    [(("--cold",), "was measured with warm caches"), (("--heap", "kept"), "was measured with another heap")],
    ids=["caches", "heap"],
)
def test_resume_refuses_what_was_measured_otherwise(
    measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], message: str
) -> None:
    """Cold and warm caches, or two environments, never meet in one file; exit code 2, and the file stays as it was."""
    data = tmp_path / "a.json"
    main(["ablation", "--batch", "1", *TINY, "--json", str(data)])
    before = data.read_bytes()
    measured.cells.clear()
    assert main(["ablation", "--batch", "1,2", *TINY, "--json", str(data), "--resume", *given]) == 2
    assert message in capsys.readouterr().err
    assert (data.read_bytes(), measured.ids) == (before, [])
