"""Charts as data: what is measured stands in the specification, and the same numbers stand in the table."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from mlbench.gate import Finding, Judgement, row_of
from mlbench.measure.stats import Interval
from mlbench.report.charts import (
    FLOOR_RATIO,
    MEASURES,
    MEMORY,
    SPEEDUP,
    Chart,
    Dot,
    Moment,
    Race,
    Step,
    beside_chart,
    changes_chart,
    fastest_chart,
    heat_maps,
    ladder_chart,
    roofline_chart,
    rounds_chart,
    speedup_bars,
    trend_chart,
)
from mlbench.report.charts.heatmap import Quantity
from mlbench.report.charts.labels import row_labels, told_apart
from mlbench.results.pairs import Pair
from support.records import interval, measured
from support.saved_results import SPREAD


def pair(batch: int, hidden: int, speedup: float = 2.0) -> Pair:
    """Return both runners of a cell."""
    return Pair(f"b{batch}-h{hidden}", measured("baseline", batch, hidden), measured("optimized", batch, hidden, speedup))


def every_chart() -> list[Chart]:
    """Return one of each kind."""
    judged = Judgement(
        "main", "topic", (row_of("t.py::test_a", [Finding("latency", "regression", "slow", 1.0, 1.1, "s", interval(1.1), 0.02)]),)
    )
    found = [
        *heat_maps(SPEEDUP, [pair(8, 64)]),
        *speedup_bars([pair(8, 64)]),
        rounds_chart("b8-h64", {"baseline": [[1e-6, 2e-6]]}),
        ladder_chart("b8-h64", [Step("+ fuse", interval(1.5), "helps")]),
        roofline_chart([Dot("baseline-b8-h64", 2.0, 1e10, "moving bytes")], 1e11, {"copy": 1e10}),
        trend_chart("history", "History", "floor ratio", [Moment("a.json", 1, "b8-h64", 1.2), Moment("b.json", 2, "b8-h64", 1.3)]),
        changes_chart(judged),
        fastest_chart([Race("64-64-10", 8, "xla", interval(1.3))]),
    ]
    return [chart for chart in found if chart is not None]


def test_every_kind_is_made() -> None:
    """None of the kinds is left out where it has data."""
    assert len(every_chart()) == 8


@pytest.mark.parametrize("chart", every_chart(), ids=lambda chart: str(chart.name))
def test_every_chart_can_be_read(chart: Chart) -> None:
    """It has a name, a sentence that explains it, a description for those who cannot see it, and a table with a row at least."""
    assert chart.name
    assert chart.how_to_read.endswith(".")
    assert chart.spec["description"]
    assert chart.table.rows
    assert all(len(row) == len(chart.table.headers) for row in chart.table.rows)
    json.dumps(chart.spec, allow_nan=False)


@pytest.mark.parametrize(
    ("quantity", "value", "shown"), [(SPEEDUP, 2.0, "2.000"), (MEMORY, 1 - 4096 / 14096, "0.709"), (FLOOR_RATIO, 1.2, "1.200")],
    ids=["speedup", "memory", "floor"],
)  # fmt: skip
def test_a_heat_map_has_a_rectangle_a_cell(quantity: Quantity, value: float, shown: str) -> None:
    """Each cell has its place, its value, and the address of its case; the table says the same."""
    (chart,) = heat_maps(quantity, [pair(8, 64), pair(512, 1024)])
    rows = chart.spec["data"]["values"]
    assert [(row["batch"], row["hidden"], row["link"]) for row in rows] == [(8, "64", "#case-b8-h64"), (512, "1024", "#case-b512-h1024")]
    assert rows[0]["value"] == pytest.approx(value)
    assert chart.table.rows[0][:2] == ("b8-h64", shown)
    assert chart.marks == 2


def test_bars_have_the_numbers_of_the_heat_map() -> None:
    """Each cell of the map of speed-ups is a bar, with its interval and in the same table."""
    (heat,), (bars,) = heat_maps(SPEEDUP, [pair(8, 64), pair(512, 1024, 5.0)]), speedup_bars([pair(8, 64), pair(512, 1024, 5.0)])
    assert [(row["batch"], row["hidden"], row["value"]) for row in bars.spec["data"]["values"]] == [(8, "64", 2.0), (512, "1024", 5.0)]
    assert [(row["least"], row["most"]) for row in bars.spec["data"]["values"]] == [(1.8, 2.2), (4.5, 5.5)]
    assert bars.table.rows == heat.table.rows
    assert (bars.name, bars.marks) == ("speedup-bars", 2)


def test_no_two_cells_share_a_place() -> None:
    """Cells that differ in more than batch and hidden sizes stand in maps of their own, named by what differs, in the same colours."""
    pairs: list[Pair] = []
    for traits in ({"threads": 1}, {"threads": 2}, {"threads": 2, "inputs": 784}):
        for batch in (8, 64):
            made = pair(batch, 64, speedup=float(len(pairs) + 1))
            assert made.optimized is not None
            made.optimized.case.update(inputs=64, outputs=10, tuned=False)
            made.optimized.case.update(traits)
            pairs.append(made)
    again = Pair("b8-h64 by another name", *[measured("optimized", 8, 64)] * 2)
    maps = heat_maps(SPEEDUP, [*pairs, again])
    places = [[(row["batch"], row["hidden"]) for row in chart.spec["data"]["values"]] for chart in maps]
    assert places == [[(8, "64"), (64, "64")]] * 3 + [[(8, "64")]]
    assert [chart.name for chart in maps] == ["speedup", "speedup-2", "speedup-3", "speedup-4"]
    assert [chart.title for chart in maps][:3] == [
        f"Speed-up, inputs {inputs}, outputs 10, threads {threads}, default rules" for inputs, threads in ((64, 1), (64, 2), (784, 2))
    ]
    assert {tuple(chart.spec["layer"][0]["encoding"]["color"]["scale"]["domain"]) for chart in maps} == {(1.0, 6.0)}


@pytest.mark.parametrize(("quantity", "ends"), [(SPEEDUP, [1.0, 4.0]), (MEMORY, [0.0, 1.0]), (FLOOR_RATIO, [1.0, 4.0])],
                         ids=["speedup", "memory", "floor"])  # fmt: skip
def test_colours_have_ends_of_their_own(quantity: Quantity, ends: list[float]) -> None:
    """A map of 1.02 and 1.03 is pale all over: the deepest colour belongs to a value, not to the largest there happens to be."""
    (chart,) = heat_maps(quantity, [pair(8, 64, 1.02), pair(512, 1024, 1.03)])
    assert chart.spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == ends


def test_what_runs_of_the_same_code_differ_by_is_pale() -> None:
    """Beside the first result, the deepest colours belong to half and to twice as much."""
    runs = [(name, [measured("optimized", 8, 64)]) for name in ("a.json", "b.json")]
    chart = beside_chart(MEASURES[0], runs)
    assert chart is not None
    assert chart.spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == [0.5, 1, 2.0]


def test_columns_are_told_apart_where_names_are_cut() -> None:
    """Twelve files of a folder have twelve labels, each as long as there is room for; the rows' own names stay in the table."""
    names = [f"results/of/the/nightly/runs/0001_2026-01-{day:02}_linux.json" for day in range(1, 13)]
    chart = beside_chart(MEASURES[0], [(name, [measured("optimized", 8, 64)]) for name in names])
    assert chart is not None
    shown = chart.spec["encoding"]["x"]["sort"]
    assert len(set(shown)) == 12
    assert {len(label) for label in shown} == {20}
    assert chart.table.headers[1:] == tuple(names)


