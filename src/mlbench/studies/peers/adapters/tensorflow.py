"""TensorFlow: a concrete function whose weights are constants of its graph, with oneDNN.

With constant weights Grappler fuses product, bias and ReLU into one oneDNN operator that packs the weights once. A concrete function skips
the search for a matching trace in every call. One operator runs at a time.

Tried on one core: `convert_variables_to_constants_v2` on variables (its calls take 335 us), a version 1 session (15 us slower on small
layers, within 5 % on large ones), and `jit_compile=True`, which is XLA: 20 us faster on the smallest cells and up to 30 % slower on the
others. XLA has a column of its own.

Sources: www.tensorflow.org/guide/function (concrete functions), www.tensorflow.org/guide/graph_optimization (Grappler),
www.intel.com/content/www/us/en/developer/articles/guide/optimization-for-tensorflow-installation-guide.html (oneDNN, threads).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mlbench.ir import FloatArray
from mlbench.models import LEAKY_SLOPE, Model
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("tensorflow", "tensorflow-cpu", ("tensorflow", "tensorflow-intel")),)
SETTINGS = "concrete function with constant weights, Grappler, oneDNN"


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`; the threads of the first load hold for the whole process."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf  # noqa: PLC0415  # only where this runtime is measured, and after its variables are set

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    activations: dict[str, Callable[[Any], Any]] = {
        "identity": lambda value: value,
        "relu": tf.nn.relu,
        "leaky_relu": lambda value: tf.nn.leaky_relu(value, LEAKY_SLOPE),
        "sigmoid": tf.nn.sigmoid,
        "tanh": tf.nn.tanh,
        "softmax": lambda value: tf.nn.softmax(value, axis=1),
    }

    def network(value: Any) -> Any:  # tf.Tensor
        for layer in model.layers:
            product = tf.matmul(value, tf.constant(layer.weight))
            value = activations[layer.activation](tf.nn.bias_add(product, tf.constant(layer.bias)))
        return value

    concrete = tf.function(network, autograph=False).get_concrete_function(tf.TensorSpec(x.shape, tf.float32))
    given = tf.constant(x)
    return lambda: concrete(given)
