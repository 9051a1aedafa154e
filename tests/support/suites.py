"""Small projects that have what other people's suites have, and what an A/B is to say of each.

`toy.work` is what they measure, and `toy.SCALE` makes it slower. A project says what its verdict is where both versions are equal, which of
its rows are red where one is slower, and what has to be named where something cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SLOWER = 1.3
TOY = """
import time
SCALE = {scale}
def work(n=2000):
    return sum(range(int(n * SCALE)))
"""
HEAD = "import os, signal, subprocess, sys, threading, time\nimport pytest\nfrom toy import work\n"
MODULES = {"test_it.py", "helping.py"}
"""Files that can lie beside those of other projects, the first one under another name."""
PLAIN = "def test_plain(benchmark): benchmark(work)\n"


@dataclass(frozen=True, slots=True)
class Situation:
    """A project, and what an A/B of it is to say.

    Attributes:
        files: name to text; `test_it.py` gets the imports that most need.
        equal: verdict where both versions are equal.
        rows: its benchmarks, without their file; what is slower is red in each of them.
        says: a part of what is named, where something is not compared.
        needs: distributions that it needs besides pytest and pytest-benchmark.
        head: files that the second version has in their place.
        variables: environment variables.
        arguments: for pytest.
    """

    files: Mapping[str, str]
    rows: tuple[str, ...]
    equal: str = "pass"
    says: str = ""
    needs: tuple[str, ...] = ()
    head: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def is_one_file(self) -> bool:
        """Whether it passes and is a file of tests alone, that needs no option, no variable and no further distribution."""
        return self.equal == "pass" and not (self.needs or self.head or self.variables or self.arguments or {*self.files} - MODULES)

    def write(self, folder: Path, *, is_head: bool, scale: float = 1.0) -> None:
        """Write one version of the project."""
        for name, text in {"toy.py": TOY.format(scale=scale), **self.files, **(self.head if is_head else {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(HEAD + text if path.name.startswith("test_") else text, encoding="utf-8")


def renamed(text: str, name: str) -> str:
    """Return a text with the name that a project's file of tests has in one project of several."""
    return text.replace("test_it.py", f"test_{name.replace('-', '_')}.py")


def one_project(situations: Mapping[str, Situation]) -> Situation:
    """Return a project that has the files of several."""
    files = {renamed(path, name): text for name, each in situations.items() for path, text in each.files.items()}
    return Situation(files, tuple(renamed(row, name) for name, each in situations.items() for row in each.rows))


def _one(text: str, rows: str, **more: object) -> Situation:
    """Return a project of one test file; `more` is for Situation."""
    files = {"test_it.py": text, **dict(more.pop("also", {}))}  # type: ignore[call-overload]  # a mapping
    return Situation(files, tuple(f"test_it.py::{row}" for row in rows.split()), **more)  # type: ignore[arg-type]


