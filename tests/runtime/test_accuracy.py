"""Accuracy: whatever is rewritten, the compiled runner errs at most a few times as much as the eager one, at any depth."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.compiler.pipeline import PASSES
from mlbench.compiler.schedule.schedule import OpSchedule, Schedule
from mlbench.ir import FloatArray, frozen
from mlbench.measure import footprint
from mlbench.models import HIDDEN_ACTIVATIONS, OUTPUT_ACTIVATIONS, Layer, Model, load_digits_mlp, mlp
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result
from support.exhaustive import tries
from support.strategies import batch_of

PATH = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_models.py"
NAMES = tuple(each.name for each in PASSES)
PLAIN = tuple(name for name in NAMES if name != "codegen")


def _fuzz() -> Any:  # a module that is no package's
    """Load the script, which has the judge of this file's tests."""
    spec = importlib.util.spec_from_file_location("fuzz_models", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FUZZ = _fuzz()


def _scaled(model: Model, biases: float) -> Model:
    """Return the model with all biases multiplied."""
    layers = (Layer(layer.weight, frozen(layer.bias * np.float32(biases)), layer.activation) for layer in model.layers)
    return Model(model.name, tuple(layers))


def _is_right(model: Model, x: FloatArray, passes: Sequence[str]) -> None:
    """Fail where the compiled runner errs more than it may, or the project's own check refuses what it gives."""
    y = OptimizedRunner(model, max(1, len(x)), passes=passes).run(x)
    assert not FUZZ.wrong(model, BaselineRunner(model), x, y, merged="canonicalize" in passes)
    check_result(model, x, y)


# --- properties ---------------------------------------------------------------------------------------------------------


@st.composite
def deep_models(draw: st.DrawFn) -> Model:
    """Draw an MLP of up to 50 Linears, of one activation or any, with biases of none, the usual size, or a thousand times that."""
    depth = draw(st.integers(1, 50))
    width = draw(st.sampled_from((1, 5, 16, 64, 100)))
    one = draw(st.sampled_from((*HIDDEN_ACTIVATIONS, None)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    drawn = mlp(draw(st.integers(1, 70)), (width,) * (depth - 1), draw(st.integers(1, 12)), seed=int(random.integers(2**32)))
    hidden = [one or str(random.choice(HIDDEN_ACTIVATIONS)) for _ in range(depth - 1)]
    activations = [*hidden, draw(st.sampled_from(OUTPUT_ACTIVATIONS))]
    layers = tuple(Layer(layer.weight, layer.bias, name) for layer, name in zip(drawn.layers, activations, strict=True))
    return _scaled(Model("drawn", layers), draw(st.sampled_from((0.0, 1.0, 1000.0, -1.0))))


@settings(max_examples=tries(15, 60))
@given(
    deep_models(),
    st.integers(1, 20),
    st.integers(-4, 4),
    st.one_of(st.just(NAMES), st.just(PLAIN), st.sets(st.sampled_from(NAMES)).map(tuple)),
)
def test_the_compiled_runner_errs_no_more_than_the_eager_one(model: Model, batch: int, exponent: int, passes: tuple[str, ...]) -> None:
    """To depth 50, for inputs of 1e-4 to 1e4, any activation, biases and subset of the passes: within 4 times of it and 4 ulp."""
    _is_right(model, batch_of(batch, model.inputs) * np.float32(10.0**exponent), passes)


@settings(max_examples=tries(15, 60))
@given(st.integers(0, 2**32 - 1))
def test_random_cases_are_right(seed: int) -> None:
    """Models, forms of input, schedule and threads as the fuzzer draws them: no row is wrong."""
    case = FUZZ.case_of(seed)
    assert not FUZZ.failure(case), f"seed {seed}: {case.story}"


# --- where it went wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [NAMES, PLAIN, ("fold_bias", "fuse"), ("fold_bias",)], ids=["all", "no-code", "fused-folds", "folds"])
@pytest.mark.parametrize("depth", [1, 24, 48])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_deep_relu_networks_are_right(scale: float, depth: int, passes: Sequence[str]) -> None:
    """64 columns, 48 layers deep: folds of biases do not add up, however small the inputs are."""
    model = mlp(64, (64,) * depth, 10)
    _is_right(model, batch_of(16, 64) * np.float32(scale), passes)


@pytest.mark.parametrize("passes", [NAMES, PLAIN], ids=["all", "no-code"])
@pytest.mark.parametrize("bias", [1e-6, 0.1, 10.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_silent_layers_are_right(scale: float, bias: float, passes: Sequence[str]) -> None:
    """Where biases below 0 silence a ReLU, the output is the last bias alone, to the last digit."""
    first, second = mlp(64, 128, 10).layers
    model = Model("silent", (Layer(first.weight, frozen(np.full(128, -bias)), "relu"), second))
    _is_right(model, batch_of(16, 64) * np.float32(scale), passes)


@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_a_bias_is_added_once(scale: float, batch: int) -> None:
    """Beside a bias that is larger than the product's terms, a sum that started from it would round at each of them."""
    model = _scaled(mlp(4096, (), 16), 1000 if scale == 1 else 1)
    _is_right(model, batch_of(batch, 4096) * np.float32(scale), NAMES)


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_long_sums_are_sums_of_sums(batch: int) -> None:
    """A product over 16,384 inputs adds some of them up at a time, as BLAS does."""
    _is_right(mlp(16384, (), 16), batch_of(batch, 16384), NAMES)


def test_the_digits_are_right_at_any_brightness() -> None:
    """The trained model on its images, a ten-thousandth as bright to ten thousand times."""
    model, digits = load_digits_mlp()
    for scale in (1e-4, 1e-2, 1.0, 1e2, 1e4):
        for passes in (NAMES, PLAIN):
            _is_right(model, digits.images[:100] * np.float32(scale), passes)


# --- NaN, infinities and extremes ---------------------------------------------------------------------------------------

EXTREMES = (0.0, -0.0, 1e-45, -1e-45, 1e-39, 88.8, -88.8, 104.0, -104.0, 1e4, -1e4, 1e30, -1e30, 3e38, np.inf, -np.inf, np.nan)


@pytest.mark.parametrize("passes", [NAMES, PLAIN, ()], ids=["all", "no-code", "none"])
@pytest.mark.parametrize("hidden", ["relu", "leaky_relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("last", OUTPUT_ACTIVATIONS)
def test_extremes_come_out_as_the_eager_runner_gives_them(last: str, hidden: str, passes: Sequence[str]) -> None:
    """Zeros, subnormals, the ends of exp, tanh and float32, infinities and NaN, through every activation, alone and beside others."""
    eye, zero = frozen(np.eye(17)), frozen(np.zeros(17))
    model = Model("eye", (Layer(eye, zero, hidden), Layer(eye, frozen(np.full(17, 0.5)), last)))
    x = np.zeros((len(EXTREMES) + 1, 17), np.float32)
    x[:-1][np.arange(17), np.arange(17)] = EXTREMES
    x[-1] = [number if np.isfinite(number) else 1 for number in EXTREMES]
    with np.errstate(all="ignore"):
        plain, fast = BaselineRunner(model).run(x), OptimizedRunner(model, len(x), passes=passes).run(x)
    np.testing.assert_allclose(fast, plain, rtol=1e-6, atol=1e-45)


# --- the script ---------------------------------------------------------------------------------------------------------


def test_the_script_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    """A range of seeds without a wrong row ends with 0."""
    assert FUZZ.main(["--first", "5", "--models", "2", "--verbose"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("5: ")
    assert "2 models from seed 5 to 6: 0 wrong" in out


def test_the_script_names_the_seed_of_a_wrong_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong row ends the run with 1, and the line that runs it again."""
    monkeypatch.setattr(FUZZ, "failure", lambda _: "call 0: row 3")
    assert FUZZ.main(["--first", "7", "--models", "9"]) == 1
    out = capsys.readouterr().out
    assert "WRONG 7: call 0: row 3" in out
    assert "--first 7 --models 1" in out
    assert "1 models from seed 7 to 7: 1 wrong" in out


def test_a_model_with_its_hidden_columns_in_another_order_is_the_same_function() -> None:
    """The judge takes the eager runner's error of such models too: in float64 they give the same, and their weights are others."""
    model, x = mlp(20, (30, 25), 7), batch_of(9, 20)
    other = FUZZ.shuffled(model, np.random.default_rng(1))
    np.testing.assert_allclose(FUZZ.exact(other, x)[0], FUZZ.exact(model, x)[0], rtol=1e-12)
    assert not np.array_equal(other.layers[1].weight, model.layers[1].weight)


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("way", [OpSchedule(), OpSchedule("features"), OpSchedule(order="F")], ids=["rows", "features", "fortran"])
def test_one_weight_of_zero_keeps_nan(batch: int, way: OpSchedule) -> None:
    """NumPy's `dot` skips a single weight of 0; the compiled runner gives NaN where the eager one does."""
    one = frozen(np.zeros((1, 1), np.float32))
    row = frozen(np.zeros(1, np.float32))
    model = Model("one", (Layer(one, row, "tanh"), Layer(one, row, "tanh")))
    x = np.full((batch, 1), np.nan, np.float32)
    runner = OptimizedRunner(model, batch, passes=PLAIN, schedule=Schedule(None, (way, OpSchedule())))
    np.testing.assert_array_equal(runner.run(x), BaselineRunner(model).run(x))
    assert footprint(lambda: runner.run(x)).allocations in (0, None)
