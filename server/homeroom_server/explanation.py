"""Why does this client keep mismatching? What it was told, what has changed since it agreed, which ids differ."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from homeroom.protocol import MINISTRY, NotificationType, version_hash
from homeroom_server.catalogue import Audience, TypeDefinition
from homeroom_server.store import client_streams
from homeroom_server.store.client_streams import ClientStream
from homeroom_server.store.connection import Conn

_SHOWN_MAX = 200
_HASHED_VERSIONS_MAX = 50_000_000
"""Versions hashed, all trials together: a few seconds."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One record of a stream."""

    id: str
    version: int
    state: str


async def explain_mismatch(
    connection: Conn, client: str, notification_type: NotificationType, definition: TypeDefinition
) -> list[dict[str, Any]]:
    """One explanation for each organisation that the client called for; empty if it never asked for this type."""
    kept = await client_streams.read_client_streams(connection, client, str(notification_type))
    explained = []
    for stream in kept:
        sees_all = definition.audience is Audience.PUBLIC or stream.organization == MINISTRY
        rows = await client_streams.read_stream(connection, notification_type, None if sees_all else stream.viewer)
        explained.append(_explain(stream, [Listed(*row) for row in rows]))
    return explained


def _explain(stream: ClientStream, listed: Sequence[Listed]) -> dict[str, Any]:
    live = [record.version for record in listed if record.state == "live"]
    since = stream.in_step_version or 0
    changed = [record for record in listed if record.version > since]
    agrees = stream.version_hash == version_hash(live)
    missing = None if agrees or stream.version_hash is None else _one_missing(stream.version_hash, live, changed)
    return {
        "organization": stream.organization,
        "notificationType": stream.notification_type,
        "askedAt": stream.asked_at.isoformat(timespec="seconds"),
        "cursor": stream.cursor,
        "told": {"reason": stream.told_reason, "records": stream.told_records},
        "agreesNow": agrees,
        "inStepUntilVersion": stream.in_step_version,
        "inStepAt": None if stream.in_step_at is None else stream.in_step_at.isoformat(timespec="seconds"),
        "mismatchSince": None if stream.mismatch_since is None else stream.mismatch_since.isoformat(timespec="seconds"),
        "mismatches": stream.mismatch_count,
        "differs": [] if missing is None else [_as_json(missing)],
        "changedSince": [_as_json(record) for record in changed[:_SHOWN_MAX]],
        "changedSinceCount": len(changed),
        "reconciledIds": list(stream.reconciled_ids)[:_SHOWN_MAX],
    }


def _one_missing(theirs: str, live: Sequence[int], changed: Iterable[Listed]) -> Listed | None:
    """The one live record without which the client's hash is right, tried among those that changed since it agreed."""
    trials_left = _HASHED_VERSIONS_MAX // max(1, len(live))
    for record in changed:
        if record.state != "live":
            continue
        if not trials_left:
            return None
        trials_left -= 1
        if version_hash(version for version in live if version != record.version) == theirs:
            return record
    return None


def _as_json(record: Listed) -> dict[str, Any]:
    return {"id": record.id, "coreVersion": record.version, "state": record.state}
