"""Commands on a network that somebody brought: what each is told, what it refuses, and one real run from file to verdict."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.cli import ablation, explain, main, peers, roofline, run
from mlbench.measure import Environment
from mlbench.models import mlp
from mlbench.results import COMPLETE, INTERRUPTED, RUNNERS, load, save
from mlbench.results.ablation import ABLATION_FILE, Ablation
from mlbench.results.network import network_key
from mlbench.results.peers import PEERS_FILE, PeerCell, Runtime
from mlbench.results.roofline import ROOFLINE_FILE, Distance
from mlbench.results.storage import read
from mlbench.studies.cases import Case, Cell
from mlbench.studies.peers import cannot_take
from mlbench.studies.subjects import NetworkFile, Sizes, Subject
from support.branched import TWO_HEADS, network_of
from support.records import CEILINGS, HERE, PEAKS, distance, made_up, measured, peer_cell

ONCE = ("--processes", "1", "--rounds", "1")
COMMANDS = ("run", "ablation", "roofline", "peers", "explain")


def here(threads: int, heap: str) -> Environment:
    """Return a machine, without asking py-cpuinfo, which takes a second."""
    return dataclasses.replace(HERE, threads=threads, heap=heap)


class Study:
    """What stands for the measuring of every study: it notes the cells."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []

    def run(self, cells: Mapping[Cell, object], *_: object) -> list[Any]:
        """Stand for `measure_cells`."""
        self.cells += cells
        found = [(Case(cell, runner), measured(runner, cell.batch, 8)) for cell in cells for runner in RUNNERS]
        return [dataclasses.replace(made, case=case.identity()) for case, made in found]

    def ablation(self, cell: Cell, *_: object, **__: object) -> Ablation:
        """Stand for `ablate`."""
        self.cells.append(cell)
        return dataclasses.replace(made_up(cell.id), network=network_key(cell.identity()))

    def roofline(self, cell: Cell, *_: object) -> tuple[Distance, ...]:
        """Stand for `distances`."""
        self.cells.append(cell)
        key = network_key(cell.identity())
        return tuple(dataclasses.replace(distance(f"{runner}-{cell.id}"), network=key) for runner in RUNNERS)

    def runtimes(self, modules: Mapping[str, str | None], _: object, subject: Subject) -> tuple[Runtime, ...]:
        """Stand for processes of runtimes that are all installed, and of XLA as if it took everything."""
        reasons = {name: None if module is None or name == "xla" else cannot_take(module, subject) for name, module in modules.items()}
        return tuple(Runtime(name, "1.0", "fast", reason) for name, reason in reasons.items())

    def peers(
        self, cells: Sequence[Cell], modules: Mapping[str, object], _: object, known: Mapping[str, PeerCell], *__: object
    ) -> Iterator[PeerCell]:
        """Stand for the measuring of peers, of ours and those that are there."""
        for cell in cells:
            made = peer_cell(cell.batch, **dict.fromkeys(modules, 10.0))
            found = dataclasses.replace(made, cell=cell.identity())
            if found.name not in known:
                self.cells.append(cell)
                yield found

    def explain(self, cell: Cell, *_: object, **__: object) -> str:
        """Stand for `explanation`."""
        self.cells.append(cell)
        return "explained"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    """Measure nothing, on a made-up machine."""
    made = Study()
    for module in (run, ablation, roofline, peers):
        monkeypatch.setattr(module, "environment", here)
    monkeypatch.setattr("mlbench.cli.options.environment", here)
    monkeypatch.setattr(run, "measure_cells", made.run)
    monkeypatch.setattr(run, "measure_peaks", lambda: PEAKS)
    monkeypatch.setattr(ablation, "ablate", made.ablation)
    monkeypatch.setattr(roofline, "distances", made.roofline)
    monkeypatch.setattr(roofline, "find_ceilings", lambda threads: CEILINGS)
    monkeypatch.setattr(peers, "measure", made.peers)
    monkeypatch.setattr(peers, "find_runtimes", made.runtimes)
    monkeypatch.setattr(explain, "explanation", made.explain)
    return made


@pytest.fixture
def heads(tmp_path: Path) -> str:
    """A file of a network with one input and two outputs."""
    return str(network_of(TWO_HEADS).save(tmp_path / "heads.npz"))


