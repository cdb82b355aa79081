"""What a Core answers, typed: an object with the `epoch` of its data around the wire's own JSON (protocol 2 to 7).

Lists may hold 150,000 entries, so what is in them stays the JSON that came. Each `read_…` holds an answer against its
question and raises KeyError, TypeError, ValueError or AttributeError where it cannot belong to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

Json = dict[str, Any]


class Listed(TypedDict):
    """A record that is to be fetched, and at which version."""

    id: str
    coreVersion: int


class TypeAvailability(TypedDict):
    """What Is Data Available says of one type (protocol 3)."""

    notificationType: str
    reason: Literal["newer", "mismatch", "none"]
    maxCoreVersion: int
    complete: bool
    records: list[Listed]


class SourceRecord(TypedDict):
    """The record that a status was calculated from."""

    id: str
    coreVersion: int
    deleted: bool
    body: Json


class RecordAnswer(TypedDict):
    """One record of Get; members beyond `availability` are there when it is Normal."""

    id: str
    availability: Literal["Normal", "Unknown", "NoAccess"]
    coreVersion: NotRequired[int]
    deleted: NotRequired[bool]
    changedAt: NotRequired[str]
    sourceVersion: NotRequired[int]
    body: NotRequired[Json]
    source: NotRequired[SourceRecord]


class Rejection(TypedDict):
    """Why one record was not stored; 3004 carries both versions."""

    code: int
    title: str
    detail: str
    action: str
    errors: NotRequired[list[dict[str, str]]]
    expectedVersion: NotRequired[int]
    coreVersion: NotRequired[int]


class Result(TypedDict):
    """What became of one submitted record; `coreVersion` is 0 if it was rejected."""

    id: str
    coreVersion: int
    rejections: list[Rejection]


@dataclass(frozen=True, slots=True)
class Hello:
    """Who calls, for whom, and where the Core stands."""

    epoch: str
    client: str
    role: str
    organization: str
    organizations: Sequence[Mapping[str, str]]
    server_time: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The notification types that the caller may use: name, schoolYear, idFormat, audience, source, schema."""

    epoch: str
    notification_types: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Availability:
    """One entry per type asked, in order."""

    epoch: str
    types: Sequence[TypeAvailability]


@dataclass(frozen=True, slots=True)
class Got:
    """Records in the order asked, up to `stopped_at` (None: all of them)."""

    epoch: str
    records: Sequence[RecordAnswer]
    stopped_at: int | None


@dataclass(frozen=True, slots=True)
class Submitted:
    """One result per record, in order."""

    epoch: str
    results: Sequence[Result]


@dataclass(frozen=True, slots=True)
class Compared:
    """One answer per id range, for `homeroom.LocalRecords.compare`."""

    epoch: str
    ranges: Sequence[Mapping[str, Any]]


def read_hello(epoch: str, answer: Json) -> Hello:
    represented = answer["organizations"]
    return Hello(epoch, answer["client"], answer["role"], answer["organization"], represented, answer["serverTime"])


def read_catalogue(epoch: str, answer: Json) -> Catalogue:
    return Catalogue(epoch, answer["notificationTypes"])


def read_availability(asked: Sequence[Mapping[str, Any]], epoch: str, answer: Json) -> Availability:
    types: list[TypeAvailability] = answer["types"]
    for entry, question in zip(types, asked, strict=True):
        cursor, records = question["maxCoreVersion"], entry["records"]
        _must(entry["notificationType"].lower() == question["notificationType"].lower())
        match entry["reason"]:
            case "newer":
                _must(entry["maxCoreVersion"] > cursor or not records)
                _must(not records or records[0]["coreVersion"] > cursor)
            case "none":
                _must(entry["maxCoreVersion"] >= cursor)
            case "mismatch":
                _must(entry["maxCoreVersion"] >= 0)
    return Availability(epoch, types)


def read_got(asked: Sequence[Mapping[str, Any]], epoch: str, answer: Json) -> Got:
    records, stopped_at = answer["records"], answer["stoppedAt"]
    _must(len(records) == (len(asked) if stopped_at is None else stopped_at))
    for record, question in zip(records, asked, strict=False):
        _must(record["id"] in (question["id"], question["id"].lower()))
        if record["availability"] == "Normal":
            _must(question.get("expectedVersion") in (None, 0, record["coreVersion"]))
    return Got(epoch, records, stopped_at)


def read_submitted(asked: Sequence[Mapping[str, Any]], epoch: str, answer: Json) -> Submitted:
    results = answer["results"]
    for result, question in zip(results, asked, strict=True):
        _must(result["id"] in (question["id"], question["id"].lower()))
    return Submitted(epoch, results)


def read_acknowledged(asked: Mapping[str, Any], epoch: str, answer: Json) -> Result:
    _must(answer["id"] in (asked["id"], asked["id"].lower()))
    result: Result = answer  # type: ignore[assignment]
    return result


def read_compared(asked: Sequence[Mapping[str, Any]], epoch: str, answer: Json) -> Compared:
    ranges = answer["ranges"]
    _must([(r["from"], r["to"]) for r in ranges] == [(q["from"], q["to"]) for q in asked])
    return Compared(epoch, ranges)


def _must(condition: bool) -> None:
    if not condition:
        raise ValueError("it says what was not asked")
