"""The command line: what it prints, what it writes, and every exit code it documents."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import mlbench
from mlbench.cli import explain, main, run
from mlbench.errors import WorkerError
from mlbench.measure import ArmTimes, Environment, Footprint
from mlbench.measure.peaks import LOOPS, Floor, Level, Peaks
from mlbench.results import COMPLETE, INTERRUPTED, RUNNERS, Measurement, StaticBytes, load, new_result, save
from mlbench.studies.cases import Case, Cell, mlp_cell, plan_of
from mlbench.studies.floor import floor_of_cell
from mlbench.studies.sweep import Effort, Interrupted, measurement

HERE = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})
PEAKS = Peaks(1e11, (Level("memory", 0, 1e10),), 3e-8, LOOPS)
TINY = ("--no-digits", "--hidden", "8", "--processes", "1", "--rounds", "1")
NAMES = ("b1-h8", "b2-h8", "b3-h8")
OPTIONS = {
    "run": "MODEL --most-mb --tuned --quick --large --batch --hidden --inputs --outputs --threads --depth --no-digits --processes --rounds "
    "--heap --json --resume --output --report",
    "ab": "BASE HEAD --same-env --install --tolerance --limit --sets --most-sets --max-time --timeout --json --resume --keep-graphs "
    "--inconclusive --format --output --all",
    "calibrate": "--same-env --install --same --planted --store --suites --saved --output",
    "gate": "BASELINE CURRENT --tolerances --only --keep-graphs --inconclusive --format --output --all",
    "report": "FILE --output --graphs",
    "plot": "NAME FILE --output --theme",
    "peers": "MODEL --most-mb --inputs --outputs --threads --shapes --batch --only --processes --rounds --quick --no-bytes "
    "--rules --builds --json --resume --output --compare",
    "show": "FILE",
    "ablation": "MODEL --most-mb --batch --hidden --inputs --outputs --threads --depth --cold --processes --rounds --heap --json "
    "--resume --output",
    "roofline": "MODEL --most-mb --tuned --ceilings --quick --large --batch --hidden --inputs --outputs --threads --depth --no-digits "
    "--processes --rounds --heap --json --resume --output",
    "doctor": "",
    "explain": "MODEL --most-mb --batch --hidden --inputs --outputs --threads --depth --passes --tuned --html --json --measure",
    "flamegraph": "MODEL --most-mb --inputs --outputs CASE --folder",
}


def both(cell: Cell, status: str = COMPLETE) -> list[Measurement]:
    """Return made-up measurements of both runners: 40 us, 20 us and products of 10 us."""
    arms = {"baseline": 4e-05, "optimized": 2e-05, "products": 1e-05}
    times = {name: [ArmTimes((each,), (each,), 0.0)] for name, each in arms.items()}
    return [measurement(Case(cell, runner), times, 0.5, Footprint(4096, 5, "memray"), status=status) for runner in RUNNERS]


class Measured:
    """What stands for `measure_cells`, of which each takes one cell: made-up numbers, a diary, and what happens at a chosen cell."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.efforts: list[Effort] = []
        self.trouble: dict[str, Callable[[Cell], BaseException]] = {}

    def __call__(self, cells: Mapping[Cell, Floor], effort: Effort, step: Callable[[str], None]) -> list[Measurement]:
        """Measure a cell, or raise what was asked for."""
        if not cells:
            return []
        (cell,) = cells
        self.cells.append(cell.id)
        self.efforts.append(effort)
        if cell.id in self.trouble:
            raise self.trouble[cell.id](cell)
        step(cell.id)
        return both(cell)


def ctrl_c(cell: Cell) -> BaseException:
    """Return Ctrl-C in the middle of a cell."""
    return Interrupted(both(cell, INTERRUPTED)[:1])


