"""The plain judge of runners: the model in float64, and how far rounding may take float32 from it.

Of a model of ours it reads the layers, not the graph, the op table or a kernel, so that it shares no mistake with what it judges. Any other
graph it has interpreted node by node, as it was written, and the tolerance is LAMBDA times the standard deviation that
`mlbench.ir.rounding` finds.

**The tolerance of a model** follows the rounding error through the layers, element by element. The worst-case bound (Higham, Accuracy and
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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from mlbench.errors import WrongResultError
from mlbench.ir import Graph, deviations, interpret
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model, Network

UNIT_ROUNDOFF = 2.0**-24
LAMBDA = 8.0
"""The bound fails with a probability below 2 exp(-LAMBDA**2 / 2) = 3e-14 an element."""
_UNDERFLOW = 2.0**-150
_MAY_OVERFLOW = float(np.finfo(np.float32).max) / 2
_FUNCTION_ULPS = 16
"""Units in the last place that a float32 tanh or exp and the arithmetic around it may be off."""

Wide = npt.NDArray[np.float64]
Given = npt.NDArray[Any] | Sequence[npt.NDArray[Any]] | Mapping[str, npt.NDArray[Any]]


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


@overload
def reference(model: Model, x: Given) -> Wide: ...


@overload
def reference(model: Network | Graph, x: Given) -> Any: ...


def reference(model: Model | Network | Graph, x: Given) -> Any:
    """Return the output in float64, or a tuple of them for several outputs.

    Args:
        model: what is run.
        x: what a runner is given: an array, or for several inputs a sequence of arrays or a mapping of names to them.
    """
    if isinstance(model, Model):
        return _run(model, _arrays(model, x)[0])[0]
    graph = model if isinstance(model, Graph) else model.graph()
    exact = interpret(graph, [array.astype(np.float32) for array in _arrays(model, x)])
    return exact if len(exact) > 1 else exact[0]


def check_result(
    model: Model | Network | Graph, x: Given, y: npt.NDArray[np.floating] | Sequence[npt.NDArray[np.floating]], who: str = "the runner"
) -> Agreement:
    """Compare `y` with the reference for `x`.

    Args:
        model: what was run.
        x: what the runner was given: an array, or for several inputs a sequence of arrays or a mapping of names to them.
        y: what the runner gave: an array, or for several outputs a sequence of arrays.
        who: the runner, for the error message.

    Returns:
        How they compare at the element where error / tolerance is largest, of all outputs.

    Raises:
        WrongResultError: when a shape or the number of outputs differs, or an element is farther off than rounding explains.
    """
    xs = _arrays(model, x)
    if isinstance(model, Model):
        exact, bound = _run(model, xs[0])
        has_two_linears = any(layer.activation == IDENTITY for layer in model.layers[:-1])
        return _compare(_only(y, who), exact, bound, who, is_loose=has_two_linears)
    graph = model if isinstance(model, Graph) else model.graph()
    names = model.output_names if isinstance(model, Network) else graph.outputs
    ys = (_only(y, who),) if len(names) == 1 else tuple(y)
    if len(ys) != len(names):
        raise WrongResultError(f"{who} gave {len(ys)} outputs; the float64 reference gives {', '.join(names)}")
    which = [f"{who}, output {name}," for name in names] if len(names) > 1 else [who]
    found = [
        _compare(each, exact, LAMBDA * deviation + np.finfo(np.float32).tiny, name, is_loose=True)
        for each, (exact, deviation), name in zip(ys, deviations(graph, xs), which, strict=True)
    ]
    return max(found, key=lambda each: each.worst)


def _arrays(model: Model | Network | Graph, x: Given) -> tuple[npt.NDArray[Any], ...]:
    """Return an array for each input, in order."""
    if isinstance(x, Mapping):
        names = model.input_names if isinstance(model, Network) else (model if isinstance(model, Graph) else model.graph()).inputs
        return tuple(x[name] for name in names)
    return (x,) if isinstance(x, np.ndarray) else tuple(x)


def _only(y: npt.NDArray[np.floating] | Sequence[npt.NDArray[np.floating]], who: str) -> npt.NDArray[np.floating]:
    if not isinstance(y, np.ndarray):
        raise WrongResultError(f"{who} gave a {type(y).__name__}; the float64 reference gives one array")
    return y


def _compare(y: npt.NDArray[np.floating], exact: Wide, bound: Wide, who: str, *, is_loose: bool) -> Agreement:
    """Compare an output with the reference, within the bound of each element; NaN and infinity as a bound leave an element open.

    Where the reference is infinite or NaN the output must be the same. If it is loose, operations may have run in another order, which
    gives an infinity for NaN, or NaN for an infinity.
    """
    if y.shape != exact.shape:
        raise WrongResultError(f"{who} gave shape {y.shape}; the float64 reference gives {exact.shape}")
    if exact.size == 0:
        return Agreement(0.0, 0.0, 0.0)
    known, finite = np.isfinite(bound), np.isfinite(exact)
    with np.errstate(invalid="ignore", over="ignore"):
        same = ~np.isfinite(y) if is_loose else _same(y, exact.astype(np.float32))
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
