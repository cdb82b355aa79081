"""Those who hold: a process of its own with thousands of connections, that sends finished bytes and notes the answers.

It reads the clock that all processes share (`time.perf_counter`), so its moments stand beside those of whoever asks.
"""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, cast

from bench.held_connections import Answers, Following, HolderError, run


class Holder:
    """The handle on the process; each call is bounded in time."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    async def connect(self, host: str, port: int, count: int) -> None:
        """Open so many connections, in place of any from before."""
        await self._call("connect", 120, host, port, count)

    async def ask(self, requests: Sequence[bytes], each_second: int, first: int = 0) -> None:
        """Send one request on each connection from `first` on, so many a second; `expect` comes before."""
        await self._call("ask", 60 + len(requests) / each_second, requests, each_second, first)

    async def visit(self, host: str, port: int, requests: Sequence[bytes], at_once: int, seconds_max: float) -> None:
        """Send each request on a connection of its own, so many at once, and close it when it is answered."""
        await self._call("visit", seconds_max, host, port, requests, at_once)

    async def expect(self, answers: int, following: Following | None = None, mark: bytes = b"") -> None:
        """Begin to count: so many answers in all are to come.

        With a mark, answers do not end: each piece that holds the mark is one.
        """
        await self._call("expect", 10, answers, following, mark)

    async def answers(self, seconds_max: float) -> Answers:
        """Once all expected answers are there."""
        return cast(Answers, await self._call("answers", seconds_max, seconds_max))

    async def close(self) -> None:
        """End every connection."""
        await self._call("close", 60)

    async def _call(self, name: str, seconds_max: float, *arguments: Any) -> Any:
        def turn() -> Any:
            self._pipe.send((name, arguments))
            if not self._pipe.poll(seconds_max + 10):
                raise HolderError(f"{name}: nothing after {seconds_max} s")
            return self._pipe.recv()

        answer = await asyncio.to_thread(turn)
        if isinstance(answer, HolderError):
            raise answer
        return answer


@asynccontextmanager
async def holding_process(certificate: Path | None = None) -> AsyncIterator[Holder]:
    """A holder, in a process that ends with the block; it speaks TLS with who has that certificate."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=run, args=(theirs, certificate), daemon=True)
    process.start()
    try:
        yield Holder(ours)
    finally:
        process.kill()
        process.join()
