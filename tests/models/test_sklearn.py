"""Fitted scikit-learn estimators as networks: `predict_proba` and `predict`, over scikit-learn's own data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlbench
from mlbench import BaselineRunner, Network, OptimizedRunner
from mlbench.errors import ModelError
from mlbench.runtime import check_result

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn import datasets, linear_model, multiclass, pipeline, preprocessing  # noqa: E402  # only where it is installed
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402  # as above

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
ROWS = 120


def data(name: str) -> tuple[Any, Any]:
    """Return some rows of a data set and what belongs to them; labels or targets of several columns are made of the features."""
    source = {"multilabel": "wine", "two-targets": "diabetes"}.get(name, name)
    x, y = getattr(datasets, f"load_{source}")(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(x))[:ROWS]
    x, y = x[chosen], y[chosen]
    if name == "multilabel":
        y = (x[:, :4] > np.median(x[:, :4], axis=0)).astype(int)
    if name == "two-targets":
        y = np.column_stack([y, 100 * x[:, 0] + y])
    return x, y


def fitted(estimator: Any, name: str) -> tuple[Any, Any]:
    """Return an estimator that has seen a data set, for a few rounds, and the rows."""
    x, y = data(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged, or will get another default
        return estimator.fit(x, y), x


def check(estimator: Any, x: Any, *, tolerance: float = 2e-5) -> Network:
    """Compare both runners with the estimator, and labels with its labels; return the network."""
    network = mlbench.from_sklearn(estimator)
    is_classifier = hasattr(estimator, "predict_proba")
    expected = estimator.predict_proba(x) if is_classifier else np.reshape(estimator.predict(x), (len(x), -1))
    rows = np.asarray(x, np.float32)
    for runner in (BaselineRunner(network), OptimizedRunner(network, len(x))):
        found = runner.run(rows)
        check_result(network, rows, found)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
        if is_classifier:
            labels = estimator.predict(x)
            assert np.array_equal(found > 0.5 if labels.ndim == 2 else estimator.classes_[found.argmax(axis=1)], labels)
    assert list(network.outputs) == ["probabilities" if is_classifier else "values"]
    return network


def perceptron(activation: str, *, of: type = MLPClassifier) -> Any:
    """Return a small perceptron that learns for a few rounds."""
    return of(hidden_layer_sizes=(16, 8), activation=activation, max_iter=8, random_state=0)


# --- perceptrons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["breast_cancer", "iris", "wine", "digits"])
def test_a_classifier_gives_its_probabilities(name: str, activation: str) -> None:
    """Two classes and more, behind a scaler; labels are equal."""
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), perceptron(activation))
    network = check(*fitted(model, name))
    assert network.name == "MLPClassifier"
    assert list(network.outputs.values()) == [2 if name == "breast_cancer" else 10 if name == "digits" else 3]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_classifier_of_several_labels_gives_a_probability_for_each(activation: str) -> None:
    """Each label is a logistic function of its own."""
    model, x = fitted(pipeline.make_pipeline(preprocessing.StandardScaler(), perceptron(activation)), "multilabel")
    assert check(model, x).outputs == {"probabilities": 4}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["diabetes", "two-targets"])
def test_a_regressor_gives_its_values(name: str, activation: str) -> None:
    """A column for each target."""
    network = check(*fitted(perceptron(activation, of=MLPRegressor), name))
    assert network.outputs == {"values": 2 if name == "two-targets" else 1}


def test_small_probabilities_are_exact() -> None:
    """1 - p of a p near 1 keeps its digits: rows far from the border, relative to the probability itself."""
    model, x = fitted(linear_model.LogisticRegression(max_iter=200), "breast_cancer")
    far = x * 1.5
    expected = model.predict_proba(far)
    found = BaselineRunner(mlbench.from_sklearn(model)).run(np.asarray(far, np.float32))
    small = (expected < 1e-9) & (expected > 1e-30)
    assert small.any()
    np.testing.assert_allclose(found[small], expected[small], rtol=1e-3)


# --- linear models ------------------------------------------------------------------------------------------------------

REGRESSORS = ["LinearRegression", "Ridge", "Lasso", "ElasticNet", "BayesianRidge", "HuberRegressor", "Lars", "PoissonRegressor"]


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_linear_regressor_gives_its_values(name: str) -> None:
    """Alone, and behind a scaler."""
    model, x = fitted(getattr(linear_model, name)(), "diabetes")
    check(model, x)
    check(*fitted(pipeline.make_pipeline(preprocessing.MinMaxScaler(), getattr(linear_model, name)()), "diabetes"))


@pytest.mark.parametrize("model", [linear_model.LinearRegression(), linear_model.Ridge(fit_intercept=False), linear_model.MultiTaskLasso()])
def test_a_linear_regressor_of_several_targets(model: Any) -> None:
    """A column for each, with an intercept and without."""
    check(*fitted(model, "two-targets"))


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "digits"])
@pytest.mark.parametrize("model", [
    linear_model.LogisticRegression(max_iter=50),
    linear_model.LogisticRegression(max_iter=50, fit_intercept=False),
    multiclass.OneVsRestClassifier(linear_model.LogisticRegression(solver="liblinear", max_iter=50)),
], ids=["default", "no-intercept", "one-vs-rest"])  # fmt: skip
def test_logistic_regression_gives_its_probabilities(name: str, model: Any) -> None:
    """Two classes, all of them together, and one against the rest."""
    check(*fitted(pipeline.make_pipeline(preprocessing.StandardScaler(), model), name))


def test_one_vs_rest_of_several_labels() -> None:
    """Each label is a logistic function of its own, and nothing is normalised."""
    model = multiclass.OneVsRestClassifier(linear_model.LogisticRegression())
    check(*fitted(pipeline.make_pipeline(preprocessing.StandardScaler(), model), "multilabel"))


@pytest.mark.parametrize("multi_class", ["multinomial", "ovr", "auto"])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_of_older_versions(multi_class: str, classes: int) -> None:
    """They have an attribute that says how several classes are told apart."""

    class LogisticRegression:
        """What an older version keeps of its fit."""

        def __init__(self) -> None:
            rows = 1 if classes == 2 else 3
            self.coef_ = np.array([[1.0, -2.0], [0.5, 1.0], [-1.0, 0.25]])[:rows]
            self.intercept_ = np.array([0.5, -0.5, 0.25])[:rows]
            self.classes_ = np.arange(classes)
            self.solver, self.multi_class = "lbfgs", multi_class

    x = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    model = LogisticRegression()
    decision = x @ model.coef_.T + model.intercept_
    if multi_class == "multinomial" or (multi_class == "auto" and classes > 2):
        shares = np.exp(np.hstack([-decision, decision]) if classes == 2 else decision)
    else:
        shares = 1 / (1 + np.exp(-decision))
        shares = np.hstack([1 - shares, shares]) if classes == 2 else shares
    found = BaselineRunner(mlbench.from_sklearn(model)).run(x)
    np.testing.assert_allclose(found, shares / shares.sum(axis=1, keepdims=True), rtol=1e-5)


# --- pipelines ----------------------------------------------------------------------------------------------------------

SCALERS: dict[str, Callable[[], list[Any]]] = {
    "standard": lambda: [preprocessing.StandardScaler()],
    "no-mean": lambda: [preprocessing.StandardScaler(with_mean=False)],
    "no-deviation": lambda: [preprocessing.StandardScaler(with_std=False)],
    "neither": lambda: [preprocessing.StandardScaler(with_mean=False, with_std=False)],
    "min-max": lambda: [preprocessing.MinMaxScaler()],
    "min-max-clipped": lambda: [preprocessing.MinMaxScaler((-1, 2), clip=True)],
    "max-abs": lambda: [preprocessing.MaxAbsScaler()],
    "robust": lambda: [preprocessing.RobustScaler()],
    "two": lambda: [preprocessing.MinMaxScaler(), preprocessing.StandardScaler()],
    "passthrough": lambda: ["passthrough"],
}


@pytest.mark.parametrize("make", SCALERS.values(), ids=SCALERS)
def test_scalers_before_an_estimator(make: Callable[[], list[Any]]) -> None:
    """Each of them, with all its options; also for rows outside of what it has seen."""
    model, x = fitted(pipeline.make_pipeline(*make(), linear_model.LogisticRegression(max_iter=50)), "wine")
    check(model, x)
    check(model, x * 1.5 - 1)


def test_a_network_of_an_estimator_is_saved(tmp_path: Path) -> None:
    """It comes back from its file and gives the same numbers, without scikit-learn."""
    model, x = fitted(pipeline.make_pipeline(preprocessing.StandardScaler(), perceptron("relu")), "iris")
    network, rows = mlbench.from_sklearn(model), np.asarray(x, np.float32)
    again = mlbench.load(network.save(tmp_path / "iris.npz"))
    assert np.array_equal(BaselineRunner(network).run(rows), BaselineRunner(again).run(rows))


# --- what is refused ----------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "not-fitted": (MLPClassifier, "MLPClassifier, is not fitted: call fit first"),
    "step-not-fitted": (lambda: pipeline.make_pipeline(preprocessing.StandardScaler(), perceptron("relu")),
                        "step 'standardscaler', StandardScaler, is not fitted"),
    "no-estimator": (lambda: 3, "int, is not supported as the last step; supported are MLPClassifier, MLPRegressor"),
    "a-class": (lambda: MLPClassifier, "ABCMeta, is not supported as the last step"),
    "another-estimator": (linear_model.RidgeClassifier, "RidgeClassifier, is not supported as the last step"),
    "another-step": (lambda: pipeline.make_pipeline(preprocessing.PolynomialFeatures(), perceptron("relu")),
                     "step 'polynomialfeatures', PolynomialFeatures, is not supported before the last step; supported are StandardScaler"),
    "a-scaler-last": (lambda: pipeline.make_pipeline(preprocessing.StandardScaler()), "StandardScaler, is not supported as the last step"),
    "no-step": (lambda: pipeline.Pipeline([("a", "passthrough")]), "the pipeline has no step"),
    "one-vs-rest-of-others": (lambda: fitted(multiclass.OneVsRestClassifier(perceptron("relu")), "iris")[0], "is made of MLPClassifier"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_network_is_refused(make: Callable[[], Any], message: str) -> None:
    """The message names the step and lists what is supported."""
    with pytest.raises(ModelError) as caught:
        mlbench.from_sklearn(make())
    assert message in str(caught.value)


def test_a_parameter_that_float32_cannot_hold_is_refused() -> None:
    """Infinity would be another network."""
    model, _ = fitted(linear_model.LinearRegression(), "diabetes")
    model.coef_[3] = 1e39
    with pytest.raises(ModelError, match="LinearRegression, has a parameter that is no finite number of float32"):
        mlbench.from_sklearn(model)


def test_an_activation_that_is_not_known_is_refused() -> None:
    """A later version may have more."""
    model, _ = fitted(perceptron("relu"), "iris")
    model.activation = "gelu"
    with pytest.raises(ModelError, match="has the activation 'gelu'; supported are identity"):
        mlbench.from_sklearn(model)


def test_steps_that_do_not_fit_are_refused() -> None:
    """A pipeline put together of parts that were fitted to other data."""
    scaler, _ = fitted(preprocessing.StandardScaler(), "iris")
    model, _ = fitted(linear_model.LogisticRegression(), "wine")
    with pytest.raises(ModelError, match="step 'logisticregression', LogisticRegression, reads 13 columns; the step before gives 4"):
        mlbench.from_sklearn(pipeline.make_pipeline(scaler, model))
