"""Bias folding: a hidden bias moves through the ReLU into the next layer, and one pass over the activation disappears.

    relu(z + b) = max(z, -b) + b

so the layer only computes m = max(z, -b), and the next one adds b @ W to its own bias, once, at compile time:

    relu(z + b) @ W + c  =  m @ W + (b @ W + c)

The folded bias is computed in float64 and rounded once. In generated code a bias costs nothing, because it is added in registers; so
the pass comes after `codegen`, and folds only where NumPy computes both products.

**What it costs in accuracy.** A product of float32 numbers errs by u = 2**-24 times the size of what it adds up, so the next layer's error
is about u sqrt(sum_i h_i**2 W_ij**2) with the activation h, and u sqrt(sum_i m_i**2 W_ij**2) with m = h - b. Where the bias is larger than
the activation that is worse, and b holds what earlier folds have put into it: in a deep network it doubles with every two layers while the
activation does not grow. So h is computed for samples, with the biases of the graph as it came. They are normal numbers and their
magnitudes, because many inputs are no less than 0, of each scale in SCALES, and zero, which is what all smaller inputs come to. A layer
is folded only if

    sum_i m_i**2 W_ij**2  <=  GROWTH**2 * sum_i h_i**2 W_ij**2    for every sample and every output j.

Both errors reach the output through the same layers. So where each fold adds at most GROWTH times the error that is there anyway, all of
them together do: the limit holds for the whole graph, whatever its depth. A layer of few columns is rarely folded, because its activation
is near zero for some samples. Activations other than ReLU do not allow the rewrite and are left alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.compiler.passes.base import Decision, Decisions, Pass, private_reason
from mlbench.compiler.schedule.program import Program
from mlbench.ir import FloatArray, Graph, Node, Step, frozen, new_name

GROWTH = 2.0
SCALES = tuple(10.0**exponent for exponent in range(-4, 5))
"""Standard deviations of the inputs for which the limit holds."""
SAMPLES = 8
"""Rows of each scale; every second one has magnitudes."""
_PATTERN = ("matmul", "add", "relu", "matmul", "add")

Wide = npt.NDArray[np.float64]
_EXACT: dict[str, Callable[..., Any]] = {
    "matmul": np.matmul,
    "add": np.add,
    "maximum": np.maximum,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, slope: np.maximum(x, slope * x),
    "sigmoid": lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,
    "tanh": np.tanh,
    "add_values": np.add,
    "concat": lambda *values: np.concatenate(values, axis=1),
}
"""What an op does to the samples; behind one that is not known here nothing is folded."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A step of a graph.

    Attributes:
        position: of its node.
        index: in the node's epilogue; -1 for the node's own op.
        op: what it does.
        operands: names of constants.
    """

    position: int
    index: int
    op: str
    operands: tuple[str, ...]

    @property
    def key(self) -> tuple[int, int]:
        """Where it is."""
        return self.position, self.index


_INACCURATE = "the bias is large against the activation, and folding it would make the rounding error more than twice as large"
_Match = tuple[_Place, ...]
"""Linear -> ReLU -> Linear as five steps that follow each other."""
_Edits = dict[tuple[int, int], Step | None]
"""What a step becomes; None drops it."""


def apply(program: Program) -> Program:
    """Fold every bias that may be folded, first layer first."""
    return program.with_graph(fold(program.graph, {node.output for node in program.graph.nodes if program.of(node).is_generated}))


def fold(graph: Graph, generated: Collection[str] = ()) -> Graph:
    """Return the graph with its biases folded, but for those around nodes that bind some values, which generated code computes."""
    matches = {match[2].key: match for match in _matches(graph, generated)}
    if not matches:
        return graph
    constants = dict(graph.constants)
    edits: _Edits = {}
    for relu, activation in _activations(graph, generated, matches):
        _fold(matches[relu], activation, constants, edits)
    return graph.with_nodes(_edited(graph, edits), constants) if edits else graph


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    relus, left = (sum(place.op == "relu" for place in _places(program.graph)) for program in (before, after))
    if relus == left:
        return (
            f"Nothing folded: {relus} ReLU, none between two Linears of NumPy's with a bias that is small compared with the ReLU's output."
        )
    folded = relus - left
    return (
        f"{folded} of {relus} ReLU became max(z, -b), and the bias b moved into the next layer's bias as b @ W, "
        f"computed once in float64. A call makes {folded} fewer passes over a hidden activation."
    )


def decide(before: Program, after: Program) -> Decisions:
    """Return for each ReLU whether the bias before it moved on, and why."""
    graph, generated = before.graph, {node.output for node in before.graph.nodes if before.of(node).is_generated}
    places = tuple(_places(graph))
    folded = {place.key for place in _places(after.graph) if place.op == "maximum"} - {
        place.key for place in places if place.op == "maximum"
    }
    found = []
    for index, place in enumerate(places):
        if place.op == "relu":
            node = graph.nodes[place.position]
            window = places[max(0, index - 2) : index + 3]
            reason = _refusal(graph, window, generated)
            is_done = not reason and bool(folded)
            allowed = "the bias is small against the activation, so rounding grows by a factor of 2 at most"
            found.append(Decision(node.output, is_done, allowed if is_done else reason or _INACCURATE))
    if found:
        return tuple(found)
    return (Decision("", is_done=False, reason="there is no ReLU, the only activation that a bias can move through"),)


def _refusal(graph: Graph, window: _Match, generated: Collection[str]) -> str:
    """Return why no bias moves through the ReLU in the middle of a window; empty where rounding alone decides."""
    if any(graph.nodes[place.position].output in generated for place in window):
        return "generated code adds the bias in registers, where it costs nothing"
    if tuple(place.op for place in window) != _PATTERN:
        return "it is not between two Linears"
    if not _is_private_chain(graph, window):
        names = dict.fromkeys(graph.nodes[place.position].output for place in window[:-1])
        return next(filter(None, (private_reason(graph, name) for name in names)), "its nodes do not follow each other")
    return "" if _has_rows(graph, window) else "a bias is no row, or a number is not finite"


def _places(graph: Graph, generated: Collection[str] = ()) -> Iterator[_Place]:
    """Return the steps of a graph in order, those of epilogues too; a product that is generated has no op that is known here."""
    for position, node in enumerate(graph.nodes):
        yield _Place(position, -1, "" if node.output in generated else node.op, node.operands)
        for index, step in enumerate(node.epilogue):
            yield _Place(position, index, step.op, step.operands)


def _matches(graph: Graph, generated: Collection[str]) -> Iterator[_Match]:
    """Return where a bias could be folded; matches overlap, because the second Linear of one is the first of the next."""
    places = tuple(_places(graph, generated))
    for first in range(len(places) - len(_PATTERN) + 1):
        window = places[first : first + len(_PATTERN)]
        if tuple(place.op for place in window) == _PATTERN and _is_private_chain(graph, window) and _has_rows(graph, window):
            yield window


def _is_private_chain(graph: Graph, match: _Match) -> bool:
    """Whether each node hands its value to the next one and to nobody else."""
    nodes = [graph.nodes[position] for position in dict.fromkeys(place.position for place in match)]
    return all(
        later.values == (node.output,) and len(graph.readers_of(node.output)) == 1 and node.output not in graph.outputs
        for node, later in itertools.pairwise(nodes)
    )


def _has_rows(graph: Graph, match: _Match) -> bool:
    """Whether the biases are rows, and all that would be mixed is finite."""
    bias, weight, own = (graph.constants[match[index].operands[0]] for index in (1, 3, 4))
    return bias.ndim == own.ndim == 1 and all(np.isfinite(array).all() for array in (bias, weight, own))


def _activations(
    graph: Graph, generated: Collection[str], wanted: Mapping[tuple[int, int], object]
) -> Iterator[tuple[tuple[int, int], FloatArray]]:
    """Return what each wanted step gives for the samples, in order, as far as every op is known."""
    values = {name: _samples(columns, seed) for seed, (name, columns) in enumerate(graph.inputs.items())}
    left = set(wanted)
    with np.errstate(all="ignore"):
        for place in _places(graph, generated):
            if not left or place.op not in _EXACT:
                return
            node = graph.nodes[place.position]
            read = node.values if place.index < 0 else (node.output,)
            constants = (graph.constants[name] for name in place.operands)
            values[node.output] = _EXACT[place.op](*(values[name] for name in read), *constants)
            if place.key in left:
                left.remove(place.key)
                yield place.key, values[node.output]


def _samples(columns: int, seed: int) -> FloatArray:
    """Return zeros, and normal numbers and their magnitudes of each scale."""
    rows = np.random.default_rng(seed).standard_normal((len(SCALES), SAMPLES, columns), dtype=np.float32)
    rows *= np.array(SCALES, np.float32)[:, np.newaxis, np.newaxis]
    rows[:, ::2] = np.abs(rows[:, ::2])
    return np.vstack([np.zeros((1, columns), np.float32), rows.reshape(-1, columns)])


def _fold(match: _Match, activation: FloatArray, constants: dict[str, FloatArray], edits: _Edits) -> None:
    """Fold one bias, with what earlier folds have put into it, where that is accurate."""
    _, add, relu, product, next_add = match
    (name,) = (edits.get(add.key) or add).operands
    bias, weight = (constants[each].astype(np.float64) for each in (name, product.operands[0]))
    with np.errstate(all="ignore"):
        folded = frozen(bias @ weight + constants[next_add.operands[0]])
        is_accurate = _is_accurate(activation.astype(np.float64), bias, weight)
    if not (is_accurate and np.isfinite(folded).all()):
        return
    negated_name = new_name(constants, f"{name}_negated")
    constants[negated_name] = frozen(-constants[name])
    folded_name = new_name(constants, f"{next_add.operands[0]}_folded")
    constants[folded_name] = folded
    edits[add.key] = Step("maximum", (negated_name,))
    edits[relu.key] = None
    edits[next_add.key] = Step("add", (folded_name,))


def _is_accurate(activation: Wide, bias: Wide, weight: Wide) -> bool:
    """Whether the fold adds at most GROWTH times the rounding error that is there anyway, far from where float32 ends."""
    largest = (np.abs(activation).max() + np.abs(bias).max()) * np.abs(weight).sum(axis=0).max()
    squares = np.square(weight)
    with_fold, without = np.square(activation - bias) @ squares, np.square(activation) @ squares
    return bool(largest < np.finfo(np.float32).max and np.all(with_fold <= GROWTH**2 * without))


def _edited(graph: Graph, edits: _Edits) -> tuple[Node, ...]:
    """Return the nodes after the edits; who read a node that is dropped reads what it read."""
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    for position, node in enumerate(graph.nodes):
        sources = tuple(renamed.get(name, name) for name in node.values)
        own = edits.get((position, -1), Step(node.op, node.operands))
        if own is None:
            (renamed[node.output],) = sources
            continue
        steps = (edits.get((position, index), step) for index, step in enumerate(node.epilogue))
        epilogue = tuple(step for step in steps if step is not None)
        nodes.append(replace(node, op=own.op, inputs=(*sources, *own.operands), epilogue=epilogue))
    return tuple(nodes)


PASS = Pass(
    "fold_bias",
    "move hidden biases through the ReLU into the next layer's bias, between products that NumPy computes",
    explain,
    apply=apply,
    rule="The bias before a ReLU between two Linears of NumPy's moves into the second one's bias, if rounding errs no more than twice as "
    "much for it.",
    decide=decide,
)
