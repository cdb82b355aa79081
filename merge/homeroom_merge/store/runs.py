"""Runs and their plans."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from homeroom_merge.codec import canonical, change_of, change_text
from homeroom_merge.plan import Change, Kind
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import NO_BASIS, Basis

_AT_ONCE = 1_000
SUBJECT_LOCK = 48
"""The class of advisory locks whose second number is a subject's."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a subject."""

    id: UUID
    subject: int
    feed: str
    entity: str
    status: str
    group_id: UUID
    undoes: UUID | None


@dataclass(frozen=True, slots=True)
class Cut:
    """What a run left open. `died`: nobody ended it; else only writes whose fate is not known. `approved`: by whom."""

    died: bool
    approved: bool


async def hold(connection: Conn, subject: int) -> bool:
    """Be the only one who works on a subject, as long as the connection lives; whether nobody else does."""
    return bool(await connection.fetchval("select pg_try_advisory_lock($1, $2)", SUBJECT_LOCK, subject))


async def release(connection: Conn) -> None:
    """Hold no subject any longer."""
    await connection.execute("select pg_advisory_unlock_all()")


async def cut(connection: Conn, subject: int, but: UUID | None) -> dict[UUID, Cut]:
    """Runs of a subject that left something open: who holds it knows that nobody works on them any more.

    `but`: the one that looks, if it is one.
    """
    rows = await connection.fetch(
        """
        select id, status = 'running' as died, decided_by is not null as approved from run
        where subject = $1 and id is distinct from $2
          and (status = 'running' or exists (select from journal j where j.run = run.id and j.result is null))
        order by begun_at
        """,
        subject,
        but,
    )
    return {row["id"]: Cut(row["died"], row["approved"]) for row in rows}


async def begin(
    connection: Conn,
    subject: int,
    group_id: UUID,
    runner: str,
    basis: Basis = NO_BASIS,
    undoes: UUID | None = None,
    *,
    dry: bool = False,
) -> UUID:
    """A run that holds the subject; who comes to an open run of it finds it by `cut`."""
    return UUID(
        str(
            await connection.fetchval(
                """
                insert into run (subject, group_id, runner, settings_state, settings_version, overrides, undoes, dry)
                values ($1, $2, $3, $4, $5, $6, $7, $8) returning id
                """,
                subject,
                group_id,
                runner,
                basis.state,
                basis.version,
                canonical(basis.overrides),
                undoes,
                dry,
            )
        )
    )


async def note_log(connection: Conn, run: UUID, log: str) -> None:
    """How it goes; whoever does so is alive."""
    await connection.execute("update run set log = $2, beats_at = now() where id = $1", run, log)


async def find_log(connection: Conn, run: UUID) -> str:
    """Held until the end of the caller's transaction, if there is one."""
    return str(await connection.fetchval("select log from run where id = $1 for update", run))


async def count_to_do(connection: Conn, run: UUID, outcome: str, *, deletes: bool) -> int:
    """How many changes of a plan are still to be carried out."""
    query = "select count(*) from planned where run = $1 and outcome = $2 and is_delete = $3"
    return int(await connection.fetchval(query, run, outcome, deletes))


async def end(connection: Conn, run: UUID, status: str) -> None:
    await connection.execute("update run set status = $2, ended_at = now() where id = $1", run, status)


async def find(connection: Conn, run: UUID) -> Run | None:
    row = await connection.fetchrow(
        """
        select r.id, r.subject, f.name as feed, s.entity, r.status, r.group_id, r.undoes
        from run r join subject s on s.number = r.subject join feed f on f.number = s.feed where r.id = $1
        """,
        run,
    )
    return None if row is None else Run(**row)


async def with_status(connection: Conn, feed: str, *statuses: str) -> list[Run]:
    """The runs of a feed that stand so, oldest first."""
    rows = await connection.fetch(
        """
        select r.id, r.subject, f.name as feed, s.entity, r.status, r.group_id, r.undoes
        from run r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and r.status = any($2::text[]) order by r.begun_at
        """,
        feed,
        statuses,
    )
    return [Run(**row) for row in rows]


async def replace_held(connection: Conn, subject: int, by: UUID, runner: str | None = None) -> int:
    """A newer plan replaces those of this subject that are held, of a runner or (None) of all; how many."""
    done = await connection.execute(
        """
        update run set status = 'cancelled', ended_at = now(), decided_by = 'a newer plan', decided_at = now()
        where subject = $1 and status = 'held' and id <> $2 and ($3::text is null or runner = $3)
        """,
        subject,
        by,
        runner,
    )
    return int(done.rpartition(" ")[2])


