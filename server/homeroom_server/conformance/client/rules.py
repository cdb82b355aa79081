"""What holds for every call of a client, whatever the case: protocol 2 to 7. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

from homeroom.protocol import RANGES_PER_CALL_MAX, RECORDS_PER_CALL_MAX, TYPES_PER_CALL_MAX, WAIT_SECONDS_MAX
from homeroom_server.conformance.client.scripted_core import Json

_MEMBERS: Mapping[str, tuple[set[str], set[str]]] = {
    "get": ({"records"}, {"id", "expectedVersion", "knownSourceVersion"}),
    "submit": ({"records"}, {"id", "expectedVersion", "deleted", "organization", "body"}),
}
_RANGE_MEMBERS = {"from", "to", "count", "fingerprint"}
_ASKED_MEMBERS = {"notificationType", "maxCoreVersion", "versionHash", "listAfter"}


def faults_of(service: str, body: Json, told: Mapping[str, int]) -> list[str]:
    """Why this call must not have been made; `told`: the highest cursor that each type was given."""
    match service:
        case "is-data-available":
            return [*_waits(body), *_asks(body, told)]
        case "get" | "submit":
            return list(_records(service, body))
        case "reconcile":
            return list(_ranges(body))
        case _:
            return []


def _waits(body: Json) -> Iterator[str]:
    wait = body.get("waitSeconds", 0)
    if not _whole(wait) or not 0 <= wait <= WAIT_SECONDS_MAX:
        yield f"waitSeconds is {str(wait)[:40]}; it lies between 0 and {WAIT_SECONDS_MAX}"
    if unknown := body.keys() - {"waitSeconds", "types"}:
        yield f"Is Data Available has no member {sorted(unknown)[0]!r}"


def _asks(body: Json, told: Mapping[str, int]) -> Iterator[str]:
    types = body.get("types")
    if not isinstance(types, list) or not 1 <= len(types) <= TYPES_PER_CALL_MAX:
        yield f"Is Data Available takes a list of 1 to {TYPES_PER_CALL_MAX} types"
        return
    if not all(isinstance(entry, dict) and isinstance(entry.get("notificationType"), str) for entry in types):
        yield "an entry of types has no notificationType"
        return
    names = [entry["notificationType"].lower() for entry in types]
    if len(set(names)) < len(names):
        yield "a type is asked for twice in one call"
    for entry, name in zip(types, names, strict=True):
        if unknown := entry.keys() - _ASKED_MEMBERS:
            yield f"an entry of types has no member {sorted(unknown)[0]!r}"
        if not isinstance(entry.get("versionHash", ""), str) or not _whole(entry.get("listAfter", 0)):
            yield "versionHash is a text, listAfter a whole number"
        yield from _cursor(entry.get("maxCoreVersion"), name, told)


def _cursor(cursor: object, name: str, told: Mapping[str, int]) -> Iterator[str]:
    if not _whole(cursor) or cursor < 0:
        yield f"maxCoreVersion of {name} is {str(cursor)[:40]}; it is a whole number, 0 at first"
    elif cursor > told.get(name, 0):
        yield (
            f"maxCoreVersion of {name} is {cursor}, but the highest that it was told is {told.get(name, 0)}: "
            "a cursor comes only from Is Data Available or a snapshot's bookmark, never from Get or Submit"
        )


def _ranges(body: Json) -> Iterator[str]:
    ranges = body.get("ranges")
    if not isinstance(ranges, list) or not 1 <= len(ranges) <= RANGES_PER_CALL_MAX:
        yield f"Reconcile takes a list of 1 to {RANGES_PER_CALL_MAX:,} ranges"
    elif not all(isinstance(each, dict) and each.keys() == _RANGE_MEMBERS for each in ranges):
        yield f"a range of Reconcile has the members {', '.join(sorted(_RANGE_MEMBERS))}"
    elif not all(isinstance(each[end], str | None) for each in ranges for end in ("from", "to")):
        yield "a range of Reconcile goes from an id, or null, to an id, or null"
    if not _whole(body.get("maxCoreVersion")):
        yield "maxCoreVersion of Reconcile is a whole number"


def _records(service: str, body: Json) -> Iterator[str]:
    title, (top, within) = service.capitalize(), _MEMBERS[service]
    records: Sequence[Json] | object = body.get("records")
    if not isinstance(records, list) or not records:
        yield f"{title} takes a list of records"
        return
    if len(records) > RECORDS_PER_CALL_MAX:
        yield f"{title} was called with {len(records):,} records; a call takes {RECORDS_PER_CALL_MAX:,} at most"
    if not all(isinstance(record, dict) and isinstance(record.get("id"), str) for record in records):
        yield f"a record of {title} has no id"
        return
    if len({record["id"].lower() for record in records}) < len(records):
        yield f"{title} names a record twice in one call"
    if unknown := (body.keys() - top) | {name for record in records for name in record.keys() - within}:
        yield f"{title} has no member {sorted(unknown)[0]!r}"
    if not all(isinstance(record.get("body", {}), dict) for record in records):
        yield "the body of a record is an object"
    versions = [record.get(name, 0) for record in records for name in ("expectedVersion", "knownSourceVersion")]
    if not all(_whole(version) and version >= 0 for version in versions):
        yield f"a version in {title} is not a whole number"


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
