"""Files of skops: estimators without a pickle, of trusted types alone."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import mlbench
from mlbench.errors import FileError, MissingExtraError, ModelError
from mlbench.models.skops import load_skops

skops_io = pytest.importorskip("skops.io", reason="skops is not installed")
from sklearn.ensemble import RandomForestClassifier  # noqa: E402  # skops brings it
from sklearn.linear_model import LogisticRegression  # noqa: E402  # as above
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402  # as above
from sklearn.pipeline import make_pipeline  # noqa: E402  # as above
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402  # as above

X = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
KINDS = np.arange(60) % 3


LAST = {
    "linear": LogisticRegression,
    "adam": partial(MLPClassifier, (5,), max_iter=5),
    "sgd": partial(MLPClassifier, (5,), solver="sgd", max_iter=5),
}


@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
@pytest.mark.filterwarnings("ignore")
def test_an_estimator_of_a_file(last: object, tmp_path: Path) -> None:
    """It gives what `predict_proba` gives."""
    estimator = make_pipeline(StandardScaler(), last()).fit(X, KINDS)  # type: ignore[operator]  # a class
    skops_io.dump(estimator, tmp_path / "model.skops")
    network = mlbench.load(tmp_path / "model.skops")
    np.testing.assert_allclose(mlbench.OptimizedRunner(network, 60).run(X), estimator.predict_proba(X), atol=1e-5)


def test_a_type_that_is_not_trusted(tmp_path: Path) -> None:
    """A function of somebody is named, and not called."""
    skops_io.dump(FunctionTransformer(_own).fit(X), tmp_path / "model.skops")
    with pytest.raises(FileError, match=r"types that are not trusted, .*_own"):
        mlbench.load(tmp_path / "model.skops")


def _own(x: object) -> object:
    return x


def test_an_estimator_that_is_not_supported(tmp_path: Path) -> None:
    """Trees are of types that nobody vouches for."""
    skops_io.dump(RandomForestClassifier(2).fit(X, KINDS), tmp_path / "model.skops")
    with pytest.raises(FileError, match=r"model\.skops: has types that are not trusted, sklearn\.tree"):
        mlbench.load(tmp_path / "model.skops")


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file(tmp_path: Path) -> None:
    """Each truncated or changed file is an error that says so, or an estimator."""
    skops_io.dump(MLPRegressor(hidden_layer_sizes=(3,), max_iter=3).fit(X, X[:, 0]), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    random, path = np.random.default_rng(0), tmp_path / "model.skops"
    for number in range(40):
        content = bytearray(whole)
        if number % 2:
            content = content[: int(random.integers(len(content)))]
        else:
            content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
        path.write_bytes(content)
        with contextlib.suppress(FileError, ModelError):
            mlbench.load(path)


def test_a_file_that_unpacks_to_more_than_is_allowed(tmp_path: Path) -> None:
    """The error says how much is allowed."""
    skops_io.dump(LogisticRegression().fit(X, KINDS), tmp_path / "model.skops")
    with pytest.raises(FileError, match=r"unpacks to .*; allowed are 2\.00 KB"):
        load_skops("model.skops", (tmp_path / "model.skops").read_bytes(), 2048)


def test_the_package_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the error names the extra."""
    skops_io.dump(LogisticRegression().fit(X, KINDS), tmp_path / "model.skops")
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(MissingExtraError, match=r"skops.*\[skops\]"):
        mlbench.load(tmp_path / "model.skops")
