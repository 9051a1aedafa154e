"""`mlbench gate` and `mlbench baseline`: exit codes, formats, and a baseline that only a person replaces."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mlbench.cli import main
from mlbench.measure.footprint import has_memray
from mlbench.report.github import SUMMARY_VARIABLE
from mlbench.results import INTERRUPTED, Measurement, load, save, to_json
from mlbench.studies.flame_graphs import folder_of
from support.saved_results import ENVIRONMENT, ROW, case, result

WILD = (1.0, 1.6, 1.4, 1.3, 1.8)
OTHER = "baseline-b8-h64"
Write = Callable[..., str]


@pytest.fixture(autouse=True)
def no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI that runs these tests shows none of their verdicts."""
    monkeypatch.delenv(SUMMARY_VARIABLE, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Save rows as a result and return its path."""

    def written(name: str, *rows: Measurement, status: str = "complete") -> str:
        return str(save(result(*rows, status=status), tmp_path / name))

    return written


@pytest.mark.parametrize(
    ("after", "options", "code"),
    [
        (case(), (), 0),
        (case(ratio=1.0), (), 0),
        (case(ratio=1.7), (), 1),
        (case(ratio=1.7), ("--inconclusive=pass",), 1),
        (case("optimized-b8-h65"), (), 1),
        (case(spread=WILD), (), 3),
        (case(spread=WILD), ("--inconclusive", "fail"), 3),
        (case(spread=WILD), ("--inconclusive", "pass"), 0),
    ],
    ids=["pass", "improved", "regression", "regression-whatever-doubt-means", "missing", "doubt", "doubt-fails", "doubt-passes"],
)
def test_exit_codes(write: Write, capsys: pytest.CaptureFixture[str], after: Measurement, options: tuple[str, ...], code: int) -> None:
    """0 pass, 1 worse or missing, 3 inconclusive unless that may pass."""
    assert main(["gate", write("before.json", case()), write("after.json", after), *options]) == code
    assert capsys.readouterr().out


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"kind": "another"}', '{"benchmarks": [], "machine_info": {}}'])
@pytest.mark.parametrize("place", [0, 1], ids=["baseline", "current"])
def test_an_unreadable_file_is_exit_code_2(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, place: int
) -> None:
    """Damaged or foreign, on either side: nothing is green, and the file is named."""
    (tmp_path / "broken.json").write_text(broken, encoding="utf-8")
    files = [write("fine.json", case()), write("fine2.json", case())]
    files[place] = str(tmp_path / "broken.json")
    assert main(["gate", *files]) == 2
    assert "broken.json: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("before.json", "none.json"), "none.json: no such file"),
        (("before.json", "before.json"), "would be judged by itself"),
        (("before.json", "after.json", "--only", "nothing*"), "--only 'nothing*': no row of before.json or after.json matches"),
        (("before.json", "after.json", "--tolerances", "none.toml"), "none.toml: no such file"),
        (("before.json", "after.json", "--output", "no/where.txt"), "its folder does not exist"),
    ],
)
def test_usage_is_exit_code_2(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    """What cannot be meant is refused in one line."""
    write("before.json", case())
    write("after.json", case())
    monkeypatch.chdir(tmp_path)
    assert main(["gate", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_only_some_rows(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """With a pattern the others are neither judged nor missing, and that is said."""
    before = write("before.json", case(), case(OTHER, plan=None))
    after = write("after.json", case())
    assert main(["gate", before, after]) == 1
    assert main(["gate", before, after, "--only", "optimized-*"]) == 0
    assert f"left out, because other rows were chosen: {OTHER}" in capsys.readouterr().out


def test_all_lists_what_passes(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --all a pass is one line; with it every number that was compared."""
    files = write("before.json", case()), write("after.json", case())
    main(["gate", *files])
    assert capsys.readouterr().out == "pass: 1 row: 1 pass\n"
    main(["gate", *files, "--all"])
    assert "products ratio" in capsys.readouterr().out


def test_formats_and_output(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A format goes to standard output, or to a file beside the table."""
    files = write("before.json", case()), write("after.json", case(ratio=1.7))
    main(["gate", *files, "--format", "json"])
    assert json.loads(capsys.readouterr().out)["verdict"] == "regression"
    main(["gate", *files, "--format", "markdown"])
    assert capsys.readouterr().out.startswith("### :x: mlbench: regression")
    out = tmp_path / "gate.xml"
    assert main(["gate", *files, "--format", "junit", "--output", str(out)]) == 1
    assert capsys.readouterr().out.startswith("regression: 1 row")
    assert ET.fromstring(out.read_bytes()).get("failures") == "1"


def test_the_summary_of_a_ci_job(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where CI names a file for it, the Markdown is added to what stands there, and that is said."""
    place = tmp_path / "summary.md"
    place.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv(SUMMARY_VARIABLE, str(place))
    main(["gate", write("before.json", case()), write("after.json", case())])
    assert place.read_text(encoding="utf-8").startswith("before\n### :white_check_mark: mlbench: pass")
    assert SUMMARY_VARIABLE in capsys.readouterr().err
    monkeypatch.setenv(SUMMARY_VARIABLE, str(tmp_path))
    assert main(["gate", write("before.json", case()), write("after.json", case())]) == 2


def test_tolerances_next_to_the_baseline_count(write: Write, tmp_path: Path) -> None:
    """The .toml of the baseline's name is taken without being named."""
    files = write("before.json", case()), write("after.json", case(ratio=1.7))
    assert main(["gate", *files]) == 1
    (tmp_path / "before.toml").write_text(
        'kind = "mlbench-tolerances"\nschema = 1\n[[accepted]]\nrows = "*"\nquantity = "products ratio"\nup_to = 2\nreason = "x"\n'
        "expires = 9999-12-31\n",
        encoding="utf-8",
    )
    assert main(["gate", *files]) == 0


@pytest.mark.skipif(not has_memray(), reason="flame graphs need memray")
def test_flame_graphs_of_what_is_red(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the code at hand one is recorded, of the baseline the stored one is copied; where there is none the reason is told."""
    before, after = (
        write("before.json", case(), case("optimized-b2-h8")),
        write("after.json", case(ratio=1.7), case("optimized-b2-h8", ratio=1.7)),
    )
    stored = folder_of(tmp_path / "before.json")
    stored.mkdir()
    (stored / f"{ROW}.html").write_text("stored", encoding="utf-8")
    kept = tmp_path / "graphs"
    assert main(["gate", before, after, "--keep-graphs", str(kept)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert (kept / "before" / f"{ROW}.html").read_text(encoding="utf-8") == "stored"
    assert {path.name for path in (kept / "after").glob("*.html")} == {f"{ROW}.html", "optimized-b2-h8.html"}
    assert "optimized-b2-h8: no flame graph of the baseline was stored" in told
    assert f"flame graphs {kept / 'before' / ROW}.html, {kept / 'after' / ROW}.html" in told


@pytest.mark.skipif(not has_memray(), reason="flame graphs need memray")
def test_flame_graphs_of_a_case_with_a_long_name(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored with the baseline is found again, though its name is too long for a file; of its 140 layers none is computed."""
    monkeypatch.setattr("mlbench.studies.cases.recording_call", lambda _: list)
    name = f"optimized-b1-h{'x'.join(['4'] * 140)}"
    before = tmp_path / "before.json"
    assert main(["baseline", "update", str(before), write("first.json", case(name)), "--graphs"]) == 0
    kept = tmp_path / "graphs"
    assert main(["gate", str(before), write("after.json", case(name, ratio=1.7)), "--keep-graphs", str(kept)]) == 1
    assert [path.parent.name for path in sorted(kept.rglob("*.html"))] == ["after", "before"]


def test_a_stored_flame_graph_that_cannot_be_copied_is_told(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file stands where the folder should go, and the verdict stays."""
    before, after = write("before.json", case()), write("after.json", case(ratio=1.7))
    folder_of(tmp_path / "before.json").mkdir()
    (folder_of(tmp_path / "before.json") / f"{ROW}.html").write_text("stored", encoding="utf-8")
    (tmp_path / "graphs").write_text("", encoding="utf-8")
    assert main(["gate", before, after, "--keep-graphs", str(tmp_path / "graphs")]) == 1
    assert f"{ROW}: the flame graph of the baseline cannot be put into" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_recorded_is_told(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that is missing, and one that is no case of ours, have no flame graph, and the verdict stays."""
    before = write("before.json", case(), case("somebody-elses"))
    assert main(["gate", before, write("after.json", case("somebody-elses", ratio=9)), "--keep-graphs", str(tmp_path / "graphs")]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert f"{ROW}: no flame graph of this run: the row is missing" in told
    assert "somebody-elses: no flame graph of this run: no case is called 'somebody-elses'" in told


def test_the_first_baseline_is_made(write: Write, tmp_path: Path) -> None:
    """Where none exists there is nothing to judge by."""
    place = tmp_path / "baseline.json"
    assert main(["baseline", "update", str(place), write("now.json", case())]) == 0
    assert [each.case["id"] for each in load(place).measurements] == [ROW]


@pytest.mark.parametrize(
    ("after", "code"), [(case(ratio=1.1), 0), (case(ratio=1.7), 1), (case("optimized-b1-h1"), 1), (case(spread=WILD), 3)],
    ids=["pass", "regression", "missing", "inconclusive"],
)  # fmt: skip
def test_a_baseline_is_replaced_by_what_passes(write: Write, capsys: pytest.CaptureFixture[str], after: Measurement, code: int) -> None:
    """What is worse, lacks a row, or cannot tell is refused with the rows and the way to force them; the old file stays."""
    place = Path(write("baseline.json", case()))
    old = place.read_bytes()
    assert main(["baseline", "update", str(place), write("now.json", after)]) == code
    assert (place.read_bytes() == old) is (code != 0)
    if code:
        assert (
            f"was not replaced, because of {ROW}; fix the cause, or accept each by name: --force {ROW} --reason TEXT"
            in capsys.readouterr().err
        )


def test_runs_are_added_to_a_baseline(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Three runs of one version stand in one file, and the gate judges by it."""
    place = write("baseline.json", case())
    for number, ratio in enumerate((1.203, 1.198)):
        assert main(["baseline", "add", place, write(f"{number}.json", case(ratio=ratio))]) == 0
    assert load(place).measurements[0].runs == (5, 5, 5)
    assert "3 runs" in capsys.readouterr().out
    assert main(["gate", place, write("now.json", case(ratio=1.2 * 1.055))]) == 1


@pytest.mark.parametrize(
    ("after", "code", "said"),
    [
        ((case(ratio=1.7),), 1, "was not added"),
        ((case(OTHER),), 1, "was not added"),
        ((case(), case("optimized-b1-h1")), 2, "do not have the same rows"),
    ],
    ids=["worse", "missing", "more-rows"],
)
def test_a_run_of_something_else_is_not_added(
    write: Write, capsys: pytest.CaptureFixture[str], after: tuple[Measurement, ...], code: int, said: str
) -> None:
    """What is worse, or has other rows, leaves the baseline as it was."""
    place = Path(write("baseline.json", case()))
    old = place.read_bytes()
    assert main(["baseline", "add", str(place), write("now.json", *after)]) == code
    assert place.read_bytes() == old
    assert said in capsys.readouterr().err


def test_a_run_of_another_machine_is_not_added(tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Its spread would be that between machines."""
    place = write("baseline.json", case())
    save(result(case(), environment=dataclasses.replace(ENVIRONMENT, cpu="another")), tmp_path / "now.json")
    assert main(["baseline", "add", place, str(tmp_path / "now.json")]) == 2
    assert "another cpu" in capsys.readouterr().err


def test_doubt_may_replace_a_baseline_on_request(write: Write) -> None:
    """With --inconclusive=pass."""
    files = write("baseline.json", case()), write("now.json", case(spread=WILD))
    assert main(["baseline", "update", *files, "--inconclusive=pass"]) == 0


def test_a_forced_row_is_stored_with_its_reason(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Who forced what, and why, stands in the baseline, and stays there when it is replaced again; `show` prints it."""
    place = write("baseline.json", case(), case(OTHER, plan=None))
    now = write("now.json", case(ratio=1.7))
    assert main(["baseline", "update", place, now, "--force", ROW, "--reason", "a copy"]) == 1
    assert main(["baseline", "update", place, now, "--force", ROW, OTHER, "--reason", "a copy"]) == 0
    accepted = load(place).accepted
    assert [(each.id, each.reason) for each in accepted] == [(ROW, "a copy"), (OTHER, "a copy")]
    assert accepted[0].why.startswith("baseline ratio 0.297 -> 0.421")
    assert main(["baseline", "update", place, write("then.json", case(ratio=1.7))]) == 0
    assert load(place).accepted == accepted
    capsys.readouterr()
    assert main(["baseline", "show", place]) == 0
    assert "a copy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--force", ROW), "--force ROW and --reason TEXT belong together"),
        (("--reason", "because"), "--force ROW and --reason TEXT belong together"),
        (("--force", ROW, "--reason", "  "), "--force ROW and --reason TEXT belong together"),
        (("--force", "another", "--reason", "because"), f"--force another: this row is not red; red are {ROW}"),
    ],
)
def test_force_is_by_name_and_with_a_reason(write: Write, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], told: str) -> None:
    """Nothing is forced by the way."""
    place = Path(write("baseline.json", case()))
    old = place.read_bytes()
    assert main(["baseline", "update", str(place), write("now.json", case(ratio=1.7)), *options]) == 2
    assert told in capsys.readouterr().err
    assert place.read_bytes() == old


@pytest.mark.parametrize("exists", [False, True], ids=["first", "replaced"])
def test_half_a_result_is_no_baseline(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], exists: bool) -> None:
    """Interrupted or failed rows cannot be forced either."""
    place = Path(write("baseline.json", case())) if exists else tmp_path / "baseline.json"
    for now in (write("half.json", case(status=INTERRUPTED)), write("broken.json", case(), status=INTERRUPTED)):
        assert main(["baseline", "update", str(place), now]) == 2
        assert "is no baseline, because it is not complete" in capsys.readouterr().err
    assert place.exists() is exists


def test_show_says_that_nothing_was_accepted(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """The usual baseline."""
    assert main(["baseline", "show", write("baseline.json", case())]) == 0
    assert "No red row was accepted into it." in capsys.readouterr().out


def test_benchmarks_without_the_fixture_are_named(tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """What a file holds beside our rows is not judged, and that is said, so that nobody takes it for green."""
    rows = [
        {"fullname": "test_a.py::test_ours", "extra_info": {"mlbench": to_json(case())}},
        {"fullname": "test_a.py::test_plain", "extra_info": {}},
    ]
    run = {"environment": dataclasses.asdict(ENVIRONMENT), "command": "pytest", "status": "complete"}
    data = {"machine_info": {}, "datetime": "2026-01-02T03:04:05+00:00", "benchmarks": rows, "mlbench": run}
    (tmp_path / "saved.json").write_text(json.dumps(data), encoding="utf-8")
    assert main(["gate", write("before.json", case()), str(tmp_path / "saved.json")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "saved.json: 1 benchmark does not use the fixture mlbench, such as test_a.py::test_plain; only 'mlbench ab' judges those" in told
