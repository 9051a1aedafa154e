"""XLA on the CPU, through JAX.

The weights are constants of the jitted function, so that XLA may lay them out as it likes, and the input lies on the device.
Asynchronous dispatch is off: the call runs in the thread that asks for it instead of waking another one, which takes 64-64-10 at batch 1
from 12 to 5 us. The call waits until the result is there. With one thread XLA is told not to use its pool.

Tried without effect: compiling ahead of time (slower by 0.3 us a call), weights as arguments, the oneDNN and XNNPACK flags.

Sources: docs.jax.dev/en/latest/jit-compilation.html, docs.jax.dev/en/latest/async_dispatch.html (`block_until_ready`),
github.com/jax-ml/jax/commit/9e7830df2df9362edcf2e18e353d327fdecae678 (synchronous dispatch on CPUs),
docs.jax.dev/en/latest/xla_flags.html.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mlbench.ir import FloatArray
from mlbench.models import LEAKY_SLOPE, Model
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("jax", "jax"), Package("jaxlib", "jaxlib"))
SETTINGS = "jit with constant weights, synchronous dispatch, highest precision, input on the device"


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`; threads are as many as the process has cores."""
    flag = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*os.environ.get("XLA_FLAGS", "").split(), flag]))
    import jax  # noqa: PLC0415  # only where this runtime is measured, and after its flags are set
    import jax.numpy as jnp  # noqa: PLC0415  # as above
    from jax import nn  # noqa: PLC0415  # as above

    activations: dict[str, Callable[[Any], Any]] = {
        "identity": lambda value: value,
        "relu": nn.relu,
        "leaky_relu": lambda value: nn.leaky_relu(value, LEAKY_SLOPE),
        "sigmoid": nn.sigmoid,
        "tanh": jnp.tanh,
        "softmax": lambda value: nn.softmax(value, axis=1),
    }
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # noqa: FBT003  # JAX takes no keyword here
    jax.clear_caches()  # the cell before

    def network(value: Any) -> Any:  # jax.Array
        for layer in model.layers:
            value = activations[layer.activation](jnp.dot(value, layer.weight, precision="highest") + layer.bias)
        return value

    given, run = jax.device_put(x), jax.jit(network)
    run(given).block_until_ready()  # compiles
    return lambda: run(given).block_until_ready()
