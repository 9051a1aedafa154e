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
from mlbench.graph import FloatArray, Graph, Node, Step, op_named
from mlbench.memory import MemoryPlan, scratch_names
from mlbench.runtime.kernels import softmax, softmax_into

_serial = itertools.count()
_TAKEN = re.compile(
    r"[x-z]|c\d+|strips\d+|\w+_rows|\w+_scratch\d+|first|last|np|ndarray|float32|softmax|softmax_into|admit|run|tile|bind|__\w+"
)
"""Names that the generated code uses for its own."""


def eager_source(graph: Graph) -> str:
    """Return the source of `run(x)`: a line a node, each of which allocates its result.

    A result takes the name of the value that dies there, as in `h = h + b`: the old storage is freed where
    reference counting would free it. What does not fit is explained by `admit` after it failed, because a `try` costs nothing
    and a look at the shape costs 2 % of the smallest case.
    """
    _check_names(graph.constants)
    letters = (letter for letter in string.ascii_lowercase if letter not in graph.constants)
    names = {graph.input: "x"}
    # A product refuses a wrong width by itself; anything else would take it.
    unfit = "" if op_named(graph.nodes[0].op).is_product else f" or x.shape[1] != {graph.input_columns}"
    body = [f"if x.dtype is not float32 or x.ndim != 2{unfit}:", "    x = admit(x)"]
    for position, node in enumerate(graph.nodes):
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


def tile_source(graph: Graph, plan: MemoryPlan, stripped: frozenset[int], *, one_row: bool = False) -> str:
    """Return the source of `bind(...)`, which returns `tile(x, y)`: a line or two a kernel, none of which allocates.

    Args:
        graph: the graph as it runs.
        plan: names the buffers; a value in the output's buffer is called `y`.
        stripped: positions of the nodes whose epilogue needs more than one strip for the rows that are bound.
        one_row: the rows that are bound are one, so that a value of one column is a single element.
    """
    output = plan.buffer_of(graph.output)
    _check_names([*graph.constants, *(buffer.name for buffer in plan.buffers if buffer.values and buffer is not output)])
    names = {value: "y" if buffer is output else buffer.name for buffer in plan.buffers for value in buffer.values}
    names[graph.input] = "x"
    body: list[str] = []
    arguments: list[str] = [buffer.name for buffer in plan.buffers if buffer.values and buffer is not output]
    for position, node in enumerate(graph.nodes):
        value, result = names[node.inputs[0]], names[node.output]
        scratch = scratch_names(node)
        single = one_row and node.columns == 1
        body += _kernel(Step(node.op, node.inputs[1:]), value, result, scratch if not node.epilogue else (), single=single)
        if not node.epilogue:
            arguments += [*scratch]
            continue
        operands = [name for step in node.epilogue for name in step.operands]
        local = {name: f"c{index}" for index, name in enumerate(dict.fromkeys(operands))}
        if position in stripped:
            strips = f"strips{position}"
            targets = ["first", "last"] if result == "y" else ["z"]
            body.append(f"for {', '.join([*targets, *local.values(), *scratch])} in {strips}:")
            lines = ["z = y[first:last]"] if result == "y" else []
            for step in node.epilogue:
                lines += _kernel(Step(step.op, tuple(local[name] for name in step.operands)), "z", "z", scratch, single=False)
            body += [f"    {line}" for line in lines]
            arguments.append(strips)
        else:
            for step in node.epilogue:
                mine = Step(step.op, tuple(f"{name}_rows" for name in step.operands))
                body += _kernel(mine, result, result, scratch, single=single)
            arguments += [f"{name}_rows" for name in local] + [*scratch]
    lines = [f"def bind({', '.join(dict.fromkeys(arguments))}):", "    def tile(x, y):"]
    lines += [f"        {line}" for line in body] or ["        pass"]
    return "\n".join([*lines, "    return tile"]) + "\n"


def load(source: str, name: str, what: str, constants: Mapping[str, FloatArray], **more: object) -> tuple[Callable[..., Any], str]:
    """Compile `source` and return its function `name` and the file name under which `linecache` knows its lines."""
    filename = f"<mlbench>/{what}_{next(_serial)}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {
        "np": np,
        "ndarray": np.ndarray,
        "float32": np.dtype(np.float32),
        "softmax": softmax,
        "softmax_into": softmax_into,
        **constants,
        **more,
    }
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102  # the source is made above, from the op table alone
    function: Callable[..., Any] = namespace[name]
    return function, filename


def forget(filename: str) -> None:
    """Drop the lines of a function that nobody holds any more."""
    linecache.cache.pop(filename, None)


def _steps(node: Node) -> list[Step]:
    return [Step(node.op, node.inputs[1:]), *node.epilogue]


def _kernel(step: Step, value: str, result: str, scratch: tuple[str, ...], *, single: bool) -> list[str]:
    """Return the lines of a kernel.

    In place on a single element NumPy cannot tell that it may run, and mallocs; it does not when it reads the element's value instead.
    """
    held = f"{result}[0, 0]" if single and op_named(step.op).elementwise else result
    places = {f"s{index}": name for index, name in enumerate(scratch)}
    read = held if value == result else value
    return [line.format(*step.operands, x=read, held=held, out=result, **places) for line in op_named(step.op).into]


def _check_names(names: Iterable[str]) -> None:
    """Refuse names that the generated code could not use or uses itself."""
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or _TAKEN.fullmatch(name):
            raise GraphError(f"the name {name!r} cannot stand in the generated code; call it something like w0 or v0")
