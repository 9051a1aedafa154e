"""The memory of a case as pictures: what is held during a call, and the map of the arena."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from mlbench.measure import footprint
from mlbench.report.charts import arena_chart, held_chart
from mlbench.report.charts.memory import memory_charts
from mlbench.report.inputs import Files, graphs_in
from mlbench.report.page.sections import sections_of
from mlbench.results.memory import Place
from mlbench.studies.cases import call_of, parse_case
from mlbench.studies.memory_record import held_during, memory_of


def test_the_baseline_climbs_to_its_peak() -> None:
    """What the recording adds up to at its highest is the peak that the footprint tells."""
    pytest.importorskip("memray")
    case = parse_case("baseline-b64-h64")
    held = held_during(case)
    assert held[0] == 0
    assert max(held) == footprint(call_of(case)).peak_bytes


def test_the_compiled_runner_is_a_flat_line() -> None:
    """It holds its arena and operands from the beginning, and a call adds nothing."""
    pytest.importorskip("memray")
    held = held_during(parse_case("optimized-b64-h64"))
    assert held[0] > 0
    assert max(held) == held[0]


def test_a_recording_has_the_threads_of_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS with more of them allocates more in each call, and the number would be another one than the case's."""
    pytest.importorskip("memray")
    asked: list[int] = []

    def limited(threads: int) -> AbstractContextManager[None]:
        asked.append(threads)
        return nullcontext()

    monkeypatch.setattr("mlbench.studies.memory_record.BlasThreads", limited)
    held_during(parse_case("baseline-b8-h8-t2"))
    assert asked == [2]


def test_the_shorter_line_is_drawn_to_the_end() -> None:
    """A runner that allocates nothing is drawn as far as the other one."""
    chart = held_chart("c", {"baseline": [0, 2048, 0], "optimized": [1024]})
    assert chart is not None
    rows = [(row["runner"], row["event"], row["kb"]) for row in chart.spec["data"]["values"]]
    assert rows == [("baseline", 0, 0.0), ("baseline", 1, 2.0), ("baseline", 2, 0.0),
                    ("optimized", 0, 1.0), ("optimized", 1, 1.0), ("optimized", 2, 1.0)]  # fmt: skip
    assert chart.table.rows == (("baseline", "2", "0 B", "2.00 KB"), ("optimized", "0", "1.00 KB", "1.00 KB"))


def test_a_buffer_is_a_rectangle_of_its_life_and_size() -> None:
    """Its sides are nodes and bytes, and the line is the lower bound."""
    chart = arena_chart("c", [Place("h", 0, 2, 0, 2048), Place("y", 1, 3, 2048, 1024)], ("a", "b", "c"), 3072, 3072)
    assert chart is not None
    rows = [(row["first"], row["last"], row["from"], row["to"], row["nodes"]) for row in chart.spec["data"]["values"]]
    assert rows == [(0, 2, 0.0, 2.0, "a, b"), (1, 3, 2.0, 3.0, "b, c")]
    assert chart.spec["layer"][1]["data"]["values"] == [{"kb": 3.0, "what": "lower bound"}]


def test_nothing_recorded_and_nothing_planned_are_no_charts() -> None:
    """Without data there is none."""
    assert held_chart("c", {}) is None
    assert arena_chart("c", [], (), 0, 0) is None


def test_a_cell_of_ours_has_both_and_another_one_none() -> None:
    """What cannot be built here has no memory to show."""
    found = memory_of({"id": "baseline-b8-h64"})
    assert found is not None
    assert {chart.name for chart in memory_charts(found)} >= {"arena-b8-h64"}
    assert memory_of({"id": "test_square"}) is None


def test_flame_graphs_are_linked(tmp_path: Path) -> None:
    """Pages that were kept are links under their names, as seen from the page; without any the section says what would keep them."""
    for name in ("before", "after"):
        kept = tmp_path / "graphs of it" / name / "baseline-b8-h64.html"
        kept.parent.mkdir(parents=True)
        kept.write_text("")
    found = Files(graphs=graphs_in(tmp_path / "graphs of it", tmp_path / "report.html"))
    with_links, without = sections_of(found)[-1], sections_of(Files())[-1]
    assert with_links.links == tuple(
        (f"{name}/baseline-b8-h64", f"graphs%20of%20it/{name}/baseline-b8-h64.html") for name in ("after", "before")
    )
    assert without.is_empty
    assert "--graphs DIR" in without.command


def test_a_huge_case_is_not_built_for_a_picture() -> None:
    """A name in somebody's file must not make this machine allocate gigabytes."""
    assert memory_of({"id": "baseline-b1000000-h100000"}) is None
    assert memory_of({"id": "baseline-b1-h100000000"}) is None
