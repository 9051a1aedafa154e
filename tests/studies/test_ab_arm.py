"""Live arms on small suites: what they measure, whatever a test does with `benchmark`, and whatever becomes of the process."""

from __future__ import annotations

import ast
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlbench.measure import has_memray
from mlbench.measure.stats import median
from mlbench.results.samples import Effort, Visit
from mlbench.studies.ab import process
from mlbench.studies.ab.arm import target as arm_target
from mlbench.studies.ab.arm.footprint import NO_MEMRAY
from mlbench.studies.ab.interleave import Arms, shuffled
from mlbench.studies.ab.process import SCRIPT, Arm, ArmError, ArmProcess, environment_of
from support.exhaustive import EXHAUSTIVE

NAMES = ("base", "head", "control")
QUICK = Effort(rounds=2, turn_s=1e-5, row_s=0.1, timeout_s=20)
PASSED = dict.fromkeys(NAMES, ("passed", ""))
WORK = """
import os, signal, sys, time, pytest
def work(n=100): return sum(range(n))
"""
CLOCK = """
class Clock:
    now_s = 0.0
    def __call__(self): self.now_s += 1e-7; return self.now_s
    def spend(self, seconds=1e-5): self.now_s += seconds
clock = Clock()
pytestmark = pytest.mark.benchmark(timer=clock)
def work(n=100):
    clock.spend()
    return sum(range(n))
"""
"""A clock for the tests of an arm that advances by what is spent, and by so little when it is read that a wait for it ends."""
needs_memray = pytest.mark.skipif(not has_memray(), reason="memray is not installed")


class Suite:
    """A suite in a folder, and what the arms measure of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.ini()

    def ini(self, *lines: str) -> None:
        """Write the suite's pytest.ini."""
        (self.home / "pytest.ini").write_text("\n".join(["[pytest]", *lines]))

    def write(self, text: str, name: str = "test_it.py") -> None:
        """Write a test file."""
        (self.home / name).write_text(WORK + text)

    def arms(self, *names: str, arguments: Sequence[str] = (), first: int = 0, **more: Any) -> Arms:
        """Start arms of it; `more` is for the head alone where it is planted, else for each."""
        plants = more.pop("plants", None)
        made = [Arm(name, sys.executable, self.home, plants=plants if name == "head" else None, **more) for name in names or NAMES]
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        return Arms(made, arguments, logs, first)

    def visits(self, *names: str, effort: Effort = QUICK, weighed: bool = False, **more: Any) -> dict[str, Visit]:
        """Return name to what was measured of each test, with the names of the tests as they were collected."""
        with self.arms(*names, **more) as arms:
            rows = arms.collected["base"].ids
            chosen: Collection[str] = rows if weighed else ()
            return {visit.id.partition("::")[2]: visit for visit in arms.visit(rows, effort, chosen)}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """An empty suite."""
    return Suite(tmp_path)


ORDINARY = """
def test_plain(benchmark):
    assert benchmark(work) == 4950
def test_arguments(benchmark):
    assert benchmark(work, 3) == 3
def test_keywords(benchmark):
    assert benchmark(work, n=4) == 6
def test_decorator(benchmark):
    @benchmark
    def result(): return work()
    assert result == 4950
def test_pedantic(benchmark):
    assert benchmark.pedantic(work, args=(3,), rounds=3, iterations=10, warmup_rounds=1) == 3
def test_pedantic_keywords(benchmark):
    assert benchmark.pedantic(work, kwargs={"n": 3}, rounds=3) == 3
def test_setup_gives_arguments(benchmark):
    assert benchmark.pedantic(work, setup=lambda: ((3,), {}), rounds=3) == 3
def test_setup_gives_nothing(benchmark):
    fresh = []
    def setup(): fresh[:] = [1]
    assert benchmark.pedantic(lambda: fresh.pop(), setup=setup, rounds=3) == 1
def test_teardown(benchmark):
    held = []
    def use(value): held.append(value)
    def teardown(value): assert held.pop() == value
    benchmark.pedantic(use, args=(7,), teardown=teardown, rounds=3)
    assert held == []
def test_teardown_and_iterations(benchmark):
    calls = []
    benchmark.pedantic(lambda: calls.append(1), teardown=lambda: calls.clear(), rounds=3, iterations=5)
    assert len(calls) == 0
class TestClass:
    n = 3
    def test_method(self, benchmark):
        assert benchmark(work, self.n) == 3
@pytest.mark.parametrize("n", [3, 4])
def test_parametrized(benchmark, n):
    assert benchmark.param == str(n)
    assert benchmark(work, n) == sum(range(n))
@pytest.mark.benchmark(group="sums", min_rounds=5)
def test_group(benchmark):
    assert benchmark.group == "sums"
    benchmark.extra_info["a"] = 1
    benchmark(work)
    assert 0 < benchmark.stats.stats.min <= benchmark.stats.stats.mean == benchmark.stats["mean"] < 1
def test_prints(benchmark):
    print("to stdout")
    def loud():
        sys.stdout.write('{"s": 1}\\n'); sys.stdout.flush()
        os.write(1, b'{"ended": 1}\\n'); os.system("echo child")
        return 1
    benchmark.pedantic(loud, rounds=2)
def test_reads_input(benchmark):
    benchmark.pedantic(lambda: os.read(0, 10), rounds=2)
def test_other():
    assert False, "is no benchmark"
"""


