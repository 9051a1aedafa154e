"""The one reader and the one writer of every file of ours.

A file may hold other people's data too, as one that pytest-benchmark saved does. So reading is lenient: a number that none of ours can be
is kept as an `Odd`. Checking is strict: a file of ours with such a number in it is refused, with its place.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.errors import FileError
from mlbench.files import read_limited, write_atomically
from mlbench.results.pytest_benchmark import document, is_pytest_benchmark, ours, place_of
from mlbench.results.schema import Record, Schema, convert, fault
from mlbench.units import visible

MOST = 2**63
"""No whole number in a file of ours is larger."""
_MOST_DIGITS = 40
"""Of a whole number that is read as one; Python refuses to read some thousand of them."""
MOST_BYTES = 1 << 28
"""Of a file; the largest of ours have a few megabytes."""
MOST_SHOWN = 200
"""Characters of what is wrong that a message has."""


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


def write(record: Any, path: str | Path, schema: Schema[Any]) -> Path:  # a dataclass
    """Write a record, whole or not at all; nothing but the standard library is needed.

    Raises:
        FileError: when it cannot be written.
    """
    return write_atomically(path, json.dumps(to_json(record, schema), indent=1, allow_nan=False) + "\n")


def to_json(record: Any, schema: Schema[Any]) -> dict[str, Any]:  # a dataclass
    """Return a record as the JSON data that a file of its kind holds."""
    return {"schema": schema.version, "kind": schema.kind, **plain(dataclasses.asdict(record))}


def read(path: str | Path, schema: Schema[Record]) -> Record:
    """Read a record, also from a file that pytest-benchmark saved with such items in it.

    Raises:
        FileError: when it is missing, damaged, foreign, or of a version this mlbench does not read.
        MissingExtraError: without msgspec.
    """
    return parsed(path, read_json(path), schema)


def holds(data: Any, schema: Schema[Any]) -> bool:  # whatever JSON holds
    """Whether JSON data say that they are of this kind, or pytest-benchmark saved such items among them."""
    if is_pytest_benchmark(data):
        return bool(schema.key and ours(data, schema.key))
    return isinstance(data, dict) and data.get("kind") in (schema.kind, schema.old_kind or schema.kind)


def parsed(path: str | Path, data: Any, schema: Schema[Record]) -> Record:  # whatever JSON holds
    """Return the record that JSON data become.

    Raises:
        FileError: saying what is wrong with them, and where.
        MissingExtraError: without msgspec.
    """
    data, place = checked(path, data, schema)
    record = convert(data, schema)
    for where, what in schema.trouble(record):
        raise _refusal(path, schema, place(where), what)
    return record


def checked(path: str | Path, data: Any, schema: Schema[Any]) -> tuple[dict[str, Any], Callable[[str], str]]:  # whatever JSON holds
    """Return valid data of the newest version, and what says where in the file a place of them is.

    Raises:
        FileError: saying what is wrong with them, and where.
        MissingExtraError: without msgspec.
    """
    place: Callable[[str], str] = str
    if schema.key and is_pytest_benchmark(data):
        rows = ours(data, schema.key)
        place = place_of(data, rows, schema.items)
        data = {"schema": schema.version, "kind": schema.kind} | document(path, data, rows, schema.items)
        for row in rows:
            if isinstance(row.data, dict):
                _upgrade(path, row.data, row.data.pop("schema", schema.version), schema, f"{row.place}.schema")
    if not isinstance(data, dict) or not holds(data, schema):
        raise FileError(f"{path}: no {schema.noun} of mlbench (its kind is not {schema.kind!r})")
    version, items = data.get("schema"), data.get(schema.items)
    for each in items if isinstance(items, list) and items else [None]:
        _upgrade(path, each, version, schema)
    data |= {"kind": schema.kind, "schema": schema.version}
    for where, number in _odd(data, "$"):
        raise _refusal(path, schema, place(where), f"{number.text} {number.why}")
    found = fault(data, schema)
    if found is not None:
        raise _refusal(path, schema, place(found[0]), found[1])
    return data, place


def _upgrade(path: str | Path, item: Any, version: Any, schema: Schema[Any], where: str = "") -> None:  # whatever JSON holds
    """Bring an item that nobody has checked yet to the newest version in place."""
    if isinstance(version, bool) or version not in (schema.version, *schema.old_versions):
        place = f" at {short(where)}" if where else ""
        raise FileError(f"{path}: schema version {short(repr(version))}{place}; this mlbench reads version {schema.version}")
    if version != schema.version:
        schema.upgrade(item, version)


def _refusal(path: str | Path, schema: Schema[Any], place: str, what: str) -> FileError:
    return FileError(f"{path}: not a valid {schema.noun} at {short(place)}: {short(what)}")


def read_json(path: str | Path) -> Any:  # whatever JSON holds
    """Read a file of JSON. Its text can be shown and written again; what is no number of ours is an `Odd`.

    Raises:
        FileError: when it is missing, damaged, or larger than MOST_BYTES.
    """
    content = read_limited(path, MOST_BYTES)
    try:
        return shown(json.loads(content.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_finite, parse_int=_exact))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be read as JSON ({short(str(error))})") from error


def shown(data: Any) -> Any:  # whatever JSON holds
    """Return data from elsewhere with `visible` text, so that no name in a file can tell a terminal what to do, whoever prints it."""
    if isinstance(data, dict):
        return {visible(name): shown(each) for name, each in data.items()}
    if isinstance(data, list):
        return [shown(each) for each in data]
    return visible(data) if isinstance(data, str) else data


def plain(value: Any) -> Any:  # whatever a dataclass holds
    """Return JSON data: tuples become lists, durations keep six digits, and what is not finite becomes null."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def short(text: str) -> str:
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
    return Odd(short(text), "is larger than any number of ours")


def _no_number(name: str) -> Odd:
    return Odd(short(name), "is no finite number")


def _finite(text: str) -> float | Odd:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)
