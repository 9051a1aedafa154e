"""Apache TVM: a Relax module with constant weights, compiled by its default pipeline with LLVM for this very CPU.

The default pipeline fuses product, bias and activation, but leaves the loops of a product as they are: nothing is tiled, and a reduction
is not vectorized. What the documentation recommends beyond it is tuning by MetaSchedule (`static_shape_tuning_pipeline`), and that is
left out for two reasons, both tried with 0.27. One cell of 32 trials had not ended after five minutes on one core. And with apache-tvm-ffi
0.1.15, which pip takes, it crashes, because `tvm.ir.save_json` does; with 0.1.14 it runs. The DLight rules for CPUs change little.

So this row says what TVM does when it is installed and called, not what it can do: a schedule written by hand (tiles of 8 x 32, unrolled
and vectorized, the bias fused) took 64-64-10 at batch 1 from 3.8 to 1.4 us, and 256-256-256 at batch 8 from 1030 to 13 us.

Sources: tvm.apache.org/docs/get_started/tutorials/quick_start.html (default pipeline, virtual machine),
tvm.apache.org/docs/how_to/tutorials/e2e_opt_model.html (tuning), tvm.apache.org/docs/reference/api/python/target.html (mcpu).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import LEAKY_SLOPE, Model
from mlbench.studies.peers.packages import Package, absent, versions
from mlbench.studies.peers.scratch import compiled_once

PACKAGES = (Package("tvm", "apache-tvm"),)
SETTINGS = "default Relax pipeline, LLVM for this CPU, constant weights; not tuned"


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`; the threads of the first load hold for the whole process."""
    os.environ["TVM_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TVM_FFI_DISABLE_TORCH_C_DLPACK", "1")  # or it compiles a bridge to torch, which nothing here crosses
    import tvm  # noqa: PLC0415  # only where this runtime is measured
    from tvm import relax  # noqa: PLC0415  # as above

    how = {"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu(), "num-cores": threads}
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        library = Path(folder) / "model.so"

        def make() -> bytes:
            tvm.compile(program(model, x.shape[0]), tvm.target.Target(how)).export_library(str(library))
            return library.read_bytes()

        weights = b"".join(array.tobytes() for layer in model.layers for array in (layer.weight, layer.bias))
        shapes = [(layer.weight.shape, layer.activation) for layer in model.layers]
        library.write_bytes(compiled_once(f"tvm {versions(PACKAGES)} {how}", f"{shapes} {len(x)}".encode() + weights, make))
        loaded = tvm.runtime.load_module(str(library))
    run = relax.VirtualMachine(loaded, tvm.cpu())["main"]
    given = tvm.runtime.tensor(x)
    return lambda: run(given)


def program(model: Model, batch: int) -> Any:  # tvm.IRModule
    """Return the model as a Relax module."""
    from tvm import relax  # noqa: PLC0415  # as above

    ops = relax.op
    activations: dict[str, Callable[[Any], Any]] = {
        "identity": lambda value: value,
        "relu": ops.nn.relu,
        "leaky_relu": lambda value: ops.nn.leakyrelu(value, LEAKY_SLOPE),
        "sigmoid": ops.sigmoid,
        "tanh": ops.tanh,
        "softmax": lambda value: ops.nn.softmax(value, axis=1),
    }
    builder = relax.BlockBuilder()
    given = value = relax.Var("x", relax.TensorType((batch, model.inputs), "float32"))
    with builder.function("main", [given]):
        with builder.dataflow():
            for layer in model.layers:
                product = builder.emit(ops.matmul(value, relax.const(np.array(layer.weight))))
                value = builder.emit(activations[layer.activation](builder.emit(ops.add(product, relax.const(np.array(layer.bias))))))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.get()
