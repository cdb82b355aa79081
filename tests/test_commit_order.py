"""Version order is commit order: whatever stalls, dies or is killed, no reader passes over a lower version."""

import os
import signal
from uuid import uuid4

import anyio
import pytest

from homeroom import Client, HomeroomError, NotificationType
from homeroom_server.store import records, types
from homeroom_server.store.connection import Conn
from homeroom_server.store.records import RecordWrite, Showing
from homeroom_server.store.types import TypeRow
from tests.conftest import Core
from tests.processes import Node, running_node
from tests.records import accepted, available, note, pairs, versions_of


async def write(connection: Conn, row: TypeRow, record_id: str, owner: int) -> list[int]:
    """What the committer does between the lock and the commit, for one new record of a public type."""
    new = RecordWrite(record_id, True, False, owner, None, "{}", body_changed=True)
    versions, _ = await records.write_records(connection, row, [new], Showing(), raise_triggers=False)
    return versions


async def test_no_reader_passes_over_a_writer_stalled_before_its_commit(plain_core: Core) -> None:
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("O.1")
    (first,) = await accepted(writer, "Bulletin", note("first"))
    stalled = await plain_core.connect()
    row = await types.ensure_type(stalled, NotificationType("Bulletin"))
    owner = await stalled.fetchval("select number from organization where code = 'S.0982'")
    transaction = stalled.transaction()
    await transaction.start()
    await records.lock_type(stalled, row.number)
    (lower,) = await write(stalled, row, "stalled", owner)
    higher: list[int] = []

    async def submit_behind() -> None:
        higher.extend(await accepted(writer, "Bulletin", note("behind")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submit_behind)
        other = await plain_core.connect()
        with anyio.fail_after(5):
            while not await other.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted"):
                await anyio.sleep(0.01)
        for _ in range(20):
            seen = await available(reader, "Bulletin", since=first)
            assert (seen["reason"], seen["maxCoreVersion"]) == ("none", first)
        assert not higher
        await transaction.commit()
    assert lower < higher[0]
    assert pairs(await available(reader, "Bulletin", since=first)) == [("stalled", lower), ("behind", higher[0])]


async def test_a_stalled_writer_of_one_type_does_not_hold_up_another(plain_core: Core) -> None:
    writer = await plain_core.client("S.0982")
    stalled = await plain_core.connect()
    row = await types.ensure_type(stalled, NotificationType("Bulletin"))
    async with stalled.transaction():
        await records.lock_type(stalled, row.number)
        with anyio.fail_after(2):
            assert await accepted(writer, "Note", note("a")) != []


async def test_a_writer_that_stalls_for_good_is_ended_and_the_others_go_on(plain_core: Core) -> None:
    """The frozen writer uses a connection as nodes do, with their time-outs."""
    writer = await plain_core.client("S.0982")
    await accepted(writer, "Bulletin", note("first"))
    pool = plain_core.services.write_pool
    with anyio.fail_after(30):
        async with pool.acquire() as frozen:
            row = await types.ensure_type(frozen, NotificationType("Bulletin"))
            transaction = frozen.transaction()
            await transaction.start()
            await records.lock_type(frozen, row.number)
            owner = await frozen.fetchval("select number from organization where code = 'S.0982'")
            (lost,) = await write(frozen, row, "lost", owner)
            (behind,) = await accepted(writer, "Bulletin", note("behind"))
    assert lost < behind
    assert [i for i, _ in pairs(await available(writer, "Bulletin"))] == ["first", "behind"]


async def submit_until_killed(client: Client, worker: int, acknowledged: dict[str, tuple[int, int]]) -> None:
    """Submit batches of three until the node is gone; what it acknowledged, by id: (batch, version)."""
    batch = 0
    while True:
        batch += 1
        names = [f"w{worker}.b{batch}.{i}" for i in range(3)]
        try:
            answer = await client.submit("Bulletin", [note(name) for name in names], uuid4())
        except HomeroomError as failure:
            assert failure.code == 2001
            return
        assert all(not result["rejections"] for result in answer.results)
        acknowledged.update({r["id"]: (batch, r["coreVersion"]) for r in answer.results})


@pytest.mark.timeout(180)
async def test_kill_9_in_the_middle_of_submits_loses_nothing_acknowledged(
    node_files: Node,
) -> None:
    top = 0
    survivors: dict[str, int] = {}
    for round_ in range(3):
        acknowledged: dict[str, tuple[int, int]] = {}
        async with running_node(node_files) as node, anyio.create_task_group() as tasks:
            for worker in range(8):
                tasks.start_soon(_work, node, round_ * 100 + worker, acknowledged)
            with anyio.fail_after(30):
                while len(acknowledged) < 300:
                    await anyio.sleep(0.01)
            os.kill(node.pid, signal.SIGKILL)
        async with running_node(node_files) as node, node.client() as school:
            held: dict[str, int] = {}
            cursor = 0
            while True:
                found = await available(school, "Bulletin", cursor)
                listed = pairs(found)
                assert versions_of(listed) == sorted(set(versions_of(listed)))
                held |= dict(listed)
                cursor = found["maxCoreVersion"]
                if found["complete"]:
                    break
            assert {name: version for name, (_, version) in acknowledged.items()}.items() <= held.items()
            assert survivors.items() <= held.items()
            whole = {name.rpartition(".")[0] for name in held}
            assert len(held) == 3 * len(whole), "a batch was stored in part"
            assert all(version > top for name, version in held.items() if name not in survivors)
            (fresh,) = await accepted(school, "Bulletin", note(f"fresh{round_}.x.0"))
            assert fresh > max(held.values())
            await accepted(school, "Bulletin", note(f"fresh{round_}.x.1"), note(f"fresh{round_}.x.2"))
            survivors = dict(pairs(await available(school, "Bulletin")))
            top = max(survivors.values())


async def _work(node: Node, worker: int, acknowledged: dict[str, tuple[int, int]]) -> None:
    async with node.client() as client:
        await submit_until_killed(client, worker, acknowledged)
