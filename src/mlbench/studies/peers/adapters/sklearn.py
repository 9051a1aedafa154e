"""scikit-learn: `predict_proba` of an `MLPClassifier` and `predict` of an `MLPRegressor`, which is what many people have today.

Weights and input are float32, which scikit-learn keeps. A softmax or sigmoid at the end makes a classifier, no activation a regressor. Each
call goes through the public method, which checks its input; `assume_finite` leaves out the search for infinite numbers, as the
documentation recommends for latency. BLAS has the threads of the process.

An estimator has one activation for all hidden layers: identity, sigmoid, tanh or ReLU. It cannot take any other network.

Sources: scikit-learn.org/stable/modules/neural_networks_supervised.html, scikit-learn.org/stable/computing/computational_performance.html
(latency, assume_finite).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlbench.errors import ModelError
from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("sklearn", "scikit-learn"),)
SETTINGS = "MLPClassifier.predict_proba or MLPRegressor.predict, float32, assume_finite"
_HIDDEN = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_CLASSIFIERS = {"softmax": "softmax", "sigmoid": "logistic"}
_REGRESSOR = "identity"


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`.

    Raises:
        ModelError: for activations that its estimators do not have.
    """
    import sklearn  # noqa: PLC0415  # only where this runtime is measured

    sklearn.set_config(assume_finite=True)
    made = estimator(model)
    if model.layers[-1].activation == _REGRESSOR:
        shape, predict = (len(x), model.outputs), made.predict
        return lambda: predict(x).reshape(shape)  # of one output it makes a vector
    return lambda: made.predict_proba(x)


def estimator(model: Model) -> Any:  # sklearn.neural_network.MLPClassifier or MLPRegressor
    """Return the model as an estimator that counts as fitted."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: PLC0415  # as above
    from sklearn.preprocessing import LabelBinarizer  # noqa: PLC0415  # as above

    *hidden, last = (layer.activation for layer in model.layers)
    if len(set(hidden)) > 1 or not set(hidden) <= _HIDDEN.keys() or last not in {_REGRESSOR, *_CLASSIFIERS}:
        raise ModelError(
            f"cannot take it: hidden layers with {', '.join(dict.fromkeys(hidden))} and {last} at the end; its estimators have one of "
            f"{', '.join(_HIDDEN)} for all hidden layers, and one of {', '.join((_REGRESSOR, *_CLASSIFIERS))} at the end"
        )
    is_classifier = last in _CLASSIFIERS
    if is_classifier and model.outputs < 2 + (last == "softmax"):
        raise ModelError(f"cannot take it: {last} with {model.outputs} outputs; a classifier gives two classes in another form")
    kind = MLPClassifier if is_classifier else MLPRegressor
    made = kind(hidden_layer_sizes=model.hidden, activation=_HIDDEN[hidden[0]] if hidden else "identity")
    made.coefs_ = [np.array(layer.weight) for layer in model.layers]
    made.intercepts_ = [np.array(layer.bias) for layer in model.layers]
    made.n_layers_, made.n_outputs_, made.n_features_in_ = len(model.layers) + 1, model.outputs, model.inputs
    made.out_activation_ = _CLASSIFIERS.get(last, _REGRESSOR)
    if is_classifier:
        made._label_binarizer = LabelBinarizer().fit(range(model.outputs))  # noqa: SLF001  # what `fit` leaves behind
        made.classes_ = made._label_binarizer.classes_  # noqa: SLF001  # as above
    return made
