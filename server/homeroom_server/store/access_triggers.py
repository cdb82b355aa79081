"""Access triggers: students whose access is to be computed, and the locks under which it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from homeroom_server.store.connection import Conn

_STUDENT_LOCK = 2
"""The class of advisory locks whose second number is a hash of a student."""


@dataclass(frozen=True, slots=True)
class AccessTrigger:
    """A student whose access is to be computed."""

    student: str
    generation: int


async def claim_triggers(connection: Conn, lease_seconds: float, limit: int) -> list[AccessTrigger]:
    """Students that are due on the access day, leased to the caller for a while."""
    rows = await connection.fetch(
        """
        with due as (
            select student from access_trigger
            where due_on <= coalesce((select access_day from core), '-infinity') and leased_until < now()
            order by due_on, student limit $2
            for update skip locked
        )
        update access_trigger t set leased_until = now() + make_interval(secs => $1)
        from due where t.student = due.student
        returning t.student, t.generation
        """,
        lease_seconds,
        limit,
    )
    return [AccessTrigger(**row) for row in rows]


async def raise_triggers(connection: Conn, students: Sequence[str]) -> None:
    """These students' access may have changed."""
    await connection.execute(
        """
        insert into access_trigger (student)
        select distinct s from unnest($1::text[]) s order by s
        on conflict (student) do update
        set generation = access_trigger.generation + 1, due_on = '-infinity', leased_until = '-infinity'
        """,
        students,
    )


async def lock_students(connection: Conn, students: Sequence[str]) -> None:
    """One worker a student: from here to the commit."""
    await connection.execute(
        """
        select pg_advisory_xact_lock($1, h) from (
            select distinct hashtext(s) as h from unnest($2::text[]) s order by 1
        ) hashes
        """,
        _STUDENT_LOCK,
        students,
    )


async def finish_triggers(connection: Conn, triggers: Sequence[AccessTrigger], day: date) -> None:
    """These students' access is what it should be on that day: they come due when an association begins or has ended.

    One that was raised meanwhile stays due.
    """
    await connection.execute(
        """
        with done as materialized (
            select d.student, d.generation, (
                select min(case when a.begins_on > $3 then a.begins_on else a.ends_on + 1 end)
                from association a where a.student = d.student and (a.begins_on > $3 or a.ends_on >= $3)
            ) as due_on
            from unnest($1::text[], $2::bigint[]) as d(student, generation)
        ), over as (
            delete from access_trigger t using done d
            where t.student = d.student and t.generation = d.generation and d.due_on is null
        )
        update access_trigger t set due_on = d.due_on, leased_until = '-infinity'
        from done d where t.student = d.student and t.generation = d.generation and d.due_on is not null
        """,
        [t.student for t in triggers],
        [t.generation for t in triggers],
        day,
    )


async def end_overlong_leases(connection: Conn) -> int:
    """End leases that were given while the database's clock was ahead, by an hour at least; how many."""
    done = await connection.execute(
        "update access_trigger set leased_until = '-infinity' where leased_until > now() + interval '1 hour'"
    )
    return int(done.removeprefix("UPDATE "))


async def release_triggers(connection: Conn, triggers: Sequence[AccessTrigger]) -> None:
    """Nothing came of it: whoever claims next may try."""
    students = [trigger.student for trigger in triggers]
    await connection.execute(
        "update access_trigger set leased_until = '-infinity' where student = any($1::text[])", students
    )


async def count_waiting(connection: Conn) -> tuple[int, int]:
    """(students whose access is due to be computed, organisations whose move is being worked off)."""
    row = await connection.fetchrow(
        """
        select (select count(*) from access_trigger
                where due_on <= coalesce((select access_day from core), '-infinity')) as students,
               (select count(distinct organization) from organization_move) as moves
        """
    )
    assert row is not None, "a select without from has a row"
    return row["students"], row["moves"]
