"""What is needed to explain who sees a record, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Observer:
    """An organisation that looks. `below`: the codes of itself and of its schools, all through which it may see."""

    number: int
    code: str
    is_ministry: bool
    below: Sequence[str]


@dataclass(frozen=True, slots=True)
class ObservedRecord:
    """A record, and the row that one observer has of it: `state` and `state_version` are None where there is none.

    `shared`: its `shared_when` member is true.
    """

    notification_type: int
    school_year: int | None
    version: int
    owner: str
    student: str | None
    deleted: bool
    created_at: datetime
    shared: bool
    state: str | None
    state_version: int | None


@dataclass(frozen=True, slots=True)
class Observing:
    """An organisation, and the row that it has of a record: `state` and `state_version` are None where it has none."""

    observer: Observer
    name: str
    state: str | None
    state_version: int | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is still to be computed about a record.

    `due_on`: the next day on which its student's access is looked at. `trigger`: that is due. `moved`: those through
    whom it is seen that have changed their place among the organisations. `status`: its status is to be calculated.
    """

    due_on: date | None
    trigger: bool
    moved: Sequence[str]
    status: bool


@dataclass(frozen=True, slots=True)
class AccessEvent:
    """An organisation came to be associated with a student (`begun`), or no longer is."""

    happened_at: datetime
    organization: str
    begun: bool
    cause: str
    source: str


async def read_observer(connection: Conn, code: str) -> Observer | None:
    """The organisation of this code."""
    row = await connection.fetchrow(
        """
        select o.number, o.code, o.lineage = '{}' as is_ministry,
               array(select s.code from organization s where o.number = any(s.lineage) order by s.code) as below
        from organization o where o.code = $1
        """,
        code,
    )
    return None if row is None else Observer(**row)


async def read_observers(
    connection: Conn,
    scope: Sequence[int] | None,
    type_number: int,
    record_id: str,
    through: Sequence[str],
    limit: int,
) -> tuple[list[Observing], int]:
    """Who has a row of a record, or sees what one of `through` (codes) does, and how many these are.

    The ministry comes first, then those who see it. `scope`: numbers of organizations, with those below; None: all.
    """
    rows = await connection.fetch(
        """
        with entitled as materialized (
            select code, lineage from organization where code = any($4::text[])
        ), concerned as (
            select organization as number from viewer where notification_type = $2 and id = $3
            union select unnest(lineage) from entitled
            union select number from organization where lineage = '{}'
        )
        select o.number, o.code, o.name, o.lineage = '{}' as is_ministry,
               array(select e.code from entitled e where o.number = any(e.lineage) order by e.code) as below,
               v.state::text, v.version as state_version, count(*) over () as among
        from concerned join organization o using (number)
        left join viewer v on v.notification_type = $2 and v.id = $3 and v.organization = o.number
        where $1::int[] is null or o.lineage && $1
        order by o.lineage <> '{}', v.state, o.code limit $5
        """,
        scope,
        type_number,
        record_id,
        through,
        limit,
    )
    found = [
        Observing(
            Observer(row["number"], row["code"], row["is_ministry"], row["below"]),
            row["name"],
            row["state"],
            row["state_version"],
        )
        for row in rows
    ]
    return found, rows[0]["among"] if rows else 0


async def read_observed(
    connection: Conn, type_name: str, record_id: str, observer: int, shared_path: str | None
) -> ObservedRecord | None:
    """The record of that type, whatever its year, as the observer stands to it."""
    row = await connection.fetchrow(
        """
        select r.notification_type, nullif(n.school_year, 0) as school_year, r.version, o.code as owner, r.student,
               r.deleted, r.created_at,
               coalesce((r.body #> string_to_array($4, chr(31)))::text = 'true', false) as shared,
               v.state::text, v.version as state_version
        from record_type k
        join record r on r.record_type = k.number and r.id = $2
        join notification_type n on n.number = r.notification_type
        join organization o on o.number = r.owner
        left join viewer v on v.notification_type = r.notification_type and v.id = r.id and v.organization = $3
        where k.name = $1
        """,
        type_name,
        record_id,
        observer,
        shared_path,
    )
    return None if row is None else ObservedRecord(**row)


async def read_waiting(
    connection: Conn, type_name: str, record_id: str, seen_through: Sequence[str], lease_seconds: float
) -> Waiting:
    """What waits for the record. `seen_through`: its owner and those associated with its student, by code."""
    row = await connection.fetchrow(
        """
        select t.due_on, coalesce(t.due_on <= coalesce(c.access_day, '-infinity'), false) as trigger,
               array(select o.code from organization_move m join organization o on o.number = m.organization
                     where m.notification_type = r.notification_type and o.code = any($3::text[])
                     order by o.code) as moved,
               exists (select from status_trigger s where s.record_type = r.record_type and s.id = r.id
                       and s.due_at <= now() + make_interval(secs => $4)) as status
        from core c cross join record_type k
        join record r on r.record_type = k.number and r.id = $2
        left join access_trigger t on t.student = r.student
        where k.name = $1
        """,
        type_name,
        record_id,
        seen_through,
        lease_seconds,
    )
    assert row is not None, "the record was found in the same snapshot"
    return Waiting(**row)


async def read_events(connection: Conn, student: str, codes: Sequence[str], limit: int) -> list[AccessEvent]:
    """The latest access events of a student and these organisations, newest first."""
    rows = await connection.fetch(
        """
        select e.happened_at, o.code as organization, e.begun, e.cause, e.source
        from access_event e join organization o on o.number = e.organization
        where e.student = $1 and o.code = any($2::text[])
        order by e.happened_at desc limit $3
        """,
        student,
        codes,
        limit,
    )
    return [AccessEvent(**row) for row in rows]
