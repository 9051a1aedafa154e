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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from mlbench.errors import GraphError, InputError
from mlbench.ir import FloatArray, Graph, Step, op_named
from mlbench.runtime.numpy_backend import kernels, selection

_serial = itertools.count()
WHOLE_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_UFUNCS = (
    "absolute", "add", "ceil", "cos", "divide", "equal", "exp", "floor", "fmod", "greater", "greater_equal", "less", "less_equal", "log",
    "maximum", "minimum", "multiply", "negative", "power", "rint", "sign", "sin", "sqrt", "square", "subtract", "tanh", "trunc",
)  # fmt: skip
_FUNCTIONS = (
    kernels.concat_into, kernels.erf, kernels.erf_into, kernels.gelu_into, kernels.layer_norm, kernels.layer_norm_into,
    kernels.log_softmax, kernels.log_softmax_into, kernels.reduce_l2_into, kernels.reduce_max_into, kernels.reduce_mean_into,
    kernels.reduce_min_into, kernels.reduce_sum_into, kernels.rms_norm, kernels.rms_norm_into, kernels.softmax, kernels.softmax_into,
    kernels.softplus_into, selection.argmax_into, selection.argmin_into, selection.compare_into, selection.gather_into,
    selection.where_into,
)  # fmt: skip
NAMESPACE: dict[str, Any] = {
    "np": np,
    "ndarray": np.ndarray,
    "float32": np.dtype(np.float32),
    **{name: np.dtype(name) for name in WHOLE_DTYPES},
    "InputError": InputError,
    "empty": np.empty,
    "copyto": np.copyto,
    **{name: getattr(np, name) for name in _UFUNCS},
    **{function.__name__: function for function in _FUNCTIONS},
}
"""What the kernel lines of the op table may name."""
_TAKEN = re.compile(
    r"[x-z]|[x-z]\d+|xs|part\d*|c\d+|(strips|parts|generated)\d+|\w+_(rows|broadcast|transposed|shape|scratch\d+)|first|last"
    rf"|validate|run|tile|bind|__\w+|{'|'.join(NAMESPACE)}"
)
"""Names that the generated code uses for its own."""


