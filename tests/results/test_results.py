"""Results and their JSON: the round trip, and every kind of damage refused with the path and the place."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlbench.errors import FileError, MissingExtraError
from mlbench.measure import ArmTimes, Environment, Footprint
from mlbench.measure.stats import Interval
from mlbench.results import (
    COMPLETE,
    INTERRUPTED,
    Accepted,
    Measurement,
    Result,
    StaticBytes,
    Timing,
    load,
    new_result,
    save,
    timing_of,
    to_json,
    with_run,
)
from mlbench.results.older import OLD_FLOOR_ARM, OLD_FLOOR_RATIO
from mlbench.results.result import MOST_ROUNDS

Damage = Callable[[dict[str, Any]], object]

FULL = Measurement(
    case={"id": "optimized-b8-h64", "cell": "b8-h64", "runner": "optimized", "batch": 8, "hidden": [64]},
    status=COMPLETE,
    worst_error=0.0125,
    footprint=Footprint(0, 0, "memray", is_steady=True),
    static=StaticBytes(arena=4096, operands=128, staging=0, staging_if_needed=2048, weight_copies=64),
    counted="runner",
    timing=Timing(1.25e-05, 1.5, 400, 0.25, ((1.25e-05, 1.5e-05), (1.125e-05,))),
    ratios={"speedup": Interval(1.5, 1.25, 1.75, 0.95, 2, 3), "floor_ratio": Interval(1.125, 1.0, 1.25, 0.95, 2, 3)},
    floor_s=1.0e-05,
    arms={"this": ((1.25e-05, 1.5e-05), (1.125e-05,)), "products": ((1.0e-05, 1.0e-05), (1.0e-05,))},
    warnings=("speedup: the interval is wide",),
)
EMPTY = Measurement({"id": "baseline-b8-h64", "cell": "b8-h64", "runner": "baseline"}, INTERRUPTED)
ENVIRONMENT = Environment(
    "CPU", 2, "Linux 6", "3.12", "2.1.0", "openblas", 1, "fresh", None, "0.1.0", None, 1.5, None, {"OPENBLAS_CORETYPE": "Haswell"}
)
RESULT = Result(ENVIRONMENT, "mlbench run", "2026-01-02T03:04:05+00:00", INTERRUPTED, (FULL, EMPTY))


def saved_by_pytest_benchmark() -> dict[str, Any]:
    """Return what pytest-benchmark saves, as far as it is read: a row of ours, a row of somebody else's, and ours again."""
    return {
        "machine_info": {"node": "here"},
        "datetime": "2026-01-02T03:04:05+00:00",
        "version": "5.0.0",
        "benchmarks": [
            {"name": "test_mine", "stats": {"data": [1.0]}, "extra_info": {"mlbench": to_json(FULL)}},
            {"name": "test_other", "stats": {"data": [1.0]}, "extra_info": {}},
            {"name": "test_mine", "stats": {"data": [1.0]}, "extra_info": {"mlbench": to_json(EMPTY), "note": "the user's own"}},
        ],
        "mlbench": {"environment": dataclasses.asdict(ENVIRONMENT), "command": "pytest benchmarks", "status": INTERRUPTED},
    }


def written(path: Path, data: object) -> Path:
    """Write data as JSON to `path` and return it."""
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize("measured", [FULL, EMPTY], ids=["full", "empty"])
def test_a_measurement_comes_back_the_same(measured: Measurement, tmp_path: Path) -> None:
    """Through a file and back nothing of a measurement changes."""
    path = save(dataclasses.replace(RESULT, measurements=(measured,)), tmp_path / "result.json")
    assert load(path).measurements == (measured,)


def test_a_result_comes_back_the_same(tmp_path: Path) -> None:
    """Saved and loaded, a result is what it was; the path is returned."""
    path = tmp_path / "result.json"
    assert path == save(RESULT, path)
    assert load(path) == RESULT


def test_durations_keep_six_digits() -> None:
    """Numbers are written with six significant digits: a thousandth of what a measurement can mean."""
    timing = Timing(math.pi * 1e-6, None, 0, None, ((math.e * 1e-9, 2 / 3),))
    found = to_json(dataclasses.replace(FULL, timing=timing))["timing"]
    assert found["median_s"] == 3.14159e-06
    assert found["rounds_s"] == [[2.71828e-09, 0.666667]]


