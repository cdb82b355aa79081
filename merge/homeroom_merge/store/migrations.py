"""Migrations: SQL files that bring tables from one version of a schema to the next, while others work on them.

A file is named `0002_1_tables.sql`: the version that it leads to, its place among that version's files, its subject.
The last file of a version notes the version. Every file can be run again: a migration that was cut begins its version
anew.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import NamedTuple

import anyio
import asyncpg

from homeroom_merge.refusal import RefusedError
from homeroom_merge.store.connection import AWAY, Conn

_LOCK = 50
_LOCK_MILLISECONDS = 400
"""So long those who work on a table may wait behind us: less than it takes PostgreSQL to look for deadlocks, so that we
give way, and nobody else."""
_PAUSE_SECONDS = 2.0
PATIENCE_SECONDS = 600.0
"""So long a step is tried again while somebody else holds what it needs."""

Tell = Callable[[str], None]
"""Is told what is being done, for people."""


class MigrationError(RefusedError):
    """A migration was not completed; what it has done stays, and run again it goes on."""


class Step(NamedTuple):
    """A file. What is in `concurrently` ones is done outside of transactions: it takes long, and stops nobody."""

    version: int
    name: str
    text: str

    @property
    def concurrently(self) -> bool:
        return self.name.endswith(".concurrently.sql")


class Migrated(NamedTuple):
    """From which version to which a schema was brought, by which files; None: there was none."""

    before: int | None
    after: int
    steps: Sequence[str]


def steps_from(package: str, version: int) -> list[Step]:
    """The files in a package's folder `migrations` that lead on from a version, in their order."""
    files = [each for each in resources.files(package).joinpath("migrations").iterdir() if each.name.endswith(".sql")]
    files.sort(key=lambda each: each.name)
    steps = [Step(int(each.name[:4]), each.name, each.read_text(encoding="utf-8")) for each in files]
    return [step for step in steps if step.version > version]


@asynccontextmanager
async def alone(connection: Conn, tell: Tell) -> AsyncIterator[None]:
    """Nobody else migrates in this database meanwhile; who does is waited for. MigrationError."""
    # A session that waits for a lock has a snapshot, for whose end an index that is made concurrently would wait.
    has_told = False
    while not await _try_lock(connection):
        if not has_told:
            tell("another migration is going on; this one waits for it")
            has_told = True
        await anyio.sleep(_PAUSE_SECONDS / 4)
    try:
        await connection.execute(
            """
            select set_config(name, '0', false) from pg_settings
            where name in ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')
            """
        )
        yield
    except AWAY as failure:
        raise MigrationError(f"the database cannot go on: {failure}; run the migration again, and it does") from failure
    finally:
        if not connection.is_closed():
            await connection.execute("select pg_advisory_unlock($1, 0)", _LOCK)


async def _try_lock(connection: Conn) -> bool:
    return bool(await connection.fetchval("select pg_try_advisory_lock($1, 0)", _LOCK))


async def run(connection: Conn, steps: Sequence[Step], tell: Tell) -> None:
    """All of them; only when nobody else migrates. MigrationError says which one failed, and why."""
    for step in steps:
        tell(f"schema {step.version}: {step.name}")
        try:
            if step.concurrently:
                await _run_concurrently(connection, step)
            else:
                await _run_patiently(connection, step, tell)
        except AWAY:
            raise
        except asyncpg.PostgresError as failure:
            raise MigrationError(f"{step.name} failed: {failure}; mend that, and run the migration again") from failure


async def _run_patiently(connection: Conn, step: Step, tell: Tell) -> None:
    """In one transaction that waits for no table for long: whoever wants the table next waits behind it."""
    deadline = anyio.current_time() + PATIENCE_SECONDS
    has_told = False
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"set local lock_timeout = {_LOCK_MILLISECONDS}")
                await connection.execute(step.text)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as failure:
            oldest = await _oldest_transaction(connection)
            if anyio.current_time() > deadline:
                raise MigrationError(
                    f"{step.name}: others hold the tables all the time; {oldest}: end it, and run the migration again"
                ) from failure
            if not has_told:
                tell(f"{step.name} waits for others to let go of its tables; {oldest}")
                has_told = True
        await anyio.sleep(_PAUSE_SECONDS * random.uniform(0.5, 1))


async def _oldest_transaction(connection: Conn) -> str:
    said = await connection.fetchval(
        """
        select format('the oldest transaction is that of process %s (%s), begun %s seconds ago', pid,
                      coalesce(nullif(application_name, ''), 'no name'), extract(epoch from now() - xact_start)::int)
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
          and backend_type = 'client backend'
        order by xact_start limit 1
        """
    )
    return said or "no transaction is open any more"


async def _run_concurrently(connection: Conn, step: Step) -> None:
    """Statement by statement. Those of its indexes that were left half made are made anew."""
    await connection.execute("set lock_timeout = 0")  # it waits for transactions to end, and nobody waits for it
    for name in await connection.fetchval(
        """
        select coalesce(array_agg(format('%I.%I', n.nspname, c.relname)), '{}')
        from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
        where not i.indisvalid and n.nspname = current_schema() and $1 ~ ('\\m' || c.relname || '\\M')
        """,
        step.text,
    ):
        await connection.execute(f"drop index concurrently if exists {name}")
    for statement in step.text.split(";"):
        if statement.strip():
            await connection.execute(statement)
