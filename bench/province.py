"""A province-sized data set, built in PostgreSQL itself: quick, and the same every time.

    python -m bench.province --records 10_000_000 [--data-dir DIR | --database-url postgresql://…]

2,500 schools in 60 authorities; students, their enrolments of three years, sections and course enrolments.
Indexes are dropped while the rows go in and built again at the end, from their own definitions.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from rich.progress import Progress

from homeroom import NotificationType
from homeroom_server import operations
from homeroom_server.database import apply_schema, open_database
from homeroom_server.settings import Settings
from homeroom_server.store import types

SCHOOLS = 2_500
AUTHORITIES = 60


@dataclass(frozen=True, slots=True)
class Share:
    """One type's part of all records, in per cent; public types have no viewers."""

    notification_type: NotificationType
    per_cent: int
    public: bool = False


SHARES = [
    Share(NotificationType("Student"), 10),
    Share(NotificationType("StudentSchoolEnrolment", 2025), 10),
    Share(NotificationType("StudentSchoolEnrolment", 2026), 10),
    Share(NotificationType("StudentSchoolEnrolment", 2027), 10),
    Share(NotificationType("Section", 2027), 5, public=True),
    Share(NotificationType("CourseEnrolment", 2026), 15),
    Share(NotificationType("CourseEnrolment", 2027), 40),
]


def organizations(schools: int = SCHOOLS, authorities: int = AUTHORITIES) -> str:
    """The CSV of the province."""
    rows = ["code,name,parent", "O.1,Ministry,"]
    rows += [f"A.{i:04},Authority {i},O.1" for i in range(authorities)]
    rows += [f"S.{i:04},School {i},A.{i % authorities:04}" for i in range(schools)]
    return "\n".join(rows)


async def build(
    database_url: str, records: int, progress: Progress, schools: int = SCHOOLS, shares: Sequence[Share] = SHARES
) -> None:
    """Fill an empty database with that many records of so many schools, then analyse it."""
    await apply_schema(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        await operations.load_organizations(connection, organizations(schools))
        await connection.execute("set maintenance_work_mem = '2GB'; set max_parallel_maintenance_workers = 2")
        definitions = await _drop_indexes(connection)
        await connection.execute("analyze organization")
        bar = progress.add_task("records", total=records)
        for share in shares:
            count = records * share.per_cent // 100
            await _fill(connection, share, count)
            progress.advance(bar, count)
        bar = progress.add_task("indexes", total=len(definitions))
        for definition in definitions:
            await connection.execute(definition)
            progress.advance(bar)
        await connection.execute("vacuum (analyze) record")
        await connection.execute("vacuum (analyze) viewer")
        await connection.execute("checkpoint")
    finally:
        await connection.close()


async def _drop_indexes(connection: asyncpg.Connection) -> list[str]:
    """Drop the indexes of records and viewers; the statements that bring them back."""
    keys = await connection.fetch(
        """
        select conrelid::regclass::text as name, conname, pg_get_constraintdef(oid) as definition
        from pg_constraint where conrelid in ('record'::regclass, 'viewer'::regclass) and contype = 'p'
        """
    )
    for key in keys:
        await connection.execute(f"alter table {key['name']} drop constraint {key['conname']}")
    indexes = await connection.fetch(
        "select indexname, indexdef from pg_indexes where tablename in ('record', 'viewer')"
    )
    for index in indexes:
        await connection.execute(f"drop index {index['indexname']}")
    return [
        *(f"alter table {key['name']} add constraint {key['conname']} {key['definition']}" for key in keys),
        *(index["indexdef"] for index in indexes),
    ]


async def _fill(connection: asyncpg.Connection, share: Share, count: int) -> None:
    """Records of one type, spread over the schools; ids are hashes of a counter, so that they come in no order."""
    row = await types.ensure_type(connection, share.notification_type)
    last = await connection.fetchval("select setval('core_version', nextval('core_version') + $1)", count)
    first = last - count
    schools = await connection.fetchval(
        "select array_agg(number order by code) from organization where code like 'S.%'"
    )
    await connection.execute(
        """
        insert into record (record_type, id, notification_type, version, body_version, owner, student, deleted,
                            changed_at, body)
        select $1::int,
               case when $6::text = 'Student' then lpad(n::text, 9, '0')
                    else md5($6::text || $2::int || n)::uuid::text end,
               $2::int, $3::bigint + n, $3::bigint + n, ($5::int[])[1 + n % array_length($5::int[], 1)],
               lpad((n / 4)::text, 9, '0'), false, '2026-09-01',
               json_build_object('stateProvinceId', lpad((n / 4)::text, 9, '0'), 'courseCode', 'MAT1791',
                                 'courseEnrolmentStatus', 'Registered', 'creditsAttempted', 5,
                                 'note', md5(n::text) || md5($2::int || 'b' || n))
        from generate_series(1, $4::int) n
        """,
        row.record_type,
        row.number,
        first,
        count,
        schools,
        share.notification_type.name,
    )
    if not share.public:
        await connection.execute("analyze record")
        await connection.execute(
            """
            insert into viewer (notification_type, id, organization, version, state)
            select r.notification_type, r.id, seen.by, r.version, 'live'
            from record r join organization o on o.number = r.owner cross join unnest(o.lineage) as seen(by)
            where r.notification_type = $1
            """,
            row.number,
        )
    await connection.execute("update notification_type set watermark = $2 where number = $1", row.number, last)


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--data-dir", default="homeroom-province", help="of an embedded PostgreSQL")
    arguments.add_argument("--database-url", default="", help="an empty database of your own instead")
    given = arguments.parse_args()
    begun = time.perf_counter()
    settings = Settings(data_dir=given.data_dir, database_url=given.database_url)
    with open_database(settings) as url, Progress() as progress:
        asyncio.run(build(url, given.records, progress))
    print(f"{given.records:,} records in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
