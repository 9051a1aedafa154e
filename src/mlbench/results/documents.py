"""JSON documents of ours: each has a kind, a version of its schema, and a schema that it is validated against before it is used.

A schema file holds what its kind has of its own; definitions that several kinds share, such as an environment, stand in
`results/schemas/result.json` alone.

A file may hold other people's data too, as one that pytest-benchmark saved does. So reading is lenient: a number that none of ours can be
is kept as an `Odd`. Checking is strict: a document of ours with such a number in it is refused, with its place.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mlbench.errors import FileError, MissingExtraError
from mlbench.files import read_limited, write_atomically
from mlbench.units import visible

_SHARED = "result.json"
MOST = 2**63
"""No whole number in a document of ours is larger."""
_MOST_DIGITS = 40
"""Of a whole number that is read as one; Python refuses to read some thousand of them."""
MOST_BYTES = 1 << 28
"""Of a file; the largest of ours have a few megabytes."""
MOST_SHOWN = 200
"""Characters of what is wrong that a message has."""


@dataclass(frozen=True, slots=True)
class Form:
    """What identifies a kind of document.

    Attributes:
        kind: stands in the document as `kind`.
        version: stands in it as `schema`; another version is refused.
        schema: file of the JSON schema, in this package.
        noun: what messages call it.
    """

    kind: str
    version: int
    schema: str
    noun: str


@dataclass(frozen=True, slots=True)
class Odd:
    """A number in a file that no number of ours can be: NaN, an infinity, or a whole number beyond MOST.

    Attributes:
        text: as it stands in the file, without its middle where it is long.
        why: what is wrong with it.
    """

    text: str
    why: str

    def __repr__(self) -> str:
        return self.text


def write_document(path: str | Path, form: Form, data: dict[str, Any]) -> Path:
    """Write a document, whole or not at all.

    Raises:
        FileError: when it cannot be written.
    """
    head = {"schema": form.version, "kind": form.kind}
    return write_atomically(path, json.dumps(head | data, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:  # whatever JSON holds
    """Read a file of JSON. Its text can be shown and written again; what is no number of ours is an `Odd`.

    Raises:
        FileError: when it is missing, damaged, or larger than MOST_BYTES.
    """
    content = read_limited(path, MOST_BYTES)
    try:
        return shown(json.loads(content.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_finite, parse_int=_exact))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be read as JSON ({_short(str(error))})") from error


def shown(data: Any) -> Any:  # whatever JSON holds
    """Return data from elsewhere with `visible` text, so that no name in a file can tell a terminal what to do, whoever prints it."""
    if isinstance(data, dict):
        return {visible(name): shown(each) for name, each in data.items()}
    if isinstance(data, list):
        return [shown(each) for each in data]
    return visible(data) if isinstance(data, str) else data


def check_document(path: str | Path, data: Any, form: Form, place: Callable[[str], str] = str) -> None:  # whatever JSON holds
    """Refuse what is no valid document of this form.

    Args:
        path: of the file.
        data: of the document.
        form: what it should be.
        place: where in the file a place of the document is, such as `$.date`; the same where the file holds the document alone.

    Raises:
        FileError: saying what is wrong with it, and where.
        MissingExtraError: without jsonschema.
    """
    if not isinstance(data, dict) or data.get("kind") != form.kind:
        raise FileError(f"{path}: no {form.noun} of mlbench (its kind is not {form.kind!r})")
    check_version(path, data.get("schema"), form)
    for where, number in _odd(data, "$"):
        raise FileError(f"{path}: not a valid {form.noun} at {_short(place(where))}: {number.text} {number.why}")
    try:
        jsonschema = importlib.import_module("jsonschema")
    except ImportError as error:
        raise MissingExtraError("reading a result file", "jsonschema") from error
    schema = _schema(form.schema)
    schema["$defs"] = _schema(_SHARED)["$defs"] | schema.get("$defs", {})
    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(data))
    if problem is not None:
        raise FileError(f"{path}: not a valid {form.noun} at {_short(place(problem.json_path))}: {_short(problem.message)}")


def check_version(path: str | Path, version: Any, form: Form, place: str = "") -> None:  # whatever JSON holds
    """Refuse another version of a schema than the one that is read; `place` says where in the file it stands, unless it is at the top.

    Raises:
        FileError: naming both versions.
    """
    if version != form.version or isinstance(version, bool):
        where = f" at {_short(place)}" if place else ""
        raise FileError(f"{path}: schema version {_short(repr(version))}{where}; this mlbench reads version {form.version}")


def plain(value: Any) -> Any:  # whatever a dataclass holds
    """Return JSON data: tuples become lists, durations keep six digits, and what is not finite becomes null."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((resources.files("mlbench.results") / "schemas" / name).read_text(encoding="utf-8"))
    return schema


def _short(text: str) -> str:
    """Return text on one line, without its middle where it is long: what was found stands at its beginning, what is expected at its end."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN // 2]} ... {line[-MOST_SHOWN // 2 :]}"


def _odd(data: Any, place: str) -> Iterator[tuple[str, Odd]]:
    """Give every odd number with its place."""
    if isinstance(data, Odd):
        yield place, data
    elif isinstance(data, dict):
        for name, each in data.items():
            yield from _odd(each, f"{place}.{name}")
    elif isinstance(data, list):
        for index, each in enumerate(data):
            yield from _odd(each, f"{place}[{index}]")


def _exact(text: str) -> int | Odd:
    if len(text) <= _MOST_DIGITS and abs(int(text)) <= MOST:
        return int(text)
    return Odd(_short(text), "is larger than any number of ours")


def _no_number(name: str) -> Odd:
    return Odd(_short(name), "is no finite number")


def _finite(text: str) -> float | Odd:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)