def test_a_result_without_the_quantity_has_no_column() -> None:
    """It would be empty, and where it was named first there would be nothing to compare with."""
    one = measured("optimized", 8, 64)
    none = dataclasses.replace(one, timing=None)
    chart = beside_chart(MEASURES[0], [("none.json", [none]), ("one.json", [one]), ("two.json", [one])])
    assert chart is not None
    assert chart.table.headers == ("case", "one.json", "two.json")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.py::t[x-1]", "b.py::u[x-2]"], ["x-1", "x-2"]),
        (["a.py::t[x]", "a.py::u[x]"], ["t[x]", "u[x]"]),
        (["a.py::t[x]", "b.py::t[x]"], ["a.py::t[x]", "b.py::t[x]"]),
        (["f" * 40 + "1", "f" * 40 + "2"], ["\u2026" + "f" * 30 + "1", "\u2026" + "f" * 30 + "2"]),
        (["1" + "f" * 40, "2" + "f" * 40], ["1" + "f" * 15 + "\u2026" + "f" * 15, "2" + "f" * 15 + "\u2026" + "f" * 15]),
    ],
    ids=["parameters", "tests", "files", "cut-in-front", "cut-in-the-middle"],
)
def test_labels_of_rows_tell_them_apart(names: list[str], expected: list[str]) -> None:
    """The shortest of parameters, test and id that does; what is too long is cut where all are the same."""
    assert list(row_labels(names).values()) == expected