def test_counts_and_bytes_keep_every_digit() -> None:
    """Whole numbers are exact, however large."""
    found = to_json(dataclasses.replace(FULL, footprint=Footprint(123_456_789_123, 7_654_321, "memray")))
    assert found["footprint"]["peak_bytes"] == 123_456_789_123
    assert found["footprint"]["allocations"] == 7_654_321


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=["nan", "infinity", "minus-infinity"])
def test_no_number_that_is_not_finite_is_written(tmp_path: Path, number: float) -> None:
    """What is not finite becomes null, which every reader of JSON knows; NaN and Infinity are no JSON."""
    timing = Timing(1.0, number, 0, number, ((1.0,),))
    broken = dataclasses.replace(FULL, worst_error=number, timing=timing, case=FULL.case | {"extra": [number, {"deep": number}]})
    text = save(dataclasses.replace(RESULT, measurements=(broken,)), tmp_path / "result.json").read_text(encoding="utf-8")
    assert not re.search(r"nan|inf(?!o)", text, re.IGNORECASE)
    assert json.loads(text)["measurements"][0]["worst_error"] is None


def test_new_result_is_of_now_with_the_offset() -> None:
    """The date is ISO 8601 with the offset from UTC, and without a word the run is complete."""
    found = new_result(ENVIRONMENT, "mlbench run", iter([FULL]))
    assert dt.datetime.fromisoformat(found.date).tzinfo is not None
    assert (found.environment, found.status, found.measurements) == (ENVIRONMENT, COMPLETE, (FULL,))


def test_a_file_of_pytest_benchmark_is_read(tmp_path: Path) -> None:
    """Our measurements are taken out of `extra_info`; rows of other benchmarks are left out."""
    found = load(written(tmp_path / "bench.json", saved_by_pytest_benchmark()))
    assert found.measurements == (FULL, EMPTY)
    assert found.command == "pytest benchmarks"
    assert found.date == "2026-01-02T03:04:05+00:00"
    assert found.environment == ENVIRONMENT


@pytest.mark.parametrize("status", [COMPLETE, INTERRUPTED])
def test_a_file_of_pytest_benchmark_says_whether_the_run_ended(tmp_path: Path, status: str) -> None:
    """The status of the run is its own: a row that was cut before its first round is in no file, and the run still was broken off."""
    data = saved_by_pytest_benchmark()
    data["benchmarks"] = data["benchmarks"][:2]
    data["mlbench"]["status"] = status
    assert load(written(tmp_path / "bench.json", data)).status == status


def test_a_file_of_pytest_benchmark_without_us_is_refused(tmp_path: Path) -> None:
    """A foreign run of pytest-benchmark is named for what it is."""
    data = saved_by_pytest_benchmark()
    data["benchmarks"] = data["benchmarks"][1:2]
    path = written(tmp_path / "bench.json", data)
    with pytest.raises(FileError, match=re.escape(f"{path}: pytest-benchmark saved it, but none of its 1 benchmarks used")):
        load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"kind": "mlbench-result", "schema": 1, "measurements": [',
        "no JSON at all",
        "[" * 100_000,
    ],
    ids=["empty", "brace", "truncated", "text", "deep"],
)
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever JSON cannot hold is a FileError with the path, never an error of the JSON reader."""
    path = tmp_path / "damaged.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=re.escape(f"{path}: ")):
        load(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    """Cut anywhere, a result file is refused; no part of it is used."""
    whole = json.dumps(to_json(RESULT))
    path = tmp_path / "cut.json"
    for length in range(0, len(whole) - 1, 97):
        path.write_text(whole[:length], encoding="utf-8")
        with pytest.raises(FileError, match=re.escape(str(path))):
            load(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A binary file is a FileError with its path."""
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(FileError, match=re.escape(str(path))):
        load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """A path where nothing is, or where a folder is, is a FileError with that path."""
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(FileError, match=re.escape(str(path))):
            load(path)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_literal_that_is_no_finite_number_is_refused(tmp_path: Path, literal: str) -> None:
    """NaN and Infinity, which Python's reader would let through, and a number too large to be one, are refused."""
    path = tmp_path / "nan.json"
    text = json.dumps(to_json(RESULT))
    assert text.count('"median_s": 1.25e-05') == 1
    path.write_text(text.replace('"median_s": 1.25e-05', f'"median_s": {literal}'), encoding="utf-8")
    with pytest.raises(FileError, match=re.escape(str(path))):
        load(path)


