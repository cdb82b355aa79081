"""Which changes are committed together, and what a commit does not wait for."""

from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel

from homeroom import NotificationType
from homeroom_server.store import records, types
from tests.conftest import Core
from tests.records import accepted, available, note, pairs


async def test_what_arrives_during_a_commit_is_the_next_one(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    blocker = await plain_core.connect()
    row = await types.ensure_type(blocker, NotificationType("Bulletin"))
    async with anyio.create_task_group() as tasks, blocker.transaction():
        await records.lock_type(blocker, row.number)
        tasks.start_soon(accepted, school, "Bulletin", note("first"))
        with anyio.fail_after(5):
            while not plain_core.services.committer.waiting:
                await anyio.lowlevel.checkpoint()
            for index in range(100):
                tasks.start_soon(accepted, school, "Bulletin", note(f"n{index}"))
            while plain_core.services.committer.waiting < 101:
                await anyio.lowlevel.checkpoint()
    sizes = await blocker.fetchval(
        "select array_agg(size order by version) from"
        " (select count(*) as size, min(version) as version from record group by changed_at) one_transaction_each"
    )
    assert sizes == [1, 100]
    assert len(pairs(await available(school, "Bulletin"))) == 101


async def test_a_commit_does_not_wait_for_the_word_of_the_last(plain_core: Core) -> None:
    """The word is spoken over the pool of the readers, who may be busy."""
    school = await plain_core.client("S.0982")
    await accepted(school, "Bulletin", note("warm"))
    pool = plain_core.services.reading.primary.pools["usual"]
    async with AsyncExitStack() as busy:
        for _ in range(pool.get_max_size()):
            await busy.enter_async_context(pool.acquire())
        with anyio.fail_after(5):
            for index in range(3):
                await accepted(school, "Bulletin", note(f"n{index}"))
