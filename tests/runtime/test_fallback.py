"""A system that no longer gives memory that code may run in: NumPy's calls run, and a warning says so."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from mlbench import OptimizedRunner, mlp
from mlbench.compiler import x86 as machine
from mlbench.compiler.schedule.schedule import ONE, SPLIT, TILES, OpSchedule, Schedule
from mlbench.errors import CodeError, CodeWarning
from mlbench.runtime import check_result
from support.strategies import batch_of

FOUND, WHY = machine.find()
needs_code = pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
KINDS = [("relu", ONE, 1), ("tanh", ONE, 1), ("relu", TILES, 2), ("relu", SPLIT, 2), ("tanh", TILES, 2)]
CODE = OpSchedule(generated=True)


MODELS = {activation: mlp(20, 40, 12, activation=activation) for activation in ("relu", "tanh")}


def runner_of(activation: str, threading: str, threads: int) -> OptimizedRunner:
    """Return a runner with code."""
    return OptimizedRunner(MODELS[activation], 100, schedule=Schedule(16, (CODE, CODE), threading), threads=threads)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give what makes the system refuse from then on."""

    def no(*_: object) -> None:
        raise CodeError(errno.EACCES, "Permission denied")

    return lambda: monkeypatch.setattr("mlbench.compiler.x86.encoding.executable.Code.__init__", no)


@needs_code
@pytest.mark.parametrize(("activation", "threading", "threads"), KINDS)
def test_a_runner_that_has_its_code_goes_on(activation: str, threading: str, threads: int, refuse: Callable[[], None]) -> None:
    """All code is written with the runner: every batch size and form is right afterwards, and nothing is warned of."""
    runner, model = runner_of(activation, threading, threads), MODELS[activation]
    refuse()
    for batch in (9, 100, 8, 0, 9):  # a warning would be an error
        x, out = batch_of(batch, 20), np.empty((batch, 12), np.float32)
        check_result(model, x, runner.run(x))
        check_result(model, x, runner.run(x.astype(np.float64)))
        assert runner.run(x, out) is out
        check_result(model, x, out)


@needs_code
@pytest.mark.parametrize(("activation", "threading", "threads"), KINDS)
def test_a_runner_is_made_without_code(activation: str, threading: str, threads: int, refuse: Callable[[], None]) -> None:
    """It warns, holds no packed weights, and is right."""
    refuse()
    with pytest.warns(CodeWarning, match="NumPy's calls run this runner") as warned:
        runner = runner_of(activation, threading, threads)
    assert [each.filename for each in warned] == [__file__]
    assert not runner.compiled.program.has_code
    check_result(mlp(20, 40, 12, activation=activation), batch_of(9, 20), runner.run(batch_of(9, 20)))


DROP = """
import ctypes, sys, warnings
import numpy as np
from mlbench import Schedule, OptimizedRunner, mlp
from mlbench.errors import CodeWarning
from mlbench.compiler.schedule.schedule import OpSchedule
from mlbench.runtime import check_result

activation, threading_, threads = sys.argv[1:]
model, way = mlp(20, 40, 12, activation=activation), OpSchedule(generated=True)
def make():
    return OptimizedRunner(model, 100, schedule=Schedule(16, (way, way), threading_), threads=int(threads))
runner, x = make(), np.random.default_rng(0).standard_normal((100, 20)).astype(np.float32)
check_result(model, x[:8], runner.run(x[:8]))
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    print("the kernel has no PR_SET_MDWE")
    sys.exit()
warnings.simplefilter("error")
for rows in (8, 9, 100):
    check_result(model, x[:rows], runner.run(x[:rows]))
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as warned:
    check_result(model, x, make().run(x))
print([each.category is CodeWarning for each in warned])
"""


@needs_code
@pytest.mark.parametrize(("activation", "threading", "threads"), KINDS)
def test_a_process_that_drops_its_rights_goes_on(activation: str, threading: str, threads: int) -> None:
    """The kernel's own refusal: a runner that was there has its code, and one that is new has none and says so."""
    arguments = [sys.executable, "-c", DROP, activation, threading, str(threads)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("the kernel has no"):
        pytest.skip(done.stdout.strip())
    assert done.stdout == "[True]\n"