@pytest.mark.parametrize("data", [[], {}, "text", 3, None, {"kind": "another"}], ids=["list", "empty", "text", "number", "null", "kind"])
def test_foreign_json_is_refused(tmp_path: Path, data: object) -> None:
    """JSON that is no result says so."""
    path = written(tmp_path / "foreign.json", data)
    with pytest.raises(FileError, match=re.escape(f"{path}: no result of mlbench")):
        load(path)


@pytest.mark.parametrize("version", [0, 6, "1", None], ids=["old", "new", "text", "null"])
def test_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    """A version this mlbench does not read is named, with the one it reads."""
    path = written(tmp_path / "version.json", to_json(RESULT) | {"schema": version})
    with pytest.raises(FileError, match=re.escape(f"{path}: schema version {version!r}; this mlbench reads version 5")):
        load(path)


def first(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Return a damage to the first measurement."""
    return lambda data: change(data["measurements"][0])


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda data: data.pop("status"), "$"),
        (lambda data: data.pop("environment"), "$"),
        (lambda data: data["environment"].pop("cpu"), "$.environment"),
        (lambda data: data["environment"].update(threads="many"), "$.environment.threads"),
        (lambda data: data["environment"].update(surprise=1), "$.environment"),
        (lambda data: data.update(status="half"), "$.status"),
        (lambda data: data.update(measurements=[]), "$.measurements"),
        (lambda data: data.update(measurements={}), "$.measurements"),
        (lambda data: data.update(command=1), "$.command"),
        (lambda data: data.update(measurements=[None]), "$.measurements[0]"),
        (first(lambda each: each.pop("timing")), "$.measurements[0]"),
        (first(lambda each: each.update(surprise=1)), "$.measurements[0]"),
        (first(lambda each: each.update(status="done")), "$.measurements[0].status"),
        (first(lambda each: each["case"].pop("cell")), "$.measurements[0].case"),
        (first(lambda each: each.update(worst_error=-1)), "$.measurements[0].worst_error"),
        (first(lambda each: each["footprint"].update(peak_bytes=-1)), "$.measurements[0].footprint.peak_bytes"),
        (first(lambda each: each["footprint"].update(peak_bytes=1.5)), "$.measurements[0].footprint.peak_bytes"),
        (first(lambda each: each["footprint"].update(instrument="guess")), "$.measurements[0].footprint.instrument"),
        (first(lambda each: each["static"].update(arena="4096")), "$.measurements[0].static.arena"),
        (first(lambda each: each["static"].update(surprise=0)), "$.measurements[0].static"),
        (first(lambda each: each["timing"].update(median_s=0)), "$.measurements[0].timing.median_s"),
        (first(lambda each: each["timing"].update(rounds_s=[[1.0], []])), "$.measurements[0].timing.rounds_s[1]"),
        (first(lambda each: each["timing"].update(rounds_s=[[1.0, None]])), "$.measurements[0].timing.rounds_s[0][1]"),
        (first(lambda each: each["ratios"]["speedup"].pop("low")), "$.measurements[0].ratios.speedup"),
        (first(lambda each: each["ratios"]["speedup"].update(processes=0)), "$.measurements[0].ratios.speedup.processes"),
        (first(lambda each: each.update(warnings="many")), "$.measurements[0].warnings"),
    ],
    ids=[
        "no-status",
        "no-environment",
        "environment-without-cpu",
        "environment-threads",
        "environment-extra",
        "status",
        "no-measurements",
        "measurements-object",
        "command-number",
        "measurement-null",
        "no-timing",
        "extra-field",
        "measurement-status",
        "no-cell",
        "negative-error",
        "negative-peak",
        "half-a-byte",
        "instrument",
        "arena-text",
        "static-extra",
        "no-duration",
        "process-without-rounds",
        "round-null",
        "interval-without-low",
        "no-processes",
        "warnings-text",
    ],
)
def test_damage_is_refused_with_its_place(tmp_path: Path, damage: Damage, place: str) -> None:
    """A missing, extra, wrong or impossible field is a FileError that names the file and the place in it."""
    data = copy.deepcopy(to_json(RESULT))
    damage(data)
    path = written(tmp_path / "damaged.json", data)
    with pytest.raises(FileError, match=re.escape(f"{path}: not a valid result at {place}: ")):
        load(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.update(benchmarks=5),
        lambda data: data.update(benchmarks={"a": 1}),
        lambda data: data.update(benchmarks=[1]),
        lambda data: data["benchmarks"][0]["extra_info"].update(mlbench=[]),
        lambda data: data["benchmarks"][0]["extra_info"]["mlbench"].update(schema="one"),
        lambda data: data["benchmarks"][0]["extra_info"]["mlbench"].update(schema=6),
        lambda data: data["benchmarks"][0]["extra_info"]["mlbench"].pop("timing"),
        lambda data: data.update(mlbench=None),
        lambda data: data["mlbench"].update(environment=None),
        lambda data: data["mlbench"].pop("status"),
        lambda data: data["benchmarks"][0]["extra_info"]["mlbench"].update(schema=[1]),
        lambda data: data.update(datetime=7),
    ],
    ids=[
        "benchmarks-number",
        "benchmarks-object",
        "benchmark-number",
        "ours-list",
        "version-text",
        "version-new",
        "no-timing",
        "about-null",
        "environment-null",
        "no-status",
        "version-list",
        "date-number",
    ],
)
def test_damage_to_a_file_of_pytest_benchmark_is_refused(tmp_path: Path, damage: Damage) -> None:
    """A file that pytest-benchmark saved and somebody damaged is a FileError with its path, not a traceback."""
    data = saved_by_pytest_benchmark()
    damage(data)
    path = written(tmp_path / "damaged.json", data)
    with pytest.raises(FileError, match=re.escape(str(path))):
        load(path)


FOREIGN: dict[str, Damage] = {
    "infinite-parameter": lambda data: data["benchmarks"][0].update(param="inf", params={"limit": math.inf}),
    "seed-of-70-bits": lambda data: data["benchmarks"][1].update(params={"seed": 2**70}),
    "seed-of-5000-digits": lambda data: data["benchmarks"][1].update(params={"seed": 10**4299}),
    "nan-beside-ours": lambda data: data["benchmarks"][0]["extra_info"].update(score=math.nan),
    "nan-in-statistics": lambda data: data["benchmarks"][1]["stats"].update(stddev=math.nan, data=[math.inf]),
    "half-a-pair": lambda data: data["benchmarks"][1].update(params={"text": "\ud800"}),
    "extra-info-null": lambda data: data["benchmarks"][1].update(extra_info=None),
    "extra-info-list": lambda data: data["benchmarks"][1].update(extra_info=[1]),
    "no-extra-info": lambda data: data["benchmarks"][1].pop("extra_info"),
    "no-name": lambda data: data["benchmarks"][1].pop("name"),
    "row-null": lambda data: data["benchmarks"].append(None),
    "machine-null": lambda data: data.update(machine_info=None),
    "no-machine": lambda data: data.pop("machine_info"),
    "commit-odd": lambda data: data.update(commit_info={"project": math.nan, "dirty": [2**70]}),
    "version-odd": lambda data: data.update(version=2**70),
    "another-hook": lambda data: data.update(dashboard={"score": -math.inf}),
    "date-of-3.0": lambda data: data.update(datetime="2016-10-09T12:34:56.789012", version="3.0.0"),
}
"""What other people have in a file of pytest-benchmark, and what its versions leave out: none of it is ours."""


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_ours_refuses_no_file(tmp_path: Path, change: Damage) -> None:
    """Our measurements are read, whatever stands elsewhere in a file that pytest-benchmark saved."""
    data = saved_by_pytest_benchmark()
    change(data)
    assert load(written(tmp_path / "bench.json", data)).measurements == (FULL, EMPTY)


def test_a_byte_order_mark_refuses_no_file(tmp_path: Path) -> None:
    """Editors and shells on Windows begin a file with one."""
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(to_json(RESULT)), encoding="utf-8-sig")
    assert load(path) == RESULT


def ours_in(row: int, change: Callable[[dict[str, Any]], object]) -> Damage:
    """Return a damage to our measurement in a row of pytest-benchmark."""
    return lambda data: change(data["benchmarks"][row]["extra_info"]["mlbench"])


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (
            ours_in(2, lambda each: each.update(status=1)),
            "at $.benchmarks[2].extra_info.mlbench.status (t.py::t): found 1; ",
        ),
        (ours_in(0, lambda each: each["timing"].update(median_s=math.nan)), "[0].extra_info.mlbench.timing.median_s: NaN is no finite"),
        (ours_in(0, lambda each: each["static"].update(arena=2**70)), "[0].extra_info.mlbench.static.arena: 1180591620717411303424 is"),
        (ours_in(0, lambda each: each.update(schema=6)), "schema version 6 at $.benchmarks[0].extra_info.mlbench.schema; this"),
        (lambda data: data["mlbench"]["environment"].update(cores=0), "at $.mlbench.environment.cores: found 0; expected int >= 1"),
        (lambda data: data["mlbench"].pop("status"), "at $.mlbench: found no field 'status'; expected schema, kind"),
        (lambda data: data.pop("mlbench"), "no environment and status of their run at $.mlbench; measure it again"),
        (lambda data: data.update(datetime=None), "at $.datetime: found None; expected str"),
        (lambda data: data["mlbench"].update(date="today"), "at $.mlbench.date: found 'today'; expected str matching"),
    ],
    ids=["status", "nan", "70-bits", "version", "cores", "no-status", "no-head", "date", "our-date"],
)
def test_damage_to_ours_is_refused_with_its_place_in_the_file(tmp_path: Path, damage: Damage, place: str) -> None:
    """The row of pytest-benchmark is named, its number and its test, and not the number among ours."""
    data = saved_by_pytest_benchmark()
    data["benchmarks"][2]["fullname"] = "t.py::t"
    damage(data)
    path = written(tmp_path / "bench.json", data)
    with pytest.raises(FileError, match=re.escape(str(path)) + ".*" + re.escape(place)):
        load(path)


def test_an_odd_number_in_a_file_of_ours_has_its_place(tmp_path: Path) -> None:
    """In a file that is ours as a whole nothing odd is read."""
    data = to_json(RESULT)
    data["measurements"][0]["timing"]["rounds_s"][0][1] = math.inf
    path = written(tmp_path / "run.json", data)
    with pytest.raises(FileError, match=re.escape("at $.measurements[0].timing.rounds_s[0][1]: Infinity is no finite number")):
        load(path)


def test_of_a_test_that_was_run_again_the_last_attempt_counts(tmp_path: Path) -> None:
    """pytest-benchmark saves a row for each attempt, all of one name; what the others hold is not even looked at."""
    data = saved_by_pytest_benchmark()
    data["benchmarks"][0] |= {"fullname": "t.py::test_mine"}
    first = copy.deepcopy(data["benchmarks"][0])
    first["extra_info"]["mlbench"] |= {"status": "failed", "error": "it was flaky", "timing": math.nan}
    data["benchmarks"].insert(0, first)
    assert load(written(tmp_path / "bench.json", data)).measurements == (FULL, EMPTY)


def test_tests_of_one_name_in_two_files_are_two_rows(tmp_path: Path) -> None:
    """A name alone does not make an attempt; the node id does."""
    data = saved_by_pytest_benchmark()
    for number in (0, 2):
        data["benchmarks"][number]["fullname"] = f"test_{number}.py::test_mine"
    assert len(load(written(tmp_path / "bench.json", data)).measurements) == 2


def test_rows_of_several_versions_are_read_in_one_file(tmp_path: Path) -> None:
    """Each says its own version, as in a file that somebody put together."""
    data = saved_by_pytest_benchmark()
    old = data["benchmarks"][2]["extra_info"]["mlbench"]
    del old["plan"], old["error"], old["floor_s"], old["runs"], old["counted"], old["static"]["objects"]
    old["schema"] = 1
    assert load(written(tmp_path / "bench.json", data)).measurements == (FULL, EMPTY)


def test_reading_needs_msgspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without msgspec nothing is read unchecked: the error names the extra. Writing needs nothing."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    path = save(RESULT, tmp_path / "result.json")
    with pytest.raises(MissingExtraError, match=re.escape(".[bench]")):
        load(path)


def test_a_failed_save_leaves_the_old_result(tmp_path: Path) -> None:
    """A result that cannot be written, because something in it is no JSON, leaves the file as it was."""
    path = save(RESULT, tmp_path / "result.json")
    before = path.read_bytes()
    broken = dataclasses.replace(FULL, case=FULL.case | {"extra": {1, 2}})
    with pytest.raises(TypeError):
        save(dataclasses.replace(RESULT, measurements=(broken,)), path)
    assert before == path.read_bytes()


def test_timing_puts_processes_together() -> None:
    """The median is over all rounds, faults are the median of the processes that could count them."""
    found = timing_of([ArmTimes((1.0, 2.0, 3.0), (), 4.0), ArmTimes((10.0, 11.0), (), None), ArmTimes((5.0,), (), 6.0)])
    assert found == Timing(4.0, None, 0, 5.0, ((1.0, 2.0, 3.0), (10.0, 11.0), (5.0,)))


@pytest.mark.parametrize(("singles", "expected"), [(99, None), (100, 1.0)], ids=["297-in-all", "300-in-all"])
def test_the_tail_needs_enough_singles_of_all_processes(singles: int, expected: float | None) -> None:
    """Single calls of all processes count together for the 99th percentile."""
    found = timing_of([ArmTimes((1.0,), (2.0,) * singles, None)] * 3)
    assert (found.p99_ratio, found.singles) == (expected, 3 * singles)


@pytest.mark.parametrize(("rounds", "kept"), [(MOST_ROUNDS, MOST_ROUNDS), (MOST_ROUNDS + 1, MOST_ROUNDS), (500, MOST_ROUNDS), (3, 3)])
def test_rounds_are_thinned(rounds: int, kept: int) -> None:
    """At most so many rounds of a process are kept, and the median is of all of them."""
    durations = tuple(float(number) for number in range(1, rounds + 1))
    found = timing_of([ArmTimes(durations, (), None)] * 2)
    assert [kept, kept] == [len(process) for process in found.rounds_s]
    assert found.median_s == (rounds + 1) / 2


def test_a_sweep_stays_below_a_megabyte(tmp_path: Path) -> None:
    """Fourteen cells with all rounds kept, both runners and the floor, take less than 1 MB."""
    rounds = tuple((1.23456e-05,) * MOST_ROUNDS for _ in range(5))
    full = dataclasses.replace(FULL, timing=Timing(1.0e-05, 1.5, 400, 0.25, rounds), arms={"floor": rounds})
    path = save(dataclasses.replace(RESULT, measurements=(full,) * 28), tmp_path / "sweep.json")
    assert path.stat().st_size < 1_000_000


def test_memory_is_all_that_is_held_and_the_peak_of_a_call() -> None:
    """What counts as memory: the peak of the call, arena, operands, staging and copies of weights; the second number is without these."""
    static = StaticBytes(arena=1000, operands=200, staging=30, staging_if_needed=5000, weight_copies=70000, objects=500_000)
    found = dataclasses.replace(FULL, footprint=Footprint(4, 1, "memray"), static=static)
    assert (found.memory_bytes, found.memory_without_copies_bytes) == (571234, 501234)
    unmeasured = dataclasses.replace(FULL, footprint=None)
    assert (unmeasured.memory_bytes, unmeasured.memory_without_copies_bytes) == (None, None)


AGED = dataclasses.replace(
    RESULT,
    measurements=(dataclasses.replace(FULL, floor_s=None, arms={"floor": ((1.0e-05,), (1.0e-05,))}), EMPTY),
)
"""A result whose floor was generated code, and how it is read: under another name, so that nothing is compared with it."""
RENAMED = dataclasses.replace(
    AGED,
    measurements=(
        dataclasses.replace(
            AGED.measurements[0],
            ratios={"speedup": FULL.ratios["speedup"], OLD_FLOOR_RATIO: FULL.ratios["floor_ratio"]},
            arms={OLD_FLOOR_ARM: ((1.0e-05,), (1.0e-05,))},
        ),
        EMPTY,
    ),
)


def as_version_1(data: dict[str, Any]) -> dict[str, Any]:
    """Return a result as the first version of the schema had it: without plans, errors, floors and what counted."""
    data["schema"] = 1
    for each in data["measurements"]:
        del each["plan"], each["error"], each["floor_s"], each["runs"], each["counted"], each["static"]["objects"]
    data.pop("accepted", None)
    return data


def test_files_of_version_1_are_read(tmp_path: Path) -> None:
    """With the plan unknown, the floor under its old meaning, and nothing else lost; also inside a file of pytest-benchmark."""
    assert load(written(tmp_path / "old.json", as_version_1(to_json(AGED)))) == RENAMED
    data = saved_by_pytest_benchmark()
    for bench in data["benchmarks"]:
        if bench["extra_info"].get("mlbench"):
            ours = bench["extra_info"]["mlbench"]
            del ours["plan"], ours["error"], ours["floor_s"], ours["runs"], ours["counted"], ours["static"]["objects"]
            ours["schema"] = 1
    ratios = {"speedup": FULL.ratios["speedup"], OLD_FLOOR_RATIO: FULL.ratios["floor_ratio"]}
    expected = (dataclasses.replace(FULL, floor_s=None, ratios=ratios), EMPTY)
    assert load(written(tmp_path / "saved.json", data)).measurements == expected


def test_files_of_version_2_are_read(tmp_path: Path) -> None:
    """Their floor ratio keeps its meaning under another name."""
    data = to_json(AGED) | {"schema": 2}
    for each in data["measurements"]:
        del each["floor_s"], each["runs"], each["counted"], each["static"]["objects"]
    assert load(written(tmp_path / "old.json", data)) == RENAMED


def test_files_of_version_3_are_read(tmp_path: Path) -> None:
    """Of cases what is held was always counted; of callables nobody knows it."""
    mine = dataclasses.replace(FULL, case={"id": "t.py::t", "cell": "t", "runner": "f"}, static=StaticBytes(), counted=None)
    result = dataclasses.replace(RESULT, measurements=(FULL, mine))
    data = to_json(result) | {"schema": 3}
    for each in data["measurements"]:
        del each["counted"], each["static"]["objects"]
    assert load(written(tmp_path / "old.json", data)) == result


def test_one_more_run_is_added_to_the_arms() -> None:
    """The rounds beside the yardsticks of both, and how many processes each run had; the rest stays."""
    one = dataclasses.replace(RESULT, measurements=(FULL,))
    twice = with_run(with_run(one, one), one)
    assert twice.measurements[0].arms["this"] == FULL.arms["this"] * 3
    assert twice.measurements[0].runs == (2, 2, 2)
    assert dataclasses.replace(twice.measurements[0], arms=FULL.arms, runs=()) == FULL


def test_a_run_of_other_rows_is_not_added() -> None:
    """Rows must be the same, and must have rounds with yardsticks."""
    with pytest.raises(FileError, match="do not have the same rows"):
        with_run(RESULT, dataclasses.replace(RESULT, measurements=(FULL,)))
    with pytest.raises(FileError, match="baseline-b8-h64: there are no rounds with yardsticks"):
        with_run(RESULT, RESULT)


def test_a_plan_an_error_and_what_was_accepted_come_back(tmp_path: Path) -> None:
    """What version 2 added survives the file."""
    plan = {"tile_rows": None, "ops": [{"order": "C"}], "threading": "one", "passes": ["fuse"]}
    failed = dataclasses.replace(FULL, plan=plan, status="failed", error="AssertionError: wrong")
    accepted = (Accepted("optimized-b8-h64", "slower", "on purpose", "2026-01-02T03:04:05+00:00"),)
    result = dataclasses.replace(RESULT, measurements=(failed,), accepted=accepted)
    assert load(save(result, tmp_path / "result.json")) == result


def test_an_older_plan_is_read_with_the_names_of_today(tmp_path: Path) -> None:
    """Until version 4 the ops of a plan were called ways, and two passes clean and threads: such a plan equals the same one of today."""
    op = {"layout": "rows", "order": "C", "parts": 1, "generated": True}
    plan = {"tile_rows": None, "ops": [op], "threading": "one", "passes": ["canonicalize", "fuse", "parallelize"], "code": "AVX2"}
    result = dataclasses.replace(RESULT, measurements=(dataclasses.replace(FULL, plan=plan),))
    data = to_json(result) | {"schema": 4}
    older = data["measurements"][0]["plan"]
    older["ways"], older["passes"] = older.pop("ops"), ["clean", "fuse", "threads"]
    assert load(written(tmp_path / "older.json", data)) == result
