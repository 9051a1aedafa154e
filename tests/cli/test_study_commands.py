"""What every command that runs a study does alike: it saves what is complete, ends in order, goes on with a file, and logs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlbench.cli import ablation, main, peers, roofline, run
from mlbench.errors import WorkerError
from mlbench.measure import Environment
from mlbench.results import COMPLETE, INTERRUPTED, RESULT_FILE, RUNNERS, Measurement
from mlbench.results.ablation import ABLATION_FILE, Ablation
from mlbench.results.peers import PEERS_FILE, PeerCell, Runtime
from mlbench.results.roofline import ROOFLINE_FILE, Distance
from mlbench.results.schema import Schema
from mlbench.results.storage import read
from mlbench.studies.cases import Cell
from support.records import CEILINGS, HERE, PEAKS, distance, made_up, measured, peer_cell

SMALL = ("--hidden", "8", "--processes", "1", "--rounds", "1")


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs a study: its arguments besides --batch, its file, and the batches of the cells in a run."""

    arguments: tuple[str, ...]
    schema: Schema[Any]
    batches: Callable[[Any], list[int]]


def numbers(names: list[str]) -> list[int]:
    """Return the batch that each name has in it, each once."""
    return list(dict.fromkeys(int(re.findall(r"b(\d+)", name)[0]) for name in names))


COMMANDS = {
    "run": Command(("--no-digits", *SMALL), RESULT_FILE, lambda found: numbers([each.case["cell"] for each in found.measurements])),
    "ablation": Command(SMALL, ABLATION_FILE, lambda found: numbers([each.cell for each in found.ablations])),
    "roofline": Command(("--no-digits", *SMALL), ROOFLINE_FILE, lambda found: numbers([each.case[3:] for each in found.distances])),
    "peers": Command(
        ("--only", "xla", "--shapes", "64-64-10", "--rules"), PEERS_FILE, lambda found: numbers([each.name for each in found.cells])
    ),
}


class Study:
    """What stands for the measuring of every study: a diary, and what happens at a batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.trouble: dict[int, Callable[[], object]] = {}

    def measure(self, batch: int) -> int:
        """Note a batch, and do what was asked for."""
        self.batches.append(batch)
        self.trouble.get(batch, lambda: None)()
        return batch

    def cells(self, cells: Mapping[Cell, object], *_: object) -> list[Measurement]:
        """Stand for `measure_cells`."""
        return [measured(runner, self.measure(cell.batch), 8) for cell in cells for runner in RUNNERS]

    def ablate(self, cell: Cell, *_: object, cold: bool) -> Ablation:
        """Stand for `ablate`."""
        self.measure(cell.batch)
        return made_up(cell.id)

    def distances(self, cell: Cell, *_: object) -> tuple[Distance, ...]:
        """Stand for `distances`."""
        self.measure(cell.batch)
        return distance(f"baseline-{cell.id}"), distance(f"optimized-{cell.id}")

    def peers(
        self, cells: Sequence[Cell], modules: object, effort: object, known: Mapping[str, PeerCell], *__: object
    ) -> Iterator[PeerCell]:
        """Stand for the measuring of peers."""
        for batch in (cell.batch for cell in cells):
            found = peer_cell(batch, mlbench=10.0, xla=20.0)
            if found.name not in known:
                self.measure(batch)
                yield found


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    """Measure nothing, on a made-up machine."""
    made = Study()

    def here(threads: int, heap: str) -> Environment:
        return dataclasses.replace(HERE, threads=threads, heap=heap)

    for module in (run, ablation, roofline, peers):
        monkeypatch.setattr(module, "environment", here)
    monkeypatch.setattr(run, "measure_cells", made.cells)
    monkeypatch.setattr(run, "measure_peaks", lambda: PEAKS)
    monkeypatch.setattr(run, "TOGETHER", 1)
    monkeypatch.setattr(ablation, "ablate", made.ablate)
    monkeypatch.setattr(roofline, "distances", made.distances)
    monkeypatch.setattr(roofline, "find_ceilings", lambda threads: CEILINGS)
    monkeypatch.setattr(peers, "measure", made.peers)
    monkeypatch.setattr(peers, "find_runtimes", lambda names, *_: tuple(Runtime(name, "1.0", "fast", None) for name in names))
    return made


def ctrl_c() -> None:
    """Press it."""
    raise KeyboardInterrupt


def dies() -> None:
    """Lose a worker."""
    raise WorkerError("a worker died")


def started(name: str, batches: str, *more: str) -> int:
    """Run a command on these batches and return its exit code."""
    return main([name, "--batch", batches, *COMMANDS[name].arguments, *more])


def saved(name: str, data: Path) -> tuple[str, list[int]]:
    """Return the status and the batches of a saved run."""
    found = read(data, COMMANDS[name].schema)
    return found.status, COMMANDS[name].batches(found)


every = pytest.mark.parametrize("name", COMMANDS)


def test_the_help_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has --json, --resume and --output, in the same words."""
    helps = set()
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        helps.add(tuple(" ".join(re.findall(rf"\n +{option}\b.*(?:\n {{10,}}.*)*", text)[0].split())
                        for option in ("--json FILE", "--resume", "--output FILE")))  # fmt: skip
    assert len(helps) == 1