def test_every_way_to_ask_is_measured_and_returns_what_the_target_returns(suite: Suite) -> None:
    """Calls, decorators, pedantic in all its forms, classes, parameters, groups, and tests that print pass in every arm, with rounds."""
    suite.write(ORDINARY)
    found = suite.visits()
    assert set(found) == {
        "test_plain", "test_arguments", "test_keywords", "test_decorator", "test_pedantic", "test_pedantic_keywords",
        "test_setup_gives_arguments", "test_setup_gives_nothing", "test_teardown", "test_teardown_and_iterations", "TestClass::test_method",
        "test_parametrized[3]", "test_parametrized[4]", "test_group", "test_prints", "test_reads_input",
    }  # fmt: skip
    for visit in found.values():
        assert visit.ends == PASSED, visit
        assert visit.is_whole
        assert not visit.once
        assert set(visit.rounds_s) == set(NAMES)
        assert all(rounds and min(rounds) > 0 for rounds in visit.rounds_s.values())


def test_a_target_that_may_run_once_runs_once(suite: Suite) -> None:
    """Pedantic with its defaults is called a single time in each process, without a footprint."""
    suite.write("""
def test_once(benchmark):
    calls = []
    benchmark.pedantic(lambda: calls.append(1))
    assert len(calls) == 1
""")
    (visit,) = suite.visits(weighed=True).values()
    assert (visit.ends, visit.once, visit.memory) == (PASSED, True, {})
    assert [len(rounds) for rounds in visit.rounds_s.values()] == [1, 1, 1]


def test_fixtures_of_a_module_are_set_up_once(suite: Suite) -> None:
    """They stay while tests of their module follow each other, and are torn down at its end."""
    suite.write("""
count = []
@pytest.fixture(scope="module")
def data():
    count.append(1)
    yield 5
def test_one(benchmark, data):
    assert benchmark(work, data) == 10 and len(count) == 1
def test_two(benchmark, data):
    assert benchmark(work, data) == 10 and len(count) == 1
""")
    assert [visit.ends for visit in suite.visits().values()] == [PASSED, PASSED]


@pytest.mark.parametrize(
    "option",
    [
        "--benchmark-only",
        "--benchmark-skip",
        "--benchmark-disable -x",
        "-v -s --benchmark-autosave",
        "-n2",
        "--cov",
        "--cov --cov-context=test",
    ],
)
def test_what_the_suite_asks_for_itself_is_harmless(suite: Suite, option: str) -> None:
    """Options in its addopts neither skip, save nor end anything early."""
    if option.startswith(("-n2", "--cov")):
        pytest.importorskip({"-n2": "xdist", "--cov": "pytest_cov"}[option.split(maxsplit=1)[0]])
    suite.ini(f"addopts = {option}")
    suite.write("def test_a(benchmark): benchmark(work)\ndef test_b(): pass\n")
    assert {name: visit.ends for name, visit in suite.visits("base").items()} == {"test_a": {"base": ("passed", "")}}
    assert not list(suite.home.glob(".benchmarks/*"))
    assert not list(suite.home.glob(".pytest_cache"))


def test_coverage_does_not_begin_again_after_a_test_without_it(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `no_cover` ends, coverage is as it was before: off."""
    pytest.importorskip("pytest_cov")
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage of these tests would be on in each of their processes
    suite.ini("addopts = --cov")
    suite.write("""
import sys
def test_a(benchmark, no_cover): benchmark(work)
def test_b(benchmark):
    benchmark(work)
    assert sys.gettrace() is None
""")
    with suite.arms("base") as arms:
        visits = [visit.ends["base"] for visit in arms.visit(arms.collected["base"].ids, QUICK)]
    assert visits == [("passed", "")] * 2


CODSPEED = """
import pytest
def pytest_addoption(parser): parser.addoption("--codspeed", action="store_true")
@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if config.option.codspeed: raise pytest.UsageError("takes the fixture")
"""


def test_pytest_codspeed_leaves_the_fixture_to_pytest_benchmark(suite: Suite) -> None:
    """Its option, which the suite's settings may give, would let it measure by itself what asks for `benchmark`."""
    (suite.home / "codspeed.py").write_text(CODSPEED)
    suite.ini("addopts = -p codspeed --codspeed")
    suite.write("def test_a(benchmark): benchmark(work)\n")
    assert suite.visits("base", path=(str(suite.home),))["test_a"].ends == {"base": ("passed", "")}


ENDS = {
    "twice": ("benchmark(work); benchmark(work)", "failed", "Fixture can only be used once"),
    "setup_and_iterations": ("benchmark.pedantic(work, setup=dict, iterations=2)", "failed", "more than 1 `iterations`"),
    "raises": ("benchmark(lambda: 1 / 0)", "failed", "ZeroDivisionError"),
    "asserts": ("assert benchmark(work) == 1", "failed", "assert 4950 == 1"),
    "before": ("raise LookupError('no data')", "failed", "no data"),
    "later": ("calls = []; benchmark(lambda: calls.append(clock.spend()) or 1 / (len(calls) < 200))", "failed", "ZeroDivisionError"),
    "both_arguments": (
        "benchmark.pedantic(work, args=(1,), setup=lambda: ((2,), {}), rounds=2)",
        "failed",
        "`setup` returns the arguments",
    ),
    "skip": ("pytest.skip('no GPU')", "skipped", "no GPU"),
    "unused": ("pass", "unused", ""),
    "caught": ("with pytest.raises(ZeroDivisionError): benchmark(lambda: 1 / 0)", "unused", ""),
    "good": ("benchmark(work)", "passed", ""),
}


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Visit]:
    """What was measured of a suite whose tests end in all these ways."""
    suite = Suite(tmp_path_factory.mktemp("endings"))
    suite.write(CLOCK + "".join(f"def test_{name}(benchmark):\n    {body}\n" for name, (body, _, _) in ENDS.items()))
    return suite.visits("base", effort=Effort(rounds=20, turn_s=1e-3, row_s=1, timeout_s=20))


