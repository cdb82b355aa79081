"""What tests submit, and how they read the answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeroom import Client
from homeroom.answers import TypeAvailability

Json = dict[str, Any]


def record(record_id: str, body: Mapping[str, Any] | None = None, version: int = 0, **members: Any) -> Json:
    """One record of a submit."""
    found: Json = {"id": record_id, "expectedVersion": version, **members}
    if body is not None:
        found["body"] = body
    return found


def note(record_id: str, text: str = "", version: int = 0, **members: Any) -> Json:
    """One record of a type that takes any body."""
    return record(record_id, {"text": text}, version, **members)


async def accepted(client: Client, notification_type: str, *records: Json) -> list[int]:
    """Submit records that must be accepted; their versions."""
    answer = await client.submit(notification_type, records)
    assert [result["rejections"] for result in answer.results] == [[]] * len(records), answer.results
    return [result["coreVersion"] for result in answer.results]


async def rejected(client: Client, notification_type: str, record_: Json) -> list[int]:
    """Submit a record that must not be stored; the codes of its rejections."""
    answer = await client.submit(notification_type, [record_])
    (result,) = answer.results
    assert result["coreVersion"] == 0
    return [rejection["code"] for rejection in result["rejections"]]


async def available(
    client: Client, notification_type: str, since: int = 0, wait_seconds: int = 0, **members: Any
) -> TypeAvailability:
    """The answer of Is Data Available for one type."""
    entry = {"notificationType": notification_type, "maxCoreVersion": since, **members}
    answer = await client.is_data_available([entry], wait_seconds)
    (found,) = answer.types
    return found


def pairs(entry: TypeAvailability) -> list[tuple[str, int]]:
    """(id, version) of every record listed, in the order of the list."""
    return [(listed["id"], listed["coreVersion"]) for listed in entry["records"]]


def versions_of(entries: Sequence[tuple[str, int]]) -> list[int]:
    return [version for _, version in entries]
