"""Inside the process of those who hold: the connections, and what they were answered."""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import cast

import uvloop

from bench.rig import allow_many_files, trusting

_AT_ONCE = 100
_BODIES_MAX = 20
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Following = Callable[[int, int, bytes], bytes | None]
"""What a connection sends next, given its index, which answer this is (0, 1, …) and its body; None: nothing."""


@dataclass(frozen=True, slots=True)
class Answers:
    """When each connection was answered (a moment per answer), the bodies that came, and what it cost the holder."""

    moments: Sequence[Sequence[float]]
    bodies: Sequence[bytes]
    cpu_seconds: float


class HolderError(Exception):
    """A connection was lost, or answered with something else than success, or not in time."""


def body_of(data: bytes) -> bytes | None:
    """The body of a complete answer, None while some of it is missing; HolderError unless it is a success."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    if data[9:10] != b"2":
        raise HolderError(data[:500].decode(errors="replace"))
    if data[9:12] == b"204":
        return b""
    found = _LENGTH.search(data, 0, head + 2)
    if found is None:  # chunked
        return data[head + 4 :] if data.endswith(b"\r\n0\r\n\r\n") else None
    return data[head + 4 :] if len(data) - head - 4 >= int(found[1]) else None


class _Held(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_desk", "_index", "_rest", "transport")

    def __init__(self, desk: "_Desk", index: int) -> None:
        self._desk = desk
        self._index = index
        self._rest = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, failure: Exception | None) -> None:
        self._desk.lost(self, self._index)

    def data_received(self, data: bytes) -> None:
        moment = time.perf_counter()
        data = self._rest + data
        try:
            body = (data if self._desk.mark in data else None) if self._desk.mark else body_of(data)
        except HolderError as failure:
            self._desk.fail(failure)
            return
        self._rest = data if body is None else b""
        if body is not None and (following := self._desk.answered(self._index, moment, body)):
            assert self.transport is not None, "connected"
            self.transport.write(following)


@dataclass
class _Desk:
    """What the process knows: its connections, what they were answered, and how many answers are to come."""

    trust: ssl.SSLContext | None
    held: list[_Held] = field(default_factory=list)
    moments: list[list[float]] = field(default_factory=list)
    bodies: set[bytes] = field(default_factory=set)
    missing: int = 0
    following: Following | None = None
    mark: bytes = b""
    failure: HolderError | None = None
    cpu: float = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def answered(self, index: int, moment: float, body: bytes) -> bytes | None:
        seen = self.moments[index]
        seen.append(moment)
        if len(self.bodies) < _BODIES_MAX:
            self.bodies.add(body)
        self.missing -= 1
        if self.missing == 0:
            asyncio.get_running_loop().call_soon(self.over.set)  # after what follows has been sent
        return None if self.following is None else self.following(index, len(seen) - 1, body)

    def lost(self, one: _Held, index: int) -> None:
        if index < len(self.held) and self.held[index] is one:
            self.fail(HolderError(f"connection {index} was lost"))

    def fail(self, failure: HolderError) -> None:
        self.failure = self.failure or failure
        self.over.set()

    async def connect(self, host: str, port: int, count: int) -> None:
        await self.close()
        self.held = [_Held(self, index) for index in range(count)]
        loop = asyncio.get_running_loop()
        for start in range(0, count, _AT_ONCE):
            some = self.held[start : start + _AT_ONCE]
            opening = (loop.create_connection(lambda one=one: one, host, port, ssl=self.trust) for one in some)
            await asyncio.gather(*opening)

    async def expect(self, answers: int, following: Following | None, mark: bytes) -> None:
        self.moments = [[] for _ in self.held]
        self.bodies = set()
        self.missing, self.following, self.mark = answers, following, mark
        self.over.clear()
        self.cpu = time.process_time()

    async def ask(self, requests: Sequence[bytes], each_second: int, first: int) -> None:
        batch = max(1, each_second // 50)
        begun = time.perf_counter()
        for start in range(0, len(requests), batch):
            for index, request in enumerate(requests[start : start + batch], first + start):
                transport = self.held[index].transport
                assert transport is not None, "connected"
                transport.write(request)
            await asyncio.sleep(begun + (start + batch) / each_second - time.perf_counter())
        self.cpu = time.process_time()

    async def visit(self, host: str, port: int, requests: Sequence[bytes], at_once: int) -> None:
        for start in range(0, len(requests), at_once):
            some = requests[start : start + at_once]
            await self.connect(host, port, len(some))
            await self.expect(len(some), None, b"")
            await self.ask(some, 1_000_000, 0)
            await self.over.wait()
            if self.failure:
                raise self.failure
        await self.close()

    async def answers(self, seconds_max: float) -> Answers:
        try:
            async with asyncio.timeout(seconds_max):
                await self.over.wait()
        except TimeoutError:
            raise HolderError(f"{self.missing} answers were missing after {seconds_max} s") from None
        if self.failure:
            raise self.failure
        return Answers(self.moments, list(self.bodies), time.process_time() - self.cpu)

    async def close(self) -> None:
        held, self.held = self.held, []  # losing these is no failure
        for one in held:
            if one.transport is not None:
                one.transport.abort()


def run(pipe: Pipe, certificate: Path | None) -> None:
    """Do what comes through the pipe, until the process is ended."""
    allow_many_files()
    uvloop.run(_serve(pipe, trusting(certificate)))


async def _serve(pipe: Pipe, trust: ssl.SSLContext | None) -> None:
    desk = _Desk(trust)
    while True:
        name, arguments = await asyncio.to_thread(pipe.recv)
        try:
            pipe.send(await getattr(desk, name)(*arguments))
        except HolderError as failure:
            pipe.send(failure)
        except OSError as failure:
            pipe.send(HolderError(f"{name}: {failure}"))