@pytest.mark.parametrize("name", ENDS)
def test_how_a_test_ends_is_told_and_the_others_go_on(endings: dict[str, Visit], name: str) -> None:
    """Failed, skipped or unused with the reason; whatever comes after it is measured."""
    _, outcome, reason = ENDS[name]
    found, why = endings[f"test_{name}"].ends["base"]
    assert found == outcome
    assert reason in why
    assert endings[f"test_{name}"].is_whole is (outcome == "passed")


DIFFERENT = """
mine = os.environ["PYTHONPATH"].split(os.pathsep)[0]
"""


BODIES = {"failed": "assert False", "skipped": "pytest.skip('here')", "unused": "return"}


@pytest.fixture(scope="module")
def one_sided(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Visit]:
    """What was measured of tests that end in one arm alone."""
    suite = Suite(tmp_path_factory.mktemp("one-sided"))
    tests = [
        f"def test_{arm}_{outcome}(benchmark):\n    if mine == {arm!r}: {body}\n    benchmark(work)\n"
        for arm in ("base", "head")
        for outcome, body in BODIES.items()
    ]
    suite.write(DIFFERENT + "".join(tests))
    with Arms([Arm(name, sys.executable, suite.home, path=(name,)) for name in NAMES], (), suite.folder) as arms:
        return {visit.id.partition("::")[2]: visit for visit in arms.visit(arms.collected["base"].ids, QUICK)}


@pytest.mark.parametrize("outcome", BODIES)
@pytest.mark.parametrize("arm", ["base", "head"])
def test_a_test_that_ends_in_one_arm_passes_in_the_others(one_sided: dict[str, Visit], outcome: str, arm: str) -> None:
    """An arm whose test came to `benchmark` and was let go has passed; it did not fail to use it."""
    visit = one_sided[f"test_{arm}_{outcome}"]
    assert {name: how for name, (how, _) in visit.ends.items()} == {**dict.fromkeys(NAMES, "passed"), arm: outcome}
    assert not visit.is_whole


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal SIGKILL"),
        ("print('last words'); sys.stdout.flush(); os._exit(3)", "exit code 3"),
    ],
)
def test_a_process_that_dies_ends_the_set_with_its_row(suite: Suite, body: str, reason: str) -> None:
    """The row says of every arm how it died, and is the last one."""
    suite.write(f"def test_a(benchmark):\n    {body}\ndef test_b(benchmark): benchmark(work)\n")
    (visit,) = suite.visits("base", "head").values()
    assert {name: how for name, (how, _) in visit.ends.items()} == {"base": "died", "head": "died"}
    assert reason in visit.ends["base"][1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_process_that_dies_in_a_turn_ends_the_set(suite: Suite) -> None:
    """One that dies at a later call is a row that died there."""
    suite.write(f"""{CLOCK}
def test_a(benchmark):
    calls = []
    def die():
        calls.append(clock.spend())
        if len(calls) > 200: os._exit(9)
    benchmark(die)
""")
    (visit,) = suite.visits(effort=Effort(rounds=50, turn_s=1e-3, row_s=1, timeout_s=20)).values()
    assert {arm: how for arm, (how, _) in visit.ends.items()} == dict.fromkeys(NAMES, "died")
    assert not visit.is_whole


ALIKE = {
    "exits-at-the-end": ("benchmark(clock.spend); os._exit(3)", "died"),
    "skips": ("benchmark(lambda: clock.spend() or next(calls, None) is not None or pytest.skip('enough'))", "skipped"),
    "exits": ("benchmark(lambda: clock.spend() or next(calls, None) is not None or os._exit(3))", "died"),
    "runs-out": ("benchmark(lambda: clock.spend() or next(calls))", "failed"),
}


@pytest.mark.parametrize(
    ("name", "first"),
    [(name, first) for number, name in enumerate(ALIKE) for first in range(3) if EXHAUSTIVE or name == "exits" or first == number % 3],
)
def test_what_ends_alike_is_said_of_every_arm(suite: Suite, name: str, first: int) -> None:
    """Whichever arm is asked first: the others come as far, and end as it did."""
    body, how = ALIKE[name]
    suite.write(f"{CLOCK}\ndef test_a(benchmark):\n    calls = iter(range(200))\n    {body}\n")
    with suite.arms(first=first) as arms:
        (visit,) = arms.visit(arms.collected["base"].ids, Effort(rounds=50, turn_s=1e-3, row_s=1, timeout_s=20))
    assert {arm: how for arm, (how, _) in visit.ends.items()} == dict.fromkeys(NAMES, how)


@pytest.mark.parametrize("body", ["time.sleep(60)", "benchmark.pedantic(time.sleep, args=(60,))"], ids=["before", "turn"])
def test_a_test_that_hangs_is_ended(suite: Suite, body: str) -> None:
    """It died, with the time in the reason, and its processes are gone."""
    suite.write(f"def test_a(benchmark):\n    {body}\n")
    with suite.arms("base") as arms:
        (visit,) = arms.visit(arms.collected["base"].ids, Effort(timeout_s=0.3))
    assert "no answer within 0.3 s; the process was ended" in visit.ends["base"][1]
    assert all(process._process.poll() is not None for process in arms.processes.values())


def test_a_file_that_cannot_be_collected_is_told_and_the_others_go_on(suite: Suite) -> None:
    """Its error is kept by its name."""
    suite.write("raise RuntimeError('broken file')", "test_broken.py")
    suite.write("def test_b(benchmark): benchmark(work)\n")
    with suite.arms("base", "head") as arms:
        collected = arms.collected["head"]
        assert collected.ids == ("test_it.py::test_b",)
        assert list(collected.errors) == ["test_broken.py"]
        assert "broken file" in collected.errors["test_broken.py"]
        assert [visit.is_whole for visit in arms.visit(collected.ids, QUICK)] == [True]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--no-such-option"], "pytest ended with 4 before it ran a test"),
        (["nowhere.py"], "file or directory not found"),
        (["--collect-only"], "--collect-only measures nothing"),
    ],
)
def test_a_suite_that_cannot_start_is_an_error(suite: Suite, arguments: list[str], reason: str) -> None:
    """The error names the arm, what pytest ended with, and what it printed."""
    suite.write("def test_b(benchmark): benchmark(work)\n")
    with pytest.raises(ArmError, match=reason) as refused:
        suite.arms("base", arguments=arguments)
    assert refused.value.arm == "base"


