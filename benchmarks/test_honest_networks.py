"""Is the baseline an honest opponent on networks with branches? `BaselineRunner` against the lines one would write by hand.

    pytest benchmarks/test_honest_networks.py

A ratio of 1.00x means that the runner costs nothing; below 1 it is slower than the lines..
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mlbench import BaselineRunner
from mlbench.ir import FloatArray
from mlbench.models.zoo import load_zoo
from mlbench.pytest_plugin.plugin import MlbenchFixture
from mlbench.runtime.numpy_backend.kernels import erf

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=5, disable_gc=True, warmup=True, warmup_iterations=10)

Array = np.ndarray[Any, np.dtype[np.float32]]


def linear(x: Array, w: Array, b: Array) -> Array:
    """Return a Linear."""
    result: Array = x @ w + b
    return result


def normal(x: Array, scale: Array, shift: Array, epsilon: Array) -> Array:
    """Return a layer normalisation."""
    centred = x - x.mean(axis=1, keepdims=True)
    result: Array = centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon) * scale + shift
    return result


def batch_norm_mlp(x: Array, *k: Array) -> Array:
    """784-512-256-10 with batch normalisation, and softmax."""
    h = np.maximum((x @ k[0] + k[1]) * k[2] + k[3], 0)
    h = np.maximum((h @ k[4] + k[5]) * k[6] + k[7], 0)
    h = h @ k[8] + k[9]
    e = np.exp(h - h.max(axis=1, keepdims=True))
    result: Array = e / e.sum(axis=1, keepdims=True)
    return result


def residual_mlp(x: Array, *k: Array) -> Array:
    """Four residual blocks with layer normalisation and GELU."""
    h = linear(x, k[0], k[1])
    for first in range(2, 30, 7):
        inner = linear(normal(h, *k[first : first + 3]), *k[first + 3 : first + 5])
        inner = inner * 0.5 * (1 + erf(inner / 1.4142135623730951))
        h = h + linear(inner, *k[first + 5 : first + 7])
    return linear(normal(h, *k[30:33]), *k[33:35])


def swiglu(x: Array, *k: Array) -> Array:
    """RMS normalisation, two products, and a residual sum."""
    n = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + k[1]) * k[0]
    gate = n @ k[2]
    result: Array = x + (gate * (0.5 * np.tanh(0.5 * gate) + 0.5) * (n @ k[3])) @ k[4]
    return result


def policy(x: Array, *k: Array) -> tuple[Array, Array]:
    """Two layers and two heads."""
    h = np.tanh(linear(np.tanh(linear(x, *k[:2])), *k[2:4]))
    return np.tanh(linear(h, *k[4:6])), linear(h, *k[6:8])


def nerf(position: Array, direction: Array, *k: Array) -> tuple[Array, Array]:
    """Eight layers with a skip, a density and a colour."""
    pairs = iter(k)

    def dense(h: Array) -> Array:
        return linear(h, next(pairs), next(pairs))

    h = position
    for _ in range(5):
        h = np.maximum(dense(h), 0)
    h = np.concatenate((position, h), axis=1)
    for _ in range(3):
        h = np.maximum(dense(h), 0)
    density = np.maximum(dense(h), 0)
    h = np.maximum(dense(np.concatenate((dense(h), direction), axis=1)), 0)
    return 0.5 * np.tanh(0.5 * dense(h)) + 0.5, density


BY_HAND: dict[str, Callable[..., Any]] = {
    "batch-norm-mlp": batch_norm_mlp,
    "residual-mlp": residual_mlp,
    "swiglu": swiglu,
    "policy": policy,
    "nerf": nerf,
}


def results(found: object) -> Iterator[FloatArray]:
    """Give one array, or several."""
    yield from found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("batch", [1, 8, 64, 512])
@pytest.mark.parametrize("name", BY_HAND)
def test_lines_by_hand(mlbench: MlbenchFixture, name: str, batch: int) -> None:
    """Runner and lines agree, and take turns."""
    graph = load_zoo(name).graph()
    xs = [np.random.default_rng(1).standard_normal((batch, columns), dtype=np.float32) for columns in graph.inputs.values()]
    constants = tuple(graph.constants.values())

    def lines(*xs: Array) -> object:
        return BY_HAND[name](*xs, *constants)

    def check(found: object) -> None:
        for y, other in zip(results(found), results(lines(*xs)), strict=True):
            np.testing.assert_allclose(y, other, rtol=1e-4, atol=1e-5)

    mlbench(BaselineRunner(graph).run, *xs, reference=lines, check=check)
