"""The plain judge of runners: the model in float64, and how far rounding may take float32 from it.

It reads the model's layers, not the graph, the op table or a kernel, so that it shares no mistake with what it judges.

**The tolerance** follows the rounding error through the layers, element by element. The worst-case bound (Higham, Accuracy and
Stability of Numerical Algorithms, 2nd ed., 2002, section 3.5) grows with the depth to where it would let a wrong runner pass, so the
probabilistic one is used (Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019,
theorem 3.1): with independent roundings of mean zero, a product over k terms errs by lambda sqrt(k) u |h| @ |W| and not by
gamma(k) |h| @ |W|.
Errors of the layer before arrive with the variance e**2 @ W**2. With u = 2**-24 the standard error of a layer is

    s**2  =  s_before**2 @ W**2  +  (sqrt(k + 4) (u (|h| @ |W| + |b|) + v))**2

with v = 2**-150, half the smallest float32, for what underflows; the tolerance is LAMBDA * s. ReLU, leaky ReLU, sigmoid and tanh do
not enlarge an error; sigmoid, tanh and softmax add some units in the last place of their own. Elements that are infinite or NaN in
float32 must be so in the output. Finite numbers may overflow in float32 in one order of a sum and not in another; behind those
that may, any output is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.errors import WrongResultError
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model

UNIT_ROUNDOFF = 2.0**-24
LAMBDA = 8.0
"""The bound fails with a probability below 2 exp(-LAMBDA**2 / 2) = 3e-14 an element."""
_UNDERFLOW = 2.0**-150
_MAY_OVERFLOW = float(np.finfo(np.float32).max) / 2
_FUNCTION_ULPS = 16
"""Units in the last place that a float32 tanh or exp and the arithmetic around it may be off."""

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a runner's output compares with the reference.

    Attributes:
        max_error: largest absolute difference.
        tolerance: what rounding can explain at the element where error / tolerance is largest.
        worst: that largest error / tolerance; right means 1 or less.
    """

    max_error: float
    tolerance: float
    worst: float


def reference(model: Model, x: npt.NDArray[np.floating]) -> Wide:
    """Return the model's output in float64; x: (batch, inputs), the result (batch, outputs)."""
    return _run(model, x)[0]


def check_result(model: Model, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating], who: str = "the runner") -> Agreement:
    """Compare `y` with the reference for `x`.

    Args:
        model: the model that was run.
        x: (batch, inputs).
        y: (batch, outputs), what the runner gave.
        who: the runner, for the error message.

    Raises:
        WrongResultError: when the shape differs or an element is farther off than rounding explains.
    """
    exact, bound = _run(model, x)
    if y.shape != exact.shape:
        raise WrongResultError(f"{who} gave shape {y.shape}; the float64 reference gives {exact.shape}")
    if exact.size == 0:
        return Agreement(0.0, 0.0, 0.0)
    known, finite = np.isfinite(bound), np.isfinite(exact)
    has_two_linears = any(layer.activation == IDENTITY for layer in model.layers[:-1])
    with np.errstate(invalid="ignore", over="ignore"):
        same = ~np.isfinite(y) if has_two_linears else _same(y, exact.astype(np.float32))
        error = np.where(finite, np.abs(y - exact), np.where(same, 0.0, np.inf))
    error = np.where(known, np.where(np.isnan(error), np.inf, error), 0.0)
    allowed = np.where(known & finite, bound, 1.0)
    share = error / allowed
    place = np.unravel_index(int(share.argmax()), share.shape)
    found = Agreement(float(error.max()), float(allowed[place]), float(share[place]))
    if found.worst > 1:
        raise WrongResultError(
            f"{who} gave {y[place]!r} at row {place[0]}, column {place[1]}; the float64 reference gives {exact[place]:.9g}, "
            f"and rounding explains {allowed[place]:.3g}"
        )
    return found


def _run(model: Model, x: npt.NDArray[np.floating]) -> tuple[Wide, Wide]:
    """Return the output and the bound on the rounding error of a float32 run."""
    with np.errstate(all="ignore"):
        value: Wide = x.astype(np.float32).astype(np.float64)
        spread = np.zeros_like(value)
        for layer in model.layers:
            weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
            size = np.abs(value) @ np.abs(weight) + np.abs(bias)
            own = np.sqrt(weight.shape[0] + 4) * (UNIT_ROUNDOFF * size + _UNDERFLOW)
            spread = np.sqrt(np.square(spread) @ np.square(weight) + np.square(own))
            spread = np.where(np.isfinite(size) & (size > _MAY_OVERFLOW), np.inf, spread)
            z = value @ weight + bias
            value, spread = _activate(layer.activation, z, np.where(np.isfinite(z), spread, 0.0))
        return value, LAMBDA * spread + np.finfo(np.float32).tiny


def _activate(name: str, z: Wide, spread: Wide) -> tuple[Wide, Wide]:
    """Return the activation of `z` and the standard error of it."""
    own = _FUNCTION_ULPS * UNIT_ROUNDOFF / LAMBDA
    if name == "relu":
        return np.maximum(z, 0.0), np.where(z < -LAMBDA * spread, 0.0, spread)  # what is certainly off is exactly 0
    if name == "leaky_relu":
        return np.where(z > 0, z, LEAKY_SLOPE * z), spread + 2 * UNIT_ROUNDOFF * np.abs(z)
    if name == "sigmoid":
        return 1 / (1 + np.exp(-z)), spread / 4 + own
    if name == "tanh":
        return np.tanh(z), spread + own
    if name == "softmax":
        weights = np.exp(z - z.max(axis=1, keepdims=True))
        shares = weights / weights.sum(axis=1, keepdims=True)
        return shares, 2 * shares * spread.max(axis=1, keepdims=True) + own + z.shape[1] * UNIT_ROUNDOFF * shares
    return z, spread


def _same(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))
