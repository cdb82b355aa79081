"""Keys of students. What a backup holds of a student opens with that student's key alone, which no backup holds."""

import re

from homeroom_server.store.connection import Conn

TOGETHER = ""
"""Whose key is for rows that speak of students who cannot be told apart: each erasure destroys it too."""

_KEYS_LOCK = 5


async def destroy(connection: Conn, student: str) -> None:
    """Make what every backup holds of a student unreadable, within the transaction that erases the student.

    It is so once a keyring is written that lacks the key: `homeroom backup DIR --keyring-only`.
    """
    # A backup that looks for students without a key must not give one to a student who is just being erased.
    await connection.execute("select pg_advisory_xact_lock($1, 0)", _KEYS_LOCK)
    await connection.execute("delete from student_key where student in ($1, $2)", student, TOGETHER)


async def hold(connection: Conn) -> None:
    """No key is destroyed until `release`, or until the connection ends."""
    await connection.execute("select pg_advisory_lock($1, 0)", _KEYS_LOCK)


async def release(connection: Conn) -> None:
    """What `hold` kept out may go on."""
    await connection.execute("select pg_advisory_unlock($1, 0)", _KEYS_LOCK)


async def ensure(connection: Conn, snapshot: str) -> None:
    """Give a key to every student of an exported snapshot that has none. `hold` goes before the snapshot."""
    assert re.fullmatch(r"[0-9A-F-]+", snapshot), "as PostgreSQL names them; this statement takes no parameter"
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute(f"set transaction snapshot '{snapshot}'")
        await connection.execute(
            """
            insert into student_key (student, key)
            select s.student,
                   sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
            from (select student from record where student is not null
                  union select student from association
                  union select student from access_grant
                  union select student from access_trigger
                  union select student from access_event
                  union select student from missing_organization
                  union select $1) s
            where not exists (select from student_key k where k.student = s.student)
            """,
            TOGETHER,
        )


async def read_page(connection: Conn, student: str, limit: int) -> list[tuple[str, bytes]]:
    """Students from this one on, in bytewise order, with their keys."""
    rows = await connection.fetch(
        "select student, key from student_key where student >= $1 order by student limit $2", student, limit
    )
    return [(row["student"], row["key"]) for row in rows]
