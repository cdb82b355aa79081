"""Work that ends when its client hangs up: a plain endpoint would go on unheard."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from starlette.types import Receive

T = TypeVar("T")


async def unless_hung_up(receive: Receive, work: Callable[[], Awaitable[T]]) -> T | None:
    """What `work` returns or raises; None, with the work cancelled, if the client hangs up first."""
    done: list[T] = []
    failure: Exception | None = None

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        try:
            done.append(await work())
        except Exception as raised:  # taken out of the task group, which would wrap it
            failure = raised
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return done[0] if done else None