async def store_plan(connection: Conn, run: UUID, changes: Sequence[tuple[int, Change]]) -> None:
    """Planned changes by the number of their record."""
    await connection.copy_records_to_table(
        "planned",
        schema_name="homeroom_merge",
        columns=("run", "record", "change", "is_delete"),
        records=[(run, number, change_text(change), _deletes(change)) for number, change in changes],
    )


async def planned(connection: Conn, run: UUID, *outcomes: str) -> AsyncIterator[list[tuple[int, str]]]:
    """What of a plan stands so, as `change_text` has it, in blocks, within a transaction of the caller's."""
    cursor = await connection.cursor(
        "select record, change from planned where run = $1 and outcome = any($2::text[]) order by record", run, outcomes
    )
    while rows := await cursor.fetch(_AT_ONCE):
        yield [(row["record"], row["change"]) for row in rows]


async def replace_planned(connection: Conn, run: UUID, changes: Sequence[tuple[int, Change]]) -> None:
    """Other changes of these records, still to be carried out; what is none any more is done."""
    await connection.executemany(
        """
        update planned set change = $3, is_delete = $4, outcome = 'planned', detail = '' where run = $1 and record = $2
        """,
        [(run, number, change_text(change), _deletes(change)) for number, change in changes],
    )


async def numbers_with(connection: Conn, run: UUID, outcome: str) -> list[int]:
    """The records of a run whose changes came to this."""
    query = "select record from planned where run = $1 and outcome = $2 order by record"
    return [row["record"] for row in await connection.fetch(query, run, outcome)]


async def decide(connection: Conn, run: UUID, status: str, by: str) -> bool:
    """What a person says to a run that is held: `running` or `cancelled`. Whether it was held."""
    done = await connection.execute(
        """
        update run set status = $2, decided_by = $3, decided_at = now(), dry = dry and $2 <> 'running',
               ended_at = case when $2 = 'running' then null else now() end
        where id = $1 and status = 'held'
        """,
        run,
        status,
        by,
    )
    return not done.endswith(" 0")


async def planned_of(connection: Conn, run: UUID, numbers: Sequence[int]) -> list[tuple[int, Change]]:
    """What was planned for these records."""
    query = "select record, change from planned where run = $1 and record = any($2::bigint[])"
    return [(row["record"], change_of(row["change"])) for row in await connection.fetch(query, run, numbers)]


async def next_to_do(
    connection: Conn, run: UUID, outcome: str, after: int, limit: int, *, deletes: bool
) -> list[tuple[int, str]]:
    """The next changes of a plan that stand so, beyond a record, as `change_text` has them.

    Those that delete something, or the others.
    """
    rows = await connection.fetch(
        """
        select record, change from planned
        where run = $1 and outcome = $2 and is_delete = $3 and record > $4 order by record limit $5
        """,
        run,
        outcome,
        deletes,
        after,
        limit,
    )
    return [(row["record"], row["change"]) for row in rows]


async def leave_halfway(connection: Conn, run: UUID) -> None:
    """A run ends that was cut: what only the SIS does not have is merged anew by the next."""
    await connection.execute(
        """
        update planned set outcome = 'failed', detail = 'cut off before the SIS had it'
        where run = $1 and outcome = 'halfway'
        """,
        run,
    )


async def note_outcomes(connection: Conn, run: UUID, outcomes: Sequence[tuple[int, str, str]]) -> None:
    """(record, outcome, detail) of planned changes."""
    await connection.execute(
        """
        update planned p set outcome = u.outcome, detail = u.detail
        from unnest($2::bigint[], $3::text[], $4::text[]) as u(record, outcome, detail)
        where p.run = $1 and p.record = u.record
        """,
        run,
        [record for record, _, _ in outcomes],
        [outcome for _, outcome, _ in outcomes],
        [detail for _, _, detail in outcomes],
    )


async def count_outcomes(connection: Conn, run: UUID) -> dict[str, int]:
    rows = await connection.fetch("select outcome, count(*) as n from planned where run = $1 group by outcome", run)
    return {row["outcome"]: row["n"] for row in rows}


def _deletes(change: Change) -> bool:
    return any(write.kind is Kind.DELETE for write in change.writes)
