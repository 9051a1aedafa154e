"""PyTorch, compiled by TorchInductor.

`freezing` inlines the weights as constants, which lets Inductor pack them. `max-autotune-no-cudagraphs` races its own C++ matrix product
against MKL for each layer, and `cpp_wrapper` runs the graph from C++ instead of Python. What is compiled is `forward`, so that a call does
not pass through the hooks of `nn.Module`.

Tried on one core, 64-64-10 at batch 1: the default mode 33 us, with `cpp_wrapper` 30, with `max-autotune-no-cudagraphs` 25, with both and
`forward` 21; of what is left nearly all is Dynamo checking its guards. `reduce-overhead` changes nothing on a CPU.

Sources: docs.pytorch.org/docs/stable/generated/torch.compile.html (modes),
docs.pytorch.org/tutorials/unstable/inductor_cpp_wrapper_tutorial.html (C++ wrapper),
docs.pytorch.org/tutorials/unstable/max_autotune_on_CPU_tutorial.html (max-autotune and freezing on a CPU).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.adapters.torch_eager import ONNX_PACKAGES, as_tuple, converted, sequential
from mlbench.studies.peers.packages import Package, absent
from mlbench.studies.peers.scratch import builds_folder

PACKAGES = (Package("torch", "torch"),)
__all__ = ["ONNX_PACKAGES", "PACKAGES", "SETTINGS", "load", "load_onnx", "missing"]
SETTINGS = "max-autotune-no-cudagraphs, freezing, cpp_wrapper, static shapes"
_COMPILERS = ("g++", "clang++", "cl")


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    has_compiler = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), *_COMPILERS))
    return absent(PACKAGES) or (None if has_compiler else f"needs a C++ compiler ({', '.join(_COMPILERS)})")


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`; a C++ compiler must be installed."""
    compiled, (given,) = _compiled(sequential(model), [x], threads)
    return lambda: compiled(given)


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], object]:
    """Return a call that computes the outputs of somebody's file for `xs`, converted as for eager PyTorch."""
    compiled, given = _compiled(*converted(file, xs), threads)
    return lambda: as_tuple(compiled(*given))


def keep_builds() -> None:
    """Have Inductor keep what it compiles and chooses where the run says, so that no choice is one of a busy moment long ago."""
    folder = builds_folder("inductor")
    if folder is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def _compiled(module: Any, xs: Sequence[Any], threads: int) -> tuple[Any, list[Any]]:  # torch.nn.Module, arrays of the declared types
    """Return the compiled forward pass of a module, which has run once, and its inputs as tensors."""
    import torch  # noqa: PLC0415  # only where this runtime is measured
    import torch._inductor.config as inductor  # noqa: PLC0415  # as above

    torch.set_num_threads(threads)
    torch._dynamo.reset()  # noqa: SLF001  # forgets the cell before, whose guards would be checked first
    inductor.freezing = True
    inductor.cpp_wrapper = True
    inductor.compile_threads = 1  # no compiler processes that outlive the build
    keep_builds()
    torch.set_grad_enabled(False)  # for good: freezing wants it when compiling, and the guards check it in every call
    compiled = torch.compile(module.forward, mode="max-autotune-no-cudagraphs", fullgraph=True, dynamic=False)
    given = [torch.from_numpy(x) for x in xs]
    compiled(*given)
    return compiled, given
