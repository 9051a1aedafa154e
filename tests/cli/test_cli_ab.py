"""`mlbench ab`, end to end on a small project: every exit code, how it is told, kept and gone on with."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mlbench.cache import VARIABLE
from mlbench.cli import ab, main
from mlbench.measure import has_memray
from mlbench.results.comparison import COMPARISON_FILE
from mlbench.results.samples import Effort
from mlbench.results.storage import read
from mlbench.studies.ab.checkouts import Checkout, find_repository, held
from mlbench.studies.ab.process import Arm
from mlbench.studies.ab.session import Interrupted, Session
from support.repositories import Project

TOY = "def work(n=300):\n    return sum(range(n))\n\ndef hold():\n    return bytearray(50_000)\n"
HEAVIER = TOY.replace("return bytearray(50_000)", "extra = bytearray(10_000)\n    return bytearray(50_000)")
SUITE = """
import random, time
import toy
class Clock:
    now_s = 0.0
    def __call__(self): self.now_s += random.uniform(1e-3, 1.1e-3); return self.now_s
time.perf_counter = Clock()
def test_work(benchmark): benchmark(toy.work)
def test_hold(benchmark): benchmark(toy.hold)
"""
"""It has a clock of its own, by which a turn takes about a millisecond whatever else the machine does."""
ENOUGH = ("--same-env", "--sets", "6", "--most-sets", "14")
FEW = ("--same-env", "--sets", "2", "--most-sets", "10")
"""Sets that can settle what memory and missing rows say, and no latency."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of one module and two benchmarks in a repository with a tag v1, entered."""
    made = Project(tmp_path / "toy")
    made.write("src/toy/__init__.py", TOY)
    made.write("benchmarks/test_toy.py", SUITE)
    made.write("pyproject.toml", '[tool.mlbench.ab]\narguments = ["benchmarks"]\n')
    made.commit()
    made.git("tag", "v1")
    monkeypatch.chdir(made.root)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(ab, "Effort", lambda timeout_s=60.0: Effort(rounds=5, turn_s=2e-4, timeout_s=timeout_s))
    return made


def run(*arguments: str) -> int:
    """Run the command with a tolerance that noise of a short run cannot exceed, where none is given."""
    wide = () if "--limit" in arguments else ("--tolerance", "400", "--limit", "500")
    given = list(arguments)
    place = given.index("--") if "--" in given else len(given)
    return main(["ab", *given[:place], *wide, *given[place:]])