LACKING = {
    "option": ("unrecognized arguments: --no-such", {"pytest.ini": "[pytest]\naddopts = --no-such\n"}),
    "plugin": ('Error importing plugin "no_such_plugin"', {"pytest.ini": "[pytest]\naddopts = -p no_such_plugin\n"}),
    "conftest": ("No module named 'no_such_module'", {"conftest.py": "import no_such_module\n"}),
}


@pytest.mark.parametrize("case", LACKING)
def test_a_suite_that_lacks_a_package_says_how_to_install_it(suite: Suite, case: str) -> None:
    """An option or a plugin of the suite's settings, and what its conftest imports, may be of a package that is not installed."""
    printed, files = LACKING[case]
    for name, text in files.items():
        (suite.home / name).write_text(text)
    suite.write("def test_b(benchmark): benchmark(work)\n")
    with pytest.raises(ArmError, match=r"its environment lacks .*: add it with --install") as refused:
        suite.arms("base")
    assert printed in str(refused.value)


def test_a_suite_without_tests_has_no_rows(suite: Suite) -> None:
    """No error: the verdict is the judge's."""
    with suite.arms("base") as arms:
        assert arms.collected["base"].ids == ()


def test_arguments_choose(suite: Suite) -> None:
    """What pytest is given counts."""
    suite.write("def test_a(benchmark): benchmark(work)\ndef test_b(benchmark): benchmark(work)\n")
    with suite.arms("base", arguments=("-k", "test_b")) as arms:
        assert arms.collected["base"].ids == ("test_it.py::test_b",)


def test_versions_are_told(suite: Suite) -> None:
    """Python's and pytest's, as they are in the arm."""
    with suite.arms("base") as arms:
        found = arms.collected["base"].versions
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["pytest"] == pytest.__version__


def test_a_package_from_elsewhere_is_refused(suite: Suite) -> None:
    """Where both arms would import the same code, the comparison is refused, naming the file and the way out."""
    elsewhere = suite.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "toy.py").write_text("")
    suite.write("import toy\ndef test_b(benchmark): benchmark(work)\n")
    with pytest.raises(ArmError, match=r"imports toy from .*toy.py, which is not in its checkout .*no --same-env"):
        suite.arms("base", packages=("toy",), path=(str(elsewhere),))


def test_a_package_of_the_checkout_or_of_its_environment_is_welcome(suite: Suite) -> None:
    """The folders of the path come first, and the environment that was made for the checkout counts as its own."""
    for place in ("home/src", "made"):
        folder = suite.folder / place
        folder.mkdir()
        (folder / "toy.py").write_text("")
        suite.write("import toy\ndef test_b(benchmark): benchmark(work)\n")
        environment = None if place == "home/src" else folder
        with suite.arms("base", packages=("toy",), path=(str(folder),), environment=environment) as arms:
            assert len(arms.collected["base"].ids) == 1


def test_the_environment_of_an_arm() -> None:
    """The checkout's folders come before the user's, and what an arm sets itself is left out."""
    arm = Arm("base", sys.executable, Path(), path=("a", "b"))
    given = {"PYTHONPATH": "c", "PYTEST_ADDOPTS": "-k a", "PYTHONSAFEPATH": "1", "HOME": "/h"}
    separator = ";" if sys.platform == "win32" else ":"
    assert environment_of(arm, given) == {"PYTHONPATH": separator.join("abc"), "PYTEST_ADDOPTS": "-k a", "HOME": "/h"}
    assert environment_of(Arm("base", sys.executable, Path()), {}) == {}
    made = Arm("base", sys.executable, Path(), environment=Path("env"))
    assert environment_of(made, given) == {"PYTEST_ADDOPTS": "-k a", "HOME": "/h"}


HOLDS = """
def test_holds(benchmark):
    benchmark(lambda: bytearray(1_000_000))
def test_unsteady(benchmark):
    calls = []
    def grow():
        calls.append(1)
        return bytearray(100_000 * len(calls))
    benchmark.pedantic(grow, rounds=2)
"""


def block_memray(suite: Suite) -> tuple[str, ...]:
    """Return a path on which memray cannot be imported."""
    folder = suite.folder / "without"
    folder.mkdir()
    (folder / "memray.py").write_text("raise ImportError('blocked')")
    return (str(folder),)