SITUATIONS: dict[str, Situation] = {
    "plain": _one(PLAIN, "test_plain"),
    "classes": _one("class TestA:\n    def test_m(self, benchmark): benchmark(work)\n", "TestA::test_m"),
    "unittest": _one(
        """
import unittest
class Case(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def keep(self, benchmark): self.benchmark = benchmark
    def test_a(self): self.benchmark(work)
""",
        "Case::test_a",
    ),
    "by-name": _one(
        """
@pytest.fixture
def timed(request): return request.getfixturevalue("benchmark")
def test_hidden(timed): timed(work)
def test_other(tmp_path): pass
""",
        "test_hidden",
    ),
    "helper-class": _one(
        """
from helping import Helper
@pytest.fixture
def helper(request): return Helper(request)
def test_hidden(helper): helper.time(work)
""",
        "test_hidden",
        also={
            "helping.py": """
class Helper:
    def __init__(self, request): self.request = request
    def time(self, call): return self.request.getfixturevalue("benchmark")(call)
"""
        },
    ),
    "autouse": _one(
        """
class TestA:
    @pytest.fixture(autouse=True)
    def keep(self, request): self.b = request.getfixturevalue("benchmark")
    def test_hidden(self): self.b(work)
""",
        "TestA::test_hidden",
    ),
    "pytest-in-pytest": _one(
        """
pytest_plugins = ("pytester",)
def test_inner(pytester, benchmark):
    pytester.makepyfile("def test_i(benchmark): assert benchmark(lambda: 3) == 3 and not getattr(benchmark, 'takes_turns', False)")
    pytester.inline_run("-p", "no:mlbench", "--benchmark-max-time=0.01").assertoutcome(passed=1)
    benchmark(work)
""",
        "test_inner",
    ),
    "mark-only": _one(
        PLAIN + "@pytest.mark.benchmark\ndef test_marked(): work()\n", "test_plain", says="test_it.py::test_marked: the mark `benchmark`"
    ),
    "set-of-parameters": _one(
        """
@pytest.mark.parametrize("pair", {("a", 500), ("b", 1000), ("c", 4000), ("d", 8000)})
def test_pair(benchmark, pair): benchmark(work, pair[1])
""",
        "test_pair[pair0] test_pair[pair1] test_pair[pair2] test_pair[pair3]",
    ),
    "asyncio-run": _one(
        "import asyncio\nasync def job(): return work()\ndef test_run(benchmark): benchmark(lambda: asyncio.run(job()))\n", "test_run"
    ),
    "coroutine": _one(
        """
async def job(): return work()
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_job(benchmark): benchmark(job)
"""
        + PLAIN,
        "test_plain",
        says="a call makes a coroutine and does not run it",
    ),
    "pytest-asyncio": _one(
        "async def test_async(): pass\n" + PLAIN,
        "test_plain",
        needs=("pytest-asyncio",),
        also={"pytest.ini": "[pytest]\nasyncio_mode = auto\n"},
    ),
    "xdist": _one(PLAIN, "test_plain", needs=("pytest-xdist",), also={"pytest.ini": "[pytest]\naddopts = -n2\n"}),
    "reruns": _one(
        """
seen = []
@pytest.mark.flaky(reruns=2)
def test_flaky(benchmark):
    seen.append(1)
    if len(seen) == 1: raise OSError("the first attempt")
    benchmark(work)
"""
        + PLAIN,
        "test_plain",
        needs=("pytest-rerunfailures",),
        also={"pytest.ini": "[pytest]\naddopts = --reruns 1\n"},
    ),
    "random-order": _one(
        "import random\ndef test_random(benchmark): benchmark(work, random.choice([100, 10_000]))\n",
        "test_random",
        needs=("pytest-randomly",),
        also={"pytest.ini": "[pytest]\naddopts = -p randomly\n"},
    ),
    "seeded-order": _one(PLAIN, "test_plain", needs=("pytest-randomly",), also={"pytest.ini": "[pytest]\naddopts = --randomly-seed=42\n"}),
    "xdist-off": _one(PLAIN, "test_plain", needs=("pytest-xdist",), also={"pytest.ini": "[pytest]\naddopts = -p no:xdist\n"}),
    "cache": _one(
        "def test_cached(benchmark, pytestconfig): benchmark(work, pytestconfig.cache.get('n', 2000))\n",
        "test_cached",
        also={"pytest.ini": "[pytest]\naddopts = --ff --strict-config\ncache_dir = .cache/pytest\n"},
    ),
    "timeouts": _one(PLAIN, "test_plain", needs=("pytest-timeout",), also={"pytest.ini": "[pytest]\ntimeout = 2\n"}),
    "own-limit": _one(
        """
@pytest.mark.timeout(1)
def test_limited(benchmark): benchmark(time.sleep, .15)
@pytest.mark.parametrize("n", range(3))
def test_neighbour(benchmark, n): benchmark(work)
""",
        "test_neighbour[0] test_neighbour[1] test_neighbour[2]",
        needs=("pytest-timeout",),
    ),
    "limit-by-alarm": _one(
        """
@pytest.fixture
def limit():
    def stop(number, frame): raise TimeoutError("the test's own limit")
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
def test_limited(benchmark, limit): benchmark(time.sleep, .05)
@pytest.mark.parametrize("n", range(3))
def test_neighbour(benchmark, n): benchmark(work)
""",
        "test_neighbour[0] test_neighbour[1] test_neighbour[2]",
        equal="broken",
        says="the test's own limit",
    ),
    "skip-in-mid-turn": _one(
        """
calls = []
def target():
    calls.append(1)
    if len(calls) > 30: pytest.skip("enough")
    time.sleep(1e-3)
def test_skips(benchmark): benchmark(target)
"""
        + PLAIN,
        "test_plain",
        says="enough",
    ),
    "exits": _one(
        """
def test_exits(benchmark):
    benchmark(work)
    os._exit(3)
"""
        + PLAIN,
        "test_plain",
        equal="broken",
        says="exit code 3",
    ),
    "thread-that-fails": _one(
        """
def fail(): raise ValueError("in a thread")
@pytest.mark.filterwarnings("ignore")
def test_thread(benchmark):
    threading.Thread(target=fail).start()
    benchmark(work)
""",
        "test_thread",
    ),
    "server-ended-by-sigint": _one(
        """
@pytest.fixture(scope="module")
def server():
    child = subprocess.Popen([sys.executable, "-c", "import time\\ntry: time.sleep(60)\\nexcept KeyboardInterrupt: raise SystemExit(0)"])
    time.sleep(0.3)
    yield child
    child.send_signal(signal.SIGINT)
    assert child.wait(5) == 0
def test_served(benchmark, server): benchmark(work)
""",
        "test_served",
    ),
    "ctrl-c": _one(
        """
def test_interrupt(benchmark):
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    benchmark(work)
""",
        "test_interrupt",
    ),
    "fork": _one(
        """
def forked():
    child = os.fork()
    if not child: os._exit(0)
    os.waitpid(child, 0)
    return work(200_000)
def test_fork(benchmark): benchmark(forked)
""",
        "test_fork",
    ),
    "process-pool": _one(
        """
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as made: yield made
def test_pool(benchmark, pool): benchmark(lambda: pool.submit(work, 400_000).result())
""",
        "test_pool",
    ),
    "thread-pool": _one(
        """
from concurrent.futures import ThreadPoolExecutor
@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as made: yield made
def test_pool(benchmark, pool): benchmark(lambda: pool.submit(work, 100_000).result())
""",
        "test_pool",
    ),
    "namespace-package": Situation(
        {"space/part/code.py": "from toy import work\n", "tests/test_it.py": "from space.part.code import work\n" + PLAIN},
        ("tests/test_it.py::test_plain",),
    ),
    "same-names": Situation(
        {
            "a/test_it.py": PLAIN,
            "b/test_it.py": PLAIN,
            "pytest.ini": "[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n",
        },
        ("a/test_it.py::test_plain", "b/test_it.py::test_plain"),
    ),
    "odd-ids": _one(
        """
@pytest.mark.parametrize("n", [2000], ids=["x" * 11_000])
def test_long(benchmark, n): benchmark(work, n)
@pytest.mark.parametrize("n", [2000], ids=["a::b[c] d/e\\nf"])
def test_odd(benchmark, n): benchmark(work, n)
""",
        "",
        also={"pytest.ini": "[pytest]\ndisable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n"},
    ),
    "unstable-ids": _one(
        """
@pytest.mark.parametrize("n", [2000], ids=[os.urandom(8).hex()])
def test_unstable(benchmark, n): benchmark(work, n)
"""
        + PLAIN,
        "test_plain",
        equal="inconclusive",
        says="its name changes from one process to the next",
    ),
    "strict": _one(
        PLAIN,
        "test_plain",
        also={
            "pytest.ini": "[pytest]\naddopts = --strict-markers --strict-config -p no:asyncio\nxfail_strict = true\nfilterwarnings = error\n"
        },
    ),
    "coverage": _one(PLAIN, "test_plain", needs=("pytest-cov",), also={"pytest.ini": "[pytest]\naddopts = --cov=toy --cov-context=test\n"}),
    "plugins-off": _one(
        PLAIN,
        "test_plain",
        variables={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        also={"pytest.ini": "[pytest]\naddopts = -p pytest_benchmark.plugin\n"},
    ),
    "arguments-by-variable": _one(
        PLAIN + "def test_slow(benchmark): time.sleep(60)\n", "test_plain", variables={"PYTEST_ADDOPTS": "-k plain"}
    ),
    "keys-that-run-out": _one(
        "keys = iter(range(500))\ndef test_keys(benchmark): benchmark.pedantic(lambda: (work(), next(keys)), rounds=400)\n",
        "test_keys",
        says="cannot be called more often than the rounds of pedantic say",
    ),
    "fails-after-some-calls": _one(
        "keys = iter(range(300))\ndef test_keys(benchmark): benchmark(lambda: (work(), next(keys)))\n" + PLAIN,
        "test_plain",
        equal="broken",
        says="StopIteration",
    ),
    "fails-alike": _one(
        "@pytest.mark.parametrize('n', range(9))\ndef test_broken(benchmark, n): import no_such_module\n" + PLAIN,
        "test_plain",
        equal="broken",
        says="and 8 more: failed in both versions alike: ModuleNotFoundError",
    ),
    "statistics": _one(
        "def test_fast(benchmark):\n    benchmark(work)\n    assert benchmark.stats.stats.mean < 1 and benchmark.stats['rounds'] > 0\n",
        "test_fast",
    ),
    "own-clock": _one("@pytest.mark.benchmark(timer=time.process_time)\ndef test_cpu(benchmark): benchmark(work)\n", "test_cpu"),
    "frozen-clock": _one(
        "def test_frozen(benchmark, monkeypatch):\n    monkeypatch.setattr(time, 'perf_counter', lambda: 1.0)\n    benchmark(work)\n",
        "test_frozen",
    ),
    "wrapped-fixture": _one(
        "@pytest.fixture\ndef benchmark(benchmark):\n    benchmark.extra_info['lab'] = 1\n    return benchmark\n" + PLAIN, "test_plain"
    ),
    "all-skipped": _one("pytestmark = pytest.mark.skip(reason='no GPU here')\n" + PLAIN, "", equal="regression", says="no GPU here"),
    "pedantic-setup": _one(
        """
def test_setup(benchmark):
    held = []
    def setup(): held[:] = [2000]
    benchmark.pedantic(lambda: work(held.pop()), setup=setup, rounds=50)
""",
        "test_setup",
    ),
    "once": _one("def test_once(benchmark): benchmark.pedantic(lambda: work(100_000))\n", "test_once"),
    "working-directory": _one(
        "def test_here(benchmark, tmp_path, monkeypatch):\n    monkeypatch.chdir(tmp_path)\n    benchmark(work)\n", "test_here"
    ),
    "noise": _one(
        "def test_noise(benchmark):\n    benchmark(lambda: (os.write(1, b'{\"s\": 1}\\n'), os.write(2, b'x'), work(50_000)))\n",
        "test_noise",
    ),
    "benchmarks-disabled": _one(PLAIN, "test_plain", also={"pytest.ini": "[pytest]\naddopts = --benchmark-disable\n"}),
    "benchmarks-only-and-saved": _one(
        PLAIN + "def test_other(): assert False\n",
        "test_plain",
        also={"pytest.ini": "[pytest]\naddopts = --benchmark-only --benchmark-autosave\n"},
    ),
    "parameters-renamed": _one(
        "@pytest.mark.parametrize('n', [2000], ids=['old'])\ndef test_it(benchmark, n): benchmark(work, n)\n" + PLAIN,
        "test_plain",
        equal="missing",
        says="the same tests in both versions, with other parameters",
        head={"test_it.py": "@pytest.mark.parametrize('n', [2000], ids=['new'])\ndef test_it(benchmark, n): benchmark(work, n)\n" + PLAIN},
    ),
    "fixed-port": _one(
        """
import socket
@pytest.fixture(scope="module")
def server():
    made = socket.create_server(("127.0.0.1", 47_613), reuse_port=False)
    yield made
    made.close()
def test_served(benchmark, server): benchmark(work)
""",
        "",
        equal="inconclusive",
        says="wants a port that another arm holds",
    ),
    "monorepo": Situation(
        {"one/test_it.py": PLAIN, "one/pytest.ini": "[pytest]\npythonpath = ..\n", "two/test_it.py": "raise RuntimeError\n"},
        ("test_it.py::test_plain",),
        arguments=("one",),
    ),
    "unknown-plugin-option": _one(
        PLAIN, "", equal="", says="--install", also={"pytest.ini": "[pytest]\naddopts = --no-such-plugin-option\n"}
    ),
}
"""Name to project."""
