"""Networks out of ONNX models: read and checked (`read`, `tensors`), folded (`fold`), written node by node (`table`, `walk`).

The `onnx` package parses, checks, infers shapes and writes functions out. What a graph cannot hold exactly is refused before anything runs,
in one error that lists every such node.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.errors import FileError, MissingExtraError, ModelError
from mlbench.files import read_limited
from mlbench.models.archive import MOST_BYTES
from mlbench.models.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["from_onnx", "load_onnx"]


def from_onnx(model: bytes | ModelProto, name: str = "", outputs: Sequence[str] | None = None, most_bytes: int = MOST_BYTES) -> Network:
    """Return the network that an ONNX model is.

    Every value is (rows, columns) float32. The rows are the batch: the first axis of every input, a symbol or one number. An output of
    shape (rows,) is (rows, 1). Constants are computed at import, and everything else is a node for each op, as the file says it.

    Args:
        model: the bytes of a file, or a message of the `onnx` package, which stays as it is.
        name: what tables call the network; without one, what the file calls its graph.
        outputs: those that are wanted, by name and in order; all by default. What they do not need is not judged.
        most_bytes: of the model, of its tensors together, and of what is computed from them at import.

    Raises:
        ModelError: when something in it cannot run; the message lists op, node and reason, and which ops are fine.
        FileError: when it is damaged, truncated, foreign, breaks a rule of ONNX, or is too large.
        MissingExtraError: without the `onnx` package.
    """
    return _network(model, name, outputs, most_bytes, None)


def load_onnx(path: str | os.PathLike[str], name: str = "", outputs: Sequence[str] | None = None, most_bytes: int = MOST_BYTES) -> Network:
    """Return the network in an `.onnx` file, whose tensors may be in other files of its folder.

    Args:
        path: the file.
        name: what tables call the network; without one, the name of the file.
        outputs: as `from_onnx` has them.
        most_bytes: as `from_onnx` has it.

    Raises:
        ModelError: as `from_onnx`.
        FileError: as `from_onnx`, and when the file cannot be read, or a tensor is in a file outside of its folder.
        MissingExtraError: without the `onnx` package.
    """
    content = read_limited(path, most_bytes)
    try:
        return _network(content, name or Path(path).stem, outputs, most_bytes, Path(path).parent)
    except FileError as error:
        raise FileError(f"{path}: {error}") from error


def _network(model: bytes | ModelProto, name: str, outputs: Sequence[str] | None, most_bytes: int, folder: Path | None) -> Network:
    try:
        import onnx  # noqa: F401, PLC0415  # only where a model is brought
    except ImportError as error:
        raise MissingExtraError("reading an ONNX model", "onnx", "onnx") from error
    from mlbench.models.onnx.read import checked, parse  # noqa: PLC0415  # as above
    from mlbench.models.onnx.tensors import Store  # noqa: PLC0415  # as above
    from mlbench.models.onnx.walk import network_of  # noqa: PLC0415  # as above

    message = parse(model, most_bytes)
    try:
        there = [each.name for each in message.graph.output]
        wanted = list(there if outputs is None else outputs)
        if isinstance(outputs, str) or not wanted or any(each not in there for each in wanted):
            raise ModelError(f"outputs={outputs!r}; expected some of {there!r}, in a list")
        named = name or message.graph.name or "network"
        return network_of(message, checked(message, wanted), named, wanted, Store(folder, most_bytes))
    except UnicodeDecodeError as error:  # the parser takes any bytes as text, and decodes what is read
        raise FileError(f"damaged, truncated or no ONNX model (a name is no text: {error})") from error
