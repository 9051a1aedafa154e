"""Networks out of fitted scikit-learn estimators: what `predict_proba` of a classifier and `predict` of a regressor compute.

Estimators are recognised by the names of their classes and read by their attributes, so that nothing is imported and nothing is pickled.

scikit-learn computes in float64. Weights, biases, means and scales become float32, each rounded once, because the runners take nothing
else.

A classifier of two classes is a softmax over (0, d), d its decision. That is (1 - p, p), p the logistic function of d, and keeps small
probabilities exact. One against the rest is a softmax over the logarithms of logistic functions, for the same reason.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.errors import ModelError
from mlbench.ir import FloatArray, Graph, Node, frozen
from mlbench.models.network import Network

_ACTIVATIONS = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "softmax": "softmax", "exp": "exp"}
_SCALERS = {
    "StandardScaler": (("add", "with_mean", "mean_"), ("divide", "with_std", "scale_")),
    "RobustScaler": (("add", "with_centering", "center_"), ("divide", "with_scaling", "scale_")),
    "MaxAbsScaler": (("divide", "", "scale_"),),
}
"""What a scaler does: the op, the option that says whether it does, and the attribute; it subtracts what is added here."""
_LINEAR = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LarsCV", "LassoLars", "LassoLarsCV",
    "LassoLarsIC", "MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV", "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV", "BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "QuantileRegressor",
    "SGDRegressor", "LinearSVR",
)  # fmt: skip
_LOGARITHMIC = ("PoissonRegressor", "GammaRegressor")
_LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")


def from_sklearn(estimator: Any) -> Network:  # whatever its class is
    """Return a fitted scikit-learn estimator as a network.

    Args:
        estimator: MLPClassifier, MLPRegressor, LogisticRegression, OneVsRestClassifier of the latter, LinearRegression, Ridge, Lasso and
            other linear regressors; alone or as the last step of a Pipeline behind StandardScaler, MinMaxScaler, MaxAbsScaler or
            RobustScaler.

    Returns:
        A network with the input `x` and one output: `probabilities`, a column for each of `classes_` as `predict_proba` has them, or
        `values`, a column for each target.

    Raises:
        ModelError: when it is not fitted, or of a kind that is not supported; the message names the step.
    """
    steps = [(name, step) for name, step in _steps(estimator) if step is not None and not isinstance(step, str)]
    if not steps:
        raise ModelError("from_sklearn: the pipeline has no step; expected a classifier or a regressor")
    builder = _Builder()
    for name, step in steps[:-1]:
        _add(builder, name, step, _TRANSFORMERS, "before the last step")
    name, last = steps[-1]
    _add(builder, name, last, _PREDICTORS, "as the last step")
    output = "probabilities" if hasattr(last, "classes_") else "values"
    graph = Graph({"x0": builder.inputs}, builder.constants, tuple(builder.nodes), (builder.value,))
    return Network(type(last).__name__, graph, ("x",), (output,))


class _Builder:
    """Adds nodes one behind the other.

    Attributes:
        inputs: columns of the input; 0 before the first step.
        value: the last value.
        columns: its columns.
    """

    def __init__(self) -> None:
        self.constants: dict[str, FloatArray] = {}
        self.nodes: list[Node] = []
        self.value = "x0"
        self.inputs = self.columns = 0
        self.where = ""

    def start(self, columns: int) -> None:
        """Say how many columns a step reads."""
        if self.inputs and columns != self.columns:
            raise ModelError(f"{self.where} reads {columns} columns; the step before gives {self.columns}")
        self.inputs = self.inputs or columns
        self.columns = columns

    def add(self, op: str, *constants: npt.ArrayLike, columns: int | None = None) -> None:
        """Add a node that reads the last value and some constants, which are rounded to float32."""
        names = []
        for constant in constants:
            with np.errstate(over="ignore"):
                array = frozen(np.asarray(constant, np.float64))
            if not np.isfinite(array).all():
                raise ModelError(f"{self.where} has a parameter that is no finite number of float32")
            names.append(f"k{len(self.constants)}")
            self.constants[names[-1]] = array
        self.columns = self.columns if columns is None else columns
        output = f"v{len(self.nodes)}"
        self.nodes.append(Node(op, (self.value, *names), output, self.columns))
        self.value = output

    def linear(self, weight: npt.NDArray[Any], bias: npt.ArrayLike) -> None:
        """Add a product with a weight of (inputs, outputs) and its bias."""
        self.start(len(weight))
        self.add("matmul", weight, columns=weight.shape[1])
        self.add("add", np.broadcast_to(np.asarray(bias, np.float64).ravel(), weight.shape[1:]))


def _steps(estimator: Any) -> Sequence[tuple[str, Any]]:
    return estimator.steps if type(estimator).__name__ == "Pipeline" else [("", estimator)]


def _add(builder: _Builder, name: str, step: Any, kinds: dict[str, Callable[[_Builder, Any], None]], place: str) -> None:
    kind = type(step).__name__
    builder.where = f"from_sklearn: {f'step {name!r}, ' * bool(name)}{kind},"
    if kind not in kinds:
        raise ModelError(f"{builder.where} is not supported {place}; supported are {', '.join(kinds)}")
    _check_fitted(step, builder.where)
    try:
        kinds[kind](builder, step)
    except AttributeError as error:
        raise ModelError(f"{builder.where} is not fitted, or of a version that is not known ({error}); call fit first") from error


def _check_fitted(step: Any, where: str) -> None:
    """Ask scikit-learn whether an estimator is fitted, where it is loaded; it must be, if the estimator is one of its own."""
    validation = sys.modules.get("sklearn.utils.validation")
    if validation is None or not hasattr(step, "get_params"):
        return
    try:
        validation.check_is_fitted(step)
    except ValueError as error:  # NotFittedError is one
        raise ModelError(f"{where} is not fitted: call fit first") from error


def _scaler(builder: _Builder, step: Any) -> None:
    builder.start(int(step.n_features_in_))
    for op, option, name in _SCALERS[type(step).__name__]:
        if not option or getattr(step, option):
            constant = np.asarray(getattr(step, name), np.float64)
            builder.add(op, -constant if op == "add" else constant)


def _min_max_scaler(builder: _Builder, step: Any) -> None:
    builder.start(int(step.n_features_in_))
    builder.add("multiply", step.scale_)
    builder.add("add", step.min_)
    if step.clip:
        builder.add("clip", *step.feature_range)


def _mlp(builder: _Builder, step: Any) -> None:
    hidden, last = _activation(builder, step.activation), _activation(builder, step.out_activation_)
    *before, (weight, bias) = zip(step.coefs_, step.intercepts_, strict=True)
    for each, its_bias in before:
        builder.linear(each, its_bias)
        if hidden is not None:
            builder.add(hidden)
    if last == "sigmoid" and weight.shape[1] == 1:
        _two_classes(builder, weight, bias)
        return
    builder.linear(weight, bias)
    if last is not None:
        builder.add(last)


def _activation(builder: _Builder, name: object) -> str | None:
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ModelError(f"{builder.where} has the activation {name!r}; supported are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _regression(builder: _Builder, step: Any) -> None:
    coefficients = np.asarray(step.coef_)
    builder.linear(np.atleast_2d(coefficients).T, step.intercept_)
    if type(step).__name__ in _LOGARITHMIC:
        builder.add("exp")


def _logistic(builder: _Builder, step: Any) -> None:
    coefficients, bias = np.atleast_2d(step.coef_), step.intercept_
    multi = getattr(step, "multi_class", "auto")  # later versions decide by the number of classes
    is_binary = len(step.classes_) <= 2
    if is_binary and multi == "multinomial":
        builder.linear(np.vstack([-coefficients, coefficients]).T, np.concatenate([-bias, bias]))
        builder.add("softmax")
    elif is_binary:
        _two_classes(builder, coefficients.T, bias)
    elif multi in {"ovr", "warn"} or (multi != "multinomial" and step.solver == "liblinear"):
        _one_against_the_rest(builder, coefficients.T, bias)
    else:
        builder.linear(coefficients.T, bias)
        builder.add("softmax")


def _one_vs_rest(builder: _Builder, step: Any) -> None:
    parts = list(step.estimators_)
    others = {type(each).__name__ for each in parts} - set(_LOGISTIC)
    if others:
        raise ModelError(f"{builder.where} is made of {', '.join(sorted(others))}; supported are {', '.join(_LOGISTIC)}")
    weight = np.vstack([each.coef_ for each in parts]).T
    bias = np.concatenate([np.ravel(each.intercept_) for each in parts])
    if len(parts) == 1:
        _two_classes(builder, weight, bias)
    elif step.multilabel_:
        builder.linear(weight, bias)
        builder.add("sigmoid")
    else:
        _one_against_the_rest(builder, weight, bias)


def _two_classes(builder: _Builder, weight: npt.NDArray[Any], bias: npt.ArrayLike) -> None:
    builder.linear(np.hstack([np.zeros_like(weight), weight]), np.concatenate([[0.0], np.ravel(bias)]))
    builder.add("softmax")


def _one_against_the_rest(builder: _Builder, weight: npt.NDArray[Any], bias: npt.ArrayLike) -> None:
    """Add p / sum(p), p the logistic function of each decision d: log p = -softplus(-d)."""
    builder.linear(-weight, -np.asarray(bias))
    builder.add("softplus")
    builder.add("neg")
    builder.add("softmax")


_TRANSFORMERS: dict[str, Callable[[_Builder, Any], None]] = {**dict.fromkeys(_SCALERS, _scaler), "MinMaxScaler": _min_max_scaler}
_PREDICTORS: dict[str, Callable[[_Builder, Any], None]] = {
    "MLPClassifier": _mlp,
    "MLPRegressor": _mlp,
    **dict.fromkeys(_LOGISTIC, _logistic),
    "OneVsRestClassifier": _one_vs_rest,
    **dict.fromkeys((*_LINEAR, *_LOGARITHMIC), _regression),
}
