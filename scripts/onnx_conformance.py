"""Run every case of `onnx.backend.test` through the importer, the float64 reference and both runners, and print a table.

    python scripts/onnx_conformance.py                    # some minutes
    python scripts/onnx_conformance.py --refused relu     # and why cases with "relu" in their name were refused

Development only. It ends with 1 where a case is wrong or crashed. A case is run as it is. Most cases of single nodes have weights, shapes
and bounds as inputs, which a graph has as constants. Others have inputs of three axes. So a case that is refused is adapted: every input
but one or two becomes a constant of its data, and an input of other axes is a matrix (rows, columns) with a Reshape behind it. The table
counts these apart. An output of shape (rows,) is compared as (rows, 1).
"""

from __future__ import annotations

import argparse
import itertools
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from mlbench.errors import FileError, ModelError
from mlbench.ir import interpret
from mlbench.models.network import Network
from mlbench.models.onnx import from_onnx
from mlbench.runtime import BaselineRunner, OptimizedRunner

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
OUTCOMES = ("passed", "passed adapted", "refused", "wrong", "crashed")
Array = npt.NDArray[Any]
Data = tuple[list[Any], list[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case.

    Attributes:
        kind: one of OUTCOMES.
        reason: of everything but passing.
    """

    kind: str
    reason: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases; return 1 where one is wrong or crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refused", metavar="TEXT", help="print why cases with this text in their name were refused")
    parser.add_argument("--only", metavar="TEXT", default="", help="run cases with this text in their name")
    options = parser.parse_args(arguments)
    counts: dict[str, Counter[str]] = {}
    for kind in KINDS:
        counts[kind] = Counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cases = load_model_tests(kind=kind)
        for case in cases:
            if options.only not in case.name:
                continue
            outcome = judged(case)
            counts[kind][outcome.kind] += 1
            wanted = options.refused is not None and options.refused in case.name
            if outcome.kind in {"wrong", "crashed"} or (outcome.kind == "refused" and wanted):
                print(f"{outcome.kind}: {kind} {case.name}: {outcome.reason}", flush=True)
    print(table(counts))
    return int(any(count["wrong"] or count["crashed"] for count in counts.values()))


def table(counts: dict[str, Counter[str]]) -> str:
    """Return the table as text."""
    lines = [" | ".join([f"{'data set':<18}", *(f"{each:>7}" for each in ("cases", *OUTCOMES))])]
    for kind, count in counts.items():
        numbers = [sum(count.values()), *(count[each] for each in OUTCOMES)]
        lines.append(
            " | ".join([f"{kind:<18}", *(f"{n:>{max(7, len(head))}}" for n, head in zip(numbers, ("cases", *OUTCOMES), strict=True))])
        )
    return "\n".join(lines)


def judged(case: Any) -> Outcome:
    """Return what became of a case, as it is or with constants in place of inputs."""
    try:
        model, data_sets = loaded(case)
    except (OSError, ValueError) as error:
        return Outcome("refused", f"its data cannot be read: {error}")
    first = tried(model, data_sets, case)
    if first.kind != "refused" or not data_sets:
        return first
    own = [each.name for each in model.graph.input]
    for are_matrices in (False, True):
        for count in (1, 2, len(own)):
            for kept in itertools.combinations(own, count):
                other = tried(*adapted(model, data_sets[0], kept, are_matrices=are_matrices), case)
                if other.kind != "refused":
                    return Outcome("passed adapted") if other.kind == "passed" else other
                first = min(other, first, key=lambda outcome: outcome.reason.count("\n"))
    return first


def loaded(case: Any) -> tuple[ModelProto, list[Data]]:
    """Return the model and the data sets of a case."""
    if case.model is not None:
        return case.model, [(list(inputs), list(outputs)) for inputs, outputs in case.data_sets]
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    return model, [
        (
            list(protos(each, "input", [value.type for value in model.graph.input])),
            list(protos(each, "output", [value.type for value in model.graph.output])),
        )
        for each in sorted(folder.glob("test_data_set_*"))
    ]


def protos(folder: Path, what: str, types: Sequence[Any]) -> Iterator[Any]:
    """Give the tensors of a data set; None for sequences and the like, which no graph has."""
    for index, kind in enumerate(types):
        path = folder / f"{what}_{index}.pb"
        if path.exists():
            yield numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) if kind.HasField("tensor_type") else None


def adapted(model: ModelProto, data: Data, kept: Sequence[str], *, are_matrices: bool) -> tuple[ModelProto, list[Data]]:
    """Return the case with all inputs but some as initializers, and those as matrices where asked."""
    other = ModelProto()
    other.CopyFrom(model)
    there = list(other.graph.input)
    del other.graph.input[:]
    inputs, before = [], []
    for info, array in zip(there, data[0], strict=False):
        if not isinstance(array, np.ndarray):
            other.graph.input.append(info)
            inputs.append(array)
        elif info.name not in kept:
            other.graph.initializer.append(numpy_helper.from_array(array, info.name))
        elif are_matrices and array.ndim != 2 and array.size and array.ndim:
            matrix = array.reshape((array.shape[0], -1))
            shape = f"{info.name}_shape"
            if other.opset_import[0].version < 5:
                before.append(onnx.helper.make_node("Reshape", [f"{info.name}_matrix"], [info.name], shape=array.shape))
            else:
                before.append(onnx.helper.make_node("Reshape", [f"{info.name}_matrix", shape], [info.name]))
                other.graph.initializer.append(numpy_helper.from_array(np.array(array.shape), shape))
            other.graph.input.append(
                onnx.helper.make_tensor_value_info(f"{info.name}_matrix", info.type.tensor_type.elem_type, matrix.shape)
            )
            inputs.append(matrix)
        else:
            other.graph.input.append(info)
            inputs.append(array)
    after = list(other.graph.node)
    del other.graph.node[:]
    other.graph.node.extend([*before, *after])
    return other, [(inputs, data[1])]


def tried(model: ModelProto, data_sets: Sequence[Data], case: Any) -> Outcome:
    """Return what became of one form of a case."""
    try:
        network = from_onnx(model.SerializeToString(), case.name)
    except (ModelError, FileError) as error:
        return Outcome("refused", str(error))
    except Exception:  # noqa: BLE001  # a crash of any kind is what this looks for
        return Outcome("crashed", traceback.format_exc())
    try:
        for inputs, expected in data_sets:
            wrong = differing(network, inputs, expected, case)
            if wrong:
                return Outcome("wrong", wrong)
    except Exception:  # noqa: BLE001  # as above
        return Outcome("crashed", traceback.format_exc())
    return Outcome("passed")


def differing(network: Network, inputs: Sequence[Array], expected: Sequence[Array], case: Any) -> str:
    """Return how a result differs; "" where all agree."""
    xs = tuple(np.asarray(x, dtype).reshape((len(x), -1)) for x, dtype in zip(inputs, network.input_dtypes, strict=True))
    graph = network.graph()
    runs: dict[str, Callable[[], Any]] = {
        "reference": lambda: tuple(each.astype(np.float32) for each in interpret(graph, xs)),
        "BaselineRunner": lambda: BaselineRunner(network).run(*xs),
        "OptimizedRunner": lambda: OptimizedRunner(network, max_batch=len(xs[0])).run(*xs),
    }
    for name, run in runs.items():
        found = run()
        results = network.as_declared(found if isinstance(found, tuple) else (found,))
        for result, right in zip(results, expected, strict=True):
            wanted = np.asarray(right)
            if not are_equal(result, wanted, case):
                return f"{name}: {result.ravel()[:5]} of {result.shape}; expected {wanted.ravel()[:5]} of {wanted.shape}"
    return ""


def are_equal(result: Array, wanted: Array, case: Any) -> bool:
    """Whether a result has the numbers of another one, and its type, text aside."""
    if wanted.size != result.size:
        return False
    shaped = result.reshape(wanted.shape)
    if wanted.dtype.kind in "OUS":
        return bool((shaped.astype(str) == wanted.astype(str)).all())
    return shaped.dtype == wanted.dtype and bool(np.allclose(shaped, wanted, rtol=case.rtol, atol=case.atol, equal_nan=True))


if __name__ == "__main__":
    sys.exit(main())
