"""What is inside the file of a network: its graph as JSON text, and one array for each constant.

The file is a NumPy `.npz` archive without pickled objects, so opening one runs no code. Every number and name of the text is checked before
a node is made of it; the laws of a graph are the verifier's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.errors import FileError, ModelError
from mlbench.ir import FloatArray, Graph, Node

FORMAT = "mlbench-network"
VERSION = 2
"""1 is what a network of float32 alone is written as; 2 has the types of inputs and outputs, and labels, besides."""
MOST_CHARACTERS = 1 << 22
"""Most characters of the graph's text: some 40,000 nodes. Python needs up to 25 bytes for each character while it reads them."""
MOST_CONSTANTS = 9_000
Arrays = dict[str, npt.NDArray[Any]]
Names = tuple[str, ...]
Labels = Mapping[str, Names]
Parts = tuple[str, Graph, Names, Names, int | None, Names, Names, Labels]
"""Name, graph, names of the inputs and of the outputs, batch, types of the inputs and of the outputs, labels."""
_FLOAT = "float32"
_FRAME = ("format", "version", "graph")
_TOP: Mapping[str, type] = {"name": str, "batch": int, "inputs": list, "outputs": list, "constants": list, "nodes": list}
_INPUT: Mapping[str, type] = {"name": str, "value": str, "columns": int}
_OUTPUT: Mapping[str, type] = {"name": str, "value": str}
_TYPED_INPUT: Mapping[str, type] = {**_INPUT, "dtype": str}
_TYPED_OUTPUT: Mapping[str, type] = {**_OUTPUT, "dtype": str, "labels": list}
_NODE: Mapping[str, type] = {"op": str, "inputs": list, "output": str, "columns": int, "attributes": list}


def arrays_of(
    name: str,
    graph: Graph,
    input_names: Names,
    output_names: Names,
    batch: int | None,
    input_dtypes: Names,
    output_dtypes: Names,
    labels: Labels,
) -> Arrays:
    """Return what the file holds.

    Raises:
        FileError: for a graph that is larger than what is read again.
    """
    version = 1 if {*input_dtypes, *output_dtypes} == {_FLOAT} and all(array.ndim < 3 for array in graph.constants.values()) else VERSION
    inputs: list[dict[str, Any]] = [
        {"name": each, "value": value, "columns": graph.inputs[value]} for each, value in zip(input_names, graph.inputs, strict=True)
    ]
    outputs: list[dict[str, Any]] = [{"name": each, "value": value} for each, value in zip(output_names, graph.outputs, strict=True)]
    if version > 1:
        inputs = [{**each, "dtype": dtype} for each, dtype in zip(inputs, input_dtypes, strict=True)]
        outputs = [
            {**each, "dtype": dtype, "labels": labels.get(each["name"], ())} for each, dtype in zip(outputs, output_dtypes, strict=True)
        ]
    text = json.dumps({
        "name": name,
        "batch": batch,
        "inputs": inputs,
        "outputs": outputs,
        "constants": list(graph.constants),
        "nodes": [{"op": node.op, "inputs": node.inputs, "output": node.output, "columns": node.columns, "attributes": node.attributes}
                  for node in graph.nodes],
    })  # fmt: skip
    if len(text) > MOST_CHARACTERS or len(graph.constants) > MOST_CONSTANTS:
        raise FileError(
            f"network {name!r}: its graph takes {len(text):,} characters and has {len(graph.constants):,} constants; a file holds "
            f"{MOST_CHARACTERS:,} and {MOST_CONSTANTS:,} at most"
        )
    arrays: Arrays = {"format": np.array(FORMAT), "version": np.array(version), "graph": np.array(text)}
    return arrays | {f"constant{index}": array for index, array in enumerate(graph.constants.values())}