def here(threads: int, heap: str) -> Environment:
    """Return a machine, without asking py-cpuinfo, which takes a second."""
    return dataclasses.replace(HERE, threads=threads, heap=heap)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on a made-up machine."""
    monkeypatch.setattr(run, "environment", here)
    monkeypatch.setattr("mlbench.cli.options.environment", here)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Measure nothing and compile nothing: every cell has made-up numbers at once, and the plan of a tiny one."""
    stand_in = Measured()
    plans = {runner: plan_of(Case(mlp_cell(2, (8,)), runner)) for runner in RUNNERS}
    monkeypatch.setattr("mlbench.studies.sweep.plan_of", lambda case: plans[case.runner])
    monkeypatch.setattr("mlbench.studies.code.code_of", lambda _case: None)
    monkeypatch.setattr("mlbench.studies.sweep.static_bytes", lambda case: StaticBytes(arena=1024))
    monkeypatch.setattr(run, "measure_cells", stand_in)
    monkeypatch.setattr(run, "measure_peaks", lambda: PEAKS)
    floor = floor_of_cell(mlp_cell(2, (8,)), PEAKS)
    monkeypatch.setattr(run, "floor_of_cell", lambda cell, peaks: floor)
    monkeypatch.setattr(run, "TOGETHER", 1)
    return stand_in


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A result file of one cell."""
    return save(new_result(HERE, "mlbench run --made-up", both(mlp_cell(8, (64,)))), tmp_path / "result.json")


@dataclasses.dataclass(frozen=True)
class Ran:
    """A real run: exit code, what it printed, and where its files are."""

    code: int
    out: str
    err: str
    data: Path
    log: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One tiny cell, measured for real from the command line."""
    folder = tmp_path_factory.mktemp("run")
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "environment", here)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = main(["run", "--batch", "2", *TINY, "--json", str(folder / "now.json"), "--output", str(folder / "now.txt")])
    return Ran(code, out.getvalue(), err.getvalue(), folder / "now.json", folder / "now.txt")


def exit_code(*arguments: str) -> object:
    """Return the exit code of the command, whether it returns it or argparse raises it."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is one line on standard output, and the exit code is 0."""
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"mlbench {mlbench.__version__}\n"


def test_help_lists_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The first help names every command and every exit code."""
    assert exit_code("--help") == 0
    text = capsys.readouterr().out
    for word in (*OPTIONS, "0 done", "1 a wrong result", "2 usage", "130 interrupted"):
        assert word in text


@pytest.mark.parametrize("command", OPTIONS)
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of a command mentions each of its options, and the exit code is 0."""
    assert exit_code(command, "--help") == 0
    text = capsys.readouterr().out
    for option in OPTIONS[command].split():
        assert re.search(rf"(?m)^  .*{re.escape(option)}\b", text)


def test_the_options_listed_here_are_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """No command has an option that the test above does not know."""
    for command, known in OPTIONS.items():
        exit_code(command, "--help")
        found = set(re.findall(r"(?m)^  (?:-[a-z], |-[a-z] [A-Z]+, )?(--[a-z-]+)", capsys.readouterr().out))
        assert found - {"--help"} == {option for option in known.split() if option.startswith("--")}


def test_a_real_run_is_done(ran: Ran) -> None:
    """Exit code 0; the data are complete and readable, and were measured with the effort that was asked for."""
    assert ran.code == 0
    found = load(ran.data)
    assert (found.status, [each.case["id"] for each in found.measurements]) == (COMPLETE, ["baseline-b2-h8", "optimized-b2-h8"])
    assert found.measurements[1].ratios["speedup"].rounds == 1
    assert found.command.startswith("mlbench run --batch 2 --no-digits")


def test_a_real_run_prints_tables_and_summary(ran: Ran) -> None:
    """Standard output has the command, both tables, the summary, and where the files are."""
    for part in ("$ mlbench run", "Latency", "Memory", "b2-h8: one call", "Speedup", "Machine:", str(ran.log), str(ran.data)):
        assert part in ran.out


def test_the_log_holds_what_was_printed(ran: Ran) -> None:
    """The log has the same tables and the same summary, without colours, in UTF-8."""
    text = ran.log.read_text(encoding="utf-8")
    assert ran.out.startswith(text.rstrip("\n"))
    assert "\x1b" not in text


