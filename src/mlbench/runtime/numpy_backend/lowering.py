"""From a graph to the Python that runs it.

Both runners run straight-line code: a function made of the kernel lines of the op table, in the order of the nodes. That is what a person
would write by hand, so the baseline is an honest opponent, and the optimized runner pays for no interpreter.

The source is registered with `linecache`: tracebacks, debuggers and memray's flame graphs show its lines. (memray shows lines of
files called `.py` only; others might hold secrets.)
"""

from __future__ import annotations

import itertools
import keyword
import linecache
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mlbench.errors import GraphError
from mlbench.ir import FloatArray, Graph, Node, Step, op_named
from mlbench.runtime.numpy_backend.kernels import softmax, softmax_into

_serial = itertools.count()
_TAKEN = re.compile(
    r"[x-z]|part|c\d+|(strips|parts|generated)\d+|\w+_(rows|spread|turned|shape|scratch\d+)|first|last|np|ndarray|float32"
    r"|empty|add|maximum|multiply|tanh|softmax|softmax_into|admit|run|tile|bind|__\w+"
)
"""Names that the generated code uses for its own."""

NAMESPACE: dict[str, Any] = {
    "np": np,
    "ndarray": np.ndarray,
    "float32": np.dtype(np.float32),
    "empty": np.empty,
    "add": np.add,
    "maximum": np.maximum,
    "multiply": np.multiply,
    "tanh": np.tanh,
    "softmax": softmax,
    "softmax_into": softmax_into,
}
"""What the kernel lines of the op table may name."""


def eager_source(graph: Graph) -> str:
    """Return the source of `run(x)`: a line a node, each of which allocates its result.

    A result takes the name of the value that dies there, as in `h = h + b`: the old storage is freed where
    reference counting would free it. What does not fit is explained by `admit` after it failed, because a `try` costs nothing
    and a look at the shape costs 2 % of the smallest case.
    """
    check_names(graph.constants)
    letters = (letter for letter in string.ascii_lowercase if letter not in graph.constants)
    names = {graph.input: "x"}
    # A product refuses a wrong width by itself; anything else would take it.
    unfit = "" if op_named(graph.nodes[0].op).is_product else f" or x.shape[1] != {graph.input_columns}"
    body = [f"if x.__class__ is not ndarray or x.dtype is not float32 or x.ndim != 2{unfit}:", "    x = admit(x)"]
    for position, node in enumerate(graph.nodes):
        if not op_named(node.op).eager:
            raise GraphError(f"node {position} ({node.output} = {node.op}): only the compiled runner has this op")
        source = node.inputs[0]
        dies = source != graph.input and max(graph.readers_of(source)) == position
        name = names[source] if dies else next(letters)
        operands = [names[source], *[name] * len(node.epilogue)]
        names[node.output] = name
        for step, operand in zip(_steps(node), operands, strict=True):
            body.append(f"{name} = {op_named(step.op).eager.format(*step.operands, x=operand)}")
    body.append(f"return {names[graph.output]}")
    lines = ["def run(x):", "    try:", *(f"        {line}" for line in body)]
    lines += ["    except (AttributeError, ValueError):", "        admit(x)", "        raise"]
    return "\n".join(lines) + "\n"


def load(source: str, name: str, what: str, constants: Mapping[str, FloatArray], **more: object) -> tuple[Callable[..., Any], str]:
    """Compile `source` and return its function `name` and the file name under which `linecache` knows its lines."""
    filename = f"<mlbench>/{what}_{next(_serial)}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {**NAMESPACE, **constants, **more}
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102  # the source is made above, from the op table alone
    function: Callable[..., Any] = namespace[name]
    return function, filename


def forget(filename: str) -> None:
    """Drop the lines of a function that nobody holds any more."""
    linecache.cache.pop(filename, None)


def _steps(node: Node) -> list[Step]:
    return [Step(node.op, node.inputs[1:]), *node.epilogue]


def check_names(names: Iterable[str]) -> None:
    """Refuse names that the generated code could not use or uses itself."""
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or _TAKEN.fullmatch(name):
            raise GraphError(f"the name {name!r} cannot be used in the generated code; call it something like w0 or v0")
