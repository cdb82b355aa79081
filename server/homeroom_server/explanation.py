"""Why does this client keep mismatching? What it was told, what has changed since it agreed, which ids differ."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio

from homeroom.protocol import MINISTRY, NotificationType, version_hash
from homeroom_server.catalogue import Audience, TypeDefinition
from homeroom_server.store import client_streams
from homeroom_server.store.client_streams import ClientStream
from homeroom_server.store.connection import Conn

_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Effort:
    """How much an explanation may take. `hashed_max`: versions hashed, all trials together.

    `records_max`: a stream with more is not explained; None: any is.
    """

    hashed_max: int = 50_000_000
    records_max: int | None = None


FEW_SECONDS = Effort()


class TooLargeError(Exception):
    """A stream has more records than the effort allows for."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One record of a stream."""

    id: str
    version: int
    state: str


async def explain_mismatch(
    connection: Conn,
    client: str,
    notification_type: NotificationType,
    definition: TypeDefinition,
    scope: Sequence[int] | None = None,
    effort: Effort = FEW_SECONDS,
) -> list[dict[str, Any]]:
    """One explanation for each organisation that the client called for; empty if it never asked for this type.

    `scope`: numbers of the organisations that matter, those below them included; None: all. TooLargeError.
    """
    kept = await client_streams.read_client_streams(connection, client, str(notification_type), scope)
    explained = []
    for stream in kept:
        sees_all = definition.audience is Audience.PUBLIC or stream.organization == MINISTRY
        viewer = None if sees_all else stream.viewer
        limit = None if effort.records_max is None else effort.records_max + 1
        rows = await client_streams.read_stream(connection, notification_type, viewer, limit)
        if len(rows) == limit:
            raise TooLargeError
        explain = partial(_explain, stream, rows, effort)
        explained.append(await anyio.to_thread.run_sync(explain, abandon_on_cancel=True))  # a node has others to serve
    return explained


def _explain(stream: ClientStream, rows: Sequence[tuple[str, int, str]], effort: Effort) -> dict[str, Any]:
    listed = [Listed(*row) for row in rows]
    live = [record.version for record in listed if record.state == "live"]
    since = stream.in_step_version or 0
    changed = [record for record in listed if record.version > since]
    theirs = stream.version_hash
    agrees = theirs == version_hash(live)
    missing = None if agrees or theirs is None else _one_missing(theirs, live, changed, effort)
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


def _one_missing(theirs: str, live: Sequence[int], changed: Iterable[Listed], effort: Effort) -> Listed | None:
    """The one live record without which the client's hash is right, tried among those that changed since it agreed."""
    trials_left = effort.hashed_max // max(1, len(live))
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