@every
def test_data_and_log_are_written(name: str, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log is what is printed, without the lines that name both files."""
    data, log = tmp_path / "a.json", tmp_path / "a.txt"
    assert started(name, "1,2", "--json", str(data), "--output", str(log)) == 0
    assert saved(name, data) == (COMPLETE, [1, 2])
    out = capsys.readouterr().out
    assert out == f"{log.read_text(encoding='utf-8')}\nData: {data}\n\nLog: {log}\n"


@every
def test_data_are_saved_whenever_a_cell_was_measured(name: str, study: Study, tmp_path: Path) -> None:
    """Before the next one begins, the file holds those before it, as an interrupted run."""
    data, seen = tmp_path / "a.json", []
    study.trouble = {2: lambda: seen.append(saved(name, data)), 3: lambda: seen.append(saved(name, data))}
    assert started(name, "1,2,3", "--json", str(data)) == 0
    assert list(dict.fromkeys(map(str, seen))) == [str((INTERRUPTED, [1])), str((INTERRUPTED, [1, 2]))]


@every
@pytest.mark.parametrize(("trouble", "code", "told"), [(ctrl_c, 130, "interrupted; 1 of 3 cells"), (dies, 1, "a worker died")])
def test_what_was_measured_is_kept(
    name: str, trouble: Callable[[], None], code: int, told: str, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is exit code 130 and a lost worker 1: data and log are written and printed, and the data say interrupted."""
    data, log = tmp_path / "a.json", tmp_path / "a.txt"
    study.trouble[2] = trouble
    assert started(name, "1,2,3", "--json", str(data), "--output", str(log)) == code
    assert saved(name, data) == (INTERRUPTED, [1])
    captured = capsys.readouterr()
    assert captured.out.startswith(log.read_text(encoding="utf-8"))
    assert told in captured.err


@every
def test_without_a_cell_no_data_are_written(name: str, study: Study, tmp_path: Path) -> None:
    """There is no file that could be taken for one."""
    study.trouble[1] = ctrl_c
    assert started(name, "1", "--json", str(tmp_path / "a.json")) == 130
    assert list(tmp_path.iterdir()) == []


@every
def test_resume_measures_what_is_missing(name: str, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Complete cells are taken from the file, also those whose turn had not come when Ctrl-C ended it again."""
    data = tmp_path / "a.json"
    assert started(name, "3", "--json", str(data), "--resume") == 0
    study.trouble[2] = ctrl_c
    assert started(name, "1,2,3", "--json", str(data), "--resume") == 130
    assert saved(name, data) == (INTERRUPTED, [1, 3])
    study.trouble.clear()
    study.batches.clear()
    capsys.readouterr()
    assert started(name, "1,2,3", "--json", str(data), "--resume") == 0
    assert set(study.batches) == {2}
    assert saved(name, data) == (COMPLETE, [1, 2, 3])
    assert f"2 of 3 cells are in {data} already\n[2/3] " in capsys.readouterr().err


@every
def test_resume_elsewhere_is_refused(name: str, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers of two environments are not mixed: exit code 2, the difference is named, and the file stays as it was."""
    data = tmp_path / "a.json"
    started(name, "1", "--json", str(data))
    data.write_text(data.read_text(encoding="utf-8").replace('"Some CPU"', '"Other CPU"'), encoding="utf-8")
    before = data.read_bytes()
    study.batches.clear()
    assert started(name, "1,2", "--json", str(data), "--resume") == 2
    assert "was measured with another cpu; measure anew into another file" in capsys.readouterr().err
    assert (data.read_bytes(), study.batches) == (before, [])


@every
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--resume",), "--resume needs --json FILE"),
        (("--json", "same", "--output", "same"), "the log would replace the data"),
        (("--json", "no/such/a.json"), "no/such/a.json: its folder does not exist"),
        (("--output", "no/such/a.txt"), "no/such/a.txt: its folder does not exist"),
    ],
    ids=["resume", "same", "json", "output"],
)
def test_what_could_not_be_written_is_said_first(
    name: str, arguments: tuple[str, ...], told: str, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing is measured."""
    assert started(name, "1", *arguments) == 2
    assert told in capsys.readouterr().err
    assert study.batches == []
