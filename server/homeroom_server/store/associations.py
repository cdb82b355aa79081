"""Who is associated with a student: what says so, what follows from it, and the day as of which it counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class FactRow:
    """A record that associations are derived from: `owner_code` and `created_on` say who made it, and when."""

    record_type: int
    id: str
    student: str
    owner_code: str
    created_on: date
    deleted: bool
    body: str


@dataclass(frozen=True, slots=True)
class GrantRow:
    student: str
    organization: str
    ends_on: date | None


@dataclass(frozen=True, slots=True)
class AssociationRow:
    """An association as it is stored; `organization` is a code."""

    student: str
    organization: str
    cause: str
    source: str
    begins_on: date
    ends_on: date | None


async def read_facts(
    connection: Conn, students: Sequence[str], record_types: Sequence[int], time_zone: str
) -> list[FactRow]:
    """The records of these types that name one of the students."""
    rows = await connection.fetch(
        """
        select r.record_type, r.id, r.student, o.code as owner_code,
               (r.created_at at time zone $3)::date as created_on, r.deleted, r.body
        from record r join organization o on o.number = r.owner
        where r.record_type = any($2::int[]) and r.student = any($1::text[])
        """,
        students,
        record_types,
        time_zone,
    )
    return [FactRow(**row) for row in rows]


async def read_grants(connection: Conn, students: Sequence[str]) -> list[GrantRow]:
    rows = await connection.fetch(
        """
        select g.student, o.code as organization, g.ends_on
        from access_grant g join organization o on o.number = g.organization where g.student = any($1::text[])
        """,
        students,
    )
    return [GrantRow(**row) for row in rows]


async def write_associations(
    connection: Conn, students: Sequence[str], associations: Sequence[AssociationRow], day: date
) -> list[tuple[str, int]]:
    """Make these the associations of the students, active where that day lies within their days.

    Those of unknown organisations are left out, and remembered for when these come. Who comes to be associated, or no
    longer is, is noted as an event. Returns organisations by code, with how many of the students they came to be
    associated with.
    """
    rows = await connection.fetch(
        """
        with missed as (
            insert into missing_organization (code, student)
            select distinct a.code, a.student from unnest($3::text[], $2::text[]) as a(code, student)
            where not exists (select from organization o where o.code = a.code)
            order by 1, 2
            on conflict do nothing
        ), derived as materialized (
            select distinct on (a.student, o.number, a.cause, a.source)
                   a.student, o.number as organization, a.cause, a.source, a.begins_on, a.ends_on,
                   a.begins_on <= $8 and coalesce(a.ends_on, 'infinity') >= $8 as active
            from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[])
                 as a(student, code, cause, source, begins_on, ends_on)
            join organization o on o.code = a.code and o.lineage <> '{}'
            order by 1, 2, 3, 4, a.ends_on desc nulls first -- records of two types may share an id
        ), before as materialized (
            select * from association where student = any($1::text[])
        ), gone as (
            delete from association a using before b
            where (a.student, a.organization, a.cause, a.source) = (b.student, b.organization, b.cause, b.source)
              and not exists (
                  select from derived d
                  where (d.student, d.organization, d.cause, d.source) = (b.student, b.organization, b.cause, b.source))
        ), kept as (
            insert into association select * from derived
            on conflict (student, organization, cause, source) do update
            set begins_on = excluded.begins_on, ends_on = excluded.ends_on, active = excluded.active
            where (association.begins_on, association.ends_on, association.active)
                  is distinct from (excluded.begins_on, excluded.ends_on, excluded.active)
        ), changed as materialized (
            select coalesce(d.student, b.student) as student, coalesce(d.organization, b.organization) as organization,
                   d.student is not null as begun, coalesce(d.cause, b.cause) as cause,
                   coalesce(d.source, b.source) as source
            from (select distinct on (student, organization) * from derived where active
                  order by student, organization, cause, source) d
            full join (select distinct on (student, organization) * from before where active
                       order by student, organization, cause, source) b
                using (student, organization)
            where d.student is null or b.student is null
        ), noted as (
            insert into access_event (student, organization, cause, source, begun)
            select student, organization, cause, source, begun from changed
        )
        select o.code, count(*) as students from changed c join organization o on o.number = c.organization
        where c.begun group by o.code
        """,
        students,
        [a.student for a in associations],
        [a.organization for a in associations],
        [a.cause for a in associations],
        [a.source for a in associations],
        [a.begins_on for a in associations],
        [a.ends_on for a in associations],
        day,
    )
    return [(row["code"], row["students"]) for row in rows]


async def take_arrived(connection: Conn) -> list[str]:
    """The students whose associations name an organisation that had not been there and is now."""
    students: list[str] = await connection.fetchval(
        """
        with found as (
            delete from missing_organization m using organization o where o.code = m.code returning m.student
        )
        select coalesce(array_agg(distinct student), '{}') from found
        """
    )
    return students


async def students_of_organization(connection: Conn, codes: Sequence[str]) -> list[tuple[str, int]]:
    """Organisations by code with how many students they came to be associated with in the last 24 hours.

    Those whom they brought in themselves are not counted: nothing of them was there to be seen.
    """
    rows = await connection.fetch(
        """
        select o.code, count(distinct e.student) as students
        from organization o join access_event e on e.organization = o.number
        where o.code = any($1::text[]) and e.begun and e.cause <> 'created' and e.happened_at > now() - interval '1 day'
        group by o.code
        """,
        codes,
    )
    return [(row["code"], row["students"]) for row in rows]


async def put_grant(connection: Conn, code: str, student: str, ends_on: date | None) -> bool:
    """Grant, or change until when; False if there is no such organisation."""
    done = await connection.execute(
        """
        insert into access_grant (student, organization, ends_on)
        select $2, number, $3 from organization where code = $1 and lineage <> '{}'
        on conflict (student, organization) do update set ends_on = excluded.ends_on
        """,
        code,
        student,
        ends_on,
    )
    return done == "INSERT 0 1"


async def drop_grant(connection: Conn, code: str, student: str) -> bool:
    """Revoke what was granted; False if nothing was."""
    done = await connection.execute(
        "delete from access_grant g using organization o"
        " where o.number = g.organization and o.code = $1 and g.student = $2",
        code,
        student,
    )
    return done == "DELETE 1"


async def today(connection: Conn, time_zone: str) -> date:
    """The day in that time zone, by the database's clock."""
    day: date = await connection.fetchval("select (now() at time zone $1)::date", time_zone)
    return day


async def access_day(connection: Conn) -> date | None:
    """The day as of which associations count."""
    day: date | None = await connection.fetchval("select access_day from core")
    return day


async def move_access_day(connection: Conn, day: date) -> bool:
    """Move the day on, if no other node has; whether this call did."""
    done = await connection.execute("update core set access_day = $1 where access_day is null or access_day < $1", day)
    return done == "UPDATE 1"


async def lapsing(connection: Conn, day: date) -> tuple[int, int]:
    """(associations that would have lapsed by that day, all that are active)."""
    row = await connection.fetchrow(
        "select count(*) filter (where ends_on < $1) as lapsing, count(*) as active from association where active",
        day,
    )
    assert row is not None, "an aggregate has a row"
    return row["lapsing"], row["active"]
