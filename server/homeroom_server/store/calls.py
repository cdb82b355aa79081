"""Idempotent calls: the first answer, kept in the transaction of the records that it speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class CallKey:
    """Scope and key of a call, and the hash of what was asked."""

    client: int
    organization: int
    key: UUID
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The call that had this key before."""

    request_hash: bytes
    answer: bytes


async def claim_call(connection: Conn, call: CallKey) -> FirstCall | None:
    """None if the key is new and now belongs to this transaction; waits for a concurrent call with the same key."""
    done = await connection.execute(
        """
        insert into idempotent_call (client, organization, key, request_hash)
        values ($1, $2, $3, $4) on conflict do nothing
        """,
        call.client,
        call.organization,
        call.key,
        call.request_hash,
    )
    if done == "INSERT 0 1":
        return None
    row = await connection.fetchrow(
        "select request_hash, answer from idempotent_call where client = $1 and organization = $2 and key = $3",
        call.client,
        call.organization,
        call.key,
    )
    assert row is not None, "answers are kept far longer than a transaction lasts"
    return FirstCall(**row)


async def keep_answer(connection: Conn, call: CallKey, answer: bytes) -> None:
    """What a repetition of the call will get."""
    await connection.execute(
        "update idempotent_call set answer = $4 where client = $1 and organization = $2 and key = $3",
        call.client,
        call.organization,
        call.key,
        answer,
    )


async def forget_answers(connection: Conn, ids: Sequence[str]) -> None:
    """Calls whose answers speak of these records: repeated, they are judged anew."""
    await connection.execute(
        """
        delete from idempotent_call where exists (
            select from json_array_elements(convert_from(answer, 'UTF8')::json -> 'results') result
            where result ->> 'id' = any($1::text[]))
        """,
        ids,
    )


async def collect_calls(connection: Conn, days: int, limit: int) -> int:
    """Forget up to `limit` calls older than `days`; how many there were."""
    done = await connection.execute(
        """
        delete from idempotent_call where (client, organization, key) in (
            select client, organization, key from idempotent_call
            where called_at < now() - make_interval(days => $1) limit $2)
        """,
        days,
        limit,
    )
    return int(done.removeprefix("DELETE "))