def test_progress_goes_to_standard_error(ran: Ran) -> None:
    """Each cell is a line on standard error while it runs, so that standard output can be piped."""
    assert re.fullmatch(r"\[1/1\] b2-h8: \S+ [mun]?s > \S+ [mun]?s, \S+x \(\S+x to \S+x, 1 process\)\n", ran.err)


def test_show_prints_a_real_run_again(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables of a saved run are the tables of the run, in shape and in cells; only rounding may differ."""
    assert main(["show", str(ran.data)]) == 0
    shown = capsys.readouterr().out
    for table in ("Latency", "Memory"):
        assert table in shown
    assert [len(line.split()) for line in shown.splitlines()[:9]] == [len(line.split()) for line in ran.out.splitlines()[:9]]


def test_the_sizes_make_the_cells(measured: Measured) -> None:
    """Digits first, then every combination of the sizes given; rounds, processes and heap reach the measuring."""
    given = ["--batch", "1,2", "--hidden", "8", "--depth", "1,2", "--threads", "2", "--processes", "3", "--rounds", "4", "--heap", "kept"]
    assert main(["run", *given]) == 0
    assert measured.cells == ["digits-b360-t2", "b1-h8-t2", "b2-h8-t2", "b1-h8x8-t2", "b2-h8x8-t2"]
    assert {(each.processes, each.rounds, each.heap) for each in measured.efforts} == {(3, 4, "kept")}


@pytest.mark.parametrize(("size", "least"), [((), 12), (("--quick",), 3), (("--large",), 60)], ids=["default", "quick", "large"])
def test_the_sweeps(measured: Measured, size: tuple[str, ...], least: int) -> None:
    """The default sweep has 12 cells, the quick one 3, and the large one many, none above 10 GFLOP."""
    assert main(["run", "--no-digits", *size]) == 0
    assert len(measured.cells) == least if least < 60 else len(measured.cells) >= least


def test_resume_of_a_complete_run_starts_no_worker(ran: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where everything is there already, nothing is measured and no process is started."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("mlbench.studies.sweep.Worker", refuse)
    data = tmp_path / "now.json"
    data.write_bytes(ran.data.read_bytes())
    assert main(["run", "--batch", "2", *TINY, "--json", str(data), "--resume"]) == 0
    assert load(data).measurements == load(ran.data).measurements


@pytest.mark.parametrize(
    "statuses",
    [(INTERRUPTED,), (INTERRUPTED, INTERRUPTED), (COMPLETE, INTERRUPTED), (COMPLETE,)],
    ids=["half-a-baseline", "both-halves", "half-an-optimized", "one-alone"],
)
def test_resume_measures_an_interrupted_cell_again(measured: Measured, tmp_path: Path, statuses: tuple[str, ...]) -> None:
    """A cell is complete when both of its runners are; any other is measured anew, both of them."""
    data = tmp_path / "now.json"
    measured.trouble["b2-h8"] = lambda cell: Interrupted([both(cell, status)[place] for place, status in enumerate(statuses)])
    assert main(["run", "--batch", "1,2,3", *TINY, "--json", str(data)]) == 130
    measured.trouble.clear()
    measured.cells.clear()
    assert main(["run", "--batch", "1,2,3", *TINY, "--json", str(data), "--resume"]) == 0
    assert measured.cells == ["b2-h8", "b3-h8"]
    assert [each.case["cell"] for each in load(data).measurements] == [name for name in NAMES for _ in RUNNERS]
    assert load(data).status == COMPLETE


def test_resume_in_a_container_with_a_third_of_a_core(measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same environment is the same after it was saved, also where a limit has more digits than are written."""
    monkeypatch.setattr(run, "environment", lambda threads, heap: dataclasses.replace(HERE, cpu_limit=1 / 3))
    given = ["run", "--batch", "1", *TINY, "--json", str(tmp_path / "now.json"), "--resume"]
    assert main(given) == 0
    assert main(given) == 0


def test_an_interrupted_run_keeps_what_it_has(measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C: exit code 130; data and log hold the complete cells and the half one, and say interrupted."""
    data, log = tmp_path / "now.json", tmp_path / "now.txt"
    measured.trouble["b2-h8"] = ctrl_c
    assert main(["run", "--batch", "1,2,3", *TINY, "--json", str(data), "--output", str(log)]) == 130
    found = load(data)
    assert found.status == INTERRUPTED
    assert [(each.case["id"], each.status) for each in found.measurements] == [
        ("baseline-b1-h8", COMPLETE),
        ("optimized-b1-h8", COMPLETE),
        ("baseline-b2-h8", INTERRUPTED),
    ]
    assert "b2-h8 (interrupted)" in log.read_text(encoding="utf-8")
    assert "interrupted" in capsys.readouterr().err


def test_an_interrupt_elsewhere_is_130_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C in any command is a line and 130, not a traceback."""

    def interrupted(cell: Cell, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, "explanation", interrupted)
    assert main(["explain"]) == 130
    assert capsys.readouterr().err == "mlbench: interrupted\n"


def test_data_are_saved_after_every_case(measured: Measured, tmp_path: Path) -> None:
    """When a later cell fails, the file holds the earlier ones."""
    data = tmp_path / "now.json"
    measured.trouble["b2-h8"] = lambda cell: WorkerError("a worker died")
    main(["run", "--batch", "1,2", *TINY, "--json", str(data)])
    assert [each.case["cell"] for each in load(data).measurements] == ["b1-h8", "b1-h8"]


def test_a_failed_worker_is_exit_code_1(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that failed, as it does for a wrong result, is one message on standard error and exit code 1."""
    measured.trouble["b1-h8"] = lambda cell: WorkerError("in_worker failed in a worker: WrongResultError: optimized-b1-h8 gave 3")
    assert main(["run", "--batch", "1", *TINY]) == 1
    assert capsys.readouterr().err == "mlbench: in_worker failed in a worker: WrongResultError: optimized-b1-h8 gave 3\n"


def test_a_run_that_failed_is_not_saved_as_complete(measured: Measured, tmp_path: Path) -> None:
    """A run that a failed worker broke off did not end: its file does not say complete."""
    data = tmp_path / "now.json"
    measured.trouble["b2-h8"] = lambda cell: WorkerError("a worker died")
    assert main(["run", "--batch", "1,2", *TINY, "--json", str(data)]) == 1
    assert load(data).status == INTERRUPTED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "mlbench run --quick"),
        (("walk",), "invalid choice: 'walk'"),
        (("run", "--batch", "0"), "found '0' in '0'; expected whole numbers of 1 or more"),
        (("run", "--batch", "1,x"), "found 'x' in '1,x'"),
        (("run", "--hidden", "-8"), "--hidden"),
        (("run", "--rounds", "1,2"), "expected one whole number"),
        (("run", "--processes", "0"), "--processes"),
        (("run", "--heap", "warm"), "invalid choice: 'warm'"),
        (("run", "--quick", "--large"), "not allowed with argument --quick"),
        (("run", "--threads", "99999"), "more threads would wait for each other"),
        (("explain", "--batch", "1,2"), "--batch 1,2: explain takes one value"),
        (("explain", "--inputs", "1,2"), "--inputs 1,2: explain takes one value"),
        (("flamegraph",), "required: CASE"),
        (("flamegraph", "fastest-b8-h8"), "no case is called 'fastest-b8-h8'"),
        (("flamegraph", "optimized-digits-b361"), "360 held-out images"),
        (("show", "no/such/file.json"), "no/such/file.json: no such file"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_command_line_is_exit_code_2(
    measured: Measured, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """What cannot be done is exit code 2 with a message that names it, nothing on standard output, and nothing measured."""
    assert exit_code(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert measured.cells == []


def test_show_reads_a_saved_result(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables and the summary of a file, with the command and the machine it was measured on."""
    assert main(["show", str(result)]) == 0
    text = capsys.readouterr().out
    for part in ("$ mlbench run --made-up", "b8-h64", "40.0 us", "2.00x", "Machine: Some CPU"):
        assert part in text


def test_show_names_the_machine_of_the_file(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A result from elsewhere is shown with its own machine, not with this one."""
    save(new_result(dataclasses.replace(HERE, cpu="Far Away CPU"), "mlbench run", both(mlp_cell(1, (8,)))), result)
    main(["show", str(result)])
    text = capsys.readouterr().out
    assert "Far Away CPU" in text
    assert "Some CPU" not in text


@pytest.mark.parametrize("damage", ["truncated", "foreign", "version", "field"])
def test_show_of_a_damaged_file_is_one_line_and_exit_code_2(result: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    """A file that cannot be used is one line on standard error, with its path."""
    data = json.loads(result.read_text(encoding="utf-8"))
    texts = {
        "truncated": json.dumps(data)[:-9],
        "foreign": "{}",
        "version": json.dumps(data | {"schema": 99}),
        "field": json.dumps(data | {"measurements": [{}]}),
    }
    result.write_text(texts[damage], encoding="utf-8")
    assert main(["show", str(result)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(rf"mlbench: {re.escape(str(result))}: .+\n", captured.err)


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data["measurements"][1].update(ratios={}),
        lambda data: data["measurements"][1]["timing"].update(rounds_s=[]),
        lambda data: data.update(environment={"threads": "many"}),
        lambda data: data.update(environment={"threads": None}),
        lambda data: data["environment"].update(cpu=None),
    ],
    ids=["no-speedup", "no-rounds", "threads-text", "threads-null", "no-cpu"],
)
def test_show_of_an_edited_file_is_no_traceback(result: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[Any], object]) -> None:
    """A file of the right shape with something taken out of it is shown as far as it goes, or refused; it never ends in a traceback."""
    data = json.loads(result.read_text(encoding="utf-8"))
    data["measurements"] += json.loads(json.dumps(data["measurements"]).replace("b8-h64", "b9-h64"))
    edit(data)
    result.write_text(json.dumps(data), encoding="utf-8")
    assert main(["show", str(result)]) in (0, 2)
    assert capsys.readouterr().err.count("\n") <= 1


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_show_prints_to_any_terminal(result: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """A terminal or a pipe that knows few characters (cp1252 is what Windows gives a pipe) gets the table all the same."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["show", str(result)]) == 0
    out.flush()
    assert b"b8-h64" in out.buffer.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipe that is closed like this")
def test_a_reader_that_leaves_is_no_error(result: Path) -> None:
    """`mlbench show FILE | head -1`: a closed pipe ends the command silently."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "mlbench", "show", str(result)], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_explain_tells_everything_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The graph as written, what each optimisation did, the graph and the Python that run, and the memory map."""
    assert main(["explain", "--batch", "16", "--hidden", "8"]) == 0
    text = capsys.readouterr().out
    sections = [
        "The graph as written",
        "What each optimisation did",
        "  static: give every value a place",
        "  the plan: place everything that is left",
        "A call allocates nothing.",
        "The graph as it runs",
        "What runs",
        "The memory map",
        "Static memory: ",
    ]
    places = [text.index(section) for section in sections]
    assert places == sorted(places)


def test_explain_can_switch_and_search(capsys: pytest.CaptureFixture[str]) -> None:
    """Some optimisations, none, or all with searched choices; the compile time is told, and that of the search beside it."""
    assert main(["explain", "--batch", "4", "--hidden", "8", "--passes", "fuse, static"]) == 0
    some = capsys.readouterr().out
    assert "  fuse: " in some
    assert "  tile: " not in some
    assert main(["explain", "--batch", "4", "--hidden", "8", "--passes", "none"]) == 0
    none = capsys.readouterr().out
    assert "v0 = empty(" in none
    assert "the plan" not in none
    assert "the search" not in none
    assert main(["explain", "--batch", "4", "--hidden", "8", "--tuned"]) == 0
    assert re.search(r"Compiled in .*, the first call included; the search, or its recall, took", capsys.readouterr().out)


def test_explain_tells_of_a_fold_that_happened(capsys: pytest.CaptureFixture[str]) -> None:
    """The paragraph of a pass agrees with the graph as it runs, also where the runner keeps nothing of the bias that was folded."""
    assert main(["explain", "--batch", "512", "--hidden", "256", "--passes", "fuse,static,fold_bias"]) == 0
    printed = capsys.readouterr().out
    assert "maximum(b0_negated: 256)" in printed
    assert "Nothing folded" not in printed


def test_explain_refuses_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no optimisation is a usage error with those there are."""
    assert main(["explain", "--passes", "fusion"]) == 2
    assert "no optimisation is called 'fusion'; there are recognize, " in capsys.readouterr().err


def test_explain_names_every_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """Each optimisation has its name, with its summary where it did something, and with a reason where it did nothing."""
    from mlbench.compiler.pipeline import PASSES  # noqa: PLC0415  # beside its only use

    main(["explain", "--hidden", "8"])
    text = capsys.readouterr().out
    idle = text.partition("  Changed nothing: ")[2].partition(".")[0].split(", ")
    assert "widen" in idle
    for each in PASSES:
        assert (f"\n    {each.name}: " if each.name in idle else f"  {each.name}: {each.summary}.") in text


@pytest.mark.parametrize(("given", "weights"), [(("--depth", "3"), "w3"), (("--hidden", "8,9"), "w2")], ids=["depth", "widths"])
def test_explain_takes_depth_or_widths(capsys: pytest.CaptureFixture[str], given: tuple[str, ...], weights: str) -> None:
    """A depth repeats one width; several widths are several layers."""
    assert main(["explain", "--hidden", "8", *given]) == 0
    text = capsys.readouterr().out
    assert weights in text
    assert f"w{int(weights[1:]) + 1}" not in text


def test_explain_of_a_batch_no_machine_holds_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes beyond any memory are refused with the size, and end in no traceback."""
    assert exit_code("explain", "--batch", str(10**13)) == 2
    assert str(10**13) in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="memray does not run on Windows")
def test_flamegraph_writes_page_and_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both files are named after the case in the folder given, and both paths are printed."""
    assert main(["flamegraph", "baseline-b512-h256", "--folder", str(tmp_path / "flames")]) == 0
    page, recording = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert (page, recording) == (tmp_path / "flames" / "baseline-b512-h256.html", tmp_path / "flames" / "baseline-b512-h256.bin")
    assert "x @ w0" in page.read_text(encoding="utf-8")
    assert recording.exists()


def test_flamegraph_where_no_folder_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that cannot be made is exit code 2 with its path."""
    (tmp_path / "file").write_text("here")
    assert main(["flamegraph", "baseline-b1-h8", "--folder", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize(("module", "arguments"), [("memray", ("flamegraph", "baseline-b1-h8")), ("msgspec", ("show",))])
def test_a_missing_extra_is_exit_code_2(
    result: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
    arguments: tuple[str, ...],
) -> None:
    """What needs the extra says which one, and how to install it."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, *([str(result)] if module == "msgspec" else [])]) == 2
    error = capsys.readouterr().err
    assert module in error
    assert "python -m pip install '.[bench]'" in error


@pytest.mark.parametrize("command", ["run", "roofline", "baseline update", "ab"])
def test_a_wrong_argument_is_told_with_the_usage_of_its_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And not with that of the command above it, which knows no such arguments."""
    names = {"baseline update": ("a.json", "b.json"), "ab": ("main",)}.get(command, ())
    assert exit_code(*command.split(), *names, "--no-such-option") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"usage: mlbench {command} ")
    assert f"mlbench {command}: error: unrecognized arguments: --no-such-option" in error


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has one line of a narrow terminal, the first one to try stands above, and the exit code says that nothing was done."""
    assert main([]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    commands = lines[lines.index("Commands:") + 1 : -2]
    assert [line.split()[0] for line in commands[:3]] == ["run", "show", "gate"]
    assert len(commands) == 15
    assert any(line.startswith("  mlbench run --quick") for line in lines[: lines.index("Commands:")])


def test_python_m_mlbench_is_the_command() -> None:
    """`python -m mlbench` is the same command, with its exit code."""
    ran = subprocess.run([sys.executable, "-m", "mlbench", "walk"], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2
    assert "usage: mlbench" in ran.stderr
