"""What restores put back, record by record."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from homeroom_merge.store.connection import Conn


class Row(NamedTuple):
    """A record of a backup: its keys, and each side's body as canonical text, None where it had none."""

    hub_id: str | None
    sis_key: str | None
    school: str | None
    school_year: int | None
    hub: str | None
    sis: str | None
    sis_covered: Sequence[str] | None


async def know(connection: Conn, subject: int, rows: Sequence[Row]) -> None:
    """Records of which this state has lost all memory, with the links that they had."""
    await connection.executemany(
        """
        insert into record (subject, hub_id, sis_key, school, school_year) select $1, $2, $3, $4, $5
        where not exists (select from record where subject = $1 and (hub_id = $2 or sis_key = $3))
        """,
        [(subject, *row[:4]) for row in rows if row.hub is not None or row.sis is not None],
    )


async def stage(connection: Conn, run: UUID, subject: int, rows: Sequence[Row]) -> None:
    """Each side by its own key: what was one record then may be two by now, and the other way round."""
    with_hub, with_sis = [row for row in rows if row.hub is not None], [row for row in rows if row.sis is not None]
    await connection.execute(
        """
        insert into restoring (run, record, hub)
        select $1, r.number, u.body from unnest($3::text[], $4::text[]) as u(key, body)
        join record r on r.subject = $2 and r.hub_id = u.key
        on conflict (run, record) do update set hub = excluded.hub
        """,
        run,
        subject,
        [row.hub_id for row in with_hub],
        [row.hub for row in with_hub],
    )
    await connection.execute(
        """
        insert into restoring (run, record, sis, sis_covered)
        select $1, r.number, u.body, string_to_array(u.covered, ',')
        from unnest($3::text[], $4::text[], $5::text[]) as u(key, body, covered)
        join record r on r.subject = $2 and r.sis_key = u.key
        on conflict (run, record) do update set sis = excluded.sis, sis_covered = excluded.sis_covered
        """,
        run,
        subject,
        [row.sis_key for row in with_sis],
        [row.sis for row in with_sis],
        [None if row.sis_covered is None else ",".join(row.sis_covered) for row in with_sis],
    )


async def staged(
    connection: Conn, run: UUID, numbers: Sequence[int]
) -> dict[int, tuple[str | None, str | None, Sequence[str] | None]]:
    """(hub, SIS, what the SIS spoke of) of those of these records that are put back."""
    rows = await connection.fetch(
        "select record, hub, sis, sis_covered from restoring where run = $1 and record = any($2::bigint[])",
        run,
        numbers,
    )
    return {row["record"]: (row["hub"], row["sis"], row["sis_covered"]) for row in rows}


async def next_staged(connection: Conn, run: UUID, after: int, limit: int) -> list[int]:
    """The next records that are put back, beyond one."""
    rows = await connection.fetch(
        "select record from restoring where run = $1 and record > $2 order by record limit $3", run, after, limit
    )
    return [row["record"] for row in rows]


async def is_restore(connection: Conn, run: UUID) -> bool:
    """Whether a run puts records back."""
    return bool(await connection.fetchval("select exists (select from restoring where run = $1)", run))


async def keep_planned(connection: Conn, run: UUID) -> None:
    """Of what was staged, only what the plan changes is needed any longer."""
    await connection.execute(
        """
        delete from restoring s where s.run = $1
        and not exists (select from planned p where p.run = s.run and p.record = s.record)
        """,
        run,
    )


async def pass_on(connection: Conn, run: UUID, to: UUID) -> None:
    """What a restore puts back, to a run that plans some of its records again."""
    await connection.execute(
        """
        insert into restoring (run, record, hub, sis, sis_covered)
        select p.run, s.record, s.hub, s.sis, s.sis_covered
        from planned p join restoring s on s.record = p.record where p.run = $2 and s.run = $1
        """,
        run,
        to,
    )