def eager_source(graph: Graph, batch: int | None = None, whole: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the source of `run(x)`, or of `run(x0, x1, ...)` for several inputs: a line a node, each of which allocates its result.

    It returns a tuple for several outputs. With a batch it refuses any other number of rows. `whole` has the inputs that are indices, and
    their types. These stay what they are until something computes with them, because a table is looked up as `table[x]`.

    A result takes the name of the value that dies there, as in `h = h + b`: the old storage is freed where
    reference counting would free it. What does not fit is explained by `validate` after it failed, because a `try` costs nothing
    and a look at the shape costs 2 % of the smallest case.
    """
    check_names(graph.constants)
    letters = (letter for letter in _letters() if letter not in graph.constants)
    arguments = argument_names("x", len(graph.inputs), is_single=len(graph.inputs) == 1)
    names = dict(zip(graph.inputs, arguments, strict=True))
    body = _validation(graph, batch, whole)
    indices = _whole_values(graph, whole)
    for position, node in enumerate(graph.nodes):
        dead = next((value for value in node.values if graph.dies_at(value, position)), None)
        name = next(letters) if dead is None else names[dead]
        is_kept = node.output in indices or op_named(node.op).is_lookup
        values = [names[value] if is_kept or value not in indices else f"{names[value]}.astype(float32)" for value in node.values]
        names[node.output] = name
        line = _eager(Step(node.op, node.operands), values, node.attributes, is_index=node.values[0] in indices)
        is_shown = op_named(node.op).is_view and node.output in graph.outputs
        body.append(f"{name} = {line}{'.copy()' * is_shown}")
        body += [f"{name} = {_eager(step, [name])}" for step in node.epilogue]
    results = [f"{names[output]}{'.astype(float32)' * (output in indices)}" for output in graph.outputs]
    body.append(f"return {', '.join(results)}")
    given = ", ".join(arguments)
    looked_up = ["    except IndexError as error:", f"        validate({given})", "        raise InputError(str(error)) from error"]
    looked_up *= any(op_named(node.op).is_lookup for node in graph.nodes)
    if len(arguments) > 1:
        head = f"def run({', '.join(f'{name}=None' for name in arguments)}, *more):"
        if not looked_up:
            return "\n".join([head, *(f"    {line}" for line in body)]) + "\n"
        return "\n".join([head, "    try:", *(f"        {line}" for line in body), *looked_up]) + "\n"
    lines = ["def run(x):", "    try:", *(f"        {line}" for line in body)]
    lines += ["    except (AttributeError, ValueError):", "        validate(x)", "        raise", *looked_up]
    return "\n".join(lines) + "\n"


def _whole_values(graph: Graph, whole: Mapping[str, str]) -> frozenset[str]:
    """Return the values that are whole numbers in NumPy's sense: some inputs, and columns of them that were moved."""
    found = set(whole)
    for node in graph.nodes:
        if node.op in {"slice", "concat", "repeat_column"} and all(name in found for name in node.values):
            found.add(node.output)
    return frozenset(found)


def _validation(graph: Graph, batch: int | None, whole: Mapping[str, str]) -> list[str]:
    """Return the lines that let inputs in as they are, or hand them to `validate`."""
    if len(graph.inputs) == 1:
        # A product refuses a wrong width by itself; anything else would take it.
        ((name, columns),) = graph.inputs.items()
        unfit = "" if op_named(graph.nodes[0].op).is_product else f" or x.shape[1] != {columns}"
        unfit += "" if batch is None else f" or x.shape[0] != {batch}"
        kind = whole.get(name, "float32")
        return [f"if x.__class__ is not ndarray or x.dtype is not {kind} or x.ndim != 2{unfit}:", "    x = validate(x)"]
    names, widths = argument_names("x", len(graph.inputs), is_single=False), graph.inputs.values()
    rows = [str(batch or "x0.shape[0]"), *["x0.shape[0]"] * (len(names) - 1)]
    kinds = [whole.get(name, "float32") for name in graph.inputs]
    tests = [f"{name}.__class__ is not ndarray or {name}.dtype is not {kind}" for name, kind in zip(names, kinds, strict=True)]
    tests += ["x0.ndim != 2", *(f"{name}.shape != ({row}, {columns})" for name, row, columns in zip(names, rows, widths, strict=True))]
    given = ", ".join(names)
    return [f"if {' or '.join(tests)} or more:", f"    {given} = validate(*[x for x in ({given}, *more) if x is not None])"]


def _eager(step: Step, values: list[str], attributes: Sequence[int] = (), *, is_index: bool = False) -> str:
    fields = value_fields(values) | ({"index": values[0]} if is_index else {})
    return op_named(step.op).eager.format(*step.operands, **fields, **attribute_fields(attributes))


def value_fields(values: Sequence[str]) -> dict[str, str]:
    """Return what the lines of the op table call the values that an op reads."""
    second = values[1] if len(values) > 1 else ""
    return {"x": values[0], "second": second, "other": values[-1], "values": ", ".join(values), "index": f"{values[0]}.astype(np.intp)"}


def attribute_fields(attributes: Sequence[int]) -> dict[str, int]:
    """Return what the lines of the op table call the attributes of a node."""
    return {f"a{index}": number for index, number in enumerate(attributes)}


def argument_names(letter: str, number: int, *, is_single: bool) -> tuple[str, ...]:
    """Return what generated Python calls the inputs or the outputs: `x` and `y`, or `x0`, `x1`, ... and `y0`, ..."""
    return (letter,) if is_single else tuple(f"{letter}{index}" for index in range(number))


def _letters() -> Iterator[str]:
    """Give names of locals: a, b, ..., w, a1, b1, ..., none of which an argument has."""
    for turn in itertools.count():
        yield from (f"{letter}{turn or ''}" for letter in string.ascii_lowercase if letter < "x")


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


def check_names(names: Iterable[str]) -> None:
    """Refuse names that the generated code could not use or uses itself."""
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or _TAKEN.fullmatch(name):
            raise GraphError(f"the name {name!r} cannot be used in the generated code; call it something like w0 or v0")
