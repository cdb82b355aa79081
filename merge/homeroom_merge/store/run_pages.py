"""The records of a run, some at a time, so that nobody holds a connection while they are sent or looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from homeroom_merge.codec import change_of, faults_of
from homeroom_merge.plan import Change
from homeroom_merge.records import Fault
from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A record that failed verification, and why. `place`: where people find it."""

    side: SideName
    place: str
    sis_key: str | None
    hub_id: str | None
    school: str | None
    school_year: int | None
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned change and what became of it. `results`: of its last write to each side, with what was said."""

    change: Change
    outcome: str
    detail: str
    results: Mapping[SideName, tuple[str, str]]


_NAMES = ("side", "place", "sis_key", "hub_id", "school", "school_year")


class PlanFilter(NamedTuple):
    """Which changes of a plan may be meant: those with one of these outcomes, and those with one of the others whose
    text holds this. Cheap, and a little too wide: whoever reads them looks again. `outcomes` None: all.

    `records`: none but these; None: any.
    """

    outcomes: Sequence[str] | None = None
    others: Sequence[str] = ()
    holding: str = ""
    records: Sequence[int] | None = None


EVERYTHING = PlanFilter()


async def records_named(connection: Conn, run: UUID, name: str) -> list[int]:
    """Records of a run's entity with this key in the SIS, id on the hub, or identifier."""
    rows = await connection.fetch(
        """
        select r.number from record r join run u on u.subject = r.subject
        where u.id = $1 and (r.sis_key = $2 or r.hub_id = $2 or r.identifier = $2) order by 1 limit 1000
        """,
        run,
        name,
    )
    return [row["number"] for row in rows]


async def left_out(
    connection: Conn, run: UUID, after: int, limit: int, records: Sequence[int] | None = None, place: str | None = None
) -> list[tuple[int, LeftOut]]:
    """What a run left out, beyond a number: of these records or at this place, or (None) all."""
    rows = await connection.fetch(
        """
        select l.number, l.side, l.place, r.sis_key, r.hub_id, r.school, r.school_year, l.faults
        from left_out l left join record r on r.number = l.record
        where l.run = $1 and l.number > $2 and ($4::bigint[] is null or l.record = any($4) or l.place = $5)
        order by l.number limit $3
        """,
        run,
        after,
        limit,
        records,
        place,
    )
    return [
        (row["number"], LeftOut(**{name: row[name] for name in _NAMES}, faults=faults_of(row["faults"])))
        for row in rows
    ]


async def window(connection: Conn, run: UUID, after: int, size: int) -> int | None:
    """The record up to which so many of a plan lie, beyond one; None: there are no more."""
    last: int | None = await connection.fetchval(
        """
        select max(record) from (
            select record from planned where run = $1 and record > $2 order by record limit $3) w
        """,
        run,
        after,
        size,
    )
    return last


async def planned(
    connection: Conn, run: UUID, after: int, last: int, limit: int, wanted: PlanFilter
) -> list[tuple[int, Planned]]:
    """A plan beyond one record and up to another, but for what was left out."""
    rows = await connection.fetch(
        """
        select p.record, p.change, p.outcome, p.detail, hub.result as hub_result, hub.detail as hub_detail,
               sis.result as sis_result, sis.detail as sis_detail
        from planned p
        left join lateral (
            select coalesce(j.result, 'unknown') as result, j.detail from journal j
            where j.record = p.record and j.run = p.run and j.side = 'hub' order by j.number desc limit 1) hub on true
        left join lateral (
            select coalesce(j.result, 'unknown') as result, j.detail from journal j
            where j.record = p.record and j.run = p.run and j.side = 'sis' order by j.number desc limit 1) sis on true
        where p.run = $1 and p.record > $2 and p.record <= $3
          and ($5::text[] is null or p.outcome = any($5) or p.outcome = any($6) and strpos(p.change, $7) > 0)
          and ($8::bigint[] is null or p.record = any($8))
          and not exists (select from left_out l where l.run = p.run and l.record = p.record)
        order by p.record limit $4
        """,
        run,
        after,
        last,
        limit,
        *wanted,
    )
    found = []
    for number, change, outcome, detail, *said in (tuple(row.values()) for row in rows):
        of_sides: dict[SideName, tuple[str | None, str]] = {"hub": (said[0], said[1]), "sis": (said[2], said[3])}
        results = {side: (result, text) for side, (result, text) in of_sides.items() if result is not None}
        found.append((number, Planned(change_of(change), outcome, detail, results)))
    return found
