"""PyTorch, eager: `nn.Sequential` as most people run it, in `inference_mode`, which neither records gradients nor counts versions.

Threads are set with `torch.set_num_threads`; operators run one after the other. A network in an ONNX file is converted by the package
onnx2torch, because PyTorch reads no such file. That package knows no Gelu, which becomes `nn.GELU` here.

Sources: docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html (no gradients for inference),
docs.pytorch.org/docs/stable/generated/torch.autograd.grad_mode.inference_mode.html,
docs.pytorch.org/docs/stable/notes/cpu_threading_torchscript_inference.html (threads),
github.com/ENOT-AutoDL/onnx2torch (conversion).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.onnx_models import fixed_file
from mlbench.studies.peers.packages import ONNX, Package, absent

PACKAGES = (Package("torch", "torch"),)
ONNX_PACKAGES = (Package("onnx2torch", "onnx2torch"), ONNX)
"""What a network in an ONNX file needs besides."""
_NEWEST_OPSET = 17
"""That onnx2torch knows."""
_ONNX_DOMAINS = {"", "ai.onnx"}
_DOMAIN = "mlbench"
_TEXT = 3
"""How ONNX numbers an attribute that is a string."""
SETTINGS = "nn.Sequential in eval and inference_mode"
_mode = ExitStack()
"""Inference mode is entered once and for good, as a loop that serves requests does; entering it takes 2 us."""


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    import torch  # noqa: PLC0415  # only where this runtime is measured

    torch.set_num_threads(threads)
    module = sequential(model)
    _mode.enter_context(torch.inference_mode())
    given = torch.from_numpy(x)
    return lambda: module(given)


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], object]:
    """Return a call that computes the outputs of somebody's file for `xs`, in the types that it declares."""
    import torch  # noqa: PLC0415  # as above

    torch.set_num_threads(threads)
    module, arrays = converted(file, xs)
    _mode.enter_context(torch.inference_mode())
    given = [torch.from_numpy(each) for each in arrays]
    return lambda: as_tuple(module(*given))


def converted(file: OnnxFile, xs: Sequence[FloatArray]) -> tuple[Any, list[Any]]:  # torch.nn.Module, arrays of the declared types
    """Return somebody's file as a module of PyTorch, with its inputs in their order; the converter wants an older operator set."""
    import onnx  # noqa: PLC0415  # as above
    import onnx2torch  # noqa: PLC0415  # as above

    with fixed_file(file, xs) as (path, given):
        model = onnx.load(path)
    if any(each.domain in _ONNX_DOMAINS and each.version > _NEWEST_OPSET for each in model.opset_import):
        gelus = _hide_gelus(model)
        model = onnx.version_converter.convert_version(model, _NEWEST_OPSET)
        _show_gelus(model, gelus)
    module = onnx2torch.convert(model)
    return module.eval().requires_grad_(requires_grad=False), list(given.values())


def _hide_gelus(model: Any) -> dict[str, str]:  # onnx.ModelProto
    """Let an Erf stand for each Gelu, which no older operator set has, and return what its output is called and which Gelu it was."""
    found = {}
    for node in model.graph.node:
        if node.op_type == "Gelu" and node.domain in _ONNX_DOMAINS:
            found[node.output[0]] = next((each.s.decode() for each in node.attribute if each.name == "approximate"), "none")
            node.op_type = "Erf"
            del node.attribute[:]
    return found


def _show_gelus(model: Any, gelus: dict[str, str]) -> None:  # onnx.ModelProto
    """Make a Gelu of each Erf that stood for one, in a domain of ours, and have onnx2torch make `nn.GELU` of it."""
    from onnx2torch.node_converters.registry import add_converter, get_converter  # noqa: PLC0415  # as above
    from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node  # noqa: PLC0415  # as above
    from torch import nn  # noqa: PLC0415  # as above

    def converter(node: Any, graph: Any) -> Any:  # onnx2torch.onnx_node.OnnxNode
        return OperationConverterResult(nn.GELU(node.attributes["approximate"]), onnx_mapping_from_node(node))

    for node in model.graph.node:
        if node.op_type == "Erf" and node.output[0] in gelus:
            node.op_type, node.domain = "Gelu", _DOMAIN
            node.attribute.add(name="approximate", type=_TEXT, s=gelus[node.output[0]].encode())
    model.opset_import.add(domain=_DOMAIN, version=1)
    try:
        get_converter("Gelu", 1, _DOMAIN)
    except NotImplementedError:  # the first network of this process that has one
        add_converter("Gelu", 1, _DOMAIN)(converter)


def as_tuple(found: Any) -> tuple[Any, ...]:  # torch.Tensor, or several
    """Return what a converted module gave as a tuple."""
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def sequential(model: Model) -> Any:  # torch.nn.Sequential
    """Return the model as PyTorch modules with the same weights."""
    from torch import from_numpy, nn, no_grad  # noqa: PLC0415  # as above

    activations: dict[str, Callable[[], Any]] = {
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "softmax": lambda: nn.Softmax(dim=1),
    }
    modules: list[Any] = []
    with no_grad():
        for layer in model.layers:
            linear = nn.Linear(*layer.weight.shape).requires_grad_(requires_grad=False)
            linear.weight.copy_(from_numpy(np.array(layer.weight.T, order="C")))
            linear.bias.copy_(from_numpy(np.array(layer.bias)))
            modules.append(linear)
            if layer.activation != IDENTITY:
                modules.append(activations[layer.activation]())
    return nn.Sequential(*modules).eval()
