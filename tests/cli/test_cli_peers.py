"""`mlbench peers`: what it prints, what it keeps, and every exit code."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from mlbench.cli import main, peers
from mlbench.measure import Environment
from mlbench.results.peers import MEASURED, OURS, PEERS_FILE, Outcome, PeerCell, Runtime
from mlbench.results.storage import read
from mlbench.studies.cases import Cell, mlp_cell
from mlbench.studies.peers import PEERS
from mlbench.studies.peers.measure import PeerEffort
from mlbench.studies.subjects import Subject

HERE = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})
SMALL = ("peers", "--only", "onnxruntime", "--shapes", "4-8-3", "--batch", "1,2")

NUMPY = """
from mlbench.studies.peers import Package
from mlbench.runtime import BaselineRunner
PACKAGES, SETTINGS = (Package("numpy", "numpy"),), "eager"
def missing(): return None
def load(model, x, threads):
    run = BaselineRunner(model).run
    return lambda: run(x)
"""


class Measured:
    """What stands for `measure` and `find_runtimes`: made-up numbers, a diary, and Ctrl-C at a chosen cell."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.modules: dict[str, str | None] = {}
        self.known: Mapping[str, PeerCell] = {}
        self.effort = PeerEffort()
        self.interrupt_at = 99
        self.version = "1.0"
        self.lacking = {"tensorrt": "needs an NVIDIA GPU"}
        self.builds: Path | None = None

    def find(self, modules: Mapping[str, str | None], threads: int, subject: Subject) -> tuple[Runtime, ...]:
        """Say what is missing, which is TensorRT unless a test says otherwise."""
        return tuple(Runtime(name, self.version, "fast", self.lacking.get(name)) for name in modules)

    def measure(
        self,
        cells: Sequence[Cell],
        modules: Mapping[str, str | None],
        effort: PeerEffort,
        known: Mapping[str, PeerCell],
        builds: Path | None,
    ) -> Iterator[PeerCell]:
        """Measure each cell, at 10 us for ours and 20 us for each peer."""
        self.cells, self.modules, self.effort, self.known, self.builds = list(cells), dict(modules), effort, dict(known), builds
        for number, cell in enumerate(cells):
            if number == self.interrupt_at:
                raise KeyboardInterrupt
            times = {name: 1e-05 if name == OURS else 2e-05 for name in modules}
            outcomes = {name: Outcome(MEASURED, "", 0.5, 0.1, each, ((each, each),) * effort.processes) for name, each in times.items()}
            yield PeerCell(cell.identity(), outcomes, effort.processes, weighed=True)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Measure nothing, on a made-up machine."""
    made = Measured()
    monkeypatch.setattr(peers, "measure", made.measure)
    monkeypatch.setattr(peers, "find_runtimes", made.find)
    monkeypatch.setattr(peers, "environment", lambda threads, heap: dataclasses.replace(HERE, threads=threads))
    return made


def exit_code(*arguments: str) -> object:
    """Return the exit code of a command, also where argparse ends it."""
    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code


def test_the_default_cells(measured: Measured) -> None:
    """Five shapes at five batches without the one above 10 GFLOP, every runtime, five sets of processes."""
    assert main(["peers"]) == 0
    assert len(measured.cells) == 24
    assert max(cell.work_flop for cell in measured.cells) <= 1e10
    assert list(measured.modules) == [OURS, *(name for name in PEERS if name != "tensorrt")]
    assert (measured.effort.processes, measured.effort.rounds, measured.effort.weigh) == (5, 15, True)


def test_a_quick_run(measured: Measured) -> None:
    """Four cells in one set of processes, without bytes; what is chosen besides holds."""
    assert main(["peers", "--quick"]) == 0
    assert measured.cells == [
        mlp_cell(batch, (h,), i, o, 1, tuned=True) for i, h, o in ((64, 64, 10), (256, 256, 256)) for batch in (1, 64)
    ]
    assert measured.effort == PeerEffort(1, 7, weigh=False)
    assert main(["peers", "--quick", "--shapes", "4-8-3", "--processes", "2"]) == 0
    assert [cell.batch for cell in measured.cells] == [1, 64]
    assert measured.effort == PeerEffort(2, 7, weigh=False)


def test_times_alone_by_rules_with_builds_that_stay(measured: Measured, tmp_path: Path) -> None:
    """Bytes are left out, ours has its default rules, and what compilers make goes into a folder that is made."""
    assert main([*SMALL, "--no-bytes", "--rules", "--builds", str(tmp_path / "builds")]) == 0
    assert (measured.effort.processes, measured.effort.weigh) == (5, False)
    assert {cell.tuned for cell in measured.cells} == {False}
    assert measured.builds == tmp_path / "builds"
    assert measured.builds.is_dir()


@pytest.mark.parametrize(
    ("arguments", "lacking", "told"),
    [
        ((), "not installed (python -m pip install it)", r"no other runtime is installed; .*python -m pip install onnxruntime.*'peers'"),
        (("--only", "tract"), "not installed (python -m pip install tract)", "tract: not installed .python -m pip install tract"),
        ((), "cannot take it: a file of mlbench", "against ours here; onnxruntime, .*, tensorrt: cannot take it: a file of mlbench$"),
    ],
    ids=["none", "the-one", "taken-by-none"],
)
def test_nothing_to_measure_against_is_one_line(
    measured: Measured, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], lacking: str, told: str
) -> None:
    """Where no runtime can be measured, one line says what to install, or why none takes this, and nothing is measured."""
    measured.lacking = dict.fromkeys(PEERS, lacking)
    assert main(["peers", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(told, line)
    assert measured.cells == []


def test_it_says_how_long_it_takes(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    """Cells, runtimes, sets and the expected time come before anything is measured, and the time it took at the end."""
    main([*SMALL, "--processes", "1"])
    first, *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"mlbench: 2 cells, 2 runtimes, 1 set of processes: about \d+ s", first)
    assert last == "mlbench: took 0 s"


def test_the_options_choose(measured: Measured) -> None:
    """Shapes of any depth, batches, threads, runtimes and effort are what was asked for."""
    command = "peers --threads 2 --shapes 4-8-3,5-6-7-8 --batch 2,1 --only torch,xla --processes 1 --rounds 4"
    assert main(command.split()) == 0
    assert measured.cells == [
        mlp_cell(batch, hidden, i, o, 2, tuned=True) for i, hidden, o in ((4, (8,), 3), (5, (6, 7), 8)) for batch in (2, 1)
    ]
    assert list(measured.modules) == [OURS, "torch", "xla"]
    assert measured.effort == PeerEffort(1, 4)


def test_it_prints_tables_headline_and_machine(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, the geometric mean, versions, what is missing and the machine go to standard output; a line a cell to standard error."""
    assert main([*SMALL[:2], "onnxruntime,tensorrt", *SMALL[3:]]) == 0
    captured = capsys.readouterr()
    for part in ("4-8-3 b2", "10.0 us*", "2.00x", "geometric mean 2.00x", "onnxruntime: 1.0; fast", "tensorrt: needs an NVIDIA GPU",
                 "Machine: Some CPU"):  # fmt: skip
        assert part in captured.out
    assert captured.err.splitlines()[1:-1] == [
        f"[{batch}/2] 4-8-3 b{batch} (processes 5/5): mlbench 10.0 us, onnxruntime 20.0 us, 2.00x" for batch in (1, 2)
    ]


