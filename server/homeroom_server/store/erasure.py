"""Erased students: the list of them, known by keyed hashes alone, and what there is of one who is to be erased."""

import hmac
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_server.store.connection import Conn

_WORD = "erased:"
_LIST_LOCK = 4
"""The class of the advisory lock between those who look at the list without a type's lock, and erasures."""


class Listed(NamedTuple):
    """A student on the list. `erased_at` None: the erasure was begun, and did not come to its end."""

    erased_at: datetime | None


class StudentsRecord(NamedTuple):
    """A record that names a student. `source_version`: of statuses alone."""

    notification_type: int
    type_name: str
    id: str
    owner: int
    source_version: int | None


def hash_of(secret: bytes, record_id: str) -> bytes:
    """The keyed hash (HMAC-SHA256) of a student's id, or of a record's."""
    return hmac.digest(secret, record_id.encode(), "sha256")


def word_of(secret: bytes, record_id: str) -> str:
    """What is written in place of an id that is not to be read any more."""
    return _WORD + hash_of(secret, record_id).hex()


async def read_secret(connection: Conn) -> bytes:
    """What keys the hashes of this database."""
    secret: bytes = await connection.fetchval("select erasure_secret from core")
    return secret


async def keep_from_erasing(connection: Conn) -> None:
    """To the commit, no erasure goes on whose student the next look at the list has missed."""
    await connection.execute("select pg_advisory_xact_lock_shared($1, 0)", _LIST_LOCK)


async def await_keepers(connection: Conn) -> None:
    """Return when those have committed who may have missed what is on the list."""
    await connection.execute("select pg_advisory_xact_lock($1, 0)", _LIST_LOCK)


async def find_listed(connection: Conn, student_hash: bytes) -> Listed | None:
    row = await connection.fetchrow("select erased_at from erased_student where student_hash = $1", student_hash)
    return None if row is None else Listed(**row)


async def put_on_list(connection: Conn, student_hash: bytes) -> None:
    """From this commit on, writers who begin look for the student on the list; one who is there already stays."""
    await connection.execute(
        """
        with listed as (
            insert into erased_student (student_hash) values ($1) on conflict do nothing returning 1
        )
        update core set erasures = erasures + 1 where exists (select from listed)
        """,
        student_hash,
    )


async def note_erased(connection: Conn, student_hash: bytes) -> None:
    """Nothing is left of the student."""
    await connection.execute("update erased_student set erased_at = now() where student_hash = $1", student_hash)


async def erased_among(connection: Conn, secret: bytes, students: Collection[str]) -> set[str]:
    """Those of the students who are on the list."""
    by_hash = {hash_of(secret, student): student for student in students}
    rows = await connection.fetch(
        "select student_hash from erased_student where student_hash = any($1::bytea[])", list(by_hash)
    )
    return {by_hash[row["student_hash"]] for row in rows}


async def words_instead(connection: Conn, ids: Collection[str]) -> Mapping[str, str]:
    """Those of the ids that are an erased student's or of a record of one, with what is written in their place."""
    if not ids or not await connection.fetchval("select erasures from core"):
        return {}
    secret = await read_secret(connection)
    students = await erased_among(connection, secret, ids)
    records = await connection.fetch("select id from record where erased and id = any($1::text[])", list(ids))
    return {each: word_of(secret, each) for each in students | {row["id"] for row in records}}


async def all_types(connection: Conn) -> list[int]:
    """The numbers of all notification types."""
    numbers: list[int] = await connection.fetchval(
        "select coalesce(array_agg(number order by number), '{}') from notification_type"
    )
    return numbers


async def read_records(connection: Conn, student: str) -> list[StudentsRecord]:
    """Every record that names the student, deleted ones and statuses included, by notification type and id."""
    rows = await connection.fetch(
        """
        select r.notification_type, k.name as type_name, r.id, r.owner, r.source_version
        from record_type k cross join lateral (
            select * from record where record_type = k.number and student = $1 offset 0 -- one look-up a type
        ) r
        order by r.notification_type, r.id
        """,
        student,
    )
    return [StudentsRecord(*row.values()) for row in rows]


