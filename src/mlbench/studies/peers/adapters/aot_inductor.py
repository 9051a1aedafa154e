"""PyTorch, compiled ahead of time by AOTInductor.

`torch.export` takes the graph, Inductor compiles it with `freezing`, which packs the weights, into a shared library, and a call runs that
library without Dynamo, whose guards are most of a short call of `torch.compile`. The loader is called with a list, which `boxed_run`
may keep, instead of through the wrapper that flattens nested inputs.

Tried on one core of an EPYC (Zen 3) with torch 2.14: without max-autotune oneDNN computes every product, which takes 270 us for a batch of
7 and layers of 5 and 9. With it Inductor's own products take 2 us each. A build takes half a minute without it, and 20 s a layer more with
it, so what is built is kept until the run ends.

Sources: docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html (export, package, load),
docs.pytorch.org/tutorials/unstable/max_autotune_on_CPU_tutorial.html (max-autotune and freezing on a CPU).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.adapters import torch_compile
from mlbench.studies.peers.adapters.torch_eager import ONNX_PACKAGES, converted, sequential
from mlbench.studies.peers.packages import Package
from mlbench.studies.peers.scratch import compiled_once

PACKAGES = (Package("torch", "torch"),)
__all__ = ["ONNX_PACKAGES", "PACKAGES", "SETTINGS", "load", "load_onnx", "missing"]
SETTINGS = "torch.export, AOTInductor with freezing and max-autotune, static shapes, called through its loader"
_CONFIGS = {"freezing": True, "max_autotune": True}


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return torch_compile.missing()


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`; a C++ compiler must be installed."""
    call = _load(sequential(model), [x], threads)
    return lambda: call()[0]


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], object]:
    """Return a call that computes the outputs of somebody's file for `xs`, converted as for PyTorch."""
    module, arrays = converted(file, xs)
    call = _load(module, arrays, threads)
    return lambda: tuple(call())


def _load(module: Any, xs: Sequence[Any], threads: int) -> Callable[[], Any]:  # torch.nn.Module, arrays of declared types
    import torch  # noqa: PLC0415  # only where this runtime is measured
    from torch._inductor import aoti_load_package  # noqa: PLC0415  # as above

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch._inductor.config.compile_threads = 1  # noqa: SLF001  # no compiler processes that outlive the build
    torch_compile.keep_builds()
    given = [torch.from_numpy(x) for x in xs]
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        package = Path(folder) / "model.pt2"
        weights = b"".join(each.detach().numpy().tobytes() for each in module.state_dict().values())
        key = repr((str(module), [x.shape for x in xs], threads)).encode() + weights
        package.write_bytes(compiled_once(f"aot_inductor {torch.__version__}", key, partial(_compiled, module, given, package)))
        loaded = aoti_load_package(str(package), run_single_threaded=threads == 1)
    run = loaded.loader.run

    def call(kept: object = loaded) -> Any:
        return run(given)

    return call


def _compiled(module: Any, given: Sequence[Any], package: Path) -> bytes:  # torch.nn.Module, torch.Tensor
    import torch  # noqa: PLC0415  # as above

    program = torch.export.export(module, tuple(given))
    torch._inductor.aoti_compile_and_package(program, package_path=str(package), inductor_configs=dict(_CONFIGS))  # noqa: SLF001  # its public place
    return package.read_bytes()
