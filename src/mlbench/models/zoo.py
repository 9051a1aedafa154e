"""The zoo: eight networks of the kinds that people bring, with seeded weights; each optimisation meets branches and ops of all kinds.

Only the shapes are those of the sources; the weights are random, and nothing here was trained. Each function returns a network as an
exporter would write it, a node for each operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from mlbench.errors import ModelError
from mlbench.ir import FloatArray, Graph, Node, frozen
from mlbench.models.network import Network

EPSILON = 1e-5


class _Builder:
    """Writes a graph node by node; what a method returns is the name of the value that it bound.

    Attributes:
        inputs: name of each input to its columns.
    """

    def __init__(self, inputs: Mapping[str, int], seed: int) -> None:
        self.inputs = dict(inputs)
        self._constants: dict[str, FloatArray] = {}
        self._nodes: list[Node] = []
        self._columns = dict(inputs)
        self._random = np.random.default_rng(seed)

    def apply(self, op: str, *values: str, constants: tuple[npt.ArrayLike, ...] = (), columns: int = 0) -> str:
        """Bind what an op makes of values and new constants; as many columns as the first value has, unless it says otherwise."""
        names = []
        for constant in constants:
            names.append(f"k{len(self._constants)}")
            self._constants[names[-1]] = frozen(constant)
        output = f"v{len(self._nodes)}"
        self._columns[output] = columns or self._columns[values[0]]
        self._nodes.append(Node(op, (*values, *names), output, self._columns[output]))
        return output

    def product(self, value: str, columns: int) -> str:
        """Bind a matrix product; weights are normal with the standard deviation sqrt(2 / inputs)."""
        inputs = self._columns[value]
        weight = self._random.standard_normal((inputs, columns)) * np.sqrt(2.0 / inputs)
        return self.apply("matmul", value, constants=(weight,), columns=columns)

    def linear(self, value: str, columns: int, activation: str = "") -> str:
        """Bind a Linear and, if one is named, its activation."""
        value = self.apply("add", self.product(value, columns), constants=(self.row(columns, 0.0, 0.1),))
        return self.apply(activation, value) if activation else value

    def chain(self, value: str, sizes: tuple[int, ...], activation: str) -> str:
        """Bind a Linear and an activation for each size."""
        for columns in sizes:
            value = self.linear(value, columns, activation)
        return value

    def concat(self, *values: str) -> str:
        """Bind values side by side."""
        return self.apply("concat", *values, columns=sum(self._columns[each] for each in values))

    def row(self, columns: int, mean: float, deviation: float) -> npt.NDArray[np.float64]:
        """Return normal numbers."""
        return mean + deviation * self._random.standard_normal(columns)

    def normalized(self, value: str, op: str) -> str:
        """Bind a layer_norm or an rms_norm with random scales."""
        columns = self._columns[value]
        rows = (self.row(columns, 1.0, 0.1), self.row(columns, 0.0, 0.1))[: 2 if op == "layer_norm" else 1]
        return self.apply(op, value, constants=(*rows, EPSILON))

    def network(self, name: str, *outputs: str) -> Network:
        """Return what was written; each output is called by the words before its colon: `probabilities:v7`."""
        names, values = zip(*(each.split(":") for each in outputs), strict=True)
        return Network(name, Graph(self.inputs, self._constants, tuple(self._nodes), values), tuple(self.inputs), names)


def _batch_norm_mlp() -> Network:
    """784-512-256-10, each hidden Linear followed by a batch normalisation (Ioffe and Szegedy, 2015) at inference, then softmax."""
    build = _Builder({"pixels": 784}, seed=1)
    value = "pixels"
    for columns in (512, 256):
        value = build.apply("multiply", build.linear(value, columns), constants=(build.row(columns, 1.0, 0.1),))
        value = build.apply("relu", build.apply("add", value, constants=(build.row(columns, 0.0, 0.1),)))
    return build.network("batch-norm-mlp", "probabilities:" + build.apply("softmax", build.linear(value, 10)))


def _residual_mlp() -> Network:
    """Four pre-norm residual blocks of 256 and 512 columns with layer normalisation and GELU, as in a transformer's feed-forward part."""
    build = _Builder({"features": 128}, seed=2)
    value = build.linear("features", 256)
    for _ in range(4):
        inner = build.linear(build.normalized(value, "layer_norm"), 512, "gelu")
        value = build.apply("add_values", value, build.linear(inner, 256))
    return build.network("residual-mlp", "logits:" + build.linear(build.normalized(value, "layer_norm"), 10))


