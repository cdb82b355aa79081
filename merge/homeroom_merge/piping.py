"""Two steps of a flow at once: one item is taken while the next is made."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def piped(made: AsyncIterator[T], take: Callable[[T], Awaitable[object]]) -> None:
    """Take every item, in order, each while the next is made. What either fails with is raised, and not in a group."""
    failures: list[Exception] = []
    give, coming = anyio.create_memory_object_stream[T](0)

    async def make() -> None:
        async with give:
            async for each in made:
                try:
                    await give.send(each)
                except anyio.BrokenResourceError:
                    return  # nobody takes any more, for a failure that is noted

    async def take_all() -> None:
        async with coming:
            async for each in coming:
                await take(each)

    async def noted(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as failure:
            failures.append(failure)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(noted, take_all)
        tasks.start_soon(noted, make)
    for failure in failures:
        raise failure
