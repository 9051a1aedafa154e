"""The page of a report: what it holds, what it refuses, and that values from files stay data."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from mlbench.cli import main
from mlbench.errors import MissingExtraError, UsageError
from mlbench.gate import Finding, Judgement, row_of
from mlbench.measure.stats import Interval
from mlbench.report import figures, load_verdicts, verdicts_json
from mlbench.report.inputs import Files, read_files
from mlbench.report.page.compared import moments_of
from mlbench.report.page.page import as_script, render_page
from mlbench.report.page.plot import write_chart
from mlbench.report.page.section import Section
from mlbench.report.page.sections import sections_of
from mlbench.results import COMPLETE, Result, now, save
from mlbench.results.ablation import Ablations
from mlbench.results.comparison import COMPARISON_FILE
from mlbench.results.memory import CellMemory, MemoryRecord
from mlbench.results.peers import Outcome, PeerCell, PeerResult
from mlbench.results.roofline import Roofline
from mlbench.results.storage import write
from mlbench.studies.memory_record import record_memory
from support.comparisons import ROW, comparison, visit
from support.records import CEILINGS, distance, made_up, measured
from support.saved_results import ENVIRONMENT, callable_of_a_user, case, result

pytest.importorskip("jinja2")
pytest.importorskip("vl_convert")


def run(hidden: tuple[int, ...] = (64, 256), speedup: float = 2.0) -> Result:
    """Return a sweep of batch 8 over hidden sizes."""
    rows = [measured(runner, 8, size, speedup) for size in hidden for runner in ("baseline", "optimized")]
    return result(*rows)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a result and a comparison, which is the current one."""
    save(run(), tmp_path / "run.json")
    write(comparison([[visit(head=1.1)] for _ in range(8)]), tmp_path / "ab.json", COMPARISON_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_section_is_there(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sections with data have it; those without say which command fills them."""
    assert main(["report", "run.json", "ab.json", "-o", "page.html"]) == 0
    assert "page.html" in capsys.readouterr().out
    page = Path("page.html").read_text(encoding="utf-8")
    for part in (
        'id="headline"',
        'id="maps"',
        'id="case-b8-h64"',
        'data-chart="speedup"',
        'data-chart="rounds-b8-h256"',
        'data-chart="verdicts"',
    ):
        assert part in page
    for command in ("mlbench ablation --json", "mlbench roofline --json", "mlbench peers --json", "with two results or more"):
        assert command in page
    assert len(page) < 3_000_000


def test_the_numbers_that_stand_out_are_those_of_the_newest_result(files: Path) -> None:
    """Speed-up, memory and floor ratio with their ranges, and the name of the result where there are several."""
    save(run(speedup=3.0), Path("later.json"))
    assert main(["report", "run.json", "later.json", "-o", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "From later.json, the newest result that has both runners." in page
    for part in (
        "<strong>3.00x faster</strong>",
        "<dt>Sweep of 2 cells, geometric mean</dt>",
        "less memory</strong>",
        "the floor</strong>",
    ):
        assert part in page
    assert "run.json   20" not in page.replace("later.json   20", "")
    assert "<dt>later.json against run.json</dt>" in page


def test_a_calibration_is_no_bad_result(tmp_path: Path) -> None:
    """Planted rows are told as found, not as worse."""
    made = comparison([[visit(head=1.1)] for _ in range(16)], plants={ROW: {"slower": 0.1}})
    figure = sections_of(Files(comparisons=[("ab.json", made)]))[0].figures[0]
    assert (figure.value, figure.what) == ("1 of 1 found", "Calibration: planted slowdowns and allocations")
    made.plants = {}
    assert sections_of(Files(comparisons=[("ab.json", made)]))[0].figures[0].value == "1 worse"


def test_a_run_without_both_runners_has_no_figures() -> None:
    """There is nothing to sum up."""
    assert figures([measured("baseline", 8, 64)]) == ()
    (*_, memory, floor) = figures(run().measurements)
    assert (memory.value, memory.what) == ("70.9 % less memory", "Memory of a call and between calls, median cell")
    assert floor.what == "Distance to the limit, geometric mean"


def test_the_page_needs_no_network(files: Path) -> None:
    """Nothing is loaded from elsewhere: no element has an address that is not on the page."""
    assert main(["report", "run.json", "-o", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    head, _, _ = page.partition('<script type="module">')
    for part in ('src="', 'rel="stylesheet"', "@import", "url("):
        assert part not in head


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "</script><b>", "<!--", 'a"onmouseover="x', "\u2028"])
def test_markup_in_a_name_is_shown_not_executed(text: str, tmp_path: Path) -> None:
    """Whatever a file calls a case or a machine stands on the page escaped, in the text as in the data of the charts."""
    evil = measured("optimized", 8, 64)
    evil.case.update(cell=f"b8{text}", id=f"optimized-b8{text}")
    save(dataclasses.replace(result(evil), environment=dataclasses.replace(ENVIRONMENT, cpu=text)), tmp_path / "evil.json")
    page = render_page(sections_of(read_files([tmp_path / "evil.json"])), [text], text, "today")
    ours, _, _ = page.partition('<script type="module">')
    before, _, specs = ours.partition('<script id="specs" type="application/json">')
    assert text not in specs.partition("</script>")[0].replace('"', "") or text.startswith("a")
    if "<" in text:
        assert text not in before
    assert json.loads(specs.partition("</script>")[0])


@pytest.mark.parametrize("text", ["</script>", "<!--", "a & b", "\u2028\u2029"])
def test_data_in_a_script_cannot_end_it(text: str) -> None:
    """What is escaped is read back as it was."""
    escaped = as_script({"name": text})
    assert json.loads(escaped) == {"name": text}
    assert not set("<>&\u2028\u2029") & set(escaped)


@pytest.mark.parametrize("content", ["{", "{}", '{"kind": "something else"}', "[1, NaN]"], ids=["damaged", "empty", "foreign", "nan"])
def test_a_file_that_cannot_be_used_is_named(files: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is rendered all the same, the page names the file, and the exit code is 2."""
    Path("bad.json").write_text(content)
    assert main(["report", "bad.json", "run.json", "-o", "page.html"]) == 2
    assert "bad.json" in capsys.readouterr().err
    page = Path("page.html").read_text(encoding="utf-8")
    assert "Files that could not be used" in page
    assert "bad.json" in page
    assert 'data-chart="speedup"' in page


def test_no_page_is_written_into_nowhere(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that does not exist is an error before anything is read."""
    assert main(["report", "run.json", "-o", "none/page.html"]) == 2
    assert "its folder does not exist" in capsys.readouterr().err


def later(made: Result, day: int = 9) -> Result:
    """Return a result of a later day."""
    return dataclasses.replace(made, date=f"2026-01-0{day}T03:04:05+00:00")


def section(found: Files, key: str) -> Section:
    """Return a section by its key."""
    (made,) = (each for each in sections_of(found) if each.key == key)
    return made


@pytest.mark.parametrize("key", ["headline", "maps", "memory-map", "case-b8-h64"])
def test_a_newer_file_of_other_rows_empties_no_section(tmp_path: Path, key: str) -> None:
    """Each section takes the newest file that can fill it; here a callable of somebody's was measured last."""
    save(run(), tmp_path / "run.json")
    save(later(result(callable_of_a_user())), tmp_path / "later.json")
    alone, both = (read_files(paths) for paths in ([tmp_path / "run.json"], [tmp_path / "run.json", tmp_path / "later.json"]))
    for each in (alone, both):
        each.memory = record_memory(each.results)
    assert [chart.name for chart in section(both, key).charts] == [chart.name for chart in section(alone, key).charts]
    assert section(both, key).figures == section(alone, key).figures
    assert not section(both, key).is_empty
    assert "Callables" in [table.title for table in section(both, "maps").tables]


def test_every_cell_has_its_case() -> None:
    """From the newest result that has it, which is named."""
    found = Files(results=[("old.json", run((64, 256))), ("new.json", later(run((64,))))])
    assert [section(found, f"case-b8-h{size}").text[0].partition(",")[0] for size in (64, 256)] == ["From new.json", "From old.json"]


def test_the_newest_is_the_one_with_the_latest_date() -> None:
    """Whatever the order in which files were named, and wherever their clocks stood; ceilings alone are no roofline."""
    dots = [distance("baseline-b8-h64")]
    runs = [Roofline(ENVIRONMENT, "mlbench roofline", now(), COMPLETE, CEILINGS, tuple(each)) for each in (dots, dots, [])]
    dates = ("2026-01-02T01:00:00+02:00", "2026-01-02T00:30:00+00:00", "2026-01-03T00:00:00+00:00")
    named = [(f"{place}.json", dataclasses.replace(each, date=date)) for place, (each, date) in enumerate(zip(runs, dates, strict=True))]
    for order in (named, named[::-1]):
        made = section(Files(rooflines=order), "roofline")
        assert made.text == (f"From 1.json, {dates[1]}.",)
        assert [chart.name for chart in made.charts] == ["roofline"]


def test_a_comparison_of_another_project_does_not_colour_ours() -> None:
    """It stands under the verdicts, and not among the numbers that stand out; where the page is about nothing else, it does there too."""
    name = "test_sweep.py::test_mlp[optimized-b8-h64]"
    foreign = comparison([[visit(head=1.1)] for _ in range(16)])
    ours = comparison([[visit(name, head=1.1)] for _ in range(16)], [name])
    results = [("run.json", run())]
    pages = [Files(results, comparisons=[("ab.json", foreign)]), Files(results, comparisons=[("ab.json", ours)]),
             Files(comparisons=[("ab.json", foreign)])]  # fmt: skip
    told = [[each.value for each in section(page, "headline").figures if "worse" in each.value] for page in pages]
    assert told == [[], ["1 worse"], ["1 worse"]]
    assert [len(section(page, "verdicts").charts) for page in pages] == [1, 1, 1]


def test_rows_that_only_one_result_has_are_not_worse() -> None:
    """The newest result is compared with the first that was named in the rows that both have; without any it is not compared."""
    first, smaller, other = run((64, 256)), later(run((64,))), later(result(callable_of_a_user()))
    figures_of = [section(Files(results=[("a", first), ("b", each)], beside=[("a", first), ("b", each)]), "headline").figures
                  for each in (smaller, other)]  # fmt: skip
    assert [[each.value for each in found if each.what == "b against a"] for found in figures_of] == [["nothing worse"], []]


def test_titles_of_several_comparisons_are_told_apart() -> None:
    """Twelve of the same two versions are twelve charts of different titles and names."""
    made = [(f"ab-{number}.json", comparison([[visit(head=1.1)] for _ in range(16)])) for number in range(12)]
    charts = section(Files(comparisons=made), "verdicts").charts
    for names in ([chart.title for chart in charts], [chart.name for chart in charts], [chart.table.title for chart in charts]):
        assert len(set(names)) == 12
    assert charts[3].title.endswith("(ab-3.json)")
    assert len({each.what for each in section(Files(comparisons=made), "headline").figures}) == 12


def test_a_history_leaves_out_runs_of_other_things() -> None:
    """What is measured between two sweeps is no run of theirs, and its rows are not missing from it."""
    between = later(result(callable_of_a_user()), 3)
    moments = moments_of([("a", run((64,))), ("mine", between), ("b", later(run((64,)), 4))], "floor_ratio")
    assert [(each.run, each.number, each.verdict) for each in moments] == [("a", 1, ""), ("b", 2, "pass")]


def test_bytes_that_differ_from_the_files_are_said() -> None:
    """A page does not show two numbers for one thing without a word."""
    memory = CellMemory("b8-h64", {"baseline": [0, 20_000], "optimized": [4096]}, (), (), 0, 0)
    found = Files(results=[("run.json", run((64,)))], memory=MemoryRecord("run.json", (memory,)))
    _, line = section(found, "memory-map").text
    assert line.startswith("Warning: baseline-b8-h64 held 19.5 KB here and 13.8 KB when run.json was measured")


def test_a_history_has_the_gates_verdicts(tmp_path: Path) -> None:
    """Each run is judged by the one before it; another processor is another machine."""
    slow = dataclasses.replace(run((64,)), date="2026-01-03T03:04:05+00:00")
    slow.measurements[1].arms["this"] = tuple((3 * each[0],) * 3 for each in slow.measurements[1].arms["this"])
    other = dataclasses.replace(run((64,)), date="2026-01-04T03:04:05+00:00", environment=dataclasses.replace(ENVIRONMENT, cpu="Another"))
    for name, each in (("1", other), ("3", run((64,))), ("2", slow)):  # the names are in another order than the dates
        save(each, tmp_path / f"{name}.json")
    found = read_files(sorted(tmp_path.glob("*.json")))
    moments = moments_of(found.results, "floor_ratio")
    assert [(each.run, each.number, each.verdict, each.is_other_machine) for each in moments][:2] == [
        ("3.json", 1, "", False), ("2.json", 2, "regression", False),
    ]  # fmt: skip
    assert (moments[2].run, moments[2].is_other_machine) == ("1.json", True)


@pytest.mark.parametrize(
    ("what", "section", "named"),
    [
        ("memory_charts", "memory-map", "this section"),
        ("rounds_chart", "case-b8-h64", "this section"),
        ("heat_maps", "maps", "this section"),
        ("verdicts_section", "verdicts", "this section"),
    ],
)
def test_what_cannot_be_made_leaves_a_gap(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, section: str, named: str
) -> None:
    """An error in one section is told in that section and on standard error, with exit code 2; every other section is there."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("no reason at all")

    read = read_files([Path("run.json"), Path("ab.json")])
    read.memory = record_memory(read.results)
    whole = {each.key: each.is_empty for each in sections_of(read)}
    monkeypatch.setattr(f"mlbench.report.page.sections.{what}", fail)
    assert main(["report", "run.json", "ab.json", "-o", "page.html"]) == 2
    gap = f"{named} could not be made (ZeroDivisionError: no reason at all)"
    assert gap in capsys.readouterr().err
    assert f"A gap: {gap}." in Path("page.html").read_text(encoding="utf-8")
    found = sections_of(read)
    assert {each.key: each.is_empty for each in found} == whole
    assert section in [each.key for each in found if each.gaps]


def test_a_chart_becomes_a_picture(files: Path) -> None:
    """SVG and PNG by the ending of the file, without a browser."""
    assert main(["plot", "speedup", "run.json", "-o", "speedup.svg"]) == 0
    assert main(["plot", "rounds-b8-h64", "run.json", "-o", "rounds.png"]) == 0
    assert Path("speedup.svg").read_text(encoding="utf-8").startswith("<svg")
    assert Path("rounds.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_has_a_theme(files: Path) -> None:
    """The two themes differ in their background, and light is the default."""
    for theme, options in (("light", ["--theme", "light"]), ("dark", ["--theme", "dark"]), ("default", [])):
        assert main(["plot", "speedup-bars", "run.json", "-o", f"{theme}.svg", *options]) == 0
    light, dark, default = (Path(f"{theme}.svg").read_text(encoding="utf-8") for theme in ("light", "dark", "default"))
    assert light == default
    assert ('fill="white"' in light, 'fill="#0d1117"' in dark, 'fill="white"' in dark) == (True, True, False)


def test_charts_are_listed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file to write, the names are what is printed."""
    assert main(["plot", "run.json"]) == 0
    names = capsys.readouterr().out.split()
    assert main(["plot", "speedup", "run.json"]) == 0
    assert capsys.readouterr().out.split() == names
    assert names[:3] == ["speedup", "memory", "floor-ratio"]
    assert names[-3:] == ["arena-b8-h256", "rounds-b8-h64", "rounds-b8-h256"]


@pytest.mark.parametrize(
    ("name", "path", "message"), [("speed", "a.svg", "there is no chart 'speed'"), ("speedup", "a.gif", r"\.svg or \.png")]
)
def test_what_cannot_be_drawn_is_said(files: Path, name: str, path: str, message: str) -> None:
    """Another name or another ending is a usage error that tells what there is."""
    with pytest.raises(UsageError, match=message):
        write_chart(name, sections_of(read_files([Path("run.json")])), Path(path))


def test_a_chart_without_a_name_is_not_drawn(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file alone is not taken for the name of a chart."""
    assert main(["plot", "run.json", "-o", "a.svg"]) == 2
    assert "found 'run.json' alone; expected NAME FILE" in capsys.readouterr().err


def test_the_missing_extra_is_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Vega there is one line that says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with pytest.raises(MissingExtraError, match=r"vl-convert-python.*'\.\[report\]'"):
        render_page((), (), "mlbench report", "today")


def test_a_case_without_a_partner_is_shown(tmp_path: Path) -> None:
    """A result with the compiled runner alone has its rounds, and no speed-up."""
    save(result(case("optimized-b8-h64")), tmp_path / "one.json")
    names = [chart.name for section in sections_of(read_files([tmp_path / "one.json"])) for chart in section.charts]
    assert "rounds-b8-h64" in names
    assert "speedup" not in names


def test_judgement_of_the_gate_are_read_back(tmp_path: Path) -> None:
    """What `--format json` wrote is the judgement it was made of, infinite ends included."""
    change = Interval(1.2, 1.1, math.inf, 0.95, 5, 5)
    made = Judgement(
        "main", "topic", (row_of("a", [Finding("latency", "inconclusive", "why", 1.0, 1.2, "s", change, 0.02)], ["a.html"]),), ("note",)
    )
    path = tmp_path / "verdicts.json"
    path.write_text(verdicts_json(made))
    assert load_verdicts(path) == made
    assert read_files([path]).judgements == [("verdicts.json", made)]


def test_any_number_of_results_lies_side_by_side(tmp_path: Path) -> None:
    """A column each, in the order in which they were named, compared with the first; what only some have is there all the same."""
    slow = case("optimized-b8-h64", latency_s=2e-5, peak_bytes=4096)
    save(result(case("optimized-b8-h64")), tmp_path / "new.json")
    save(dataclasses.replace(result(slow), date="2025-01-02T03:04:05+00:00"), tmp_path / "old.json")
    other = dataclasses.replace(ENVIRONMENT, cpu="Another")
    save(result(case("optimized-b8-h64"), case("optimized-b1-h64"), environment=other), tmp_path / "away.json")
    found = read_files([tmp_path / name for name in ("new.json", "old.json", "away.json")])
    (beside,) = (each for each in sections_of(found) if each.key == "beside")
    assert [chart.name for chart in beside.charts] == ["beside-time", "beside-memory"]
    assert beside.charts[0].table.headers == ("case", "new.json", "old.json", "away.json")
    assert beside.charts[0].table.rows == (
        ("optimized-b8-h64", "10.0 us", "20.0 us (2.000)", "10.0 us (1.000)"), ("optimized-b1-h64", "-", "-", "10.0 us"),
    )  # fmt: skip
    assert [row[2] for row in beside.charts[1].table.rows] == ["8.00 KB (2.000)", "-"]
    assert [(row["result"], row["ratio"]) for row in beside.charts[0].spec["data"]["values"]] == [
        ("new.json", 1.0), ("old.json", 2.0), ("away.json", 1.0), ("away.json", 1.0),
    ]  # fmt: skip
    assert beside.text[0] == "The others are compared with the first that was named, new.json."
    assert "another machine than new.json: away.json." in beside.text[1]


def test_of_many_results_the_first_and_the_last_are_drawn() -> None:
    """The table has every one of them."""
    named = [(f"{number}.json", result(case("optimized-b8-h64"))) for number in range(30)]
    (beside,) = (each for each in sections_of(Files(results=named, beside=named)) if each.key == "beside")
    chart = beside.charts[0]
    assert [row["result"] for row in chart.spec["data"]["values"]] == ["0.json", *(f"{number}.json" for number in range(7, 30))]
    assert len(chart.table.headers) == 31
    assert "The chart has 0.json and the 23 named last; the table has all 30." in chart.how_to_read


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Results of two folders have their paths for names."""
    paths = [tmp_path / folder / "run.json" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        save(run(), path)
    assert [name for name, _ in read_files(paths).beside] == [str(path) for path in paths]


def test_a_cell_may_be_ablated_twice() -> None:
    """Such as with warm caches and with cold ones: each has a ladder of its own."""
    run_of_it = Ablations(ENVIRONMENT, "mlbench ablation", now(), COMPLETE, (made_up("b8-h64"),))
    (ladder,) = (each for each in sections_of(Files(ablations=[("a.json", run_of_it), ("b.json", run_of_it)])) if each.key == "ladder")
    assert [chart.name for chart in ladder.charts] == ["ladder-b8-h64", "ladder-b8-h64-2"]
    assert [chart.title for chart in ladder.charts] == [f"What each optimisation adds: b8-h64 ({name}.json)" for name in "ab"]
    assert len({table.title for table in ladder.tables}) == 4


def test_a_warning_of_a_case_names_its_runners() -> None:
    """What is said of both is said once, and nobody needs to guess of which."""
    rows = [dataclasses.replace(each, warnings=("speedup: the interval 1.0 to 2.0 is wide: busy",)) for each in run((64,)).measurements]
    found = section(Files(results=[("run.json", result(*rows))]), "case-b8-h64")
    assert found.text[1:] == ("Warning: baseline, optimized: the interval of speed-up is wide: busy",)


def test_a_case_links_its_flame_graphs(tmp_path: Path) -> None:
    """Pages that were kept of its runners stand in its section."""
    save(run((64,)), tmp_path / "run.json")
    found = read_files([tmp_path / "run.json"])
    found.graphs += [("baseline-b8-h64", "a.html"), ("baseline-b8-h6", "b.html")]
    (case_section,) = (each for each in sections_of(found) if each.key == "case-b8-h64")
    assert case_section.links == (("Flame graph: baseline-b8-h64", "a.html"),)


def test_the_runtimes_stand_beside_the_case_of_the_same_sizes(tmp_path: Path) -> None:
    """A cell of `mlbench peers` with the model and the batch of a case is drawn in that case's section too."""
    sizes = {"batch": 8, "hidden": [64], "inputs": 64, "outputs": 10, "model": "mlp"}
    found = Files(results=[("run.json", run((64, 256)))])
    for each in found.results[0][1].measurements:
        each.case.update(inputs=64, outputs=10)
    outcome = Outcome("measured", rounds_s=((1e-6, 2e-6),))
    cell = PeerCell({**sizes, "threads": 1, "tuned": True}, {"mlbench": outcome, "xla": outcome})
    found.peers.append(("peers.json", PeerResult(ENVIRONMENT, "mlbench peers", "2026-01-02", "complete", 1, (), (cell,))))
    drawn = {each.key: [chart.name for chart in each.charts] for each in sections_of(found)}
    assert drawn["case-b8-h64"] == ["rounds-b8-h64", "rounds-peers-64-64-10-b8"]
    assert drawn["case-b8-h256"] == ["rounds-b8-h256"]
