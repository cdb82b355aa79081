"""The agent of chaos: seeded mishaps, each a context in which something is wrong and after which it is made good."""

import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count

import anyio
import anyio.to_thread
import asyncpg

from tests.history.events import Acted
from tests.history.front import Front
from tests.history.world import World

Mishap = Callable[[World, random.Random], AbstractAsyncContextManager[object]]

_HOLD_SECONDS = (0.3, 4.0)
_PAUSE_SECONDS = (0.2, 2.5)
_AT_ONCE = 0.3
"""How often something else goes wrong as well."""
_TYPE_LOCK = 1
"""The class of the advisory locks of types."""
_TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like $1"
in_thread = anyio.to_thread.run_sync


@asynccontextmanager
async def kill_node(world: World, chance: random.Random) -> AsyncIterator[None]:
    """kill -9 of one node."""
    node = chance.choice(world.nodes)
    await node.end()
    yield
    await node.ready()


@asynccontextmanager
async def kill_all_nodes(world: World, chance: random.Random) -> AsyncIterator[None]:
    """kill -9 of every node."""
    for node in world.nodes:
        await node.end()
    yield
    async with anyio.create_task_group() as tasks:
        for node in world.nodes:
            tasks.start_soon(node.ready)


@asynccontextmanager
async def rolling_restart(world: World, chance: random.Random) -> AsyncIterator[None]:
    """SIGTERM, the end, a start, and only then the next node."""
    for node in world.nodes:
        await node.end(signal.SIGTERM)
        await node.ready()
    yield


@asynccontextmanager
async def freeze_node(world: World, chance: random.Random) -> AsyncIterator[None]:
    """One node hangs, its connections open."""
    node = chance.choice(world.nodes)
    node.send(signal.SIGSTOP)
    yield
    node.send(signal.SIGCONT)


@asynccontextmanager
async def jump_clock(world: World, chance: random.Random) -> AsyncIterator[None]:
    """The wall clock of one node jumps by seconds, hours or years, either way, and later back."""
    node = chance.choice(world.nodes)
    node.shift_clock(chance.choice((-1, 1)) * chance.choice((2.0, 3_600.0, 86_400.0 * 400)))
    yield
    node.shift_clock(0)


@asynccontextmanager
async def kill_postgres(world: World, chance: random.Random) -> AsyncIterator[None]:
    """kill -9 of every process of the primary; it recovers from its log."""
    await in_thread(world.primary.kill)
    yield
    await in_thread(world.primary.start)


@asynccontextmanager
async def cut_listen(world: World, chance: random.Random) -> AsyncIterator[None]:
    """Nobody hears of commits until he listens again."""
    await _on_primary(
        world, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", "homeroom feed"
    )
    yield


@asynccontextmanager
async def cut_backends(world: World, chance: random.Random) -> AsyncIterator[None]:
    """Every node loses every connection to the primary."""
    await _on_primary(
        world, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like $1", "homeroom%"
    )
    yield


@asynccontextmanager
async def stall_type(world: World, chance: random.Random) -> AsyncIterator[None]:
    """A transaction that none of ours would make holds the lock of a type, and does nothing."""
    connection = await world.connect()
    transaction = connection.transaction()
    await transaction.start()
    numbers = await connection.fetch("select number from notification_type order by number")
    if numbers:
        with suppress(asyncpg.QueryCanceledError):
            number = chance.choice(numbers)["number"]
            await connection.execute("set local statement_timeout = '10s'")
            await connection.execute("select pg_advisory_xact_lock($1, $2)", _TYPE_LOCK, number)
    yield
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await transaction.rollback()
    await connection.close(timeout=5)


@asynccontextmanager
async def freeze_backend(world: World, chance: random.Random) -> AsyncIterator[None]:
    """A backend of a node hangs, perhaps in the midst of a transaction."""
    rows = await _on_primary(
        world,
        "select pid from pg_stat_activity where application_name = $1 order by state_change desc limit 8",
        "homeroom",
    )
    pids = [row["pid"] for row in rows]
    frozen = chance.sample(pids, min(2, len(pids)))
    _signal(frozen, signal.SIGSTOP)
    yield
    _signal(frozen, signal.SIGCONT)


@asynccontextmanager
async def age_leases(world: World, chance: random.Random) -> AsyncIterator[None]:
    """What a forward jump of the database's clock does: every lease has lapsed, whoever works under it."""
    await _on_primary(world, "update status_trigger set due_at = due_at - interval '1 hour'")
    await _on_primary(world, "update access_trigger set leased_until = '-infinity'")
    yield


@asynccontextmanager
async def collect(world: World, chance: random.Random) -> AsyncIterator[None]:
    """The retention of all that is gone ends at once: a node that starts collects it."""
    await _on_primary(
        world,
        "insert into version_mark (marked_at, version)"
        " select now() - interval '401 days', last_value from core_version",
    )
    node = chance.choice(world.nodes)
    await node.end(signal.SIGTERM)
    yield
    await node.ready()