def _swiglu() -> Network:
    """A residual block with RMS normalisation and SwiGLU (Shazeer, 2020), 256 and 688 columns, no biases, as Llama has them."""
    build = _Builder({"hidden": 256}, seed=3)
    normal = build.normalized("hidden", "rms_norm")
    gate = build.apply("silu", build.product(normal, 688))
    inner = build.apply("multiply_values", gate, build.product(normal, 688))
    return build.network("swiglu", "result:" + build.apply("add_values", "hidden", build.product(inner, 256)))


def _dlrm_bottom() -> Network:
    """The bottom MLP of DLRM as MLPerf has it: 13-512-256-128, ReLU behind each (Naumov et al., 2019)."""
    build = _Builder({"dense": 13}, seed=4)
    return build.network("dlrm-bottom", "embedding:" + build.chain("dense", (512, 256, 128), "relu"))


def _dlrm_top() -> Network:
    """The top MLP of DLRM as MLPerf has it: 479-1024-1024-512-256-1, ReLU between and a sigmoid at the end."""
    build = _Builder({"interactions": 479}, seed=5)
    value = build.chain("interactions", (1024, 1024, 512, 256), "relu")
    return build.network("dlrm-top", "click:" + build.linear(value, 1, "sigmoid"))


def _policy() -> Network:
    """A policy of reinforcement learning: 48-256-256 with tanh, a head for the mean of 12 actions and one for the value of the state."""
    build = _Builder({"observation": 48}, seed=6)
    value = build.chain("observation", (256, 256), "tanh")
    return build.network("policy", "action:" + build.linear(value, 12, "tanh"), "value:" + build.linear(value, 1))


def _autoencoder() -> Network:
    """784-256-64-256-784, ReLU between and a sigmoid at the end."""
    build = _Builder({"pixels": 784}, seed=7)
    value = build.linear(build.chain("pixels", (256, 64, 256), "relu"), 784, "sigmoid")
    return build.network("autoencoder", "restored:" + value)


def _nerf() -> Network:
    """The MLP of NeRF (Mildenhall et al., 2020, figure 7): eight layers of 256, the position once more before the sixth, two outputs."""
    build = _Builder({"position": 60, "direction": 24}, seed=8)
    value = build.concat("position", build.chain("position", (256,) * 5, "relu"))
    value = build.chain(value, (256,) * 3, "relu")
    density = build.linear(value, 1, "relu")
    value = build.linear(build.concat(build.linear(value, 256), "direction"), 128, "relu")
    return build.network("nerf", "colour:" + build.linear(value, 3, "sigmoid"), "density:" + density)


ZOO: Mapping[str, Callable[[], Network]] = {
    "batch-norm-mlp": _batch_norm_mlp,
    "residual-mlp": _residual_mlp,
    "swiglu": _swiglu,
    "dlrm-bottom": _dlrm_bottom,
    "dlrm-top": _dlrm_top,
    "policy": _policy,
    "autoencoder": _autoencoder,
    "nerf": _nerf,
}
"""Name of each network to what makes it."""


def load_zoo(name: str) -> Network:
    """Return a network of the zoo; the same name gives the same network on every machine.

    Raises:
        ModelError: when none is called so; the message lists those there are.

    >>> load_zoo("policy").outputs
    {'action': 12, 'value': 1}
    """
    if name not in ZOO:
        raise ModelError(f"no network of the zoo is called {name!r}; there are {', '.join(ZOO)}")
    return ZOO[name]()
