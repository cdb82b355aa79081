"""The journal of writes: the intent before each, the result after it."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from homeroom_merge.store.connection import Conn


class Intent(NamedTuple):
    """A write that is about to be made; those that go in one call share its key."""

    record: int
    side: str
    kind: str
    key: UUID
    hub_id: str | None
    body: str | None
    expected_version: int
    before: str | None
    """What stood there."""


async def intend(connection: Conn, run: UUID, intents: Sequence[Intent]) -> None:
    """Written down before anything is sent."""
    await connection.execute(
        """
        insert into journal (run, record, side, kind, idempotency_key, hub_id, body, expected_version, before)
        select $1, u.* from unnest($2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[],
                                   $8::bigint[], $9::text[]) as u
        """,
        run,
        *([intent[place] for intent in intents] for place in range(len(Intent._fields))),
    )


async def open_intents(connection: Conn, run: UUID) -> list[Intent]:
    """Those whose fate is not known, in the order they were written down: a crash came between."""
    rows = await connection.fetch(
        """
        select record, side, kind, idempotency_key as key, hub_id, body, expected_version, before
        from journal where run = $1 and result is null order by number
        """,
        run,
    )
    return [Intent(*row.values()) for row in rows]


async def written(connection: Conn, run: UUID) -> list[int]:
    """The records of which a run is known to have written something."""
    query = "select distinct record from journal where run = $1 and result = 'done' order by record"
    return [row["record"] for row in await connection.fetch(query, run)]


async def wrote(connection: Conn, run: UUID, numbers: Sequence[int]) -> list[Intent]:
    """What a run is known to have written of these records, first to last."""
    rows = await connection.fetch(
        """
        select record, side, kind, idempotency_key as key, hub_id, body, expected_version, before
        from journal where run = $1 and record = any($2::bigint[]) and result = 'done' order by number
        """,
        run,
        numbers,
    )
    return [Intent(*row.values()) for row in rows]


async def note_results(connection: Conn, run: UUID, key: UUID, results: Sequence[tuple[int, str, str, int]]) -> None:
    """(record, result, detail, core version) of the writes that went under a key."""
    await connection.execute(
        """
        update journal j set result = u.result, detail = u.detail, core_version = u.version, ended_at = now()
        from unnest($3::bigint[], $4::text[], $5::text[], $6::bigint[]) as u(record, result, detail, version)
        where j.run = $1 and j.idempotency_key = $2 and j.record = u.record and j.result is null
        """,
        run,
        key,
        [record for record, _, _, _ in results],
        [result for _, result, _, _ in results],
        [detail for _, _, detail, _ in results],
        [version for _, _, _, version in results],
    )


async def note_sis_result(
    connection: Conn, run: UUID, intent: Intent, result: str, detail: str, body: str | None
) -> None:
    """What became of a write to the SIS, and what it shows by now: None where that is what was intended."""
    await connection.execute(
        """
        update journal set result = $4, detail = $5, body = coalesce($6, body), ended_at = now()
        where run = $1 and idempotency_key = $2 and record = $3 and result is null
        """,
        run,
        intent.key,
        intent.record,
        result,
        detail,
        body,
    )