async def count_organizations(connection: Conn, records: Sequence[StudentsRecord]) -> int:
    """How many schools and authorities see some of these records."""
    count: int = await connection.fetchval(
        """
        select count(distinct v.organization)
        from unnest($1::int[], $2::text[]) as r(notification_type, id)
        join viewer v on v.notification_type = r.notification_type and v.id = r.id and v.state = 'live'
        """,
        [record.notification_type for record in records],
        [record.id for record in records],
    )
    return count


async def mark_erased(connection: Conn, type_number: int, ids: Sequence[str]) -> None:
    """These records of a notification type never come back, and go with their tombstones."""
    await connection.execute(
        """
        update record set erased = true
        where record_type = (select record_type from notification_type where number = $1) and id = any($2::text[])
        """,
        type_number,
        ids,
    )


async def forget_access(connection: Conn, student: str) -> None:
    """Why somebody saw the student's records, and when that began and ended; grants; what waited to be computed."""
    await connection.execute(
        """
        with associations as (delete from association where student = $1),
             grants as (delete from access_grant where student = $1),
             events as (delete from access_event where student = $1),
             missing as (delete from missing_organization where student = $1)
        delete from access_trigger where student = $1
        """,
        student,
    )


async def forget_triggers(connection: Conn, types: Sequence[int], ids: Sequence[str]) -> None:
    """What waits for a status of these records (two lists of one length), and what they missed or were missed by."""
    await connection.execute(
        """
        delete from missing_reference m using unnest($1::int[], $2::text[]) as e(notification_type, id)
        join notification_type n on n.number = e.notification_type
        where (m.source_type, m.source_id) = (n.record_type, e.id) or (m.record_type, m.id) = (n.record_type, e.id)
        """,
        types,
        ids,
    )
    await connection.execute(
        """
        delete from status_trigger t using unnest($1::int[], $2::text[]) as e(notification_type, id)
        join notification_type n on n.number = e.notification_type
        where (t.record_type, t.id) = (n.record_type, e.id)
        """,
        types,
        ids,
    )


async def read_erased(connection: Conn) -> list[tuple[int, str]]:
    """(notification type, id) of every erased record whose tombstone is not collected yet."""
    rows = await connection.fetch("select notification_type, id from record where erased")
    return [(row["notification_type"], row["id"]) for row in rows]


async def patience_for_locks(connection: Conn, seconds: int) -> None:
    """How long this transaction waits for each lock: LockNotAvailableError after that."""
    await connection.execute("select set_config('lock_timeout', $1, true)", f"{seconds}s")


VACUUMS = (
    "vacuum (analyze, index_cleanup on) record",
    "vacuum (analyze, index_cleanup on) viewer",
    "vacuum (analyze, index_cleanup on) association",
    "vacuum (analyze, index_cleanup on) access_grant",
    "vacuum (analyze, index_cleanup on) access_event",
    "vacuum (analyze, index_cleanup on) access_trigger",
    "vacuum (analyze, index_cleanup on) missing_organization",
    "vacuum (analyze, index_cleanup on) missing_reference",
    "vacuum (analyze, index_cleanup on) status_trigger",
    "vacuum (analyze, index_cleanup on) idempotent_call",
    "vacuum (analyze, index_cleanup on) client_stream",
    "vacuum (analyze, index_cleanup on) audit_event",
    "vacuum (analyze, index_cleanup on) student_key",
)
"""One for each table that an erasure takes rows away from; `vacuum` runs them, outside of any transaction."""


async def vacuum(connection: Conn, statement: str) -> None:
    """Free what dead rows of a table hold, in its indexes and in what the planner knows of its values too."""
    await connection.execute(statement)
