"""Files of LiteRT, written with the schema that its package brings: tensors, buffers, operators, and the operators of ONNX in them.

A product with a constant matrix becomes a FULLY_CONNECTED. Constant vectors that multiply it or are added to it, and a ReLU behind them,
are folded into it, as LiteRT's own converter folds them. A normalisation is written out, because LiteRT has no operator for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlbench.errors import ModelError
from mlbench.ir import FloatArray

_VERSION = 3
"""Of the schema, which every file has had since 2017."""
PLAIN = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU", "Sqrt": "SQRT"}
_OF_ROWS = {"Softmax", "LayerNormalization"}
_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
_OPTIONS = {"Add": "AddOptions", "Mul": "MulOptions", "Div": "DivOptions", "Sub": "SubOptions"}


class File:
    """Tensors, buffers, operators and their codes, as they are added.

    Args:
        schema: the module that the package has generated from its schema.
    """

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # the first one is that of every tensor without content

    def tensor(self, name: str, shape: Sequence[int], content: Any = None) -> int:  # an array of float32 or int32
        """Add a tensor and return its number."""
        kinds = self.schema.TensorType
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kinds.FLOAT32, 0
        if content is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
            tensor.buffer = len(self._buffers)
            tensor.type = kinds.INT32 if content.dtype == np.int32 else kinds.FLOAT32
            self._buffers.append(buffer)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def operator(self, code: str, inputs: list[int], output: int, options: str | None = None, **fields: object) -> int:
        """Add an operator with one output, whose number is returned."""
        schema = self.schema
        number = getattr(schema.BuiltinOperator, code)
        known = [each.builtinCode for each in self._codes]
        if number not in known:
            added = schema.OperatorCodeT()
            added.builtinCode, added.deprecatedBuiltinCode, added.version = number, min(number, 127), 1
            self._codes.append(added)
            known.append(number)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = known.index(number), inputs, [output]
        if options is not None:
            how = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                setattr(how, name, value)
            operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, options), how
        self._operators.append(operator)
        return output

    def fully_connected(self, name: str, value: int, product: Product, rows: int, *, relu: bool = False) -> int:
        """Add a product with its bias, and a ReLU fused into it, and return the number of the result."""
        weight = self.tensor(f"{name}_w", product.weight.T.shape, np.array(product.weight.T, order="C"))
        inputs = [value, weight, -1 if product.bias is None else self.tensor(f"{name}_b", product.bias.shape, product.bias)]
        kinds = self.schema.ActivationFunctionType
        result = self.tensor(name, (rows, product.weight.shape[1]))
        return self.operator(
            "FULLY_CONNECTED", inputs, result, "FullyConnectedOptions", fusedActivationFunction=kinds.RELU if relu else kinds.NONE
        )

    def content(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the file."""
        import flatbuffers  # noqa: PLC0415  # only where this runtime is measured

        graph = self.schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self._tensors, self._operators, inputs, outputs
        whole = self.schema.ModelT()
        whole.version, whole.operatorCodes, whole.subgraphs, whole.buffers = _VERSION, self._codes, [graph], self._buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


@dataclass(frozen=True, slots=True)
class Product:
    """A product with a constant matrix, that may get further constants yet.

    Attributes:
        source: name of the value that is multiplied.
        weight: (inputs, outputs).
        bias: (outputs,); None for none.
    """

    source: str
    weight: FloatArray
    bias: FloatArray | None = None