def test_titles_that_are_the_same_name_their_files() -> None:
    """And get a number where the files are the same too."""
    assert told_apart(["a", "b", "b", "b"], ["1", "1", "2", "2"]) == ["a", "b (1)", "b (2) #1", "b (2) #2"]


def test_the_digits_stand_in_no_heat_map() -> None:
    """They have no place among batch and hidden sizes."""
    only = pair(8, 64)
    assert only.optimized is not None
    only.optimized.case["model"] = "digits"
    assert heat_maps(SPEEDUP, [only]) == ()


def test_every_round_is_a_tick() -> None:
    """Each round of each process is drawn, in microseconds, with the process it comes from."""
    chart = rounds_chart("b8-h64", {"baseline": [[1e-6, 2e-6], [3e-6]], "optimized": [[5e-7]]})
    assert chart is not None
    assert [(row["runner"], round(row["us"], 3), row["process"]) for row in chart.spec["data"]["values"]] == [
        ("baseline", 1.0, "process 1"), ("baseline", 2.0, "process 1"), ("baseline", 3.0, "process 2"), ("optimized", 0.5, "process 1"),
    ]  # fmt: skip
    assert chart.marks == 4


@pytest.mark.parametrize(
    ("rounds", "p90", "p99"), [(28, "-", "-"), (29, "1.00 us", "-"), (298, "1.00 us", "-"), (299, "1.00 us", "1.00 us")]
)
def test_percentiles_need_rounds(rounds: int, p90: str, p99: str) -> None:
    """A percentile is told from so many rounds on that one of them lies above it with 95 % confidence."""
    chart = rounds_chart("b8-h64", {"baseline": [[1e-6] * rounds]})
    assert chart is not None
    assert chart.table.rows[0][4:6] == (p90, p99)


def test_without_rounds_there_is_no_chart() -> None:
    """A case that was broken off before its first round has none."""
    assert rounds_chart("b8-h64", {"baseline": [[]]}) is None


def test_a_bar_of_the_ladder_begins_where_the_one_before_ended() -> None:
    """The first one begins at the baseline."""
    chart = ladder_chart("b8-h64", [Step("static", interval(1.5), "helps"), Step("+ fuse", interval(1.4), "costs")])
    assert chart is not None
    assert [(row["from"], row["to"]) for row in chart.spec["data"]["values"]] == [(1.0, 1.5), (1.5, 1.4)]
    assert chart.marks == 6


def test_roofs_bend_at_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """A roof is the lower of what moves and what is computed: bandwidth x intensity on the left, the product's rate on the right."""
    chart = roofline_chart([Dot("a", 1.0, 1e9, "moving"), Dot("b", 100.0, 5e10, "product")], 1e11, {"copy": 1e10})
    assert chart is not None
    roof = chart.spec["layer"][0]["data"]["values"]
    assert math.isclose(roof[0]["y"], 1e10 * roof[0]["x"] / 1e9)
    assert roof[-1]["y"] == 100.0
    assert (roof[0]["x"], roof[-1]["x"]) == (0.5, pytest.approx(200.0))


def test_every_roof_has_a_name() -> None:
    """The legend has each line's, with its rate, and the flat part has its own."""
    chart = roofline_chart([Dot("a", 1.0, 1e9, "moving")], 1e11, {"reading from L1": 8e10, "reading from memory": 1e10})
    assert chart is not None
    roofs, peak, _ = chart.spec["layer"]
    assert roofs["encoding"]["strokeDash"]["scale"]["domain"] == ["reading from L1, 80 GB/s", "reading from memory, 10 GB/s"]
    assert [row["name"] for row in peak["data"]["values"]] == ["multiply-adds, 100 GFLOP/s"]


