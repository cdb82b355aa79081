"""Who sees a record: the statement that makes viewer rows what they should be, and the locks that it needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeroom_server.store.connection import Conn
from homeroom_server.store.records import lock_type


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


async def lock_with_status(connection: Conn, type_number: int, school_year: int, rule: RuleRow) -> list[int]:
    """Lock a notification type and that of its statuses, ascending; their numbers."""
    numbers: list[int] = await connection.fetchval(
        """
        select array_agg(number order by number) from notification_type
        where number = $1 or (record_type = $2 and school_year = $3)
        """,
        type_number,
        rule.status_type,
        school_year,
    )
    for number in numbers:
        await lock_type(connection, number)
    return numbers


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
