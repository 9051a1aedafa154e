"""The table of the ops that an importer writes: one row for each op of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlbench.models.onnx import along, elementwise, structure
from mlbench.models.onnx.values import Call, Found, Lacking

Rule = Callable[[Call], Found | Sequence[Found | Lacking]]

NEWEST = 28
"""The newest operator set whose ops were compared with this table; an op that changed later is refused."""
NEWEST_ML = 5
"""The same of ai.onnx.ml."""

RULES: dict[str, Rule] = {
    "Abs": elementwise.unary("abs"),
    "Add": elementwise.binary,
    "BatchNormalization": elementwise.batch_normalization,
    "Cast": structure.cast,
    "CastLike": structure.cast,
    "Celu": elementwise.unary("celu", "alpha"),
    "Clip": elementwise.clip,
    "Concat": structure.concat,
    "Cos": elementwise.unary("cos"),
    "Div": elementwise.binary,
    "Dropout": structure.dropout,
    "Elu": elementwise.unary("elu", "alpha"),
    "Erf": elementwise.unary("erf"),
    "Exp": elementwise.unary("exp"),
    "Expand": structure.expand,
    "Flatten": structure.flatten,
    "Gather": structure.gather,
    "Gelu": elementwise.gelu,
    "Gemm": along.gemm,
    "Greater": elementwise.greater,
    "HardSigmoid": elementwise.unary("hard_sigmoid", "alpha", "beta"),
    "HardSwish": elementwise.unary("hard_swish"),
    "Identity": structure.same,
    "LayerNormalization": along.normalization("layer_norm"),
    "LeakyRelu": elementwise.leaky_relu,
    "Log": elementwise.unary("log"),
    "LogSoftmax": along.along_row("log_softmax"),
    "MatMul": along.matmul,
    "Max": elementwise.variadic,
    "Mean": elementwise.variadic,
    "Min": elementwise.variadic,
    "Mish": elementwise.unary("mish"),
    "Mul": elementwise.binary,
    "Neg": elementwise.unary("neg"),
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
    "Selu": elementwise.unary("selu", "alpha", "gamma"),
    "Sigmoid": elementwise.unary("sigmoid"),
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
    "Where": elementwise.where,
}
"""Ops of the domain ai.onnx."""

ML_RULES: dict[str, Rule] = {
    "LinearClassifier": along.linear_classifier,
    "LinearRegressor": along.linear_regressor,
    "Normalizer": along.normalizer,
    "Scaler": elementwise.scaler,
    "ZipMap": structure.same,
}
"""Ops of the domain ai.onnx.ml. A ZipMap makes a dict of each row; the graph gives its columns in their order."""

WHY_NOT = {
    "ArgMax": "it makes whole numbers; the graph computes in float32 alone",
    "ArgMin": "it makes whole numbers; the graph computes in float32 alone",
    "ArrayFeatureExtractor": "it looks up labels by index; the graph computes in float32 alone",
    "Conv": "it goes over images; every value of the graph is a matrix (rows, columns)",
    "If": "it has a body that may run or not; the graph runs every node",
    "LabelEncoder": "it makes labels of numbers; the graph computes in float32 alone",
    "Loop": "it has a body that runs more than once; the graph runs every node once",
    "Scan": "it has a body that runs more than once; the graph runs every node once",
    "TreeEnsemble": "it walks trees; the graph has no comparisons",
    "TreeEnsembleClassifier": "it walks trees; the graph has no comparisons",
    "TreeEnsembleRegressor": "it walks trees; the graph has no comparisons",
}
"""Ops that files often have and a graph does not, each with the reason."""