def test_an_axis_is_not_zoomed_to_its_noise() -> None:
    """Rounds that agree within 2 % lie in the middle of an axis of a factor of two; a history's axis spans half as much again."""
    chart = rounds_chart("b8-h64", {"baseline": [[1.00e-6, 1.02e-6]]})
    moments = [Moment("a.json", 1, "b8-h64", 1.20), Moment("b.json", 2, "b8-h64", 1.21)]
    trend = trend_chart("history", "History", "floor ratio", moments)
    ladder = ladder_chart("b8-h64", [Step("+ fuse", Interval(1.01, 1.0, 1.02, 0.95, 5, 75), "within the noise")])
    same = Finding("latency", "pass", "", 1.0, 1.0, "s", Interval(1.0, 0.999, 1.001, 0.95, 5, 75))
    changed = changes_chart(Judgement("a", "b", (row_of("r", [same]),)))
    assert chart is not None
    assert trend is not None
    assert ladder is not None
    assert changed is not None
    low, high = chart.spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert high / low == pytest.approx(2.0, rel=1e-3)
    assert low * high == pytest.approx(1.02, rel=1e-3)
    low, high = trend.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert high / low == pytest.approx(1.5, rel=1e-3)
    assert ladder.spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [pytest.approx(0.76), pytest.approx(1.26)]
    assert changed.spec["layer"][1]["encoding"]["x"]["scale"]["domain"] == [-0.05, 0.05]


def test_diamonds_are_the_times_of_the_tables() -> None:
    """Not the median of all rounds, which is another number where processes differ."""
    chart = rounds_chart("b8-h64", {"baseline": [[1e-6, 1e-6, 1e-6], [4e-6]]})
    assert chart is not None
    (diamond,) = chart.spec["layer"][1]["data"]["values"]
    assert diamond["us"] == pytest.approx(2.0)
    assert "baseline 2.00 us" in chart.how_to_read


def test_a_history_needs_two_runs() -> None:
    """One run is no trend."""
    assert trend_chart("history", "History", "ratio", [Moment("a.json", 1, "b8-h64", 1.2)]) is None


def test_red_rows_and_other_machines_are_marked() -> None:
    """A ring for what the gate calls worse, a line where the machine changed; without either there is no empty layer."""
    first = Moment("a.json", 1, "b8-h64", 1.2)
    plain = trend_chart("history", "History", "ratio", [first, Moment("b.json", 2, "b8-h64", 1.2, "pass")])
    marked = trend_chart("history", "History", "ratio", [first, Moment("b.json", 2, "b8-h64", 2.4, "regression", is_other_machine=True)])
    assert plain is not None
    assert marked is not None
    assert len(plain.spec["layer"]) == 1
    assert [len(layer.get("data", {"values": "no"})["values"]) for layer in marked.spec["layer"]] == [1, 2, 1]
    assert marked.spec["layer"][0]["data"]["values"][0]["number"] == 2


def test_changes_without_an_interval_are_left_out() -> None:
    """What is compared exactly, and what could not be bounded, has no line to draw."""
    exact = Finding("peak bytes", "pass", "same", 1.0, 1.0, "bytes", None, 0.0)
    wild = Finding("latency", "inconclusive", "too few", 1.0, 1.0, "s", Interval(1.0, 0.0, math.inf, 0.95, 1, 1), 0.02)
    assert changes_chart(Judgement("main", "topic", (row_of("t.py::test_a", [exact, wild]),))) is None


@pytest.mark.parametrize(("ratio", "winner"), [(1.3, "mlbench"), (0.8, "xla")])
def test_the_winner_is_named(ratio: float, winner: str) -> None:
    """Above 1 ours is faster."""
    chart = fastest_chart([Race("64-64-10", 8, "xla", interval(ratio))])
    assert chart is not None
    assert chart.spec["data"]["values"][0]["winner"] == winner


def test_no_rows_make_no_chart() -> None:
    """Every chart without data is none."""
    assert heat_maps(SPEEDUP, []) == ()
    assert [ladder_chart("c", []), roofline_chart([], 1.0, {}), fastest_chart([]), rounds_chart("c", {})] == [None] * 4
    assert len(SPREAD) == 5
