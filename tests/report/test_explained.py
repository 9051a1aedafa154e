"""The page about what the compiler does: its sections, its charts, its size, and that names in a file stay data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mlbench.cli import main
from mlbench.report.charts.steps import held_chart, moved_chart, steps_charts
from mlbench.report.inputs import read_files
from mlbench.report.page.explained import explained, figures_of, pairs_of, worth_of
from mlbench.report.page.page import write_explanation
from mlbench.report.page.sections import sections_of
from mlbench.results import COMPLETE, now
from mlbench.results.ablation import ABLATION_FILE, Ablations
from mlbench.results.explanation import EXPLANATION_FILE, Counts, Shown
from mlbench.results.storage import write
from support.explanations import EVIL, MEASURE, evil_explanation, explanation, run_of
from support.records import made_up
from support.saved_results import ENVIRONMENT

pytest.importorskip("jinja2", reason="needs the extra 'report'")
pytest.importorskip("vl_convert", reason="needs the extra 'report'")
MB = 1024 * 1024


def test_every_part_has_its_section() -> None:
    """Steps, totals, worth, values, switches and code, each under an address of its own."""
    code = ["code"] * bool(explanation().code)
    assert [section.key for section in explained(explanation())] == ["steps", "totals", "worth", "values", "switches", *code]


def test_code_that_is_not_shown_has_its_reason() -> None:
    """Without a listing there is no such section, and the first one says why."""
    sections = explained(replace(explanation(), code=(), code_gap="this processor has no AVX2"))
    assert "code" not in {section.key for section in sections}
    assert sections[0].text[-1] == "No instructions are shown, because this processor has no AVX2."


def test_what_was_not_measured_names_the_command() -> None:
    """Without an ablation the section of the worth is empty, and says what would fill it."""
    worth = explained(explanation())[2]
    assert worth.is_empty
    assert worth.command == MEASURE


def test_an_ablation_of_the_same_cell_fills_the_worth() -> None:
    """An explanation without one takes that of another file, chart and table."""
    worth = explained(explanation(), ablation=made_up(explanation().cell))[2]
    assert (len(worth.charts), len(worth.tables)) == (1, 1)


def test_a_pass_is_worth_three_comparisons() -> None:
    """Added to those before it, alone, and taken from all, with effect, interval, verdict and memory."""
    assert worth_of(made_up("b8-h64"))["fuse"] == [
        ["added to those before it on the ladder", "2.00x", "1.90x to 2.10x, 1 process", "helps", "-"],
        ["alone", "2.00x", "1.90x to 2.10x, 1 process", "helps", "-"],
        ["taken from all of them", "2.00x", "1.90x to 2.10x, 1 process", "helps", "-"],
    ]


def test_the_figures_name_the_pass_that_saves_most() -> None:
    """Memory before and after, and the largest difference between two steps; without counts the bytes moved alone."""
    found = explanation()
    sizes = (5000, *[4000] * 5, 1000, *[2000] * 7)
    counts = [Counts(7, 3, 0, size) for size in sizes]
    steps = tuple(replace(step, counts=count) for step, count in zip(found.steps, counts[1:], strict=True))
    _, memory, calls = figures_of(replace(found, counts=counts[0], steps=steps))
    assert (memory.value, memory.detail) == (
        "4.88 KB to 1.95 KB",
        f"{found.steps[5].name} saves most, 2.93 KB; {found.steps[6].name} takes most, 1000 B",
    )
    assert (calls.value, calls.detail) == ("7 to 7", "allocations: 3 to 3")
    assert len(figures_of(replace(found, counts=None))) == 1


def test_a_value_is_next_to_itself() -> None:
    """Values of both runners are paired by name; one that only the compiled graph has comes behind the one before it."""
    flow = explanation().flow
    extra = Shown("extra", "add", "arena", (), "")
    found = pairs_of(replace(flow, compiled=(flow.compiled[0], extra, *flow.compiled[1:])))
    names = [name for name, _, _ in found]
    assert names.index("extra") == names.index(flow.compiled[0].name) + 1
    assert [eager.name for _, eager, _ in found if eager] == [each.name for each in flow.eager]


def test_the_charts_have_two_marks_for_each_step() -> None:
    """As written and after each pass that changes something: read and written, held and more at the peak."""
    rows = 1 + sum(not step.is_idle for step in explanation().steps)
    for chart in steps_charts(explanation()):
        assert chart.marks == len(chart.spec["data"]["values"]) == 2 * rows
        assert len(chart.table.rows) == rows


def test_the_chart_of_what_is_moved_has_the_bytes_of_the_states() -> None:
    """The first row is the graph as written."""
    first = explanation().states[0]
    read, written = moved_chart(explanation()).spec["data"]["values"][:2]
    assert (read["kb"] * 1024, written["kb"] * 1024) == (first.read_bytes, first.written_bytes)


def test_idle_passes_are_one_folded_line() -> None:
    """All that change nothing have one line, which opens to their reasons."""
    idle = [step for step in explanation().steps if step.is_idle]
    ((title, lines),) = explained(explanation())[1].folded
    assert title == f"Changed nothing: {', '.join(step.name for step in idle)} (why)"
    assert [line.partition(": ")[0] for line in lines] == [step.name for step in idle]


def test_nothing_counted_is_nothing_drawn() -> None:
    """Without counts there is no chart of what is held."""
    found = explanation()
    bare = replace(found, counts=None, steps=tuple(replace(step, counts=None) for step in found.steps))
    assert held_chart(bare) is None


def test_the_command_makes_a_page_and_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that needs no network, below 3 MB, and the data that a report reads."""
    monkeypatch.setattr("mlbench.studies.explain.switches.MOST_NODES", 0)
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    assert main(["explain", "--batch", "4", "--hidden", "8", "--html", str(page), "--json", str(data)]) == 0
    said = capsys.readouterr().out
    assert f"Page: {page}" in said
    assert f"Data: {data}" in said
    assert page.stat().st_size < 3 * MB
    text = page.read_text(encoding="utf-8")
    assert "<title>mlbench explain, " in text
    assert "sourceMappingURL=dagre" not in text  # which a browser would ask for
    assert "MIT license" in text  # of the library that lays out the graph


