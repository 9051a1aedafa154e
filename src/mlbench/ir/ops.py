"""The op table: one row says everything that is known about an op.

A kernel is a line of Python, not a function: both runners paste the lines of their nodes into one straight-line function
(`mlbench.runtime.numpy_backend.lowering`). A loop over kernel objects would cost the baseline 10 to 20 % on small layers, and an
interpreter that dawdles flatters everything it is compared with. `{x}` is the first value, `{other}` the last, `{second}` the one between
of three, `{values}` are all of them with commas between, `{index}` is the first as whole numbers, `{0}`, `{1}` are constants, `{a0}`,
`{a1}` are attributes, `{out}` is where the result goes, and `{s0}`, `{s1}` are scratch matrices. What does not fit on some lines is a
function of `mlbench.runtime.numpy_backend.kernels` or of `selection` next to it.

Adding an op is adding a row here and, for `mlbench.ir.reference`, one line of float64.
"""

from __future__ import annotations

from mlbench.errors import GraphError
from mlbench.ir import op as rules
from mlbench.ir.op import ANY, BYTES_PER_NUMBER, Op


def _elementwise(name: str, flop: int, eager: str, *into: str, constants: int = 0, scratch: int = 0) -> Op:
    """Return an op of one value and of scalars."""
    rule = rules.with_scalars if constants else rules.same
    return Op(name, constants, rule, flop, eager, into, scratch, elementwise=True, in_place=True)


def _of_row(name: str, flop: int, eager: str, *into: str, scratch: int = 0) -> Op:
    """Return an op of one value and of one constant, a row or a scalar."""
    return Op(name, 1, rules.with_row, flop, eager, into, scratch, elementwise=True, in_place=True)


def _of_values(name: str, flop: int, eager: str, into: str, *, scratch: int = 0) -> Op:
    """Return an op of two values."""
    return Op(name, 0, rules.alike, flop, eager, (into,), scratch, in_place=True, values=2)


def _comparison(name: str, sign: str) -> Op:
    """Return a comparison of a value with a constant, a row or a scalar: 1 where it holds, else 0."""
    return _of_row(name, 1, f"({{x}} {sign} {{0}}).astype(np.float32)", f"compare_into({name}, {{x}}, {{0}}, {{out}}, {{s0}})", scratch=1)


def _comparison_of_values(name: str, sign: str) -> Op:
    """Return a comparison of two values."""
    eager, into = f"({{x}} {sign} {{other}}).astype(np.float32)", f"compare_into({name}, {{x}}, {{other}}, {{out}}, {{s0}})"
    return _of_values(f"{name}_values", 1, eager, into, scratch=1)


def _place(name: str) -> Op:
    """Return an op from the columns of a value to the index of one of them, the first where several are equal."""
    eager, into = f"{{x}}.{name}(axis=1).astype(np.float32)[:, np.newaxis]", f"{name}_into({{x}}, {{out}}, {{s0}})"
    return Op(name, 0, rules.one_column, 1, eager, (into,), scratch=1)


def _row_wise(name: str, flop: int, constants: int = 0, *, scratch: int = 2) -> Op:
    """Return an op along the rows of a value: two functions of the kernels, called `name` and `name_into`."""
    operands = "".join(f", {{{index}}}" for index in range(constants))
    places = "".join(f", {{s{index}}}" for index in range(scratch))
    rule = rules.with_rows_and_scalar if constants else rules.same
    line = f"{name}_into({{x}}{operands}, {{out}}{places})"
    return Op(name, constants, rule, flop, f"{name}({{x}}{operands})", (line,), scratch, in_place=True, is_row_wise=True)


def _reduction(name: str, flop: int, eager: str, *, scratch: int = 1) -> Op:
    """Return an op from the columns of a value to one."""
    place = ", {s0}" * scratch
    return Op(name, 0, rules.one_column, flop, eager, (f"{name}_into({{x}}, {{out}}{place})",), scratch=scratch)


