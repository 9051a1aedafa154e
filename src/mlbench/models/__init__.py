"""Where programs come from: a seeded MLP of given sizes, the trained digits, and files of arrays."""

from mlbench.models.model import HIDDEN_ACTIVATIONS, IDENTITY, LEAKY_SLOPE, OUTPUT_ACTIVATIONS, Digits, Layer, Model, load_digits_mlp, mlp

__all__ = ["HIDDEN_ACTIVATIONS", "IDENTITY", "LEAKY_SLOPE", "OUTPUT_ACTIVATIONS", "Digits", "Layer", "Model", "load_digits_mlp", "mlp"]
