"""Networks in files, as a study reads them: whole and unchanged, with the outputs and the inputs that somebody chose.

A path such as `zoo:policy` names a network of the zoo, which every machine has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlbench.errors import FileError, InputError, MissingExtraError, ModelError, UsageError
from mlbench.files import read_limited
from mlbench.ir import Graph, graph_text
from mlbench.models import EXACT, Model, Network, load
from mlbench.models.archive import MOST_BYTES, read_arrays
from mlbench.models.zoo import load_zoo
from mlbench.runtime.validation import WholeInput, check_each, checked_whole, whole_inputs

MODEL_INPUT = "x"
"""What the input of a `Model` is called, which has one and no names."""
AnyModel: TypeAlias = Model | Network
ZOO_PREFIX = "zoo:"
_FEW = 100
"""Random whole numbers that are no index are below this."""
Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]


def input_columns(model: AnyModel) -> dict[str, int]:
    """Return the columns of each input, by the name that the file has for it."""
    return model.inputs if isinstance(model, Network) else {MODEL_INPUT: model.inputs}


def only_batch(model: AnyModel) -> int | None:
    """Return the one batch that a model runs at; None for any."""
    return model.batch if isinstance(model, Network) else None


def sha256_of(path: str, most_bytes: int = MOST_BYTES) -> str:
    """Return the hash of what a file holds, and of the files in its folder in which an ONNX model has tensors.

    Raises:
        FileError: when it is missing, unreadable or too large.
        MissingExtraError: when an ONNX model has tensors in other files, and the `onnx` package is not there to say in which.
    """
    if is_zoo(path):
        return _sha256_of_graph(load_zoo(path.removeprefix(ZOO_PREFIX)).program)
    content = read_limited(path, most_bytes)
    found = hashlib.sha256(content)
    for name in _external_files(path, content, most_bytes):
        found.update(name.encode() + hashlib.sha256(read_limited(Path(path).parent / name, most_bytes)).digest())
    return found.hexdigest()


def is_zoo(path: str) -> bool:
    """Whether a path names a network of the zoo."""
    return path.startswith(ZOO_PREFIX)


def _sha256_of_graph(graph: Graph) -> str:
    found = hashlib.sha256(graph_text(graph).encode())
    for array in graph.constants.values():
        found.update(array.tobytes())
    return found.hexdigest()


def _external_files(path: str, content: bytes, most_bytes: int) -> list[str]:
    """Return the files in its folder in which an ONNX model has tensors, as it names them; others the importer refuses."""
    if not is_onnx(path) or b"location" not in content:  # the key of a tensor in another file
        return []
    try:
        from onnx import TensorProto  # noqa: PLC0415  # only where a model has such tensors
    except ImportError as error:
        raise MissingExtraError("reading an ONNX model", "onnx", "onnx") from error
    from mlbench.models.onnx.read import parse  # noqa: PLC0415  # which needs the extra

    try:
        tensors = parse(content, most_bytes).graph.initializer
    except FileError:
        return []
    folder, external = Path(path).parent, [each for each in tensors if each.data_location == TensorProto.EXTERNAL]
    names = {entry.value for each in external for entry in each.external_data if entry.key == "location"}
    return [name for name in sorted(names) if _is_inside(folder / name, folder) and (folder / name).is_file()]


def _is_inside(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def is_onnx(path: str) -> bool:
    """Whether a file is called as ONNX files are."""
    return path.lower().endswith(".onnx")


def _check_same(path: str, sha256: str, most_bytes: int) -> None:
    """Refuse a file whose content is not the one that was named."""
    found = sha256_of(path, most_bytes)
    if found != sha256:
        raise FileError(f"{path}: has changed: its SHA-256 was {sha256[:12]} and is {found[:12]}; measure again, with a file that stays")


@lru_cache(maxsize=8)  # a run is about one network, which may be large, or about those of the zoo
def read_network(path: str, sha256: str, outputs: tuple[str, ...], most_bytes: int = MOST_BYTES) -> AnyModel:
    """Return the network in a file that has this hash, with these outputs alone; with all for an empty tuple.

    Raises:
        FileError: when the file is missing, damaged, or has changed.
        ModelError: when the network cannot run here; the message says why.
        MissingExtraError: when reading it needs a package that is not installed.
        UsageError: when it has no such output.
    """
    _check_same(path, sha256, most_bytes)
    try:
        if outputs and is_onnx(path):
            from mlbench.models.onnx import load_onnx  # noqa: PLC0415  # which needs the extra

            return load_onnx(path, outputs=outputs, most_bytes=most_bytes)  # what only the others need may be what cannot run
        model = load_zoo(path.removeprefix(ZOO_PREFIX)) if is_zoo(path) else load(path, most_bytes=most_bytes)
        return _with_outputs(model, outputs, path)
    except ModelError as error:
        raise ModelError(str(error) if path in str(error) else f"{path}: {error}") from error


def _with_outputs(model: AnyModel, outputs: tuple[str, ...], path: str) -> AnyModel:
    """Return a network that computes these outputs alone, and nothing that only others need."""
    if not outputs:
        return model
    if not isinstance(model, Network):
        raise UsageError(f"--outputs {','.join(outputs)}: {path} is an MLP of ours, with one output that has no name; leave it out")
    unknown = [name for name in outputs if name not in model.output_names]
    if unknown:
        raise UsageError(f"--outputs {unknown[0]}: {path} has no such output; there are {', '.join(model.output_names)}")
    program = model.program
    places = dict(zip(model.output_names, program.outputs, strict=True))
    needed = {places[name] for name in outputs}
    kept = []
    for node in reversed(program.nodes):
        if node.output in needed:
            needed |= set(node.values)
            kept.append(node)
    chosen = Graph(program.inputs, program.constants, (), tuple(places[name] for name in outputs)).with_nodes(tuple(reversed(kept)))
    dtypes = dict(zip(model.output_names, model.output_dtypes, strict=True))
    labels = {name: texts for name, texts in model.labels.items() if name in outputs}
    output_dtypes = tuple(dtypes[name] for name in outputs)
    return Network(model.name, chosen, model.input_names, outputs, model.batch, model.input_dtypes, output_dtypes, labels)


def random_inputs(model: AnyModel, batch: int, random: np.random.Generator) -> Arrays:
    """Return numbers of a normal distribution for each input, or whole numbers that fit where the file declares them."""
    whole = whole_inputs(model) if isinstance(model, Network) else {}
    found: list[npt.NDArray[Any]] = []
    for name, columns in input_columns(model).items():
        if name not in whole:
            found.append(random.standard_normal((batch, columns), dtype=np.float32))
            continue
        most = 2 if whole[name].dtype == "bool" else _FEW
        limits = np.where(whole[name].entries > 0, whole[name].entries, most)
        found.append(random.integers(0, limits, (batch, columns)).astype(whole[name].dtype))
    return tuple(found)


@lru_cache(maxsize=1)
def read_inputs(path: str, sha256: str, model: AnyModel, most_bytes: int = MOST_BYTES) -> Arrays:
    """Return the array of each input from an archive that has this hash, all of the same number of rows, in the types of the network.

    Args:
        path: of the archive.
        sha256: of its content.
        model: which has the inputs.
        most_bytes: of the file, and of its arrays together.

    Raises:
        FileError: when the file is missing, damaged, or has changed.
        UsageError: when its arrays do not fit the inputs.
    """
    _check_same(path, sha256, most_bytes)
    arrays = read_arrays(path, most_bytes)
    wanted, whole = input_columns(model), whole_inputs(model) if isinstance(model, Network) else {}
    if arrays.keys() != wanted.keys():
        raise UsageError(
            f"--inputs {path}: found the arrays {_listed(arrays)}; expected one for each input of the network: {_listed(wanted)}"
        )
    found = tuple(_rows(arrays[name], name, width, path, whole.get(name)) for name, width in wanted.items())
    if len({len(array) for array in found}) > 1:
        rows = ", ".join(f"{name} {len(array)}" for name, array in zip(wanted, found, strict=True))
        raise UsageError(f"--inputs {path}: the arrays differ in their rows ({rows}); expected the same number")
    return found


def _rows(array: npt.NDArray[Any], name: str, width: int, path: str, whole: WholeInput | None) -> npt.NDArray[Any]:
    if array.ndim != 2 or array.shape[1] != width or len(array) < 1:
        raise UsageError(f"--inputs {path}: {name} has shape {array.shape}; expected (rows, {width}) with one row or more")
    if array.dtype.kind not in "fiub":
        raise UsageError(f"--inputs {path}: {name} is {array.dtype}; expected numbers")
    if whole is not None:
        try:
            check_each(checked_whole(array, whole, name), whole, name)
        except InputError as error:
            raise UsageError(f"--inputs {path}: {error}") from error
        return np.ascontiguousarray(array, whole.dtype)
    if array.dtype.kind in "iu" and int(np.abs(array.astype(np.float64)).max()) > EXACT:
        raise UsageError(f"--inputs {path}: {name} has whole numbers above {EXACT:,}, which float32 does not hold exactly")
    return np.ascontiguousarray(array, np.float32)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"