def test_resume_goes_on_with_the_file(measured: Measured, tmp_path: Path) -> None:
    """The cells of the file are handed on as known, and stay in it."""
    data = tmp_path / "peers.json"
    measured.interrupt_at = 1
    main([*SMALL, "--json", str(data)])
    assert main([*SMALL, "--json", str(data), "--resume"]) == 130
    assert list(measured.known) == ["4-8-3 b1"]
    measured.interrupt_at = 99
    assert main([*SMALL, "--json", str(data), "--resume"]) == 0
    assert [cell.name for cell in read(data, PEERS_FILE).cells] == ["4-8-3 b1", "4-8-3 b2"]
    assert read(data, PEERS_FILE).status == "complete"


@pytest.mark.parametrize("change", ["version", "threads", "rules"])
def test_resume_elsewhere_is_refused(measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    """A file of other versions or threads, or with a search where now there is none, is no file to go on with, and stays as it was."""
    data = tmp_path / "peers.json"
    main([*SMALL, "--json", str(data)])
    before = data.read_bytes()
    measured.version = "2.0" if change == "version" else "1.0"
    more = {"threads": ("--threads", "2"), "rules": ("--rules",)}.get(change, ())
    assert main([*SMALL, "--json", str(data), "--resume", *more]) == 2
    assert "measure anew into another file" in capsys.readouterr().err
    assert data.read_bytes() == before


def test_show_and_compare_read_the_file(measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` prints the tables again, and `--compare` how two files differ, without measuring."""
    data = tmp_path / "peers.json"
    main([*SMALL, "--json", str(data)])
    measured.cells = []
    capsys.readouterr()
    assert main(["show", str(data)]) == 0
    assert "geometric mean 2.00x" in capsys.readouterr().out
    assert main(["peers", "--compare", str(data), str(data)]) == 0
    assert "differ by 0.0 % in the median cell" in capsys.readouterr().out
    assert measured.cells == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shapes", "64-64"), "found '64-64'; expected inputs-hidden-outputs"),
        (("--shapes", "0-8-3"), "found '0' in '0'"),
        (("--shapes", "99999-99999-9", "--batch", "99999"), "more than 10 GFLOP"),
        (("--only", "caffe"), "argument --only: no peer is called 'caffe'; there are onnxruntime"),
        (("--threads", "99"), "more threads would wait for each other"),
        (("--resume",), "--resume needs --json FILE"),
        (("--json", "no/such/folder/peers.json"), "its folder does not exist"),
        (("--compare", "no-such.json", "no-such.json"), "no-such.json: no such file"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_command_line_is_exit_code_2(
    measured: Measured, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """What cannot be done is exit code 2 with a message that names it, and nothing is measured."""
    assert exit_code("peers", *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert measured.cells == []


def test_a_damaged_file_is_exit_code_2(measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that lost a field is one line with its path."""
    data = tmp_path / "peers.json"
    main([*SMALL, "--json", str(data)])
    lines = json.loads(data.read_text())
    del lines["cells"][0]["outcomes"]
    data.write_text(json.dumps(lines))
    capsys.readouterr()
    assert main(["show", str(data)]) == 2
    assert capsys.readouterr().err.startswith(f"mlbench: {data}: not a valid peers file at $.cells[0]")


def test_a_real_run_without_any_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """End to end, with a peer that is NumPy: processes, turns, bytes, tables, data."""
    (tmp_path / "numpy_peer.py").write_text(NUMPY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(peers, "PEERS", {"eager": "numpy_peer"})
    data = tmp_path / "peers.json"
    assert main(["peers", "--shapes", "4-8-3", "--batch", "2", "--processes", "2", "--rounds", "1", "--json", str(data)]) == 0
    assert "eager: numpy" in capsys.readouterr().out
    (cell,) = read(data, PEERS_FILE).cells
    assert (cell.processes, cell.weighed, cell.fastest_peer) == (2, True, "eager")
