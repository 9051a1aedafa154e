"""Every public object has an answer to copy, deepcopy, pickle, another process and fork."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import mlbench
from mlbench import (
    BaselineRunner,
    Layer,
    MlbenchError,
    Model,
    Network,
    OptimizedRunner,
    Schedule,
    from_onnx,
    from_sklearn,
    load,
    load_digits_mlp,
    mlp,
    tune,
)
from mlbench import errors as errors_module
from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.schedule.schedule import OpSchedule
from mlbench.errors import BusyError, CopyError, CrewError, MissingExtraError
from mlbench.ir import Graph
from mlbench.runtime import check_result
from mlbench.studies.ab.process import ArmError

MODEL = mlp(6, (16, 8), 4, activation="leaky_relu")
X = np.random.default_rng(0).standard_normal((5, 6), dtype=np.float32)
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle-{protocol}": partial(lambda protocol, each: pickle.loads(pickle.dumps(each, protocol)), protocol)
        for protocol in range(2, 6)
    },
}
copied = pytest.mark.parametrize("made", COPIES.values(), ids=COPIES)


def arrays_of(value: Any) -> list[Any]:
    """Return the arrays of a model, a network, a layer, a graph or digits."""
    if isinstance(value, Network):
        return arrays_of(value.program)
    if isinstance(value, Model):
        return [array for layer in value.layers for array in arrays_of(layer)]
    if isinstance(value, Graph):
        return list(value.constants.values())
    return [value.weight, value.bias] if isinstance(value, Layer) else [value.images, value.labels]


def compiled_graph() -> Graph:
    """Return a graph with a Fortran-ordered weight, a scalar and rows."""
    ops = (OpSchedule(order="F"),) * 3
    runner = OptimizedRunner(MODEL, 5, passes=["static", "layout", "fuse"], schedule=Schedule(None, ops))
    assert any(not array.flags.c_contiguous for array in runner.compiled.graph.constants.values())
    return runner.compiled.graph


HOLDERS: dict[str, Callable[[], Any]] = {
    "Digits": lambda: load_digits_mlp()[1],
    "Graph": MODEL.graph,
    "Graph, compiled": compiled_graph,
    "Layer": lambda: MODEL.layers[0],
    "Model": lambda: MODEL,
    "Network": lambda: Network("net", MODEL.graph(), ("x",), ("y",)),
}
"""What holds arrays."""
PLAIN: dict[str, Callable[[], Any]] = {
    "Schedule": lambda: Schedule(3, (OpSchedule(),), "one"),
    "MemoryPlan": lambda: OptimizedRunner(MODEL, 5).plan,
    "__version__": lambda: mlbench.__version__,
    "from_onnx": lambda: from_onnx,
    "from_sklearn": lambda: from_sklearn,
    "load": lambda: load,
    "load_digits_mlp": lambda: load_digits_mlp,
    "mlp": lambda: mlp,
    "tune": lambda: tune,
}
"""What is equal to its copies."""
RUNNERS: dict[str, Callable[[], Any]] = {
    "BaselineRunner": lambda: BaselineRunner(MODEL),
    "OptimizedRunner": lambda: OptimizedRunner(MODEL, 5),
}


def test_every_public_name_is_here() -> None:
    """A name that is new must say what its copies are."""
    assert set(mlbench.__all__) == ({*HOLDERS, *PLAIN, *RUNNERS} - {"Graph", "Graph, compiled"}) | {"MlbenchError"}


@copied
@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
def test_arrays_stay_read_only_and_aligned(make: Callable[[], Any], made: Callable[[Any], Any]) -> None:
    """A copy has equal arrays of its own, in the same order, which nobody can write to and which begin at a cache line."""
    value = make()
    again = made(value)
    assert type(again) is type(value)
    for one, other in zip(arrays_of(value), arrays_of(again), strict=True):
        assert np.array_equal(one, other)
        assert (one.dtype, one.flags.c_contiguous, one.flags.f_contiguous) == (
            other.dtype,
            other.flags.c_contiguous,
            other.flags.f_contiguous,
        )
        assert not other.flags.writeable
        assert other.ctypes.data % ALIGNMENT_BYTES == 0
        assert not np.may_share_memory(one, other)


@copied
def test_a_copied_model_runs(made: Callable[[Any], Any]) -> None:
    """Both runners take it, and it has the name and the shapes of its original."""
    again = made(MODEL)
    assert (again.name, again.inputs, again.hidden, again.outputs) == (MODEL.name, 6, (16, 8), 4)
    for runner in (BaselineRunner(again), OptimizedRunner(again, 5)):
        check_result(MODEL, X, runner.run(X))


def test_a_copied_graph_runs() -> None:
    """A graph is a program of its own, and travels as a model does."""
    check_result(MODEL, X, OptimizedRunner(copy.deepcopy(MODEL.graph()), 5).run(X))


@copied
@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_what_holds_no_array_is_equal_to_its_copies(make: Callable[[], Any], made: Callable[[Any], Any]) -> None:
    """Schedule, plans and functions."""
    value = make()
    assert made(value) == value


@copied
@pytest.mark.parametrize("make", RUNNERS.values(), ids=RUNNERS)
def test_a_runner_is_not_copied(make: Callable[[], Any], made: Callable[[Any], Any]) -> None:
    """Two runners with one arena would overwrite each other's results; the error says to send the model."""
    with pytest.raises(CopyError, match="cannot be copied or sent to another process: send the model, and make a runner there"):
        made(make())


