"""The table of the ops that an importer writes: one row for each op of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlbench.models.onnx import along, compare, elementwise, lookup, structure
from mlbench.models.onnx.values import Call, Found

Rule = Callable[[Call], Found | Sequence[Found]]

NEWEST = 28
"""The newest operator set whose ops were compared with this table; an op that changed later is refused."""
NEWEST_ML = 5
"""The same of ai.onnx.ml."""

RULES: dict[str, Rule] = {
    "Abs": elementwise.unary("abs"),
    "Add": elementwise.binary,
    "And": compare.logic,
    "ArgMax": lookup.place("argmax"),
    "ArgMin": lookup.place("argmin"),
    "BatchNormalization": elementwise.batch_normalization,
    "Cast": compare.cast,
    "CastLike": compare.cast,
    "Ceil": elementwise.unary("ceil"),
    "Celu": elementwise.unary("celu", "alpha"),
    "Clip": elementwise.clip,
    "Concat": structure.concat,
    "Cos": elementwise.unary("cos"),
    "Div": elementwise.binary,
    "Dropout": structure.dropout,
    "Elu": elementwise.unary("elu", "alpha"),
    "Equal": compare.compare,
    "Erf": elementwise.unary("erf"),
    "Exp": elementwise.unary("exp"),
    "Expand": structure.expand,
    "Floor": elementwise.unary("floor"),
    "Flatten": structure.flatten,
    "Gather": lookup.gather,
    "Gelu": elementwise.gelu,
    "Gemm": along.gemm,
    "Greater": compare.compare,
    "GreaterOrEqual": compare.compare,
    "HardSigmoid": elementwise.unary("hard_sigmoid", "alpha", "beta"),
    "HardSwish": elementwise.unary("hard_swish"),
    "Identity": structure.same,
    "IsInf": compare.is_inf,
    "IsNaN": compare.is_nan,
    "LayerNormalization": along.normalization("layer_norm"),
    "LeakyRelu": elementwise.leaky_relu,
    "Less": compare.compare,
    "LessOrEqual": compare.compare,
    "Log": elementwise.unary("log"),
    "LogSoftmax": along.along_row("log_softmax"),
    "MatMul": along.matmul,
    "Max": elementwise.variadic,
    "Mean": elementwise.variadic,
    "Min": elementwise.variadic,
    "Mish": elementwise.unary("mish"),
    "Mod": compare.modulo,
    "Mul": elementwise.binary,
    "Neg": elementwise.unary("neg"),
    "Not": compare.negate,
    "Or": compare.logic,
    "PRelu": elementwise.prelu,
    "Pow": elementwise.binary,
    "RMSNormalization": along.normalization("rms_norm"),
    "Reciprocal": elementwise.unary("reciprocal"),
    "ReduceL1": along.reduction("abs", "reduce_sum"),
    "ReduceL2": along.reduction("reduce_l2"),
    "ReduceLogSum": along.reduction("reduce_sum", "log"),
    "ReduceLogSumExp": along.log_sum_exp,
    "ReduceMax": along.reduction("reduce_max"),
    "ReduceMean": along.reduction("reduce_mean"),
    "ReduceMin": along.reduction("reduce_min"),
    "ReduceSum": along.reduction("reduce_sum"),
    "ReduceSumSquare": along.reduction("square", "reduce_sum"),
    "Relu": elementwise.unary("relu"),
    "Reshape": structure.reshape,
    "Round": elementwise.unary("round"),
    "Selu": elementwise.unary("selu", "alpha", "gamma"),
    "Sigmoid": elementwise.unary("sigmoid"),
    "Sign": elementwise.unary("sign"),
    "Sin": elementwise.unary("sin"),
    "Slice": structure.slice_columns,
    "Softmax": along.along_row("softmax"),
    "Softplus": elementwise.unary("softplus"),
    "Softsign": elementwise.unary("softsign"),
    "Split": structure.split,
    "Sqrt": elementwise.unary("sqrt"),
    "Squeeze": structure.squeeze,
    "Sub": elementwise.binary,
    "Sum": elementwise.variadic,
    "Swish": elementwise.swish,
    "Tanh": elementwise.unary("tanh"),
    "Transpose": structure.transpose,
    "Unsqueeze": structure.unsqueeze,
    "Where": compare.where,
    "Xor": compare.logic,
}
"""Ops of the domain ai.onnx."""

ML_RULES: dict[str, Rule] = {
    "ArrayFeatureExtractor": lookup.extract,
    "Binarizer": compare.binarizer,
    "LabelEncoder": lookup.encode,
    "LinearClassifier": along.linear_classifier,
    "LinearRegressor": along.linear_regressor,
    "Normalizer": along.normalizer,
    "Scaler": elementwise.scaler,
    "ZipMap": structure.same,
}
"""Ops of the domain ai.onnx.ml. A ZipMap makes a dict of each row; the graph gives its columns in their order."""

TAKES_ALL_KINDS = {
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    *("ArrayFeatureExtractor", "LabelEncoder", "Cast", "CastLike", "ArgMax", "ArgMin", "Mod", "Where"),
    *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Xor"),
}
"""Ops that look at what the numbers of a value stand for: they move them, or say what comes out. The others compute with float32."""

WHY_NOT = {
    "Conv": "it goes over images; every value of the graph is a matrix (rows, columns)",
    "If": "it has a body that may run or not; the graph runs every node",
    "Loop": "it has a body that runs more than once; the graph runs every node once",
    "Scan": "it has a body that runs more than once; the graph runs every node once",
    "TreeEnsemble": "it walks trees, another way in each row; the graph runs every node",
    "TreeEnsembleClassifier": "it walks trees, another way in each row; the graph runs every node",
    "TreeEnsembleRegressor": "it walks trees, another way in each row; the graph runs every node",
}
"""Ops that files often have and a graph does not, each with the reason."""