class OnnxGraph:
    """The operators of an ONNX graph, written one after the other.

    Args:
        file: gets them.
        shapes: of every value.
        constants: by name.
        uses: how often each value is read, by operators or as an output.
    """

    def __init__(self, file: File, shapes: Mapping[str, tuple[int, ...]], constants: Mapping[str, Any], uses: Counter[str]) -> None:
        self._file, self._shapes, self._constants, self._uses = file, shapes, constants, uses
        self._numbers: dict[str, int] = {}
        self._products: dict[str, Product] = {}

    def given(self, name: str) -> int:
        """Add an input of the graph and return its number."""
        self._numbers[name] = self._file.tensor(name, self._shapes[name])
        return self._numbers[name]

    def number(self, name: str) -> int:
        """Return the number of a value, which is written first where it is a product or a constant."""
        if name in self._products:
            product = self._products.pop(name)
            self._numbers[name] = self._file.fully_connected(name, self.number(product.source), product, self._shapes[name][0])
        if name not in self._numbers:
            array = np.asarray(self._constants[name], np.float32)
            self._numbers[name] = self._file.tensor(name, array.shape, array)
        return self._numbers[name]

    def add(self, kind: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]) -> None:
        """Write an operator.

        Raises:
            ModelError: for one that is not among those that are written.
        """
        if kind in _OF_ROWS and attributes.get("axis", -1) not in (-1, len(self._shapes[output]) - 1):
            raise ModelError(f"cannot take it: {kind} over the axis {attributes['axis']} is not written for LiteRT; expected the last one")
        if self._is_folded(kind, inputs, output, attributes):
            return
        writers: dict[str, Callable[[Sequence[str], str, Mapping[str, Any]], int]] = {
            "Concat": self._concat, "Gelu": self._gelu, "LayerNormalization": self._layer_norm, "ReduceMean": self._mean_of,
            "Reshape": self._reshape, "Softmax": self._softmax,
        }  # fmt: skip
        if kind in {"Identity", "Cast"}:
            self._numbers[output] = self.number(inputs[0])
        elif kind in _OPTIONS:
            self._numbers[output] = self._binary(kind, self.number(inputs[0]), self.number(inputs[1]), output)
        elif kind in PLAIN:
            self._numbers[output] = self._file.operator(PLAIN[kind], [self.number(inputs[0])], self._result(output))
        elif kind in writers:
            self._numbers[output] = writers[kind](inputs, output, attributes)
        else:
            raise ModelError(f"cannot take it: the operator {kind} is not among those that are written for LiteRT")

    def _is_folded(self, kind: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]) -> bool:
        """Make or extend a product where the operator is one, or a constant or a ReLU behind one that nothing else reads."""
        if kind in {"MatMul", "Gemm"} and inputs[1] in self._constants:
            if any(attributes.get(name, plain) != plain for name, plain in _PLAIN_GEMM.items()):
                raise ModelError("cannot take it: a Gemm with alpha, beta or a transposed operand is not written for LiteRT")
            bias = self._constants[inputs[2]].reshape(-1) if len(inputs) > 2 else None
            self._products[output] = Product(inputs[0], self._constants[inputs[1]], bias)
            return True
        source = next((name for name in inputs if name in self._products and self._uses[name] == 1), None)
        if source is None:
            return False
        product = self._products[source]
        if kind == "Relu":
            del self._products[source]
            rows = self._shapes[output][0]
            self._numbers[output] = self._file.fully_connected(output, self.number(product.source), product, rows, relu=True)
            return True
        (other, *_) = [name for name in inputs if name != source] or [""]
        vector = self._constants.get(other)
        if kind not in {"Add", "Mul"} or vector is None or vector.size != product.weight.shape[1]:
            return False
        vector, bias = vector.reshape(-1), product.bias
        if kind == "Add":
            made = replace(product, bias=vector if bias is None else bias + vector)
        else:
            made = replace(product, weight=product.weight * vector, bias=None if bias is None else bias * vector)
        del self._products[source]
        self._products[output] = made
        return True

    def _result(self, name: str, shape: Sequence[int] | None = None) -> int:
        return self._file.tensor(name, self._shapes[name] if shape is None else shape)

    def _binary(self, kind: str, one: int, other: int, output: str, shape: Sequence[int] | None = None) -> int:
        return self._file.operator(kind.upper(), [one, other], self._result(output, shape), _OPTIONS[kind])

    def _mean(self, value: int, output: str, shape: Sequence[int]) -> int:
        axis = self._file.tensor(f"{output}_axis", (1,), np.array([-1], np.int32))
        return self._file.operator("MEAN", [value, axis], self._result(output, shape), "ReducerOptions", keepDims=True)

    def _mean_of(self, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]) -> int:
        axes = attributes.get("axes") or self._constants[inputs[1]].tolist()
        if list(axes) not in ([-1], [1]) or not attributes.get("keepdims", 1):
            raise ModelError(f"cannot take it: a mean over the axes {axes}; expected the last one, which stays")
        return self._mean(self.number(inputs[0]), output, self._shapes[output])

    def _layer_norm(self, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]) -> int:
        shape = self._shapes[output]
        column = (*shape[:-1], 1)
        value, scale, *shift = (self.number(name) for name in inputs)
        epsilon = self._file.tensor(f"{output}_epsilon", (1,), np.array([attributes.get("epsilon", 1e-5)], np.float32))
        centred = self._binary("Sub", value, self._mean(value, f"{output}_mean", column), f"{output}_centred", shape)
        variance = self._mean(self._binary("Mul", centred, centred, f"{output}_square", shape), f"{output}_variance", column)
        shifted = self._binary("Add", variance, epsilon, f"{output}_shifted", column)
        factor = self._file.operator("RSQRT", [shifted], self._result(f"{output}_factor", column))
        unit = self._binary("Mul", centred, factor, f"{output}_unit", shape)
        scaled = self._binary("Mul", unit, scale, f"{output}_scaled", shape)
        return self._binary("Add", scaled, shift[0], output) if shift else scaled

    def _concat(self, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]) -> int:
        numbers = [self.number(name) for name in inputs]
        return self._file.operator("CONCATENATION", numbers, self._result(output), "ConcatenationOptions", axis=attributes["axis"])

    def _gelu(self, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]) -> int:
        approximate = attributes.get("approximate", b"none") == b"tanh"
        return self._file.operator("GELU", [self.number(inputs[0])], self._result(output), "GeluOptions", approximate=approximate)

    def _reshape(self, inputs: Sequence[str], output: str, _: Mapping[str, Any]) -> int:
        shape = list(self._shapes[output])
        wanted = self._file.tensor(f"{output}_shape", (len(shape),), np.array(shape, np.int32))
        return self._file.operator("RESHAPE", [self.number(inputs[0]), wanted], self._result(output), "ReshapeOptions", newShape=shape)

    def _softmax(self, inputs: Sequence[str], output: str, _: Mapping[str, Any]) -> int:
        return self._file.operator("SOFTMAX", [self.number(inputs[0])], self._result(output), "SoftmaxOptions", beta=1.0)