ERRORS: list[MlbenchError] = [
    kind("what was found") for kind in vars(errors_module).values()
    if isinstance(kind, type) and issubclass(kind, MlbenchError) and kind is not MissingExtraError
] + [MissingExtraError("a chart", "jinja2", "report"), ArmError("head", "it died")]  # fmt: skip


@copied
@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
def test_an_error_travels_with_all_it_says(error: MlbenchError, made: Callable[[Any], Any]) -> None:
    """Its kind, its message, its attributes and its notes: one that cannot be unpickled ends a pool of processes."""
    error.add_note("in a worker")
    again = made(error)
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def run_elsewhere(model: Model, x: Any) -> Any:
    """Run a model in a worker process."""
    return OptimizedRunner(model, len(x)).run(x).copy()


def fail_elsewhere() -> None:
    """Fail in a worker process as a missing extra does."""
    raise MissingExtraError("a chart", "jinja2", "report")


def test_a_model_goes_to_a_pool_of_processes() -> None:
    """A worker that was spawned runs the model it is sent, and its error comes back as what it is."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        check_result(MODEL, X, pool.submit(run_elsewhere, MODEL, X).result(timeout=120))
        with pytest.raises(MissingExtraError, match="a chart needs jinja2"):
            pool.submit(fail_elsewhere).result(timeout=120)


def in_child(check: Callable[[], bool]) -> bool:
    """Return what a check says in a forked child."""
    child = os.fork()
    if not child:
        ending = 1
        try:
            ending = 0 if check() else 1
        finally:
            os._exit(ending)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("name", ["Model", "BaselineRunner", "OptimizedRunner", "OptimizedRunner, 2 threads"])
def test_a_forked_child_has_what_its_parent_made(name: str) -> None:
    """The child runs it in memory of its own; a runner of several threads says there that they are gone."""
    threads = 2 if name.endswith("threads") else 1
    runner: Any = BaselineRunner(MODEL) if name == "BaselineRunner" else OptimizedRunner(mlp(64, 512, 10), 64, threads=threads)
    x = X if name == "BaselineRunner" else np.ones((64, 64), np.float32)
    expected = runner.run(x).copy()

    def check() -> bool:
        if name == "Model":
            return np.array_equal(BaselineRunner(MODEL).run(X), BaselineRunner(copy.deepcopy(MODEL)).run(X))
        if threads == 1:
            runner.run(np.zeros_like(x))  # in the child's arena, not in the parent's
            return np.array_equal(runner.run(x), expected)
        try:
            runner.run(x)
        except (CrewError, BusyError) as error:
            return "did not survive the fork" in str(error)
        return False

    result = runner.run(x)
    assert in_child(check)
    assert np.array_equal(result, expected)
