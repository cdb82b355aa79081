"""Access: triggers, what associations are derived from, and the statement that makes viewers what they should be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from homeroom_server.store.connection import Conn
from homeroom_server.store.records import lock_type

_STUDENT_LOCK = 2
"""The class of advisory locks whose second number is a hash of a student."""


@dataclass(frozen=True, slots=True)
class AccessTrigger:
    """A student whose access is to be computed."""

    student: str
    generation: int


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


@dataclass(frozen=True, slots=True)
class RuleRow:
    """How the records of one type are seen: `homeroom_server.access.rules.TypeAccess` with types by their number.

    The members of `shared_path` are parted by the unit separator, which is in no name.
    """

    record_type: int
    by_owner: bool
    open: bool
    shared_path: str | None
    status_type: int | None


@dataclass(frozen=True, slots=True)
class MovedType:
    """The versions that one type took: low < version <= high."""

    number: int
    low: int
    high: int
    gained: int
    lost: int


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


async def lock_types_of(connection: Conn, students: Sequence[str], rules: Sequence[RuleRow]) -> list[int]:
    """Lock the notification types in which these students have records, and those of their statuses; their numbers.

    A status type is made if it is not there: its first status must not slip in between.
    """
    await connection.execute(
        """
        insert into notification_type (record_type, school_year)
        select distinct x.status_type, n.school_year
        from record r join unnest($2::int[], $3::int[]) as x(record_type, status_type) using (record_type)
        join notification_type n on n.number = r.notification_type
        where r.student = any($1::text[]) and x.status_type is not null
        on conflict do nothing
        """,
        students,
        [rule.record_type for rule in rules],
        [rule.status_type for rule in rules],
    )
    numbers: list[int] = await connection.fetchval(
        """
        select coalesce(array_agg(distinct t.number order by t.number), '{}')
        from (
            select distinct r.notification_type, x.status_type
            from record r join unnest($2::int[], $3::int[]) as x(record_type, status_type) using (record_type)
            where r.student = any($1::text[])
        ) found
        join notification_type n on n.number = found.notification_type
        join notification_type t on t.number = n.number
             or (t.record_type = found.status_type and t.school_year = n.school_year)
        """,
        students,
        [rule.record_type for rule in rules],
        [rule.status_type for rule in rules],
    )
    for number in numbers:
        await lock_type(connection, number)
    return numbers


async def release_triggers(connection: Conn, triggers: Sequence[AccessTrigger]) -> None:
    """Nothing came of it: whoever claims next may try."""
    students = [trigger.student for trigger in triggers]
    await connection.execute(
        "update access_trigger set leased_until = '-infinity' where student = any($1::text[])", students
    )


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

    Those of unknown organisations are left out. Who comes to be associated, or no longer is, is noted as an event.
    Returns organisations by code, with how many of the students they came to be associated with.
    """
    rows = await connection.fetch(
        """
        with derived as materialized (
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


async def show_and_hide(
    connection: Conn,
    rules: Sequence[RuleRow],
    locked: Sequence[int],
    students: Sequence[str],
    keys: Sequence[tuple[int, str]] = (),
) -> list[MovedType]:
    """Make the viewers of the students' records, and of `keys` (notification type, id), what they should be.

    Only in the notification types that are `locked`: a record of another has come meanwhile, and raised its trigger.

    A record that somebody gains takes a version, and with it all its viewer rows; its status is triggered. One that
    somebody loses takes another, held by the rows of the losers alone; so does its status.
    """
    rows = await connection.fetch(
        """
        with rule as (
            select * from unnest($1::int[], $2::boolean[], $3::boolean[], $4::text[], $5::int[])
                 as x(record_type, by_owner, open, shared_path, status_record_type)
        ), key as (
            select r.record_type, r.id from record r join rule x using (record_type)
            where r.student = any($6::text[]) and (x.open or x.shared_path is not null or not x.by_owner)
            union
            select n.record_type, k.id from unnest($7::int[], $8::text[]) as k(notification_type, id)
            join notification_type n on n.number = k.notification_type
        ), concerned as materialized (
            select r.record_type, r.id, r.notification_type, r.owner, r.student, r.deleted, x.by_owner,
                   x.open or coalesce(
                       (r.body #> string_to_array(x.shared_path, chr(31)))::text = 'true', false) as open,
                   s.number as status_type
            from key k
            join record r on r.record_type = k.record_type and r.id = k.id
            join rule x on x.record_type = r.record_type
            join notification_type n on n.number = r.notification_type
            left join notification_type s on s.record_type = x.status_record_type and s.school_year = n.school_year
            where n.number = any($9::int[])
        ), allowed as materialized (
            select distinct c.notification_type, c.id, seen.by as organization
            from (
                select c.notification_type, c.id, o.lineage
                from concerned c join organization o on o.number = c.owner where c.by_owner
                union all
                select c.notification_type, c.id, o.lineage
                from concerned c join association a on a.student = c.student and a.active
                join organization o on o.number = a.organization where c.open
            ) c cross join unnest(c.lineage) as seen(by)
        ), gained as materialized (
            select a.notification_type, a.id, a.organization
            from allowed a
            join concerned c on c.notification_type = a.notification_type and c.id = a.id
            left join viewer v on v.notification_type = a.notification_type and v.id = a.id
                               and v.organization = a.organization
            where not c.deleted and coalesce(v.state, 'revoked') = 'revoked'
        ), lost as materialized (
            select v.notification_type, v.id, v.organization
            from concerned c cross join unnest(array[c.notification_type, c.status_type]) as t(number)
            join viewer v on v.notification_type = t.number and v.id = c.id
            where v.state <> 'revoked' and not exists (
                select from allowed a
                where a.notification_type = c.notification_type and a.id = c.id and a.organization = v.organization)
        ), moved as materialized (
            select notification_type, id, nextval('core_version') as version
            from (select distinct notification_type, id from gained) g
        ), revoked as materialized (
            select notification_type, id, nextval('core_version') as version
            from (select distinct notification_type, id from lost) l
        ), stored as (
            update record r set version = m.version
            from moved m join concerned c on c.notification_type = m.notification_type and c.id = m.id
            where r.record_type = c.record_type and r.id = c.id
        ), shown as (
            insert into viewer (notification_type, id, organization, version, state)
            select a.notification_type, a.id, a.organization, m.version, 'live'
            from allowed a join moved m on m.notification_type = a.notification_type and m.id = a.id
            on conflict (notification_type, id, organization) do update
            set version = excluded.version, state = excluded.state
        ), hidden as (
            update viewer v set version = x.version, state = 'revoked'
            from lost l join revoked x on x.notification_type = l.notification_type and x.id = l.id
            where v.notification_type = l.notification_type and v.id = l.id and v.organization = l.organization
        ), raised as (
            insert into status_trigger (record_type, id, changed)
            select c.record_type, c.id, false
            from moved m join concerned c on c.notification_type = m.notification_type and c.id = m.id
            join rule x on x.record_type = c.record_type and x.status_record_type is not null
            on conflict (record_type, id) do update set generation = status_trigger.generation + 1, due_at = now()
        ), taken as materialized (
            select notification_type, min(version) - 1 as low, max(version) as high,
                   count(*) filter (where gain) as gained, count(*) filter (where not gain) as lost
            from (select notification_type, version, true as gain from moved
                  union all select notification_type, version, false from revoked) v
            group by notification_type
        ), marked as (
            update notification_type t set watermark = taken.high from taken where t.number = taken.notification_type
        )
        select notification_type as number, low, high, gained, lost from taken order by 1
        """,
        [rule.record_type for rule in rules],
        [rule.by_owner for rule in rules],
        [rule.open for rule in rules],
        [rule.shared_path for rule in rules],
        [rule.status_type for rule in rules],
        students,
        [number for number, _ in keys],
        [record_id for _, record_id in keys],
        locked,
    )
    return [MovedType(**row) for row in rows]


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


async def lapsing(connection: Conn, day: date) -> tuple[int, int]:
    """(associations that would have lapsed by that day, all that are active)."""
    row = await connection.fetchrow(
        "select count(*) filter (where ends_on < $1) as lapsing, count(*) as active from association where active",
        day,
    )
    assert row is not None, "an aggregate has a row"
    return row["lapsing"], row["active"]


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


async def access_day(connection: Conn) -> date | None:
    """The day as of which associations count."""
    day: date | None = await connection.fetchval("select access_day from core")
    return day


async def move_access_day(connection: Conn, day: date) -> bool:
    """Move the day on, if no other node has; whether this call did."""
    done = await connection.execute("update core set access_day = $1 where access_day is null or access_day < $1", day)
    return done == "UPDATE 1"


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


async def students_of_organization(connection: Conn, codes: Sequence[str]) -> list[tuple[str, int]]:
    """Organisations by code with how many students they came to be associated with in the last 24 hours."""
    rows = await connection.fetch(
        """
        select o.code, count(distinct e.student) as students
        from organization o join access_event e on e.organization = o.number
        where o.code = any($1::text[]) and e.begun and e.happened_at > now() - interval '1 day'
        group by o.code
        """,
        codes,
    )
    return [(row["code"], row["students"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Move:
    """Records of one type that an organisation which has moved sees: up to `until`, above `after`."""

    organization: int
    notification_type: int
    record_type: int
    school_year: int
    after: int
    until: int | None


async def note_moves(connection: Conn, codes: Sequence[str]) -> None:
    """These organisations have another lineage: everything that they see is to be looked at."""
    await connection.execute(
        """
        insert into organization_move (organization, notification_type)
        select o.number, n.number from organization o cross join notification_type n where o.code = any($1::text[])
        on conflict (organization, notification_type) do update set after = 0, until = null
        """,
        codes,
    )


async def claim_move(connection: Conn) -> Move | None:
    """One that no other worker is at, kept to the end of the transaction."""
    row = await connection.fetchrow(
        """
        select m.organization, m.notification_type, n.record_type, n.school_year, m.after, m.until
        from organization_move m join notification_type n on n.number = m.notification_type
        order by m.organization, m.notification_type limit 1
        for update of m skip locked
        """
    )
    return None if row is None else Move(**row)


async def lock_with_status(connection: Conn, move: Move, rule: RuleRow) -> list[int]:
    """Lock the type of a move and that of its statuses, ascending; their numbers."""
    numbers: list[int] = await connection.fetchval(
        """
        select array_agg(number order by number) from notification_type
        where number = $1 or (record_type = $2 and school_year = $3)
        """,
        move.notification_type,
        rule.status_type,
        move.school_year,
    )
    for number in numbers:
        await lock_type(connection, number)
    return numbers


async def next_of_move(connection: Conn, move: Move, limit: int) -> tuple[int, list[tuple[int, str]]]:
    """(`until`, the next (version, id) of its stream); under the type's lock, so that none slips in below `until`."""
    until: int = move.until or await connection.fetchval(
        "select watermark from notification_type where number = $1", move.notification_type
    )
    rows = await connection.fetch(
        """
        select version, id from viewer
        where notification_type = $1 and organization = $2 and version > $3 and version <= $4 and state <> 'revoked'
        order by version limit $5
        """,
        move.notification_type,
        move.organization,
        move.after,
        until,
        limit,
    )
    return until, [(row["version"], row["id"]) for row in rows]


async def note_move(connection: Conn, move: Move, after: int | None, until: int) -> None:
    """How far it has come; `after` None: it is done."""
    if after is None:
        await connection.execute(
            "delete from organization_move where organization = $1 and notification_type = $2",
            move.organization,
            move.notification_type,
        )
    else:
        await connection.execute(
            "update organization_move set after = $3, until = $4 where organization = $1 and notification_type = $2",
            move.organization,
            move.notification_type,
            after,
            until,
        )