def parts_of(arrays: Arrays) -> Parts:
    """Return what a file says about a network.

    Raises:
        ModelError: for anything that `arrays_of` does not write.
    """
    if str(arrays.get("format")) != FORMAT:
        raise ModelError(f"its format is {str(arrays.get('format'))!r}; expected {FORMAT!r}")
    version = str(arrays.get("version"))
    if version not in {"1", str(VERSION)}:
        raise ModelError(f"its version is {version}; this mlbench reads versions 1 to {VERSION}")
    top, is_typed = _text(arrays), version != "1"
    names = _strings(top["constants"], "constants")
    expected = {*_FRAME, *(f"constant{index}" for index in range(len(names)))}
    if set(arrays) != expected or len(set(names)) < len(names):
        raise ModelError(f"found {len(arrays) - len(_FRAME)} constants and {len(set(names))} names for them; expected a name for each")
    inputs = [_object(each, _TYPED_INPUT if is_typed else _INPUT, "inputs") for each in top["inputs"]]
    outputs = [_object(each, _TYPED_OUTPUT if is_typed else _OUTPUT, "outputs") for each in top["outputs"]]
    columns = {each["value"]: each["columns"] for each in inputs}
    if len(columns) < len(inputs):
        raise ModelError("inputs: a value is there twice; expected a value for each input")
    graph = Graph(
        columns,
        {name: _constant(arrays[f"constant{index}"], name) for index, name in enumerate(names)},
        tuple(_node(_object(each, _NODE, f"node {position}"), position) for position, each in enumerate(top["nodes"])),
        tuple(each["value"] for each in outputs),
    )
    return (
        top["name"],
        graph,
        tuple(each["name"] for each in inputs),
        tuple(each["name"] for each in outputs),
        top["batch"],
        tuple(each.get("dtype", _FLOAT) for each in inputs),
        tuple(each.get("dtype", _FLOAT) for each in outputs),
        {each["name"]: _strings(each["labels"], f"the labels of {each['name']!r}") for each in outputs if each.get("labels")},
    )


def _text(arrays: Arrays) -> dict[str, Any]:
    """Return the object that the graph's text describes."""
    array = arrays.get("graph")
    if array is None or array.dtype.kind != "U" or array.shape != ():
        raise ModelError("its graph is missing or no text")
    text = str(array)
    if len(text) > MOST_CHARACTERS:
        raise ModelError(f"its graph has {len(text):,} characters; expected {MOST_CHARACTERS:,} at most")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its graph is no JSON text ({error})") from error
    if isinstance(found, dict) and found.get("batch", 0) is None:
        return {**_object({**found, "batch": 1}, _TOP, "graph"), "batch": None}
    return _object(found, _TOP, "graph")


def _object(found: object, form: Mapping[str, type], where: str) -> dict[str, Any]:
    """Return an object whose keys and the types of whose values are those of a form."""
    if not isinstance(found, dict) or found.keys() != form.keys():
        keys = f"the keys {', '.join(sorted(found))[:80]}" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise ModelError(f"{where}: found {keys}; expected {', '.join(form)}")
    for key, kind in form.items():
        if type(found[key]) is not kind:
            raise ModelError(f"{where}: its {key} is a {type(found[key]).__name__}; expected a {kind.__name__}")
    return found


def _node(found: dict[str, Any], position: int) -> Node:
    where = f"node {position}"
    attributes = found["attributes"]
    if any(type(each) is not int for each in attributes):
        raise ModelError(f"{where}: its attributes are {str(attributes)[:80]}; expected whole numbers")
    inputs = _strings(found["inputs"], f"{where}: its inputs")
    return Node(found["op"], inputs, found["output"], found["columns"], attributes=tuple(attributes))


def _strings(found: list[Any], where: str) -> tuple[str, ...]:
    if any(type(each) is not str for each in found):
        raise ModelError(f"{where}: found {str(found)[:80]}; expected names")
    return tuple(found)


def _constant(array: npt.NDArray[Any], name: str) -> FloatArray:
    if array.dtype != np.float32 or array.ndim > 3:
        raise ModelError(f"constant {name!r}: found {array.dtype} of shape {array.shape}; expected float32 of three dimensions at most")
    return array
