"""Networks that somebody brings: a graph of any ops, with the names of its inputs and outputs.

A `Model` is layers of our own making. A `Network` is what an importer read, as it was written there, before any pass of the compiler.
"""

from __future__ import annotations

import io
import keyword
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.arrays import ReadOnly
from mlbench.errors import FileError, GraphError, ModelError
from mlbench.files import write_atomically
from mlbench.ir import Graph, frozen, verify
from mlbench.models.archive import MOST_BYTES, read_arrays
from mlbench.models.network_file import arrays_of, parts_of
from mlbench.units import format_bytes

_HALF = re.compile("[\ud800-\udfff]")
TEXT = "text"
DTYPES = ("float32", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
EXACT = 1 << 24
"""Whole numbers up to this are float32 numbers."""
MOST_COLUMNS = 1 << 28
"""Most columns of a value: 1 GB a row."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Network(ReadOnly):
    """A graph that somebody brought. Arrays are copied in and read-only, so runners and threads can share it.

    It may be copied, pickled and sent to other processes, where its arrays are read-only as well. `print(network)` shows its
    inputs, outputs and ops.

    Attributes:
        name: what tables call it.
        program: the graph as it was imported; its names are Python identifiers.
        input_names: what the file calls the inputs, in its order; any text.
        output_names: what the file calls the outputs, in its order; any text.
        batch: the only batch it runs at; None for any.
        input_dtypes: what the file says that each input is, one of DTYPES; float32 for all by default. Runners take whole numbers as such.
        output_dtypes: the same of the outputs; "text" for labels. Runners give float32, and `as_declared` what is said here.
        labels: name of each output of text to its labels, in the order of the indices that runners give.

    Raises:
        ModelError: when the graph breaks a law of `mlbench.ir.verify` or has an epilogue, or names or batch do not fit it.
    """

    name: str
    program: Graph
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    batch: int | None = None
    input_dtypes: tuple[str, ...] = ()
    output_dtypes: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph, where = self.program, f"network {self.name!r}"
        if not _is_text(self.name):
            raise ModelError(f"the name of a network is {self.name!r}; expected text")
        try:
            verify(graph)
        except GraphError as error:
            raise ModelError(f"{where}: {error}") from error
        _check_program(graph, where)
        _check_names(self.input_names, "input", tuple(graph.inputs), where)
        _check_names(self.output_names, "output", graph.outputs, where)
        if self.batch is not None and not _is_size(self.batch):
            raise ModelError(f"{where}: its batch is {self.batch!r}; expected a whole number of 1 or more, or None for any")
        dtypes = {
            what: tuple(found) or (DTYPES[0],) * len(names)
            for what, found, names in (
                ("input", self.input_dtypes, self.input_names),
                ("output", self.output_dtypes, self.output_names),
            )
        }
        labels = {name: tuple(texts) for name, texts in self.labels.items()}
        _check_dtypes(dtypes["input"], "input", self.input_names, (), where)
        _check_dtypes(dtypes["output"], "output", self.output_names, labels, where)
        _check_labels(labels, where)
        copies = {name: frozen(array) for name, array in graph.constants.items()}
        object.__setattr__(self, "program", replace(graph, inputs=dict(graph.inputs), constants=copies))
        object.__setattr__(self, "input_names", tuple(self.input_names))
        object.__setattr__(self, "output_names", tuple(self.output_names))
        object.__setattr__(self, "input_dtypes", dtypes["input"])
        object.__setattr__(self, "output_dtypes", dtypes["output"])
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "batch", None if self.batch is None else int(self.batch))

    def graph(self) -> Graph:
        """Return the program as it was imported."""
        return self.program

    @property
    def inputs(self) -> dict[str, int]:
        """Name of each input, as the file calls it, to its columns."""
        return dict(zip(self.input_names, self.program.inputs.values(), strict=True))

    @property
    def outputs(self) -> dict[str, int]:
        """Name of each output, as the file calls it, to its columns."""
        columns = [self.program.columns_of(name) for name in self.program.outputs]
        return dict(zip(self.output_names, columns, strict=True))

    def as_declared(self, results: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]) -> Any:
        """Return what a runner gave in the types of the file: whole numbers as such, truth as bool, labels as text.

        Args:
            results: an array, or one for each output, as `run` returns them.
        """
        is_single = isinstance(results, np.ndarray)
        found = (results,) if isinstance(results, np.ndarray) else tuple(results)
        made = []
        for name, dtype, array in zip(self.output_names, self.output_dtypes, found, strict=True):
            if dtype == TEXT:
                made.append(np.array(self.labels[name])[array.astype(np.intp)])
            else:
                made.append(array if dtype == DTYPES[0] else array.astype(dtype))
        return made[0] if is_single else tuple(made)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(array.nbytes for array in self.program.constants.values())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the network to a `.npz` file, whole or not at all.

        Raises:
            FileError: when the file cannot be written, or the graph is larger than a file holds.
        """
        dtypes = self.input_dtypes, self.output_dtypes, self.labels
        arrays = arrays_of(self.name, self.program, self.input_names, self.output_names, self.batch, *dtypes)
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # the stub wants the keywords to be options
        return write_atomically(path, content.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Network:
        """Read a network that `save` wrote.

        Args:
            path: the file.
            most_bytes: of the file, and of all its arrays together: a small file may unpack to many gigabytes.

        Raises:
            FileError: when the file is missing, damaged, truncated, foreign, of an unknown version, or too large.
        """
        return cls.of_arrays(read_arrays(path, most_bytes), path)

    @classmethod
    def of_arrays(cls, arrays: dict[str, npt.NDArray[Any]], path: str | os.PathLike[str]) -> Network:
        """Make a network of what its file holds; `path` is for messages alone.

        Raises:
            FileError: when these are no arrays of a network.
        """
        try:
            return cls(*parts_of(arrays))
        except ModelError as error:
            raise FileError(f"{path}: not a usable mlbench network: {error}") from error

    def __repr__(self) -> str:
        """Return a line; the constants may be millions of numbers."""
        return f"<Network {self.name!r}: {len(self.program.nodes)} nodes, {self.parameter_bytes // 4:,} parameters>"

    def __str__(self) -> str:
        """Return name, inputs, outputs, parameters, and the nodes by op."""
        rows = "rows" if self.batch is None else str(self.batch)
        counts = Counter(node.op for node in self.program.nodes).most_common()
        lines = {
            "inputs": ", ".join(
                f"{name} ({rows} x {columns}{_typed(dtype)})"
                for (name, columns), dtype in zip(self.inputs.items(), self.input_dtypes, strict=True)
            ),
            "outputs": ", ".join(
                f"{name} ({rows} x {columns}{_typed(dtype)})"
                for (name, columns), dtype in zip(self.outputs.items(), self.output_dtypes, strict=True)
            ),
            "batch": "any" if self.batch is None else f"{self.batch} alone",
            "parameters": f"{self.parameter_bytes // 4:,} ({format_bytes(self.parameter_bytes)})",
            "nodes": f"{len(self.program.nodes)}: {', '.join(f'{number} {op}' for op, number in counts)}",
        }
        return "\n".join([f"network {self.name}", *(f"  {title:<12}{text}" for title, text in lines.items())])


def _is_size(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and int(number) >= 1


def _is_text(name: object) -> bool:
    """Whether it is text that can be printed and written; halves of surrogate pairs cannot."""
    return isinstance(name, str) and _HALF.search(name) is None


def _check_names(names: Iterable[str], what: str, values: tuple[str, ...], where: str) -> None:
    found = tuple(names)
    if isinstance(names, str) or not all(_is_text(name) for name in found):
        raise ModelError(f"{where}: {what}_names is {names!r}; expected a tuple of texts")
    if len(found) != len(values):
        raise ModelError(f"{where}: {len(found)} {what} names {found}; its graph has the {what}s {', '.join(values)}")
    twice = [name for name, number in Counter(found).items() if number > 1]
    if twice:
        raise ModelError(f"{where}: two {what}s are called {twice[0]!r}; expected a name for each")


def _typed(dtype: str) -> str:
    return "" if dtype == DTYPES[0] else f" {dtype}"


def _check_dtypes(found: tuple[str, ...], what: str, names: tuple[str, ...], labelled: Iterable[str], where: str) -> None:
    if len(found) != len(names):
        raise ModelError(f"{where}: {len(found)} {what}_dtypes {found}; expected one for each of {', '.join(names)}")
    for name, dtype in zip(names, found, strict=True):
        if dtype not in DTYPES and not (dtype == TEXT and name in labelled):
            raise ModelError(f"{where}: the {what} {name!r} is {dtype!r}; expected one of {', '.join(DTYPES)}, or {TEXT} with its labels")
    others = [name for name in labelled if name not in names or found[names.index(name)] != TEXT]
    if others:
        raise ModelError(f"{where}: labels are given for {others[0]!r}; expected an {what} of the type {TEXT}")


def _check_labels(labels: Mapping[str, tuple[str, ...]], where: str) -> None:
    for name, texts in labels.items():
        if not texts or not all(_is_text(each) for each in texts):
            raise ModelError(f"{where}: the labels of {name!r} are {texts!r:.80}; expected one text or more")


def _check_program(graph: Graph, where: str) -> None:
    """Refuse what the verifier of graphs allows and an imported graph does not have.

    Both runners write Python in which the names stand, so a name that is no identifier could be code.
    """
    for name in (*graph.inputs, *graph.constants, *(node.output for node in graph.nodes)):
        if not name.isidentifier() or (name in graph.constants and keyword.iskeyword(name)):
            raise ModelError(f"{where}: its graph has the name {name!r}; expected an identifier such as x0, w0 or v0")
    for node in graph.nodes:
        if node.epilogue:
            raise ModelError(f"{where}: node {node.output} has an epilogue, which only the compiler makes; expected a node for each op")
    for name, columns in (*graph.inputs.items(), *((node.output, node.columns) for node in graph.nodes)):
        if columns > MOST_COLUMNS:
            raise ModelError(f"{where}: {name} has {columns:,} columns; expected {MOST_COLUMNS:,} at most")