# `into` names ufuncs bare, because a look-up in the module costs 25 ns a call.
# `out=` is spelled as a keyword because NumPy 2.4 deprecates it as the third position of maximum.
# `value.dot(w, out)` and not `np.matmul(value, w, out=out)`: matmul mallocs 72 bytes a call and takes longer to start.
# leaky_relu as max(x, slope * x) holds for 0 < slope < 1, which the models check.
# sigmoid goes through tanh because exp(-x) overflows below -88 and warns.
_PRODUCT = Op("matmul", 1, rules.product, 0, "{x} @ {0}", ("{x}.dot({0}, {out})",), is_product=True, transposed=("{0}.dot({x}, {out})",))
_ELEMENTWISE = (
    _elementwise("relu", 1, "np.maximum({x}, 0)", "maximum({x}, 0, out={out})"),
    _elementwise("leaky_relu", 2, "np.maximum({x}, {0} * {x})",
                 "multiply({x}, {0}, out={s0})", "maximum({x}, {s0}, out={out})", constants=1, scratch=1),
    _elementwise("sigmoid", 10, "0.5 * np.tanh(0.5 * {x}) + 0.5",
                 "multiply({x}, 0.5, out={out})", "tanh({out}, out={out})",
                 "multiply({out}, 0.5, out={out})", "add({out}, 0.5, out={out})"),
    _elementwise("tanh", 8, "np.tanh({x})", "tanh({x}, out={out})"),
    _elementwise("exp", 8, "np.exp({x})", "exp({x}, out={out})"),
    _elementwise("log", 8, "np.log({x})", "log({x}, out={out})"),
    _elementwise("sqrt", 4, "np.sqrt({x})", "sqrt({x}, out={out})"),
    _elementwise("square", 1, "np.square({x})", "square({x}, out={out})"),
    _elementwise("abs", 1, "np.abs({x})", "absolute({x}, out={out})"),
    _elementwise("neg", 1, "-{x}", "negative({x}, out={out})"),
    _elementwise("reciprocal", 4, "1 / {x}", "divide(1, {x}, out={out})"),
    _elementwise("floor", 1, "np.floor({x})", "floor({x}, out={out})"),
    _elementwise("ceil", 1, "np.ceil({x})", "ceil({x}, out={out})"),
    _elementwise("round", 1, "np.rint({x})", "rint({x}, out={out})"),
    _elementwise("trunc", 1, "np.trunc({x})", "trunc({x}, out={out})"),
    _elementwise("sign", 1, "np.sign({x})", "sign({x}, out={out})"),
    _elementwise("sin", 8, "np.sin({x})", "sin({x}, out={out})"),
    _elementwise("cos", 8, "np.cos({x})", "cos({x}, out={out})"),
    _elementwise("erf", 30, "erf({x})", "erf_into({x}, {out}, {s0}, {s1})", scratch=2),
    _elementwise("gelu", 34, "{x} * 0.5 * (1 + erf({x} / 1.4142135623730951))",
                 "gelu_into({x}, {out}, {s0}, {s1})", scratch=2),
    _elementwise("gelu_tanh", 16, "0.5 * {x} * (1 + np.tanh(0.7978845608028654 * ({x} + 0.044715 * {x} * {x} * {x})))",
                 "multiply({x}, {x}, out={s0})", "multiply({s0}, 0.03567740813636141, out={s0})", "add({s0}, 0.7978845608028654, out={s0})",
                 "multiply({s0}, {x}, out={s0})", "tanh({s0}, out={s0})", "add({s0}, 1, out={s0})",
                 "multiply({s0}, 0.5, out={s0})", "multiply({x}, {s0}, out={out})", scratch=1),
    _elementwise("softplus", 20, "np.maximum({x}, 0) + np.log1p(np.exp(-np.abs({x})))",
                 "softplus_into({x}, {out}, {s0}, {s1})", scratch=2),
    _elementwise("softsign", 3, "{x} / (1 + np.abs({x}))",
                 "absolute({x}, out={s0})", "add({s0}, 1, out={s0})", "divide({x}, {s0}, out={out})", scratch=1),
    _elementwise("silu", 11, "{x} * (0.5 * np.tanh(0.5 * {x}) + 0.5)",
                 "multiply({x}, 0.5, out={s0})", "tanh({s0}, out={s0})", "multiply({s0}, 0.5, out={s0})", "add({s0}, 0.5, out={s0})",
                 "multiply({x}, {s0}, out={out})", scratch=1),
    _elementwise("mish", 30, "{x} * np.tanh(np.maximum({x}, 0) + np.log1p(np.exp(-np.abs({x}))))",
                 "softplus_into({x}, {s1}, {s0}, {s2})", "tanh({s1}, out={s1})", "multiply({x}, {s1}, out={out})", scratch=3),
    _elementwise("hard_swish", 5, "{x} * np.clip({x} / 6 + 0.5, 0, 1)",
                 "multiply({x}, 0.16666666666666666, out={s0})", "add({s0}, 0.5, out={s0})",
                 "{s1}.fill(0)", "maximum({s0}, {s1}, out={s0})", "{s1}.fill(1)", "minimum({s0}, {s1}, out={s0})",
                 "multiply({x}, {s0}, out={out})", scratch=2),
    _elementwise("elu", 12, "np.maximum({x}, 0) + {0} * (np.exp(np.minimum({x}, 0)) - 1)",
                 "{s1}.fill(0)", "minimum({x}, {s1}, out={s0})", "exp({s0}, out={s0})", "subtract({s0}, 1, out={s0})",
                 "multiply({s0}, {0}, out={s0})", "maximum({x}, {s1}, out={out})", "add({out}, {s0}, out={out})",
                 constants=1, scratch=2),
    _elementwise("selu", 13, "{1} * (np.maximum({x}, 0) + {0} * (np.exp(np.minimum({x}, 0)) - 1))",
                 "{s1}.fill(0)", "minimum({x}, {s1}, out={s0})", "exp({s0}, out={s0})", "subtract({s0}, 1, out={s0})",
                 "multiply({s0}, {0}, out={s0})", "maximum({x}, {s1}, out={out})", "add({out}, {s0}, out={out})",
                 "multiply({out}, {1}, out={out})",
                 constants=2, scratch=2),
    _elementwise("celu", 13, "np.maximum({x}, 0) + {0} * (np.exp(np.minimum({x}, 0) / {0}) - 1)",
                 "{s1}.fill(0)", "minimum({x}, {s1}, out={s0})", "divide({s0}, {0}, out={s0})", "exp({s0}, out={s0})",
                 "subtract({s0}, 1, out={s0})",
                 "multiply({s0}, {0}, out={s0})", "maximum({x}, {s1}, out={out})", "add({out}, {s0}, out={out})",
                 constants=1, scratch=2),
    _elementwise("hard_sigmoid", 4, "np.clip({0} * {x} + {1}, 0, 1)",
                 "multiply({x}, {0}, out={out})", "add({out}, {1}, out={out})",
                 "{s0}.fill(0)", "maximum({out}, {s0}, out={out})", "{s0}.fill(1)", "minimum({out}, {s0}, out={out})",
                 constants=2, scratch=1),
    _elementwise("clip", 2, "np.clip({x}, {0}, {1})",
                 "{s0}.fill({0})", "maximum({x}, {s0}, out={out})", "{s0}.fill({1})", "minimum({out}, {s0}, out={out})",
                 constants=2, scratch=1),
    _of_row("add", 1, "{x} + {0}", "add({x}, {0}, out={out})"),
    _of_row("maximum", 1, "np.maximum({x}, {0})", "maximum({x}, {0}, out={out})"),
    _of_row("minimum", 1, "np.minimum({x}, {0})", "minimum({x}, {0}, out={out})"),
    _of_row("multiply", 1, "{x} * {0}", "multiply({x}, {0}, out={out})"),
    _of_row("divide", 4, "{x} / {0}", "divide({x}, {0}, out={out})"),
    _of_row("subtract_from", 1, "{0} - {x}", "subtract({0}, {x}, out={out})"),
    _of_row("divide_into", 4, "{0} / {x}", "divide({0}, {x}, out={out})"),
    _of_row("power", 20, "{x} ** {0}", "power({x}, {0}, out={out})"),
    _of_row("fmod", 8, "np.fmod({x}, {0})", "fmod({x}, {0}, out={out})"),
    _comparison("equal", "=="),
    _comparison("less", "<"),
    _comparison("less_equal", "<="),
    _comparison("greater", ">"),
    _comparison("greater_equal", ">="),
    _of_row("prelu", 4, "np.maximum({x}, 0) + {0} * np.minimum({x}, 0)",
            "{s1}.fill(0)", "minimum({x}, {s1}, out={s0})", "multiply({s0}, {0}, out={s0})",
            "maximum({x}, {s1}, out={out})", "add({out}, {s0}, out={out})", scratch=2),
)  # fmt: skip
_OTHERS = (
    _of_values("add_values", 1, "{x} + {other}", "add({x}, {other}, out={out})"),
    _of_values("subtract_values", 1, "{x} - {other}", "subtract({x}, {other}, out={out})"),
    _of_values("multiply_values", 1, "{x} * {other}", "multiply({x}, {other}, out={out})"),
    _of_values("divide_values", 4, "{x} / {other}", "divide({x}, {other}, out={out})"),
    _of_values("minimum_values", 1, "np.minimum({x}, {other})", "minimum({x}, {other}, out={out})"),
    _of_values("maximum_values", 1, "np.maximum({x}, {other})", "maximum({x}, {other}, out={out})"),
    _of_values("power_values", 20, "{x} ** {other}", "power({x}, {other}, out={out})"),
    _of_values("fmod_values", 8, "np.fmod({x}, {other})", "fmod({x}, {other}, out={out})"),
    _comparison_of_values("equal", "=="),
    _comparison_of_values("less", "<"),
    _comparison_of_values("less_equal", "<="),
    Op("where", 0, rules.alike, 1, "np.where({x}, {second}, {other})",
       ("where_into({x}, {second}, {other}, {out}, {s0}, {s1})",), scratch=2, in_place=True, values=3),
    Op("where_else", 1, rules.alike_with_row, 1, "np.where({x}, {other}, {0})",
       ("where_into({x}, {other}, {0}, {out}, {s0}, {s1})",), scratch=2, in_place=True, values=2),
    _row_wise("softmax", 12),
    _row_wise("log_softmax", 13),
    _row_wise("layer_norm", 8, 3),
    _row_wise("rms_norm", 5, 2),
    _reduction("reduce_mean", 1, "{x}.mean(axis=1, keepdims=True)", scratch=0),
    _reduction("reduce_sum", 1, "{x}.sum(axis=1, keepdims=True)", scratch=0),
    _reduction("reduce_max", 1, "{x}.max(axis=1, keepdims=True)"),
    _reduction("reduce_min", 1, "{x}.min(axis=1, keepdims=True)"),
    _reduction("reduce_l2", 2, "np.sqrt(np.square({x}).sum(axis=1, keepdims=True))"),
    _place("argmax"),
    _place("argmin"),
    Op("gather", 1, rules.looked_up, 0, "{0}[{index}].reshape(-1, {a0})",
       ("gather_into({x}, {0}, {out}, {s0})",), scratch=1, attributes=1, is_lookup=True),
    Op("concat", 0, rules.side_by_side, 0, "np.concatenate(({values},), axis=1)", ("concat_into(({values},), {out})",), values=ANY),
    Op("slice", 0, rules.part, 0, "{x}[:, {a0}:{a1}]", ("copyto({out}, {x}[:, {a0}:{a1}])",), attributes=2, is_view=True),
    Op("repeat_column", 0, rules.repeated, 0, "np.repeat({x}, {a0}, axis=1)", ("copyto({out}, {x})",), attributes=1),
)  # fmt: skip

OPS = {op.name: op for op in (_PRODUCT, *_ELEMENTWISE, *_OTHERS)}


def op_named(name: str) -> Op:
    """Return the row called `name`.

    Raises:
        GraphError: where there is none; the message lists those there are.
    """
    if name not in OPS:
        raise GraphError(f"no op is called {name!r}; there are {', '.join(sorted(OPS))}")
    return OPS[name]


__all__ = ["ANY", "BYTES_PER_NUMBER", "OPS", "Op", "op_named"]
