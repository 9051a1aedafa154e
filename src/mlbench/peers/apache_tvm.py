"""Apache TVM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlbench.graph import FloatArray
from mlbench.models import LEAKY_SLOPE, Model
from mlbench.peers.packages import Package, absent

PACKAGES = (Package("tvm", "apache-tvm"),)
SETTINGS = "LLVM for this CPU, default Relax pipeline, constant weights"


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    import tvm  # noqa: PLC0415  # only where this runtime is measured
    from tvm import relax  # noqa: PLC0415  # as above

    target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu(), "num-cores": threads})
    built = tvm.compile(program(model, x.shape[0]), target)
    run, given = relax.VirtualMachine(built, tvm.cpu())["main"], tvm.runtime.tensor(x)
    return lambda: run(given)


def program(model: Model, batch: int) -> Any:  # tvm.IRModule
    """Return the model as a Relax module."""
    import numpy as np
    from tvm import relax  # noqa: PLC0415  # as above

    ops = relax.op
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((batch, model.inputs), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for l in model.layers:
                value = builder.emit(ops.add(builder.emit(ops.matmul(value, relax.const(np.asarray(l.weight)))), relax.const(np.asarray(l.bias))))
                if l.activation == "relu":
                    value = builder.emit(ops.nn.relu(value))
            out = builder.emit_output(value)
        builder.emit_func_output(out)
    return builder.get()
