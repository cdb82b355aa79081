"""Records as people find and see them. `scope`: numbers of organizations, with those below them; None: all.

Within a scope they see what Get would answer to some organization in it: records of public types, and those of which
it has a row that is not revoked. Owners beyond their scope are not named, except of public records.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_server.store.connection import Conn


class FoundRow(NamedTuple):
    """A record in a list of what was found. `school_year`: 0 for none."""

    type_name: str
    school_year: int
    id: str
    student: str | None
    owner: str | None
    version: int
    deleted: bool
    changed_at: datetime


class RecordSeen(NamedTuple):
    """One record. `body`: as much of it as was asked for; `body_characters`: of the whole."""

    number: int
    type_name: str
    school_year: int
    id: str
    version: int
    body_version: int
    source_version: int | None
    owner: str | None
    owner_name: str | None
    student: str | None
    deleted: bool
    changed_at: datetime
    created_at: datetime
    body: str
    body_characters: int


class Told(NamedTuple):
    """A client that follows a stream with the record: what was announced there, and whether its cursor is past that.

    `among`: how many such clients there are.
    """

    client: str
    organization: str
    version: int
    state: str
    cursor: int
    is_told: bool
    asked_at: datetime
    among: int


class StudentEvent(NamedTuple):
    """An organization came to be associated with a student (`begun`), or no longer is."""

    happened_at: datetime
    organization: str
    begun: bool
    cause: str
    source: str


async def find(
    connection: Conn,
    scope: Sequence[int] | None,
    public_types: Sequence[str],
    ids: Sequence[tuple[str, str]],
    of_student: Sequence[str],
    student: str,
    school_year: int | None,
    limit: int,
    offset: int,
) -> list[FoundRow]:
    """Those of `ids` (type and id), and what names the student in the types `of_student`; by type, year and id.

    `school_year` None: of any.
    """
    rows = await connection.fetch(
        """
        with found as (
            select r.record_type, r.id
            from unnest($3::text[], $4::text[]) as a(name, id)
            join record_type k on k.name = a.name
            join record r on r.record_type = k.number and r.id = a.id
            union
            select r.record_type, r.id
            from unnest($5::text[]) as a(name)
            join record_type k on k.name = a.name
            join record r on r.record_type = k.number and r.student = $6
        )
        select k.name, n.school_year, r.id, r.student,
               case when $1::int[] is null or o.lineage && $1 or k.name = any($2::text[]) then o.code end,
               r.version, r.deleted, r.changed_at
        from found f
        join record r on r.record_type = f.record_type and r.id = f.id
        join record_type k on k.number = r.record_type
        join notification_type n on n.number = r.notification_type
        join organization o on o.number = r.owner
        where ($7::int is null or n.school_year = $7)
          and ($1::int[] is null or k.name = any($2::text[]) or exists (
              select from viewer v join organization s on s.number = v.organization
              where v.notification_type = r.notification_type and v.id = r.id
                and v.state <> 'revoked' and s.lineage && $1))
        order by k.name, n.school_year, r.id
        limit $8 offset $9
        """,
        scope,
        public_types,
        [name for name, _ in ids],
        [record_id for _, record_id in ids],
        of_student,
        student,
        school_year,
        limit,
        offset,
    )
    return [FoundRow(*row.values()) for row in rows]


async def read(
    connection: Conn,
    scope: Sequence[int] | None,
    public_types: Sequence[str],
    type_name: str,
    record_id: str,
    characters: int | None,
) -> RecordSeen | None:
    """The record of that type, whatever its year; None where there is none, and where they may not see it.

    `characters`: of its body; None: all.
    """
    row = await connection.fetchrow(
        """
        select r.notification_type, k.name, n.school_year, r.id, r.version, r.body_version, r.source_version,
               case when whose.is_known then o.code end, case when whose.is_known then o.name end,
               r.student, r.deleted, r.changed_at, r.created_at,
               left(r.body::text, coalesce($5, length(r.body::text))), length(r.body::text)
        from record_type k
        join record r on r.record_type = k.number and r.id = $4
        join notification_type n on n.number = r.notification_type
        join organization o on o.number = r.owner
        cross join lateral (
            select $1::int[] is null or o.lineage && $1 or k.name = any($2::text[]) as is_known
        ) as whose
        where k.name = $3 and ($1::int[] is null or k.name = any($2::text[]) or exists (
            select from viewer v join organization s on s.number = v.organization
            where v.notification_type = r.notification_type and v.id = r.id
              and v.state <> 'revoked' and s.lineage && $1))
        """,
        scope,
        public_types,
        type_name,
        record_id,
        characters,
    )
    return None if row is None else RecordSeen(*row.values())


async def who_was_told(
    connection: Conn, scope: Sequence[int] | None, seen: RecordSeen, notification_type: str, limit: int, *, public: bool
) -> list[Told]:
    """Clients that follow a stream in which the record is or was, those first that have not been told."""
    rows = await connection.fetch(
        """
        with follower as (
            select c.name as client, o.code as organization, coalesce(v.version, $3) as version,
                   coalesce(v.state::text, $4) as state, s.cursor, s.asked_at
            from client_stream s join client c on c.number = s.client join organization o on o.number = s.organization
            left join viewer v on v.notification_type = $1 and v.id = $2 and v.organization = s.organization
            where s.notification_type = $5 and c.disabled_at is null
              and ($6::int[] is null or o.lineage && $6) and ($7 or o.lineage = '{}' or v.version is not null)
        )
        select client, organization, version, state, cursor, cursor >= version as is_told, asked_at, count(*) over ()
        from follower order by is_told, organization, client limit $8
        """,
        seen.number,
        seen.id,
        seen.version,
        "deleted" if seen.deleted else "live",
        notification_type,
        scope,
        public,
        limit,
    )
    return [Told(*row.values()) for row in rows]


async def events(connection: Conn, scope: Sequence[int] | None, student: str, limit: int) -> list[StudentEvent]:
    """Who came to be associated with a student or ceased to be, newest first."""
    rows = await connection.fetch(
        """
        select e.happened_at, o.code, e.begun, e.cause, e.source
        from access_event e join organization o on o.number = e.organization
        where e.student = $2 and ($1::int[] is null or o.lineage && $1)
        order by e.happened_at desc, o.code limit $3
        """,
        scope,
        student,
        limit,
    )
    return [StudentEvent(*row.values()) for row in rows]
