"""One item is taken while the next is made: all of them, in order, and whoever fails says so itself."""

from collections.abc import AsyncIterator

import anyio
import pytest

from homeroom_merge.piping import piped


async def test_each_is_taken_in_order_while_the_next_is_made() -> None:
    second_is_made = anyio.Event()
    taken: list[int] = []

    async def made() -> AsyncIterator[int]:
        yield 0
        second_is_made.set()
        yield 1
        yield 2

    async def take(item: int) -> None:
        await second_is_made.wait()
        taken.append(item)

    with anyio.fail_after(10):
        await piped(made(), take)
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("failure", [ConnectionError, anyio.BrokenResourceError])
@pytest.mark.parametrize("who", ["maker", "taker"])
async def test_whoever_fails_ends_both_and_is_raised_itself(who: str, failure: type[Exception]) -> None:
    taken: list[int] = []

    async def made() -> AsyncIterator[int]:
        for item in range(1_000_000):
            if who == "maker" and item == 3:
                raise failure(who)
            yield item

    async def take(item: int) -> None:
        if who == "taker" and item == 3:
            raise failure(who)
        taken.append(item)

    with anyio.fail_after(10), pytest.raises(failure, match=who):
        await piped(made(), take)
    assert taken == [0, 1, 2]
