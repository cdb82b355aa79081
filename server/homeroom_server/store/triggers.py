"""Status triggers: raised by commits, claimed by a lease, finished by the commit of their result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Trigger:
    """A record whose status is to be calculated; `changed` says that the record itself has moved."""

    record_type: int
    id: str
    generation: int
    changed: bool


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record as rules see it."""

    record_type: int
    school_year: int | None
    id: str
    version: int
    owner: int
    student: str | None
    deleted: bool
    body: str


async def raise_dependants(connection: Conn, record_type: int, ids: Sequence[str], dependants: Sequence[int]) -> None:
    """These records have changed: raise those of types `dependants` with the same student, and all who missed them."""
    await connection.execute(
        """
        with found as (
            delete from missing_reference where record_type = $1 and id = any($2::text[])
            returning source_type, source_id
        ), touched as (
            select source_type as record_type, source_id as id from found
            union
            select other.record_type, other.id
            from record changed join record other on other.student = changed.student
            where changed.record_type = $1 and changed.id = any($2::text[])
              and other.record_type = any($3::int[]) and not other.deleted
              and (other.record_type, other.id) <> (changed.record_type, changed.id)
        )
        insert into status_trigger (record_type, id, changed)
        select record_type, id, false from touched order by record_type, id
        on conflict (record_type, id) do update set generation = status_trigger.generation + 1, due_at = now()
        """,
        record_type,
        ids,
        dependants,
    )


async def claim_triggers(connection: Conn, lease_seconds: float, limit: int) -> list[Trigger]:
    """Take due triggers for `lease_seconds`; those of a worker that dies are due again after that."""
    rows = await connection.fetch(
        """
        with due as (
            select record_type, id from status_trigger where due_at <= now()
            order by due_at limit $2 for update skip locked
        )
        update status_trigger t set due_at = now() + make_interval(secs => $1)
        from due where t.record_type = due.record_type and t.id = due.id
        returning t.record_type, t.id, t.generation, t.changed
        """,
        lease_seconds,
        limit,
    )
    return [Trigger(**row) for row in rows]


async def make_overdue_due(connection: Conn) -> int:
    """Make due what was raised or leased while the database's clock was ahead, by an hour at least; how many.

    What is put off on purpose is so to the beginning of a day, a whole minute everywhere.
    """
    done = await connection.execute(
        """
        update status_trigger set due_at = now()
        where due_at > now() + interval '1 hour' and due_at <> date_trunc('minute', due_at)
        """
    )
    return int(done.removeprefix("UPDATE "))


async def finish_triggers(connection: Conn, finished: Sequence[Trigger], due_again: Sequence[datetime | None]) -> None:
    """Remove triggers that were not raised again since they were claimed, or keep them for their next date."""
    await connection.execute(
        """
        with finished as (
            select * from unnest($1::int[], $2::text[], $3::bigint[], $4::timestamptz[])
                as f(record_type, id, generation, due_again)
        ), kept as (
            update status_trigger t set due_at = f.due_again, changed = false
            from finished f
            where t.record_type = f.record_type and t.id = f.id and t.generation = f.generation
              and f.due_again is not null
        )
        delete from status_trigger t using finished f
        where t.record_type = f.record_type and t.id = f.id and t.generation = f.generation and f.due_again is null
        """,
        [t.record_type for t in finished],
        [t.id for t in finished],
        [t.generation for t in finished],
        due_again,
    )


async def read_sources(connection: Conn, record_types: Sequence[int], ids: Sequence[str]) -> list[SourceRecord]:
    """The records with these types and ids (two lists of one length), deleted ones included, erased ones not."""
    rows = await connection.fetch(
        """
        select r.record_type, nullif(n.school_year, 0) as school_year, r.id, r.version, r.owner, r.student,
               r.deleted, r.body
        from unnest($1::int[], $2::text[]) as w(record_type, id)
        join record r on r.record_type = w.record_type and r.id = w.id and not r.erased
        join notification_type n on n.number = r.notification_type
        """,
        record_types,
        ids,
    )
    return [SourceRecord(**row) for row in rows]


async def read_of_students(
    connection: Conn, record_types: Sequence[int], students: Sequence[str], limit: int
) -> list[SourceRecord]:
    """The live records of these types that name one of the students, at most `limit`, newest first."""
    rows = await connection.fetch(
        """
        select r.record_type, nullif(n.school_year, 0) as school_year, r.id, r.version, r.owner, r.student,
               r.deleted, r.body
        from record r join notification_type n on n.number = r.notification_type
        where r.record_type = any($1::int[]) and r.student = any($2::text[]) and not r.deleted
        order by r.version desc limit $3
        """,
        record_types,
        students,
        limit,
    )
    return [SourceRecord(**row) for row in rows]


async def note_missing(
    connection: Conn, missing: Sequence[tuple[int, str]], sources: Sequence[tuple[int, str]]
) -> None:
    """Remember, pair by pair, which record a rule did not find and for which source it looked."""
    await connection.execute(
        """
        insert into missing_reference (record_type, id, source_type, source_id)
        select * from unnest($1::int[], $2::text[], $3::int[], $4::text[])
        on conflict do nothing
        """,
        [record_type for record_type, _ in missing],
        [record_id for _, record_id in missing],
        [record_type for record_type, _ in sources],
        [record_id for _, record_id in sources],
    )


async def count_waiting(connection: Conn) -> int:
    """Triggers that are due."""
    count: int = await connection.fetchval("select count(*) from status_trigger where due_at <= now()")
    return count
