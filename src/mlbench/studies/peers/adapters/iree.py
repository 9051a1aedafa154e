"""IREE on the CPU: an ONNX file, imported as MLIR and compiled by LLVM for this very processor.

Optimisation is at O3 with data tiling, which lays the constant weights out in tiles when compiling. One thread runs on the driver
`local-sync`, whose calls compute in the thread that asks; more of them on `local-task`. The input lies in a buffer of the device, and the
compiled function is called through the virtual machine, with a list of arguments that is made once.

Tried on one core of an EPYC (Zen 3), 64-64-10 at batch 1: the function that the Python bindings wrap 10 to 17 us, the virtual machine 6 to
11. Data tiling takes 256-256-256 at batch 1 from 38 to 25 us. Microkernels (`--iree-llvmcpu-enable-ukernels=all`) brought nothing.

Sources: iree.dev/guides/deployment-configurations/cpu/ (target, drivers), iree.dev/reference/optimization-options/ (levels, data tiling),
iree.dev/guides/ml-frameworks/onnx/ (import), iree.dev/reference/bindings/python/ (runtime).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.onnx_models import fixed_file, load_mlp
from mlbench.studies.peers.packages import ONNX, Package, absent, versions
from mlbench.studies.peers.scratch import compiled_once

PACKAGES = (Package("iree.compiler", "iree-base-compiler"), Package("iree.runtime", "iree-base-runtime"), ONNX)
SETTINGS = "llvm-cpu for this CPU, O3, data tiling; local-sync for one thread, called through the VM"
_FLAGS = ("--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3", "--iree-opt-data-tiling", "--iree-input-demote-f64-to-f32=false")
"""The last one keeps inputs as a file declares them; without it, float64 inputs are read as float32."""


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    return load_mlp(load_onnx, model, x, threads)


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], tuple[object, ...]]:
    """Return a call that computes the outputs of somebody's file for `xs`, with the batch fixed and in the types that it declares."""
    import iree.runtime as rt  # noqa: PLC0415  # only where this runtime is measured

    with fixed_file(file, xs) as (path, given):
        module = compiled_once(f"iree {versions(PACKAGES)} {_FLAGS}", Path(path).read_bytes(), partial(_compiled, path))
    if threads > 1:
        rt.flags.parse_flags(f"--task_topology_max_group_count={threads}")
    config = rt.Config("local-sync" if threads == 1 else "local-task")
    context = rt.SystemContext(config=config)
    context.add_vm_module(rt.VmModule.copy_buffer(context.instance, module))
    vm_module = next(each for each in context.modules.values() if each.vm_module.name == "module").vm_module
    (name,) = [each for each in vm_module.function_names if not each.startswith("__") and not each.endswith("$async")]
    function, invoke, results = vm_module.lookup_function(name), context.vm_context.invoke, len(file.outputs)
    held = [rt.asdevicearray(config.device, array) for array in given.values()]
    arguments = rt.VmVariantList(len(held))
    for each in held:
        arguments.push_ref(each._buffer_view)  # noqa: SLF001  # a device array has no other way to the buffer it holds

    def call(kept: object = (context, held, given)) -> tuple[object, ...]:
        found = rt.VmVariantList(results)
        invoke(function, arguments, found)
        return tuple(_Result(config.device, found, index) for index in range(results))

    return call


def _compiled(path: str) -> bytes:
    """Return the module of an ONNX file, after the tool that imports it has made MLIR of it."""
    import iree.compiler  # noqa: PLC0415  # as above

    mlir = Path(path).with_suffix(".mlir")
    imported = [sys.executable, "-m", "iree.compiler.tools.import_onnx", path, "-o", str(mlir)]
    done = subprocess.run(imported, capture_output=True, text=True, check=False)  # noqa: S603  # this very Python
    if done.returncode != 0:
        raise RuntimeError(f"iree-import-onnx: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return bytes(iree.compiler.compile_file(str(mlir), target_backends=["llvm-cpu"], input_type="onnx", extra_args=list(_FLAGS)))


class _Result:
    """One result of a call, whose array is made when somebody reads it."""

    __slots__ = ("_device", "_found", "_index")

    def __init__(self, device: Any, found: Any, index: int) -> None:  # iree.runtime.HalDevice, VmVariantList
        self._device, self._found, self._index = device, found, index

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> Any:
        import iree.runtime as rt  # noqa: PLC0415  # as above

        view = self._found.get_as_object(self._index, rt.HalBufferView)
        return rt.DeviceArray(self._device, view, implicit_host_transfer=True).to_host().astype(dtype, copy=False)
