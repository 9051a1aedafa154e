"""Hypothesis strategies that the tests share: small random models, batches for them, and buffers with lifetimes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st

from mlbench.compiler.memory import Buffer
from mlbench.ir import FloatArray, frozen
from mlbench.models import HIDDEN_ACTIVATIONS, OUTPUT_ACTIVATIONS, Layer, Model, mlp

settings.register_profile("mlbench", deadline=None, derandomize=True)
settings.load_profile("mlbench")  # the same examples in every run, and no verdict by the clock

PLAIN_RULES = {
    "mlbench.compiler.schedule.heuristics._rows_of_small_products": lambda graph: None,
    "mlbench.compiler.schedule.heuristics.find": lambda: (None, "the tests say so"),
}
"""What the default rules say where BLAS packs every product and no code is generated: the same wherever the tests run."""
WIDEST = 40
MOST_NODES = 6
HUGE_BIASES = (1e8, -1e8, 3e38, -3e38, np.inf, -np.inf, np.nan)
"""Biases that bias folding must refuse: they swallow the value, or turn it into an infinity or a NaN."""


@st.composite
def models(draw: st.DrawFn, activations: tuple[str, ...] = HIDDEN_ACTIVATIONS) -> Model:
    """Draw an MLP of one to four Linears, each 1 to 40 wide, any activation behind each of them."""
    sizes = draw(st.lists(st.integers(1, WIDEST), min_size=2, max_size=5))
    model = mlp(
        inputs=sizes[0],
        hidden=sizes[1:-1],
        outputs=sizes[-1],
        seed=draw(st.integers(0, 2**32 - 1)),
        output_activation=draw(st.sampled_from(OUTPUT_ACTIVATIONS)),
    )
    hidden = [draw(st.sampled_from(activations)) for _ in model.layers[:-1]]
    layers = [Layer(layer.weight, layer.bias, name) for layer, name in zip(model.layers, hidden, strict=False)]
    return Model(model.name, (*layers, model.layers[-1]))


@st.composite
def models_with_huge_biases(draw: st.DrawFn) -> Model:
    """Draw an MLP of two to four Linears in which one element of one hidden bias is huge, infinite or NaN."""
    model = draw(models(("relu", "identity", "tanh")).filter(lambda drawn: bool(drawn.hidden)))
    chosen = draw(st.integers(0, len(model.hidden) - 1))
    column = draw(st.integers(0, model.hidden[chosen] - 1))
    return with_bias(model, chosen, column, draw(st.sampled_from(HUGE_BIASES)))


def with_bias(model: Model, layer: int, column: int, number: float) -> Model:
    """Return the model with one element of one bias replaced."""
    layers = list(model.layers)
    bias = np.array(layers[layer].bias)
    bias[column] = number
    layers[layer] = Layer(layers[layer].weight, frozen(bias), layers[layer].activation)
    return Model(model.name, tuple(layers))


@st.composite
def batches(draw: st.DrawFn, columns: int, rows: st.SearchStrategy[int]) -> FloatArray:
    """Draw a batch of standard normal rows, some of them scaled down or up."""
    return batch_of(draw(rows), columns, seed=draw(st.integers(0, 2**32 - 1))) * np.float32(draw(st.sampled_from((1e-3, 1, 30))))


def batch_of(rows: int, columns: int, seed: int = 0) -> FloatArray:
    """Return a seeded batch of standard normal rows."""
    return np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)


@st.composite
def buffers(draw: st.DrawFn, most: int = 9, nodes: int = MOST_NODES, most_rows: int = 40) -> tuple[Buffer, ...]:
    """Draw buffers of any size with any half-open lifetime in `[0, nodes)`."""
    drawn = []
    for index in range(draw(st.integers(1, most))):
        first = draw(st.integers(0, nodes - 1))
        last = draw(st.integers(first + 1, nodes))
        rows = draw(st.integers(1, most_rows))
        drawn.append(Buffer(f"b{index}", (f"b{index}",), rows, 3, rows * 3 * 4, first, last))
    return tuple(drawn)


def floats(array: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return an array in float64, in which two float32 results are compared without rounding."""
    return array.astype(np.float64)
