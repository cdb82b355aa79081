"""Connections are lent in the order in which they were asked for."""

import anyio
import anyio.lowlevel
import asyncpg

from homeroom_server.lending import BoundedPool

_CALLERS, _TIMES = 40, 20


async def test_nobody_overtakes_who_waits_for_a_connection(postgres_url: str) -> None:
    served = 0
    overtaken: list[int] = []

    async def come_again(pool: BoundedPool) -> None:
        nonlocal served
        for _ in range(_TIMES):
            before = served
            async with pool.acquire() as connection:
                overtaken.append(served - before)
                served += 1
                await connection.fetchval("select 1")

    async def connect(*_: object, **__: object) -> asyncpg.Connection:
        return await asyncpg.connect(postgres_url)

    async with BoundedPool(connect, 30, 2) as pool, anyio.create_task_group() as tasks:
        async with pool.acquire(), pool.acquire():  # both are open: who opens one waits for more than its turn
            pass
        for _ in range(_CALLERS):
            tasks.start_soon(come_again, pool)
    assert served == _CALLERS * _TIMES
    assert max(overtaken) < _CALLERS, "nobody was served twice while another waited"
