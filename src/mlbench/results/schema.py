"""What a file of each kind may hold, derived from the records that it becomes.

A record is a frozen dataclass, which needs NumPy alone. Its annotations carry bounds (`Annotated[int, Bounds(ge=0)]`), which only a reader
looks at. From them `wire` derives the types that msgspec validates JSON data with, and `json_schema` the JSON Schema of the documentation.
A file is stricter than its record: every field must be there, unless it is marked MAY_LACK, and no other field may be.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import operator
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mlbench.errors import MissingExtraError
from mlbench.measure import Environment, Footprint
from mlbench.measure.ceilings import Ceilings, Rate
from mlbench.measure.peaks import Floor, Level, Peaks
from mlbench.measure.stats import Interval

MOST = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exactly."""
MAY_LACK = "may be missing in a file"
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a value may be, in the names of `msgspec.Meta`; `one_of` lists the values themselves."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    one_of: tuple[str | int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class As:
    """Says that a dict of a record is checked as a dataclass.

    Attributes:
        record: the dataclass.
        is_open: other fields may be there.
    """

    record: type
    is_open: bool = False


Size = Annotated[int, Bounds(ge=0, le=MOST)]
Count = Annotated[int, Bounds(ge=1, le=MOST)]
Amount = Annotated[float, Bounds(ge=0, le=1e15)]
PositiveAmount = Annotated[float, Bounds(gt=0, le=1e15)]
Duration = Annotated[float, Bounds(ge=1e-12, le=1e9)]
Seconds = Annotated[float, Bounds(gt=0, le=1e9)]
Ratio = Annotated[float, Bounds(ge=1e-12, le=1e12)]
FlopOrBytesPerS = Annotated[float, Bounds(ge=1, le=1e18)]
Error = Annotated[float, Bounds(ge=0, le=1e300)]
Name = Annotated[str, Bounds(min_length=1)]
Date = Annotated[str, Bounds(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:")]
Status = Annotated[str, Bounds(one_of=("complete", "interrupted"))]
Instrument = Annotated[str, Bounds(one_of=("memray", "tracemalloc"))]
Rounds = tuple[Annotated[tuple[Duration, ...], Bounds(min_length=1)], ...]

MEASURED: dict[type, dict[str, Any]] = {
    Environment: {
        "cores": Count,
        "threads": Count,
        "heap": Annotated[str, Bounds(one_of=("fresh", "kept"))],
        "cpu_limit": Annotated[float, Bounds(gt=0, le=MOST)] | None,
        "memory_limit_bytes": Annotated[int, Bounds(ge=0, le=2**63 - 1)] | None,
    },
    Interval: {
        "estimate": Ratio,
        "low": Ratio,
        "high": Ratio,
        "confidence": Annotated[float, Bounds(gt=0, lt=1)],
        "processes": Count,
        "rounds": Count,
    },
    Footprint: {"peak_bytes": Size, "allocations": Size | None, "instrument": Instrument},
    Floor: {"seconds": Duration, "bound": Name},
    Level: {"name": Name, "capacity_bytes": Size, "bytes_per_s": FlopOrBytesPerS},
    Rate: {"size_bytes": Count, "bytes_per_s": FlopOrBytesPerS},
    Peaks: {
        "flop_per_s": FlopOrBytesPerS,
        "levels": Annotated[tuple[Level, ...], Bounds(min_length=1)],
        "call_s": Duration,
        "source": Name,
    },
    Ceilings: {
        "gemm_flop_per_s": FlopOrBytesPerS,
        "copy": Annotated[tuple[Rate, ...], Bounds(min_length=1)],
        "ufunc_call_s": Duration,
        "dot_call_s": Duration,
    },
}
"""Bounds of the records of `mlbench.measure`, which knows no files."""


def no_upgrade(item: Any, version: int) -> None:  # whatever JSON holds
    """Leave an item as it is: no older version is read."""


def no_trouble(record: Any) -> Iterable[tuple[str, str]]:  # any record
    """Find nothing wrong with a record."""
    return ()


@dataclass(frozen=True, slots=True, eq=False)
class Schema(Generic[Record]):
    """A kind of file.

    Attributes:
        kind: `kind` in the file.
        version: `schema` in the file.
        record: what it becomes.
        noun: what messages call it.
        history: what each version changed.
        items: the field that lists what was measured.
        key: where pytest-benchmark's `extra_info` holds such items; empty where it holds none.
        old_kind: `kind` in older files.
        old_versions: versions that `upgrade` knows.
        upgrade: brings an item of an older version, which nobody has checked yet, to the newest in place.
        trouble: gives place and reason of what no field alone shows to be wrong.
        bounds: of fields whose records say nothing about files; they take precedence over MEASURED.
    """

    kind: str
    version: int
    record: type[Record]
    noun: str
    history: str
    items: str = ""
    key: str = ""
    old_kind: str = ""
    old_versions: tuple[int, ...] = ()
    upgrade: Callable[[Any, int], None] = no_upgrade
    trouble: Callable[[Record], Iterable[tuple[str, str]]] = no_trouble
    bounds: Mapping[type, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def json_schema(schema: Schema[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file, for documentation.

    Raises:
        MissingExtraError: without msgspec.
    """
    return {"title": schema.kind, "$comment": schema.history, **_msgspec().json.schema(wire(schema))}


def convert(data: Any, schema: Schema[Record]) -> Record:  # valid JSON data
    """Return the record that valid data become."""
    found: Record = _msgspec().convert(data, schema.record)
    return found


def fault(data: Any, schema: Schema[Any]) -> tuple[str, str] | None:  # whatever JSON holds
    """Return the place of what is wrong with data and what it is; None where they are valid.

    Raises:
        MissingExtraError: without msgspec.
    """
    return _fault("$", data, wire(schema))


def wire(schema: Schema[Any]) -> Any:  # a type of msgspec
    """Return the type that a file of this kind has."""
    record: Any = schema.record
    return _struct(record, schema)


def _msgspec() -> Any:  # the module
    try:
        import msgspec  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingExtraError("reading a result file", "msgspec") from error
    return msgspec


@functools.cache
def _struct(record: Any, schema: Schema[Any], *, is_open: bool = False) -> Any:  # a type of msgspec
    """Return a Struct with the fields of a record."""
    msgspec = _msgspec()
    hints = get_type_hints(record, include_extras=True) | dict({**MEASURED, **schema.bounds}.get(record, {}))
    is_whole = record is schema.record
    fields: list[Any] = [("schema", Literal[schema.version]), ("kind", Literal[schema.kind])] if is_whole else []
    for each in dataclasses.fields(record):
        hint = hints[each.name]
        kind = _wire(hint, schema)
        if MAY_LACK in getattr(hint, "__metadata__", ()):
            fields.append((each.name, Union[kind, msgspec.UnsetType], msgspec.UNSET))  # noqa: UP007  # of types made here
        else:
            fields.append((each.name, kind))
    return msgspec.defstruct(record.__name__, fields, kw_only=True, forbid_unknown_fields=not is_open)


def _wire(hint: Any, schema: Schema[Any]) -> Any:  # a type of msgspec
    """Return the type for an annotation."""
    if get_origin(hint) is Annotated:
        base, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, As):
                return _struct(mark.record, schema, is_open=mark.is_open)
        bounds = [mark for mark in marks if isinstance(mark, Bounds)]
        choices = [mark.one_of for mark in bounds if mark.one_of]
        if choices:
            return Literal[choices[0]]
        meta = {name: value for mark in bounds for name, value in dataclasses.asdict(mark).items() if value not in (None, ())}
        return Annotated[_wire(base, schema), _msgspec().Meta(**meta)] if meta else _wire(base, schema)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _struct(hint, schema)
    origin, parts = get_origin(hint), [each if each is Ellipsis else _wire(each, schema) for each in get_args(hint)]
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, parts)
    return origin[tuple(parts)] if origin is not None else hint


def _fault(place: str, value: Any, kind: Any) -> tuple[str, str] | None:
    """Return the innermost place of what is wrong, and what it is: msgspec names no key of a dict and no list of choices."""
    msgspec = _msgspec()
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        kind = _bare(kind)
        for name, part, inner in _parts(value, kind):
            found = _fault(place + name, part, inner)
            if found is not None:
                return found
        return place, _what(value, kind, str(error).partition(" - at ")[0].replace("`", ""))
    return None


def _bare(kind: Any) -> Any:
    """Return a type without its bounds, and without None beside it."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _bare(get_args(kind)[0])
    return kind


def _parts(value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """Give place, value and type of each part of a value."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(value, list) and origin in (list, tuple):
        kinds = inner[:1] * len(value) if origin is list or inner[-1] is Ellipsis else inner
        yield from ((f"[{number}]", each, part) for number, (each, part) in enumerate(zip(value, kinds, strict=False)))
    elif isinstance(value, dict) and origin is dict:
        yield from ((f".{name}", part, kind) for name, each in value.items() for part, kind in zip((name, each), inner, strict=True))
    elif isinstance(value, dict) and hasattr(kind, "__struct_fields__"):
        yield from ((f".{each.name}", value[each.name], each.type) for each in _msgspec().structs.fields(kind) if each.name in value)


def _what(value: Any, kind: Any, message: str) -> str:
    """Return what was found and what was expected."""
    for beginning, noun in (("Object missing required field ", "no field"), ("Object contains unknown field ", "a field")):
        if message.startswith(beginning):
            fields = ", ".join(kind.__struct_fields__)
            return f"found {noun} {message.removeprefix(beginning)!r}; expected {fields}"
    expected = message.removeprefix("Expected ").partition(", got ")[0]
    if get_origin(kind) is Literal:
        expected = " or ".join(map(repr, get_args(kind)))
    elif kind is dt.date:
        expected = "a day like 2026-12-31"
    if isinstance(value, (dict, list)):
        noun = "an object" if isinstance(value, dict) else "an array" if value else "an empty array"
        return f"found {noun}; expected {expected}"
    return f"found {value!r}; expected {expected}"