@needs_memray
def test_footprints_by_memray(suite: Suite) -> None:
    """A steady call has one number, an unsteady one its least and most; peak and count."""
    suite.write(HOLDS)
    found = suite.visits(weighed=True)
    steady, unsteady = found["test_holds"].memory["head"], found["test_unsteady"].memory["head"]
    assert steady.instrument == "memray"
    assert steady.peak_bytes[0] == steady.peak_bytes[1] >= 1_000_000
    assert steady.allocations is not None
    assert steady.allocations[0] == steady.allocations[1] >= 1
    assert found["test_holds"].memory["base"] == steady
    assert unsteady.peak_bytes[1] - unsteady.peak_bytes[0] >= 300_000


def test_footprints_by_tracemalloc(suite: Suite) -> None:
    """Without memray there are bytes, and no counts."""
    suite.write(HOLDS)
    path = block_memray(suite)
    found = suite.visits("base", weighed=True, path=path)["test_holds"].memory["base"]
    assert (found.instrument, found.allocations) == ("tracemalloc", None)
    assert 1_000_000 <= found.peak_bytes[0] < 1_010_000


def test_what_a_runner_of_ours_holds_is_told(suite: Suite) -> None:
    """The fixture `mlbench` says it, of runners by themselves and of what a test names; a plain benchmark says nothing."""
    suite.write("""
import mlbench as m, numpy as np
def test_runner(mlbench):
    runner = m.OptimizedRunner(m.mlp(4, (8,), 2), 3)
    mlbench(runner.run, np.zeros((3, 4), np.float32))
def test_named(mlbench): mlbench(work, holds=12_345)
def test_plain(benchmark): benchmark(work)
""")
    found = {name: visit.memory["head"].held_bytes for name, visit in suite.visits(weighed=True).items()}
    assert found["test_plain"] is None
    assert found["test_named"] == (12_345, 12_345)
    assert found["test_runner"] is not None
    assert found["test_runner"][0] > 100


@needs_memray
def test_planted_memory_is_found_exactly(suite: Suite) -> None:
    """A held array adds its bytes to the peak and one allocation; one that is freed at once adds the allocation."""
    suite.write(
        "def test_a(benchmark): benchmark(lambda: bytearray(50_000))\ndef test_b(benchmark): benchmark(lambda: bytearray(50_000))\n"
    )
    plants = {"test_it.py::test_a": {"bytes": 4096}, "test_it.py::test_b": {"allocation": 4096}}
    found = suite.visits("base", "head", weighed=True, plants=plants)
    for name, more in (("test_a", 4096), ("test_b", 0)):
        base, head = found[name].memory["base"], found[name].memory["head"]
        assert base.allocations is not None
        assert head.allocations == (base.allocations[0] + 1, base.allocations[1] + 1)
        assert head.peak_bytes[0] - base.peak_bytes[0] in range(more, more + 200)


def test_a_planted_slowdown_is_measured(suite: Suite) -> None:
    """Three times more work takes four times as long, in the planted row of the head alone."""
    suite.write(f"{CLOCK}def test_a(benchmark): benchmark(clock.spend)\ndef test_b(benchmark): benchmark(clock.spend)\n")
    found = suite.visits(effort=Effort(rounds=9, turn_s=1e-3, timeout_s=20), plants={"test_it.py::test_a": {"slower": 3.0}})
    ratios = {
        name: median([head / base for base, head in zip(visit.rounds_s["base"], visit.rounds_s["head"], strict=True)])
        for name, visit in found.items()
    }
    assert ratios == pytest.approx({"test_a": 4, "test_b": 1}, rel=1e-3)


@needs_memray
def test_a_flame_graph_is_drawn_by_each_arm(suite: Suite) -> None:
    """Each has a page; a target that can be called once has none."""
    suite.write("def test_a(benchmark): benchmark(lambda: bytearray(9999))\ndef test_b(benchmark): benchmark.pedantic(work)\n")
    with suite.arms("base", "head") as arms:
        rows = arms.collected["base"].ids
        drawn = dict(arms.draw(rows, {row: suite.folder / row[-6:] for row in rows}, 60))
    assert drawn["test_it.py::test_b"] == {}
    assert set(drawn["test_it.py::test_a"]) == {"base", "head"}
    for page in drawn["test_it.py::test_a"].values():
        assert "<html" in Path(page).read_text(encoding="utf-8")
    assert not list(suite.folder.glob("*.bin"))


def test_without_memray_the_reason_stands_for_the_page(suite: Suite) -> None:
    """There is no page, and the reason is told instead."""
    suite.write("def test_a(benchmark): benchmark(work)\n")
    with suite.arms("base", path=block_memray(suite)) as arms:
        drawn = dict(arms.draw(arms.collected["base"].ids, {"test_it.py::test_a": suite.folder / "a"}, 60))
    assert drawn == {"test_it.py::test_a": {"base": NO_MEMRAY}}


def test_the_time_of_a_setup_counts(suite: Suite) -> None:
    """A slow setup before a quick target leaves a row its time, with few calls, instead of a thousand setups a turn."""
    suite.write(f"""{CLOCK}
count = []
def test_a(benchmark):
    def setup(): count.append(1); clock.spend(0.005)
    benchmark.pedantic(dict, setup=setup, rounds=3)
    print(len(count))
    assert len(count) < 60
""")
    (visit,) = suite.visits(effort=Effort(rounds=20, turn_s=1e-3, row_s=0.2, timeout_s=20)).values()
    assert visit.ends == PASSED
    assert 1 <= len(visit.rounds_s["head"]) <= 8
    assert median(visit.rounds_s["head"]) < 1e-3


