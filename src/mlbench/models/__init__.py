"""Where programs come from: a seeded MLP of given sizes, the trained digits, and networks of others, from ONNX or scikit-learn."""

from mlbench.models.formats import load
from mlbench.models.model import HIDDEN_ACTIVATIONS, IDENTITY, LEAKY_SLOPE, OUTPUT_ACTIVATIONS, Digits, Layer, Model, load_digits_mlp, mlp
from mlbench.models.network import EXACT, Network

__all__ = [
    "EXACT",
    "HIDDEN_ACTIVATIONS",
    "IDENTITY",
    "LEAKY_SLOPE",
    "OUTPUT_ACTIVATIONS",
    "Digits",
    "Layer",
    "Model",
    "Network",
    "load",
    "load_digits_mlp",
    "mlp",
]