def exit_code(*arguments: str) -> object:
    """Return the exit code of the command, whether it returns it or argparse raises it."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_measures_the_network(study: Study, heads: str, command: str) -> None:
    """The cell is of the file, at the batch and with the outputs and the threads that were asked for."""
    assert exit_code(command, heads, "--batch", "3", "--outputs", "a2", "--threads", "2") == 0
    (cell,) = study.cells
    assert isinstance(cell.subject, NetworkFile)
    assert (cell.subject.path, cell.subject.outputs, cell.batch, cell.threads) == (heads, ("a2",), 3, 2)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_measures_layers_of_uneven_sizes(study: Study, command: str) -> None:
    """Sizes with dashes are one MLP: input, hidden activations, output."""
    assert exit_code(command, "6-30-20-4", "--batch", "3") == 0
    (cell,) = study.cells
    assert (cell.subject, cell.batch) == (Sizes((30, 20), 6, 4), 3)


@pytest.mark.parametrize("option", [("--hidden", "8"), ("--inputs", "8"), ("--outputs", "8")], ids=lambda option: option[0])
def test_layers_have_their_own_sizes(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """An option that chooses sizes contradicts them."""
    assert exit_code("explain", "6-30-20-4", *option) == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(("command", "batches"), [("run", [1, 8, 64, 512]), ("ablation", [1, 64, 512]), ("roofline", [1, 8, 64, 512]),
                                                  ("peers", [1, 8, 64, 512]), ("explain", [512])])  # fmt: skip
def test_the_batches_of_a_command(study: Study, heads: str, command: str, batches: list[int]) -> None:
    """Without --batch they are the default ones of the command, and nothing else is measured, the digits neither."""
    assert exit_code(command, heads) == 0
    assert [cell.batch for cell in study.cells] == batches
    assert {type(cell.subject) for cell in study.cells} == {NetworkFile}


@pytest.mark.parametrize("command", COMMANDS)
def test_real_inputs_are_named_by_the_same_option(
    study: Study, heads: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--inputs is a file where a model is named; what is repeated is said on standard error."""
    np.savez(tmp_path / "real.npz", x=np.ones((2, 6)))
    assert exit_code(command, heads, "--batch", "3", "--inputs", str(tmp_path / "real.npz")) == 0
    np.testing.assert_array_equal(study.cells[0].subject.arrays(3)[0], np.ones((3, 6)))
    assert "real.npz: has 2 rows; batch 3 repeats them from the first on" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_fixed_batch_is_said(study: Study, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is measured at that batch; another one is exit code 2."""
    fixed = str(network_of(TWO_HEADS, 16).save(tmp_path / "fixed.npz"))
    assert exit_code(command, fixed) == 0
    assert [cell.batch for cell in study.cells] == [16]
    assert "the file fixes the batch, so that everything is measured at batch 16" in capsys.readouterr().err
    assert exit_code(command, fixed, "--batch", "8") == 2
    assert "batch 8: " in (said := capsys.readouterr().err)
    assert "runs at batch 16 alone" in said


def test_digits_are_a_model_of_every_command(study: Study) -> None:
    """They are named by their name, and measured alone, on all images or as many as --batch says."""
    for command in COMMANDS[:3]:
        assert exit_code(command, "digits") == 0
        assert exit_code(command, "digits", "--batch", "7") == 0
    assert [cell.id for cell in study.cells] == ["digits-b360", "digits-b7"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "HEADS", "--hidden", "8"), "--hidden chooses sizes, and HEADS has its own; leave one of them out"),
        (("run", "HEADS", "--depth", "2"), "--depth chooses sizes"),
        (("run", "HEADS", "--large"), "--large chooses sizes"),
        (("run", "HEADS", "--no-digits"), "--no-digits chooses sizes"),
        (("ablation", "HEADS", "--hidden", "8"), "--hidden chooses sizes"),
        (("explain", "HEADS", "--depth", "2"), "--depth chooses sizes"),
        (("explain", "HEADS", "--batch", "1,2"), "--batch 1,2: explain takes one value"),
        (("peers", "HEADS", "--shapes", "4-8-2"), "--shapes chooses sizes"),
        (("run", "HEADS", "--inputs", "64"), "64: no such file"),
        (("run", "HEADS", "--outputs", "10"), "--outputs 10: HEADS has no such output; there are class, a2"),
        (("run", "--inputs", "real.npz"), "--inputs: found 'real.npz' in 'real.npz'; expected whole numbers"),
        (("run", "--outputs", "class"), "--outputs: found 'class' in 'class'; expected whole numbers"),
        (("run", "--outputs", "1,2"), "--outputs 1,2: expected one whole number of 1 or more"),
        (("peers", "--inputs", "real.npz"), "--inputs belongs to a network in a file"),
        (("run", "digits", "--inputs", "real.npz"), "--inputs belongs to a network in a file"),
        (("roofline", "HEADS", "--ceilings"), "MODEL chooses cells, and --ceilings measures none"),
        (
            ("flamegraph", "HEADS", "optimized-b8-h64"),
            "no case of heads is called 'optimized-b8-h64'; expected RUNNER-bBATCH like optimized-b64",
        ),
        (("run", "nowhere.onnx"), "nowhere.onnx: no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_contradicts_is_refused(
    study: Study, heads: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 2, before anything is measured, and a message that names the option."""
    assert exit_code(*(heads if each == "HEADS" else each for each in arguments)) == 2
    assert message.replace("HEADS", heads) in capsys.readouterr().err
    assert study.cells == []


@pytest.mark.parametrize("command", [*COMMANDS, "flamegraph"])
def test_a_damaged_file_is_exit_code_2(study: Study, heads: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the message of what reads it, which names the file, and no traceback."""
    Path(heads).write_bytes(Path(heads).read_bytes()[:-100])
    assert exit_code(command, heads, *(("optimized-b8",) if command == "flamegraph" else ())) == 2
    assert capsys.readouterr().err.startswith(f"mlbench: {heads}: damaged, truncated or no .npz archive")
    assert study.cells == []


FILES: dict[str, Callable[[Path], int]] = {
    "run": lambda path: len(load(path).measurements),
    "ablation": lambda path: len(read(path, ABLATION_FILE).ablations),
    "roofline": lambda path: len(read(path, ROOFLINE_FILE).distances),
    "peers": lambda path: len(read(path, PEERS_FILE).cells),
}


@pytest.mark.parametrize("command", FILES)
def test_a_run_of_a_network_goes_on(study: Study, heads: str, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--resume measures the cells that are not there yet, and refuses a file of another network of that name."""
    data = tmp_path / "now.json"
    assert exit_code(command, heads, "--batch", "1", "--json", str(data)) == 0
    before = FILES[command](data)
    assert exit_code(command, heads, "--batch", "1,2", "--json", str(data), "--resume") == 0
    assert [cell.batch for cell in study.cells] == [1, 2]
    assert FILES[command](data) == 2 * before
    mlp(6, 8, 4).save(heads)
    assert exit_code(command, heads, "--batch", "1,2", "--json", str(data), "--resume") == 2
    assert "was measured of another network, or with other inputs; measure anew into another file" in capsys.readouterr().err
    assert len(study.cells) == 2


def test_peers_that_cannot_take_a_network_are_said(study: Study, heads: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each by its name, with the reason, on standard error and in the file; the rest are measured."""
    data = tmp_path / "peers.json"
    assert exit_code("peers", heads, "--batch", "2", "--only", "onnxruntime,xla", "--json", str(data)) == 0
    found = read(data, PEERS_FILE)
    why = "cannot take it: this network is in a file of mlbench, which no other runtime reads; name its .onnx"
    assert [each.missing for each in found.runtimes] == [None, why, None]
    assert list(found.cells[0].outcomes) == ["mlbench", "xla"]
    assert f"mlbench: onnxruntime: {why}\n" in capsys.readouterr().err


def test_peers_take_an_mlp_of_ours(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that `Model.save` wrote is built by every adapter, as the sizes are."""
    place = str(mlp(5, (7, 3), 2).save(tmp_path / "net.npz"))
    assert exit_code("peers", place, "--batch", "2", "--only", "onnxruntime,xla") == 0
    assert "cannot take it" not in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class Ran:
    """A real run: exit code, what it printed, and where its files are."""

    code: int
    out: str
    folder: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A network of two outputs, measured for real from the command line, in a folder of its own."""
    folder = tmp_path_factory.mktemp("run")
    network_of(TWO_HEADS).save(folder / "heads.npz")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "environment", here)
        patch.setattr(run, "measure_peaks", lambda: PEAKS)
        patch.setattr("mlbench.cli.options.environment", here)
        patch.setattr(sys, "stdout", out)
        patch.chdir(folder)
        code = main(["run", "heads.npz", "--batch", "2", *ONCE, "--json", "now.json", "--report", "page.html"])
    return Ran(code, out.getvalue(), folder)


def test_a_real_run_of_a_network(ran: Ran) -> None:
    """Both runners are right and measured; table, data and page name the network."""
    assert ran.code == 0
    found = load(ran.folder / "now.json")
    assert (found.status, [each.case["id"] for each in found.measurements]) == (COMPLETE, ["baseline-heads-b2", "optimized-heads-b2"])
    assert all(each.worst_error is not None and each.worst_error <= 1 for each in found.measurements)
    assert "heads-b2: one call" in ran.out
    assert "Case heads-b2" in (ran.folder / "page.html").read_text(encoding="utf-8")


def test_the_page_has_the_memory_of_a_network(ran: Ran) -> None:
    """Recorded here and now, from the file that the row names."""
    assert "Memory during one call: heads-b2" in (ran.folder / "page.html").read_text(encoding="utf-8")


def test_a_real_run_of_a_network_is_gated(ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same numbers pass; those of another content under that name are red."""
    result = load(ran.folder / "now.json")
    assert exit_code("gate", str(ran.folder / "now.json"), str(save(result, tmp_path / "same.json")), "--inconclusive", "pass") == 0
    other = json.loads((ran.folder / "now.json").read_text(encoding="utf-8"))
    for each in other["measurements"]:
        each["case"]["network"]["sha256"] = "ab" * 32
    (tmp_path / "other.json").write_text(json.dumps(other), encoding="utf-8")
    capsys.readouterr()
    assert exit_code("gate", str(ran.folder / "now.json"), str(tmp_path / "other.json")) == 1
    assert "another network of the same name" in " ".join(capsys.readouterr().out.split())


def test_a_baseline_of_a_network(ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is made, shown and printed again as any other."""
    baseline = tmp_path / "baseline.json"
    assert exit_code("baseline", "update", str(baseline), str(ran.folder / "now.json")) == 0
    assert exit_code("baseline", "show", str(baseline)) == 0
    assert exit_code("show", str(baseline)) == 0
    assert capsys.readouterr().out.count("heads-b2: one call") == 2


def test_an_interrupted_network_is_marked(study: Study, heads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C keeps what there is, as of any study."""

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "TOGETHER", 1)
    monkeypatch.setattr(run, "measure_cells", lambda cells, *_: broken() if next(iter(cells)).batch == 2 else study.run(cells))
    assert exit_code("run", heads, "--batch", "1,2", "--json", str(tmp_path / "now.json")) == 130
    assert load(tmp_path / "now.json").status == INTERRUPTED


def test_flame_graphs_of_red_rows_are_of_the_network(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate finds the file by the row: its id alone does not say where it is."""
    kept: list[Case] = []

    def flame_graph(case: Case, folder: Path) -> tuple[Path, Path]:
        kept.append(case)
        return folder / "call.bin", folder / "call.html"

    monkeypatch.setattr("mlbench.studies.flame_graphs.flame_graph", flame_graph)
    now = json.loads((ran.folder / "now.json").read_text(encoding="utf-8"))
    for each in now["measurements"]:
        each["footprint"]["peak_bytes"] += 1_000_000
    (tmp_path / "now.json").write_text(json.dumps(now), encoding="utf-8")
    assert exit_code("gate", str(ran.folder / "now.json"), str(tmp_path / "now.json"), "--keep-graphs", str(tmp_path / "graphs")) == 1
    assert [case.id for case in kept] == ["baseline-heads-b2", "optimized-heads-b2"]
    assert {getattr(case.cell.subject, "path", None) for case in kept} == {str(ran.folder / "heads.npz")}