def test_measuring_fills_the_worth(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --measure the page has the ablation, and so has the text."""
    monkeypatch.setattr("mlbench.studies.explain.switches.MOST_NODES", 0)
    monkeypatch.setattr("mlbench.cli.explain.ablate", lambda cell, *_: made_up(cell.id))
    sizes = ("explain", "4-8-2", "--batch", "2", "--measure")
    assert main([*sizes, "--html", str(tmp_path / "page.html")]) == 0
    assert "What each optimisation adds" in (tmp_path / "page.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(sizes) == 0
    assert "Ablation of b2-h8-i4-o2" in capsys.readouterr().out


def test_names_from_a_file_are_data(tmp_path: Path) -> None:
    """A value, a network and a note that look like an element appear as text, or escaped in JSON."""
    text = write_explanation(run_of(evil_explanation()), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    found = re.search(r'<script id="explanations" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    assert json.loads(found[1])[""]["title"] == EVIL


def test_a_report_has_the_explanation_of_a_file(tmp_path: Path) -> None:
    """The report has a section for each part, with the ablation of the same cell from another file."""
    data, ablation = tmp_path / "explain.json", tmp_path / "ablation.json"
    write(run_of(explanation(), replace(explanation(), cell="other")), data, EXPLANATION_FILE)
    write(Ablations(ENVIRONMENT, "mlbench ablation", now(), COMPLETE, (made_up(explanation().cell),)), ablation, ABLATION_FILE)
    found = {section.key: section for section in sections_of(read_files([data, ablation]))}
    assert {"explain1-steps", "explain2-steps", "explain1-values", "explain2-switches"} <= found.keys()
    assert found["explain1-worth"].charts
    assert found["explain2-worth"].is_empty
    assert len({chart.name for section in found.values() for chart in section.charts}) == sum(len(each.charts) for each in found.values())


def test_a_report_without_one_names_the_command() -> None:
    """The section is there, empty, with what fills it."""
    (section,) = (each for each in sections_of(read_files([])) if each.key == "explain")
    assert (section.is_empty, section.command) == (True, "mlbench explain --json explain.json")