def test_a_target_that_one_version_may_call_once_is_compared_with_no_other(suite: Suite) -> None:
    """A cold call beside warm ones would be a difference of the suites, not of the code."""
    suite.write(DIFFERENT + "def test_a(benchmark): benchmark.pedantic(work, rounds=1 if mine == 'head' else 5)\n")
    with Arms([Arm(name, sys.executable, suite.home, path=(name,)) for name in NAMES], (), suite.folder) as arms:
        (visit,) = arms.visit(arms.collected["base"].ids, QUICK)
    assert {name: how for name, (how, _) in visit.ends.items()} == {"base": "passed", "control": "passed", "head": "unlike"}
    assert visit.rounds_s == {}


def test_a_test_that_a_plugin_begins_again_is_told_once(suite: Suite) -> None:
    """What runs it a second time changes neither the rounds nor that the others go on."""
    (suite.home / "conftest.py").write_text("""
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, nextitem=nextitem, log=False)
    item._initrequest()
    for report in runtestprotocol(item, nextitem=nextitem, log=False): item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    suite.write("def test_a(benchmark): benchmark(work)\ndef test_b(benchmark): benchmark(work)\n")
    found = suite.visits()
    assert [visit.ends for visit in found.values()] == [PASSED, PASSED]
    assert all(visit.is_whole for visit in found.values())


def test_a_test_that_is_begun_again_in_a_turn_failed(suite: Suite) -> None:
    """Its target raised there; that a plugin runs it once more does not end the run."""
    (suite.home / "conftest.py").write_text("""
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports: item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    suite.write(f"""{CLOCK}
calls = []
def target():
    calls.append(clock.spend())
    if len(calls) == 200: raise LookupError
def test_a(benchmark): benchmark(target)
def test_b(benchmark): benchmark(work)
""")
    found = suite.visits("base", effort=Effort(rounds=20, turn_s=1e-3, row_s=1, timeout_s=20))
    assert [visit.ends["base"][0] for visit in found.values()] == ["failed", "passed"]


def test_a_slow_first_call_is_not_what_a_call_costs(suite: Suite) -> None:
    """One that imports or compiles is made again before the rounds are counted out."""
    suite.write(f"""{CLOCK}
first = []
def target():
    if not first:
        first.append(1)
        clock.spend(0.25)
    clock.spend()
def test_a(benchmark): benchmark(target)
""")
    (visit,) = suite.visits(effort=Effort(rounds=5, turn_s=1e-3, row_s=1, timeout_s=20)).values()
    assert len(visit.rounds_s["base"]) == 5
    assert median(visit.rounds_s["base"]) == pytest.approx(1e-5, rel=1e-3)


def test_an_interpreter_that_is_gone_is_an_error(suite: Suite) -> None:
    """It names the arm, and the arms that had been started are ended."""
    arms = [Arm("base", sys.executable, suite.home), Arm("head", str(suite.home / "python"), suite.home)]
    with pytest.raises(ArmError, match="cannot be started") as refused:
        Arms(arms, (), suite.folder)
    assert refused.value.arm == "head"


def test_a_file_that_skips_itself_says_why(suite: Suite) -> None:
    """It is told with its reason, and is no error."""
    suite.write("pytest.skip('no GPU here', allow_module_level=True)\n", "test_gpu.py")
    suite.write("pytest.importorskip('no_such_module')\n", "test_import.py")
    suite.write("def test_b(benchmark): benchmark(work)\n")
    with suite.arms("base") as arms:
        collected = arms.collected["base"]
    assert (collected.ids, collected.errors) == (("test_it.py::test_b",), {})
    assert sorted(collected.skipped) == ["test_gpu.py", "test_import.py"]
    assert "no GPU here" in collected.skipped["test_gpu.py"]
    assert "no_such_module" in collected.skipped["test_import.py"]


def test_a_package_that_a_test_would_import_from_elsewhere_is_an_error(suite: Suite, tmp_path: Path) -> None:
    """Also where nothing has imported it yet when the suite is collected."""
    place = tmp_path / "installed"
    (place / "toy").mkdir(parents=True)
    (place / "toy/__init__.py").touch()
    suite.write("def test_b(benchmark):\n    import toy\n    benchmark(work)\n")
    with pytest.raises(ArmError, match=r"it imports toy from .*installed.*which is not in its checkout"):
        suite.arms("base", packages=("toy", "never"), path=(str(place),))
    (suite.home / "toy.py").touch()
    with suite.arms("base", packages=("toy",), path=(str(suite.home), str(place))) as arms:
        assert arms.collected["base"].ids == ("test_it.py::test_b",)


@pytest.mark.skipif(sys.platform != "linux", reason="only there the kernel ends it")
def test_an_arm_ends_with_its_parent(suite: Suite) -> None:
    """A test that hangs does not outlive a parent that was killed."""
    suite.write("def test_a(benchmark): time.sleep(600)\n")
    parent = f"""
import sys, time
from pathlib import Path
from mlbench.studies.ab.process import Arm
from mlbench.studies.ab.interleave import Arms
arms = Arms([Arm("base", sys.executable, Path({str(suite.home)!r}))], (), Path({str(suite.folder)!r}))
arms.processes["base"].tell(test="", order=list(arms.collected["base"].ids))
arms.processes["base"].tell(test=arms.collected["base"].ids[0], run=True)
print(arms.processes["base"]._process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        arm = Path(f"/proc/{int(process.stdout.readline())}")
        assert arm.exists()
        process.kill()
    ends = time.monotonic() + 20
    while arm.exists() and "Z" not in (arm / "stat").read_text().rpartition(")")[2].split()[0] and time.monotonic() < ends:
        time.sleep(0.05)
    assert time.monotonic() < ends


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.stdout.write('{\"ready')", "the process died (exit code 0)"),
        ("import os, time; os.close(1); time.sleep(600)", "it closed its channel, lived on, and was ended"),
    ],
    ids=["cut", "closed"],
)
def test_a_channel_that_ends_is_the_end_of_the_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str) -> None:
    """Half a message, or a process that lives on without its channel, is told as a death and ends in time."""
    (tmp_path / "script.py").write_text(script)
    monkeypatch.setattr(process, "SCRIPT", tmp_path / "script.py")
    monkeypatch.setattr("mlbench.measure.process.END_S", 0.2)
    arm = ArmProcess(Arm("base", sys.executable, tmp_path), (), tmp_path / "log")
    with pytest.raises(ArmError) as died:
        arm.answer(20)
    assert reason in str(died.value)
    arm.stop()


class Answering:
    """Stands for a process: a test that is ready, and turns of 2 s, or 5 s where they are interrupted, that are written down."""

    def __init__(self, name: str, diary: list[tuple[str, int, bool]], **ready: Any) -> None:
        self.name, self.diary = name, diary
        self.cores: list[int | None] = []
        self.interrupted: Callable[[int], bool] = lambda turn: False
        self.ready = {"ready": True, "once": False, "cost_s": 1e-4, "left": None, "coroutine": False, "calls": 1, **ready}
        self.ready = {"whole_s": self.ready["cost_s"], **self.ready}
        self.waiting: list[dict[str, Any]] = []

    def tell(self, **request: Any) -> None:
        """Prepare the answer."""
        if "run" in request:
            self.waiting.append(self.ready)
        elif "turn" in request:
            is_interrupted = self.interrupted(len(self.cores))
            self.diary.append((self.name, request["turn"], request["warm_up"]))
            self.cores.append(request.get("core"))
            self.waiting.append({"s": 5.0 if is_interrupted else 2.0, "interrupted": int(is_interrupted), "calls": 1})
        elif "go" in request:
            self.waiting.append({"ended": True, "outcome": "passed", "text": ""})

    def answer(self, timeout_s: float, test: str | None = None) -> dict[str, Any]:
        """Give it."""
        return self.waiting.pop(0)


def answering(diary: list[tuple[str, int, bool]], first: int = 0, **ready: Any) -> tuple[Arms, dict[str, Answering]]:
    """Return arms whose processes only answer, on a machine of two cores that may be used."""
    arms = object.__new__(Arms)
    arms._first = arms._place = first
    arms._cores = [4, 7]
    arms._made, arms._asked = {}, 0
    processes = {name: Answering(name, diary, **ready) for name in NAMES}
    arms.processes = processes  # type: ignore[assignment]  # what is asked of them they do
    return arms, processes


def turns(effort: Effort, first: int = 0, **ready: Any) -> tuple[list[tuple[str, int, bool]], Visit]:
    """Return who took turns of how many calls, and what came of it."""
    diary: list[tuple[str, int, bool]] = []
    arms, _ = answering(diary, first, **ready)
    (visit,) = arms.visit(["row"], effort)
    return diary, visit


def test_turns_go_forwards_and_backwards_and_another_arm_starts_each_round() -> None:
    """ABBA over three arms; a round counts the mean of both turns."""
    diary, visit = turns(Effort(rounds=2, turn_s=1e-3))
    assert [name for name, _, _ in diary] == [*NAMES, *NAMES[::-1], "head", "control", "base", "base", "control", "head"]
    assert {(calls, warm_up) for _, calls, warm_up in diary} == {(10, True)}
    assert visit.rounds_s == {name: [2.0, 2.0] for name in NAMES}


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_another_arm_begins_in_each_set(first: int) -> None:
    """Also a target that may be called once only is not always called first in the base."""
    diary, _ = turns(Effort(), first, once=True, cost_s=None)
    assert [name for name, _, _ in diary] == [NAMES[(first + place) % 3] for place in range(3)]


@pytest.mark.parametrize(
    ("ready", "calls", "warm_up", "rounds"),
    [
        ({"cost_s": 0.5}, 1, False, 1),
        ({"cost_s": 0.05}, 1, False, 3),
        ({"cost_s": 1e-5}, 100, True, 20),
        ({"cost_s": 1e-5, "whole_s": 1e-4}, 83, True, 20),
        ({"cost_s": 1e-5, "whole_s": 0.02}, 1, True, 8),
        ({"cost_s": 1e-5, "whole_s": 5.0}, 1, True, 1),
        ({"once": True, "cost_s": None}, 1, False, 1),
    ],
    ids=["long", "longer", "short", "setup", "slow-setup", "slower-setup", "once"],
)
def test_the_effort_decides_calls_and_rounds(ready: dict[str, Any], calls: int, warm_up: bool, rounds: int) -> None:
    """A turn is filled with calls; where they are long, or what is around them, there are fewer calls and rounds; a single one is once."""
    diary, visit = turns(Effort(rounds=20, turn_s=1e-3, row_s=1.0), **ready)
    assert set(diary) == {(name, calls, warm_up) for name in NAMES}
    assert len(visit.rounds_s["base"]) == rounds
    assert len(diary) == rounds * len(NAMES) * (1 if visit.once else 2)


def test_the_arms_of_a_row_run_on_one_core_and_those_of_the_next_on_another() -> None:
    """An arm with a core and its caches to itself would be faster than two that share one, in the whole set."""
    arms, processes = answering([])
    for _ in range(2):
        list(arms.visit(["row"], Effort(rounds=2)))
    for each in processes.values():
        assert each.cores == [7] * 4 + [4] * 4


def test_another_set_begins_on_another_core() -> None:
    """So that no row has its own."""
    for first, core in ((0, 7), (1, 4)):
        arms, processes = answering([], first)
        list(arms.visit(["row"], Effort(rounds=1)))
        assert processes["base"].cores == [core] * 2


def test_a_disturbed_round_moves_on_is_made_up_for_and_does_not_count() -> None:
    """The third turn of the head, in its second round, is interrupted."""
    arms, processes = answering([])
    processes["head"].interrupted = lambda turn: turn == 2
    (visit,) = arms.visit(["row"], Effort(rounds=8))
    assert visit.rounds_s == {name: [2.0] * 8 for name in NAMES}
    assert processes["control"].cores == [7] * 4 + [4] * 14


def test_where_most_rounds_are_disturbed_all_of_them_count() -> None:
    """It may be the target that interrupts itself: twice the rounds, and none is left out."""
    arms, processes = answering([])
    processes["head"].interrupted = lambda turn: turn % 8 != 0
    (visit,) = arms.visit(["row"], Effort(rounds=8))
    assert visit.rounds_s["head"] == [3.5, 5.0, 5.0, 5.0] * 4


def test_a_few_long_rounds_are_not_made_up_for() -> None:
    """Calls so long that a row has few rounds are interrupted now and then; all of them count, and the time of a row stays what it is."""
    arms, processes = answering([], cost_s=0.05)
    processes["base"].interrupted = lambda turn: turn == 0
    (visit,) = arms.visit(["row"], Effort(rounds=20))
    assert visit.rounds_s["base"] == [3.5, 2.0, 2.0]


def test_moving_to_a_core_leaves_a_thread_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may run where it might before, and so may the threads it starts; a core that is not allowed is left alone."""
    asked: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {4, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: asked.append(set(cores)), raising=False)
    for core in (7, 5, None):
        arm_target.move_to(core)
    assert asked == [{7}, {4, 7}]


def test_a_system_that_moves_no_thread_measures_it_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may refuse; the test does not fail for that."""

    def refuse(thread: int, cores: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {4, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    arm_target.move_to(4)


def test_a_turn_says_how_often_it_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the clock ran, in all of its calls: what happens in a warm-up or a setup does not count."""
    counts = itertools.count()
    monkeypatch.setattr(arm_target, "interruptions", lambda: next(counts))
    bare = arm_target.Target(int, (), {})
    bare.turn(5, warm_up=True)
    assert bare.interrupted == 1
    with_setup = arm_target.Target(int, (), {}, setup=lambda: None)
    with_setup.turn(3, warm_up=False)
    assert with_setup.interrupted == 3


def test_a_system_that_cannot_count_interruptions_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the module, as on Windows, or without the count of a thread, as on macOS."""
    for module in (None, SimpleNamespace()):
        monkeypatch.setattr(arm_target, "resource", module)
        assert arm_target.interruptions() == 0


def test_data_lie_elsewhere_in_each_process(suite: Suite) -> None:
    """The same code puts an array at other places of a page in the processes of a set, so that no version keeps a lucky one."""
    suite.write(
        """
def test_a(benchmark):
    data = bytearray(3000)
    where = (ctypes.c_char * 3000).from_buffer(data)
    with open(os.environ["PLACES"], "a") as file: file.write("%d " % (ctypes.addressof(where) % 4096))
    benchmark(len, data)
""".replace("def test_a", "import ctypes\ndef test_a", 1)
    )
    places = suite.folder / "places"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PLACES", str(places))
        for _ in range(2):
            suite.visits()
    found = places.read_text().split()
    assert len(found) == 6
    assert len(set(found)) > 2


def test_rows_of_a_file_stay_together() -> None:
    """The order is random, but for the files, of which each is left when it is through."""
    rows = [f"{file}.py::test_{number}" for file in "abc" for number in range(5)]
    found = shuffled(rows, random.Random(3))
    assert sorted(found) == rows
    assert found != rows
    files = [row[0] for row in found]
    assert len([one for one, other in itertools.pairwise(files) if one != other]) == 2


def tops(tree: ast.Module) -> set[str]:
    """Return what a module imports at its top level."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("file", sorted(SCRIPT.glob("*.py")), ids=lambda file: file.name)
def test_an_arm_needs_pytest_alone_and_python_38(file: Path) -> None:
    """It is brought into any environment by its path: it imports nothing else, and Python 3.8 can read it."""
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert tops(tree) <= sys.stdlib_module_names | {"__future__", "pytest"}
    assert "mlbench" not in {name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in (each.name for each in node.names)}


def test_a_hiccup_is_not_what_a_call_costs(suite: Suite) -> None:
    """One long call among short ones does not leave a row with a call a turn."""
    suite.write(f"""{CLOCK}
calls = []
def target():
    calls.append(1)
    clock.spend(0.1 if len(calls) == 2 else 1e-5)
def test_a(benchmark): benchmark(target)
""")
    (visit,) = suite.visits(effort=Effort(rounds=5, turn_s=1e-3, row_s=1, timeout_s=20)).values()
    assert len(visit.rounds_s["base"]) == 5
