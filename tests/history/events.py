"""What is recorded of a run, one JSON line an event; times are seconds of one monotonic clock, `error` 0 is none."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, get_args, get_origin, get_type_hints

import orjson

CUT = -1
"""The error of a call that ended without an answer: whether it was heard is not known."""


class Sent(NamedTuple):
    """A record of a submit. `digest` names its body; empty where a delete left it out."""

    id: str
    expected_version: int
    deleted: bool
    digest: str


class Result(NamedTuple):
    """What a submit answered of one record; version 0 if it was rejected."""

    id: str
    version: int
    codes: tuple[int, ...] = ()


class Listed(NamedTuple):
    id: str
    version: int


class Seen(NamedTuple):
    """What Get answered of one record."""

    id: str
    availability: str
    version: int = 0
    deleted: bool = False
    digest: str = ""


class Row(NamedTuple):
    """A live record as a client holds it; a raw client knows no body."""

    id: str
    version: int
    digest: str = ""


class StoredRow(NamedTuple):
    """A record as the database has it."""

    id: str
    version: int
    deleted: bool
    digest: str


class Kept(NamedTuple):
    """The highest version of a type that lived on into a history."""

    type: str
    version: int


class Past(NamedTuple):
    """A history of the database: no version of it is at or below `begun_above`, `kept` is of the history before."""

    epoch: str
    begun_above: int
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """One attempt of a submit; attempts under one key are one call."""

    began: float
    ended: float
    client: str
    organization: str
    type: str
    key: str
    sent: tuple[Sent, ...]
    epoch: str = ""
    results: tuple[Result, ...] = ()
    error: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One type of an Is Data Available. `resumed`: asked with a cursor left behind, its answer not followed.

    `cursor_epoch`: where the cursor came from. `listed_after` is -1 unless a cut full list was continued.
    """

    began: float
    ended: float
    client: str
    organization: str
    type: str
    cursor: int
    cursor_epoch: str = ""
    listed_after: int = -1
    hashed: bool = False
    resumed: bool = False
    epoch: str = ""
    reason: str = ""
    listed: tuple[Listed, ...] = ()
    bookmark: int = 0
    complete: bool = True
    error: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """One Get, asked with no expected versions."""

    began: float
    ended: float
    client: str
    organization: str
    type: str
    epoch: str = ""
    records: tuple[Seen, ...] = ()
    error: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a client holds of a type at a quiet point, and whether the Core agreed with its hash."""

    at: float
    checkpoint: int
    client: str
    organization: str
    type: str
    rows: tuple[Row, ...]
    hash_agreed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the database has of a type at a quiet point."""

    at: float
    checkpoint: int
    epoch: str
    type: str
    rows: tuple[StoredRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """A mishap, from its beginning until it was made good."""

    began: float
    ended: float
    action: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A client that gave up: a person would have to act."""

    at: float
    client: str
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Every history of the database so far, oldest first."""

    at: float
    pasts: tuple[Past, ...]


Event = Submitted | Looked | Got | Held | Stored | Acted | Ended | Epochs
_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}


def digest_of(body: Any) -> str:
    """Names a body, whatever the order of its members."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


@dataclass
class Recorder:
    """Keeps the events of a run in memory and in a file, which is whole up to the last line whatever happens."""

    path: Path
    events: list[Event] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._file = self.path.open("wb", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, event: Event) -> None:
        self.events.append(event)
        self._file.write(to_line(event))


def to_line(event: Event) -> bytes:
    members = orjson.dumps(event, default=tuple)[1:]
    return b'{"event":"' + type(event).__name__.encode() + b'",' + members + b"\n"


def read_events(path: Path) -> Sequence[Event]:
    """A recorded history."""
    return list(_read_lines(path))


def _read_lines(path: Path) -> Iterator[Event]:
    hints = {name: get_type_hints(kind) for name, kind in _KINDS.items()}
    with path.open("rb") as file:
        for line in file:
            members = orjson.loads(line)
            name = members.pop("event")
            yield _KINDS[name](**{member: _read(hints[name][member], value) for member, value in members.items()})


def _read(kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        (of, _) = get_args(kind)
        return tuple(_read(of, each) for each in value)
    if hasattr(kind, "_fields"):
        return kind(*(_read(of, each) for of, each in zip(get_type_hints(kind).values(), value, strict=True)))
    return value
