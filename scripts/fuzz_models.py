"""Run random models and inputs through compiled runners, and compare each row with float64 and with the eager runner.

    python scripts/fuzz_models.py --models 10000            # about ten minutes
    python scripts/fuzz_models.py --first 4711 --models 1   # one of them again

Development only. A number, its seed, decides everything about a model: up to 50 layers, widths, activations, weights, biases, passes,
schedule, threads, and some inputs. So a range of seeds can be run again, or gone on with. A run ends with 1 at a wrong row, and prints its
seed.

**What is right.** Rows of ordinary numbers may be off by FACTOR times what the eager runner is off, plus FLOOR_ULPS units in the last place
of the largest output. The eager runner's error is the largest of some runs on inputs that differ by a few units in the last place, because
one run can be right by chance. NaN and infinities must be where the eager runner has them. Two things are not judged: rows in which a
finite value may overflow in float32, because the order of a sum decides whether it does, and which of NaN and the infinities comes out
where Linears were merged (`mlbench.compiler.passes.canonicalize`).
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.compiler.pipeline import PASSES
from mlbench.compiler.schedule.schedule import Schedule
from mlbench.compiler.schedule.search import space_of
from mlbench.errors import WrongResultError
from mlbench.ir import FloatArray, frozen, op_named
from mlbench.models import HIDDEN_ACTIVATIONS, LEAKY_SLOPE, OUTPUT_ACTIVATIONS, Layer, Model
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result
from mlbench.studies.autotune import undecided

FACTOR = 4.0
FLOOR_ULPS = 4.0
ULP = 2.0**-23
LARGEST_INPUT = 1e4
MOST_LAYERS = 50
MOST_WEIGHTS = 600_000
NEARBY = 6
"""Runs of the eager runner on inputs that differ by some units in the last place."""
SHUFFLED = 6
"""Runs of the eager runner on models whose hidden columns stand in another order: the same function, and sums in another order. Where all
outputs but one are saturated, or an input is small beside a bias, inputs nearby round alike, and one rounding says little of an error."""
NAMES = tuple(each.name for each in PASSES)
VALUES = ("normal", "normal", "normal", "positive", "zeros", "subnormal", "large", "huge", "odd")
FORMS = ("float32", "float32", "float64", "float16", "strided", "fortran", "backwards", "unaligned")
BIASES = ("zero", "minus-zero", "small", "typical", "large", "negative", "one-huge", "odd")

Wide = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Case:
    """What one seed stands for.

    Attributes:
        model: the model.
        max_batch: most rows of a call.
        passes: names of the passes.
        schedule: what they are given; None for the heuristics.
        threads: that a call may use.
        inputs: of the calls, in order.
        story: all of it in a line.
    """

    model: Model
    max_batch: int
    passes: tuple[str, ...]
    schedule: Schedule | None
    threads: int
    inputs: tuple[Floats, ...]
    story: str


def case_of(seed: int) -> Case:
    """Return the case of a seed."""
    random = np.random.default_rng(seed)
    model, told = _model(random)
    passes = _passes(random)
    threads = int(random.choice([1, 1, 2, 3]))
    max_batch = int(random.choice([1, 2, 7, 16, 33, 100, 300]))
    schedule = _schedule(random, model, max_batch, threads, passes)
    inputs, forms = [], []
    for _ in range(int(random.integers(1, 4))):
        batch = int(random.choice([0, 1, max_batch, max_batch, *random.integers(0, max_batch + 1, 3)]))
        values, form = str(random.choice(VALUES)), str(random.choice(FORMS))
        inputs.append(_formed(_values(random, batch, model.inputs, values), form))
        forms.append(f"{batch} rows {values} {form}")
    sizes = "-".join(str(size) for size in (model.inputs, *model.hidden, model.outputs))
    chosen = "heuristics" if schedule is None else f"{schedule.threading}, tiles of {schedule.tile_rows}"
    story = f"{sizes} {told}; {'+'.join(passes) or 'no passes'}; {threads} threads; {chosen}; {', '.join(forms)}"
    return Case(model, max_batch, passes, schedule, threads, tuple(inputs), story)


def _model(random: np.random.Generator) -> tuple[Model, str]:
    depth = int(random.choice([random.integers(1, 5), random.integers(1, MOST_LAYERS + 1)]))
    widest = int(random.choice([4, 16, 64, 200, 1100]))
    sizes = [int(random.integers(1, widest + 1)) for _ in range(depth + 1)]
    if random.random() < 0.5:
        sizes[1:-1] = [widest] * (depth - 1)
    while sum(a * b for a, b in itertools.pairwise(sizes)) > MOST_WEIGHTS:
        sizes = [max(1, size // 2) for size in sizes]
    one = str(random.choice(HIDDEN_ACTIVATIONS))
    hidden = [one if random.random() < 0.8 else str(random.choice(HIDDEN_ACTIVATIONS)) for _ in range(depth - 1)]
    activations = [*hidden, str(random.choice(OUTPUT_ACTIVATIONS))]
    kind = str(random.choice(BIASES))
    thin = random.random() < 0.2
    layers = []
    for inputs, outputs, activation in zip(sizes, sizes[1:], activations, strict=False):
        gain = np.sqrt((2.0 if activation in ("relu", "leaky_relu") else 1.0) / inputs)
        weight = random.standard_normal((inputs, outputs)) * gain
        if thin:
            weight *= random.random(weight.shape) < 0.5
        layers.append(Layer(frozen(weight), frozen(_bias(random, outputs, kind)), activation))
    return Model(str(depth), tuple(layers)), f"({'/'.join(dict.fromkeys(activations))}, biases {kind})"


def _bias(random: np.random.Generator, size: int, kind: str) -> Wide:
    normal: Wide = random.standard_normal(size)
    if kind == "zero":
        return np.zeros(size)
    if kind == "minus-zero":
        return np.full(size, -0.0)
    if kind == "negative":
        return -np.abs(normal)
    if kind in ("one-huge", "odd"):
        numbers = [1e8, -1e8] if kind == "one-huge" else [np.inf, -np.inf, np.nan]
        normal[int(random.integers(size))] = random.choice(numbers) if random.random() < 0.3 else 0.0
        return normal
    scaled: Wide = normal * {"small": 1e-3, "typical": 0.1, "large": 1e3}[kind]
    return scaled


def _values(random: np.random.Generator, batch: int, columns: int, kind: str) -> Wide:
    normal: Wide = random.standard_normal((batch, columns))
    if kind == "zeros":
        return np.zeros((batch, columns))
    if kind == "subnormal":
        return normal * 1e-40
    if kind == "large":
        return normal * 1e30
    if kind == "huge":
        return np.clip(normal, -1, 1) * 3e38
    if kind == "odd":
        normal[random.random(normal.shape) < 0.5 / columns] = random.choice([np.nan, np.inf, -np.inf])
        return normal
    scaled: Wide = normal * 10.0 ** random.uniform(-4, 4)
    return np.abs(scaled) if kind == "positive" else scaled


def _formed(values: Wide, form: str) -> Floats:
    """Return the values in a dtype and an order of memory."""
    with np.errstate(over="ignore"):
        if form in ("float64", "float16"):
            return values.astype(form)
        x = values.astype(np.float32)
    if form == "strided":
        room = np.zeros((2 * x.shape[0], 3 * x.shape[1]), np.float32)
        room[::2, ::3] = x
        return room[::2, ::3]
    if form == "backwards":
        return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    if form == "unaligned":
        shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
        shifted[...] = x
        return shifted
    return np.asfortranarray(x) if form == "fortran" else x


def _passes(random: np.random.Generator) -> tuple[str, ...]:
    chance = random.random()
    if chance < 0.5:
        return NAMES
    if chance < 0.7:
        return tuple(name for name in NAMES if name != "codegen")
    return tuple(name for name in NAMES if random.random() < 0.6)


def _schedule(random: np.random.Generator, model: Model, max_batch: int, threads: int, passes: tuple[str, ...]) -> Schedule | None:
    """Return a schedule from the space of the search, or None."""
    if random.random() < 0.5:
        return None
    space = space_of(undecided(model.graph(), max_batch, threads, passes), passes)
    ops = tuple(each[int(random.integers(len(each)))] for each in space.ops)
    tile_rows = space.tiles[int(random.integers(len(space.tiles)))]
    return Schedule(tile_rows, ops, space.threadings[int(random.integers(len(space.threadings)))])


def exact(model: Model, x: Floats) -> tuple[Wide, npt.NDArray[np.bool_]]:
    """Return the output in float64, and in which elements a float32 may have overflowed on the way."""
    with np.errstate(all="ignore"):
        value: Wide = x.astype(np.float32).astype(np.float64)
        lost = np.zeros(value.shape[0], bool)
        for layer in model.layers:
            weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
            size = np.abs(value) @ np.abs(weight) + np.abs(bias)
            lost |= (np.isfinite(size) & (size > np.finfo(np.float32).max / 4)).any(axis=1)
            value = _activated(layer.activation, value @ weight + bias)
    return value, np.broadcast_to(lost[:, np.newaxis], value.shape)


def _activated(name: str, z: Wide) -> Wide:
    if name == "relu":
        return np.maximum(z, 0)
    if name == "leaky_relu":
        return np.maximum(z, np.float64(np.float32(LEAKY_SLOPE)) * z)
    if name == "sigmoid":
        return 0.5 * np.tanh(0.5 * z) + 0.5
    if name == "tanh":
        return np.tanh(z)
    if name == "softmax":
        exponentials = np.exp(z - z.max(axis=1, keepdims=True))
        shares: Wide = exponentials / exponentials.sum(axis=1, keepdims=True)
        return shares
    return z


def wrong(model: Model, eager: BaselineRunner, x: Floats, y: FloatArray, *, merged: bool) -> str:
    """Return what is wrong with an output, or nothing.

    Args:
        model: the model.
        eager: its eager runner.
        x: (batch, inputs).
        y: (batch, outputs).
        merged: Linears were merged, so that NaN and infinities may stand for each other.
    """
    with np.errstate(all="ignore"):
        plain = eager.run(x)
    right, lost = exact(model, x)
    if y.shape != right.shape or y.dtype != np.float32:
        return f"{y.dtype} of shape {y.shape}; expected float32 of shape {right.shape}"
    if not y.size:
        return ""
    same = np.isfinite(y) == np.isfinite(plain) if merged else _kind(y) == _kind(plain)
    if not (same | lost).all():
        row, column = np.argwhere(~(same | lost))[0]
        return f"row {row}, column {column}: {y[row, column]}; the eager runner gives {plain[row, column]}"
    usable = np.isfinite(plain) & np.isfinite(right) & ~lost
    if not usable.any():
        return ""
    with np.errstate(all="ignore"):
        error = np.where(usable, np.abs(y - right), 0)
        least = FLOOR_ULPS * ULP * np.abs(right[usable]).max() + np.finfo(np.float32).tiny
        allowed = FACTOR * eager_error(model, eager, x) + least
        if error.max() > allowed:
            allowed = max(allowed, FACTOR * shuffled_error(model, x) + least)
    if error.max() > allowed:
        row, column = np.unravel_index(int(error.argmax()), error.shape)
        return f"row {row}, column {column}: {y[row, column]!r} is off {right[row, column]!r} by {error.max():.3g} > {allowed:.3g}"
    return ""


def eager_error(model: Model, eager: BaselineRunner, x: Floats) -> float:
    """Return by how much the eager runner is off at most, for this input and some that are nearby."""
    random = np.random.default_rng(0)
    most = 0.0
    for index in range(NEARBY):
        with np.errstate(all="ignore"):
            near = np.array(x, np.float32, order="C")
            near *= (1 + (index > 0) * ULP * random.integers(-8, 9, x.shape)).astype(np.float32)
            right, lost = exact(model, near)
            error = np.abs(eager.run(near) - right)
        most = max(most, float(np.where(np.isfinite(error) & ~lost, error, 0).max(initial=0)))
    return most


def shuffled_error(model: Model, x: Floats) -> float:
    """Return by how much the eager runner is off at most, for models that are the same but for the order of their hidden columns."""
    random = np.random.default_rng(0)
    right, lost = exact(model, x)
    most = 0.0
    for _ in range(SHUFFLED):
        with np.errstate(all="ignore"):
            error = np.abs(BaselineRunner(shuffled(model, random)).run(x) - right)
        most = max(most, float(np.where(np.isfinite(error) & ~lost, error, 0).max(initial=0)))
    return most


def shuffled(model: Model, random: np.random.Generator) -> Model:
    """Return the same function, with hidden columns in another order."""
    layers = []
    rows = np.arange(model.inputs)
    for number, layer in enumerate(model.layers, start=1):
        outputs = layer.bias.size
        columns = random.permutation(outputs) if number < len(model.layers) else np.arange(outputs)
        layers.append(Layer(frozen(layer.weight[rows][:, columns]), frozen(layer.bias[columns]), layer.activation))
        rows = columns
    return Model(model.name, tuple(layers))


def _kind(y: FloatArray) -> npt.NDArray[np.int8]:
    """Return 0 for numbers, 2 for NaN, and the sign of infinities."""
    return np.where(np.isnan(y), 2, np.where(np.isinf(y), np.sign(y), 0)).astype(np.int8)


def failure(case: Case) -> str:
    """Run a case and return what is wrong with it, or nothing."""
    runner = OptimizedRunner(case.model, case.max_batch, passes=case.passes, schedule=case.schedule, threads=case.threads)
    products = sum(op_named(node.op).is_product for node in runner.compiled.graph.nodes)
    eager = BaselineRunner(case.model)
    for number, x in enumerate(case.inputs):
        with np.errstate(all="ignore"):
            y, plain = runner.run(x).copy(), eager.run(x)
        found = wrong(case.model, eager, x, y, merged=products < len(case.model.layers))
        if not found and _is_refused(case.model, x, y) and not _is_refused(case.model, x, plain):
            found = "check_result refuses it, and not the eager runner's"
        if found:
            return f"call {number}: {found}"
    return ""


def _is_refused(model: Model, x: Floats, y: FloatArray) -> bool:
    try:
        check_result(model, x, y)
    except WrongResultError:
        return True
    return False


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=10_000, help="how many seeds to run (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds (default: no limit)")
    parser.add_argument("--keep-going", action="store_true", help="go on after a wrong row, and count them")
    parser.add_argument("--verbose", action="store_true", help="say what each seed stands for")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    done = bad = 0
    told = start
    for seed in range(options.first, options.first + options.models):
        if time.monotonic() - start > options.seconds or (bad and not options.keep_going):
            break
        case = case_of(seed)
        if options.verbose:
            print(f"{seed}: {case.story}", flush=True)
        try:
            found = failure(case)
        except BaseException:
            print(f"stopped at seed {seed}: {case.story}\n  again: python {sys.argv[0]} --first {seed} --models 1", flush=True)
            raise
        done += 1
        if found:
            bad += 1
            print(f"WRONG {seed}: {found}\n  {case.story}\n  again: python {sys.argv[0]} --first {seed} --models 1", flush=True)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{done} of {options.models} models, {bad} wrong, {told - start:.0f} s", file=sys.stderr, flush=True)
    print(f"{done} models from seed {options.first} to {options.first + done - 1}: {bad} wrong, {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