@asynccontextmanager
async def cut_connections(world: World, chance: random.Random) -> AsyncIterator[None]:
    """Every connection through some of the proxies is cut, again and again for a while."""
    fronts = chance.sample(list(world.fronts), 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_cutting, fronts, chance)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def delay_replication(world: World, chance: random.Random) -> AsyncIterator[None]:
    """The standby receives, and shows nothing of it."""
    await in_thread(world.standby.sql, "select pg_wal_replay_pause()")
    yield
    await in_thread(world.standby.sql, "select pg_wal_replay_resume()")


@asynccontextmanager
async def kill_standby(world: World, chance: random.Random) -> AsyncIterator[None]:
    """kill -9 of every process of the standby."""
    await in_thread(world.standby.kill)
    yield
    await in_thread(world.standby.start)


@asynccontextmanager
async def fail_over(world: World, chance: random.Random) -> AsyncIterator[None]:
    """The primary is killed and the standby promoted; later the old one comes back as its standby."""
    await in_thread(_promote, world)
    yield
    await in_thread(_follow_again, world)


@asynccontextmanager
async def lossy_fail_over(world: World, chance: random.Random) -> AsyncIterator[None]:
    """The same after the standby has heard nothing for a while: what was acknowledged since is lost."""
    standby = world.standby
    await in_thread(standby.sql, "alter system set primary_conninfo = ''")
    await in_thread(standby.sql, "select pg_reload_conf()")
    await anyio.sleep(chance.uniform(*_HOLD_SECONDS))
    await in_thread(_promote, world)
    yield
    await in_thread(_follow_again, world)


@asynccontextmanager
async def two_primaries(world: World, chance: random.Random) -> AsyncIterator[None]:
    """The primary hangs, the standby is promoted, and the old one wakes and goes on as if nothing had been."""
    old = world.primary
    await in_thread(old.pause)
    await in_thread(world.standby.promote)
    world.primary, world.standby = world.standby, old
    await anyio.sleep(chance.uniform(*_HOLD_SECONDS))
    await in_thread(old.unpause)
    yield
    await in_thread(old.kill)
    await in_thread(_follow_again, world)


ON_NODES = ("kill_node", "kill_all_nodes", "rolling_restart", "freeze_node", "jump_clock", "cut_connections")
ON_DATABASE = (
    *("kill_postgres", "cut_listen", "cut_backends", "stall_type", "freeze_backend", "age_leases", "collect"),
    *("delay_replication", "kill_standby", "fail_over", "lossy_fail_over", "two_primaries"),
)
MISHAPS: Mapping[str, Mishap] = {name: globals()[name] for name in ON_NODES + ON_DATABASE}
_ALONE = ("collect",)
"""It ends and starts a node itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One mishap, or two at once, held for a while. `number` and the seed give each its chances."""

    number: int
    names: tuple[str, ...]
    hold_seconds: float
    pause_seconds: float


def plan(seed: int) -> Iterator[Step]:
    """What will go wrong, for ever; a seed always plans the same."""
    chance = random.Random(f"{seed} chaos")
    numbers = count()
    while True:
        # Every mishap once before any comes again, so that a short run has seen most of them.
        for name in chance.sample(ON_NODES + ON_DATABASE, len(ON_NODES + ON_DATABASE)):
            others = [other for other in (ON_NODES if name in ON_DATABASE else ON_DATABASE) if other not in _ALONE]
            twice = name not in _ALONE and chance.random() < _AT_ONCE
            names = (name, chance.choice(others)) if twice else (name,)
            yield Step(next(numbers), names, chance.uniform(*_HOLD_SECONDS), chance.uniform(*_PAUSE_SECONDS))


async def take(world: World, seed: int, step: Step) -> None:
    """Let it go wrong, wait, make it good, and record it."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        # The database comes back first: a node that starts needs its primary.
        for name in sorted(step.names, key=lambda name: name in ON_DATABASE):
            chance = random.Random(f"{seed} {step.number} {name}")
            await stack.enter_async_context(MISHAPS[name](world, chance))
        await anyio.sleep(step.hold_seconds)
    for name in step.names:
        world.recorder.add(Acted(began=began, ended=time.monotonic(), action=name))
    await anyio.sleep(step.pause_seconds)


async def _on_primary(world: World, statement: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await world.connect()
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close(timeout=5)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def _keep_cutting(fronts: Sequence[Front], chance: random.Random) -> None:
    while True:
        for front in fronts:
            front.cut()
        await anyio.sleep(chance.uniform(0.05, 0.6))


def _promote(world: World) -> None:
    world.primary.kill()
    world.standby.promote()
    world.primary, world.standby = world.standby, world.primary


def _follow_again(world: World) -> None:
    world.standby.follow_again(world.primary)
    world.standby.start()