def test_the_same_version_twice_passes(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, a note that it is an A/A comparison, progress on standard error, and the user's repository as it was."""
    before = project.state()
    assert run("v1", *ENOUGH, "--all") == 0
    captured = capsys.readouterr()
    for part in ("this is an A/A comparison", "test_work", "test_hold", "pass"):
        assert part in captured.out
    assert "2 benchmarks in both versions, 2 in v1 and 2 in working tree" in captured.err
    assert "set 6: 2 rows in" in captured.err
    assert project.state() == before


@pytest.mark.skipif(not has_memray(), reason="allocations cannot be counted")
def test_an_extra_allocation_is_red_in_every_format(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, the row and its numbers, flame graphs of both sides in the folder that was named or a note, and the data in the file."""
    project.write("src/toy/__init__.py", HEAVIER)
    assert run("v1", *FEW, "--json", "../ab.json", "--keep-graphs", "../graphs", "--format", "json", "--output", "../out.json") == 1
    out = capsys.readouterr().out
    assert "more than both processes of the base in 8 of 8 sets of fresh processes" in " ".join(out.split())
    told = json.loads(Path("../out.json").read_text())
    (red,) = [row for row in told["rows"] if row["verdict"] == "regression"]
    assert red["id"] == "benchmarks/test_toy.py::test_hold"
    assert sorted(path.name[-9:] for path in Path("../graphs").iterdir()) == ["base.html", "head.html"]
    kept = read("../ab.json", COMPARISON_FILE)
    assert (kept.is_complete, len(kept.sets), kept.head.revision) == (True, 8, "working tree")
    assert kept.head.commit.startswith(kept.base.commit + "+")
    assert run("v1", *FEW, "--json", "../ab.json", "--resume", "--keep-graphs", "../out.json") == 1  # which is a file: no verdict is lost
    assert "No flame graphs: " in capsys.readouterr().out


def test_a_missing_benchmark_is_red(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and the row, though what is left passes; --format and --output write the same as JUnit."""
    project.write("benchmarks/test_toy.py", SUITE.replace("def test_hold", "def test_held"))
    project.commit()
    assert run("v1", "main", *FEW, "--format", "junit", "--output", "out.xml") == 1
    out = capsys.readouterr().out
    assert "main has no such benchmark" in out
    cases = {case.get("name"): [child.tag for child in case] for case in ET.parse("out.xml").iter("testcase")}
    assert any(tags == ["failure"] for name, tags in cases.items() if name and "test_hold" in name)


def test_what_cannot_settle_is_inconclusive(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """One set supports nothing: exit code 3; 0 where doubt passes; told as Markdown, and added to the summary of a CI job."""
    assert run("v1", *FEW, "--max-time", "0.001", "--format", "markdown", "--", "benchmarks", "-k", "work") == 3
    out = capsys.readouterr().out
    assert out.startswith("#")
    assert "work" in out
    assert "hold" not in out
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_STEP_SUMMARY", str(project.root / "summary.md"))
        resumed = run("v1", *FEW, "--max-time", "0.001", "--resume", "--inconclusive", "pass", "--", "benchmarks", "-k", "work")
    assert resumed == 0
    assert "work" in Path("summary.md").read_text()


def test_a_broken_off_run_is_gone_on_with(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C is 130 with what is known; --resume continues; another version, another suite, or nothing to go on with is refused."""
    assert run("v1", "--same-env", "--resume") == 2
    assert "there is nothing to continue" in capsys.readouterr().err
    real = Session.run

    def interrupted(self: Session) -> None:
        self._most_s = 1e-3
        real(self)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Session, "run", interrupted)
        assert run("v1", *FEW) == 130
    captured = capsys.readouterr()
    assert "Broken off: what was still open counts as inconclusive" in " ".join(captured.out.split())
    assert "--resume continues" in captured.err
    assert run("v1", *FEW, "--resume", "--", "other") == 2
    assert "is of another pytest arguments" in capsys.readouterr().err
    assert run("v1", *FEW, "--resume", "--inconclusive", "pass") == 0
    assert "set 2:" in (told := capsys.readouterr().err)
    assert "set 1:" not in told
    project.write("src/toy/__init__.py", TOY + "\n")
    assert run("v1", *FEW, "--resume") == 2
    assert "is of another head" in capsys.readouterr().err


def test_data_of_another_environment_are_not_gone_on_with(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Sets of this environment and of one of its own are not mixed."""
    run("v1", *FEW, "--max-time", "0.001", "--json", "ab.json")
    data = json.loads(Path("ab.json").read_text())
    Path("ab.json").write_text(json.dumps({**data, "install": ["-e ."]}))
    capsys.readouterr()
    assert run("v1", *FEW, "--json", "ab.json", "--resume") == 2
    assert "is of another environment" in capsys.readouterr().err


def test_a_suite_without_benchmarks_is_red(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was judged: exit code 1, and the note says why."""
    assert run("v1", *FEW, "--", "benchmarks", "-k", "nothing") == 1
    assert "nothing was judged" in capsys.readouterr().out


def test_a_suite_that_cannot_start_is_exit_code_2(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is told in a line, without a traceback; there is no verdict, so that it is not red."""
    assert run("v1", *FEW, "--", "--no-such-option") == 2
    assert "pytest ended with 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense", "--same-env"), "git knows no revision 'nonsense'"),
        (("v1", "nonsense", "--same-env"), "git knows no revision 'nonsense'"),
        (("", "--same-env"), "git knows no revision ''"),
        (("v1", "--same-env", "--tolerance", "5", "--limit", "5"), "--tolerance 5 must be less than --limit 5"),
        (("v1", "--same-env", "--most-sets", "15"), "--most-sets 15: a slowdown is red after 16 sets at the earliest"),
        (("v1", "--same-env", "--json", "none/ab.json"), "none"),
        (("v1", "--same-env", "--output", "none/out.txt"), "none"),
    ],
)
def test_wrong_usage_is_exit_code_2(project: Project, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    """One line that says what is wrong, before anything is measured."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.mlbench.ab]\ninstal = ['x']", "has instal; expected install and arguments"),
        ("[tool.mlbench.ab]\narguments = 'benchmarks'", "has arguments; expected"),
        ("[tool.mlbench.ab]\ninstall = [1]", "has install; expected"),
        ("[tool.mlbench]\nab = 'benchmarks'", "is no table"),
        ("tool = 1", "is no table"),
        ("[tool", "not a valid TOML file"),
    ],
)
def test_wrong_settings_are_exit_code_2(project: Project, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    """What the project's own section must not say is named with its file."""
    project.write("pyproject.toml", text)
    assert run("v1", "--same-env") == 2
    assert message in capsys.readouterr().err


def test_one_environment_needs_to_know_what_is_the_project(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing tells its packages an installed copy could run in both arms."""
    project.git("rm", "--quiet", "-r", "src")
    project.write("pyproject.toml", "[project]\nname = 'toy'\n")
    project.commit()
    assert run("main", "--same-env") == 2
    assert "--same-env: main has no package or module of its own" in capsys.readouterr().err


def test_outside_a_repository_is_exit_code_2(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are no versions to compare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert run("v1", "--same-env") == 2
    assert "git rev-parse failed" in capsys.readouterr().err


def test_each_version_has_an_environment_of_its_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --same-env each checkout is prepared, with what the option says, or the project, or the default."""
    prepared: list[tuple[str, tuple[str, ...]]] = []

    def prepare(checkout: Checkout, place: Path, install: list[str], say: object) -> str:
        prepared.append((checkout.side, tuple(install)))
        return str(place / checkout.side / "bin" / "python")

    arms: list[Arm] = []
    monkeypatch.setattr(ab, "prepare", prepare)
    monkeypatch.setattr(Session, "__init__", lambda self, comparison, given, *rest: arms.extend(given))
    monkeypatch.setattr(Session, "run", lambda self: None)
    assert run("v1") == 1
    assert prepared == [("base", ("-e .",)), ("head", ("-e .",))]
    assert [(arm.name, Path(arm.python).parts[-3], arm.path) for arm in arms] == [
        ("base", "base", ()), ("head", "head", ()), ("control", "base", ()),
    ]  # fmt: skip
    assert arms[0].environment == Path(arms[0].python).parents[1]
    project.write("pyproject.toml", "[tool.mlbench.ab]\ninstall = ['-e .[bench]']\n")
    run("v1")
    run("v1", "--install", "-r x.txt", "--install", "-e .")
    assert [install for _, install in prepared[3::2]] == [("-e .[bench]",), ("-r x.txt", "-e .")]


def test_a_second_comparison_waits_for_none(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """While one is under way another one of the same project is refused."""
    if os.name == "nt":
        pytest.skip("nothing keeps it out there")
    with held(find_repository(project.root)):
        assert run("v1", "--same-env") == 2
    assert "another comparison of toy is under way" in capsys.readouterr().err
