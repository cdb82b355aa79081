"""One child process: how it is started, asked, ended, and why it ended."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict
from shutil import rmtree

import anyio

from homeroom_merge.settings.model import Sandbox
from homeroom_merge.sis import wire
from homeroom_merge.sis.confinement import Confinement, close_to_others
from homeroom_merge.sis.forking import Child, Forkserver, kept_environment
from homeroom_merge.sis.side import SandboxError
from homeroom_merge.sis.users import own_user
from homeroom_merge.values import Json

_PRINTED_BYTES_MAX = 64 * 2**20
_TOLD_CHARACTERS = 300
_SECONDS_TO_END = 5
_SECONDS_TO_ARRIVE = 1
_OS_FAULTS: Mapping[str, type[OSError]] = {
    each.__name__: each for each in (ConnectionError, TimeoutError, FileNotFoundError, PermissionError, OSError)
}


class _Printed(asyncio.Protocol):
    """The last of what a process prints; it ends if that is too much."""

    def __init__(self, bytes_max: int) -> None:
        self.silent = asyncio.Event()
        self.bytes = 0
        self.kept = b""
        self.child: Child | None = None
        self._bytes_max = bytes_max

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self.kept = (self.kept + data)[-self._bytes_max :]
        if self.bytes > _PRINTED_BYTES_MAX and self.child is not None:
            self.child.signal(signal.SIGKILL)

    def connection_lost(self, exc: Exception | None) -> None:
        self.silent.set()


class Spawned:
    """A child under its limits. Once something has gone wrong with it, it is `broken`, and good for nothing more."""

    def __init__(self, limits: Sandbox, stack: AsyncExitStack) -> None:
        self._limits, self._stack = limits, stack
        self._deadline = anyio.current_time() + limits.seconds_max
        self.broken = False
        self._printed = _Printed(limits.output_kib_max * 1024)
        self._child: Child
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._output: asyncio.ReadTransport

    @classmethod
    async def start(cls, forkserver: Forkserver, limits: Sandbox) -> "Spawned":
        """One that waits to be told what it is for. OSError, UsersError, ConfinementError."""
        async with AsyncExitStack() as stack:
            user, group = stack.enter_context(own_user())
            if user is None or group is None:
                close_to_others()
            else:
                await forkserver.end_all(user, group)
                stack.push_async_callback(forkserver.end_all, user, group)
            folder = stack.enter_context(_folder(user, group))
            confinement = Confinement(limits.memory_mib_max * 2**20, limits.cpu_seconds_max, user, group)
            spawned = cls(limits, stack.pop_all())
            await spawned._fork(forkserver, {"environment": _environment(folder), "confinement": asdict(confinement)})
            return spawned

    async def _fork(self, forkserver: Forkserver, asked: Mapping[str, object]) -> None:
        ours, theirs = socket.socketpair()
        output, printed = os.pipe()
        try:
            self._child = self._printed.child = await forkserver.fork(asked, theirs.fileno(), printed)
        except BaseException:
            ours.close()
            os.close(output)
            await self._stack.aclose()
            raise
        finally:
            theirs.close()
            os.close(printed)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        loop = asyncio.get_running_loop()
        self._output, _ = await loop.connect_read_pipe(lambda: self._printed, os.fdopen(output, "rb"))
        # Processes that it leaves behind may have its pipe, and hold it open.
        self._child.call_when_exited(lambda: loop.call_later(_SECONDS_TO_ARRIVE, self._writer.close))

    @property
    def has_ended(self) -> bool:
        return self._child.exited.is_set()

    def printed(self) -> str:
        """What it has printed since it was asked last, cut at its limit."""
        kept, self._printed.kept = self._printed.kept, b""
        return kept.decode(errors="replace").replace("\0", "�")

    async def asked(self, what: Mapping[str, object]) -> AsyncGenerator[Json, None]:
        """What it says to a question; the last is what has no `records`. SandboxError; OSError of the SIS."""
        self.broken = True  # unless the answer comes to its end
        async with self.judged():
            self._writer.write(wire.frame(what))
            while "records" in (said := await self._heard()):
                yield said
        if "raised" in said:
            raise await self._fault(said)
        self.broken = False
        yield said

    async def answer(self, what: Mapping[str, object]) -> Json:
        """Its one answer. As `asked`."""
        async with aclosing(self.asked(what)) as every:
            return await anext(every)

    @asynccontextmanager
    async def judged(self) -> AsyncIterator[None]:
        """What it said is looked at meanwhile: IllFormedError is its end, and a SandboxError."""
        try:
            yield
        except wire.IllFormedError as fault:
            raise await self._ended(f"said {fault}") from None

    async def _heard(self) -> Json:
        seconds = min(self._limits.answer_seconds_max, self._deadline - anyio.current_time())
        try:
            with anyio.fail_after(seconds):
                head = await self._reader.readexactly(wire.LENGTH_BYTES)
                return wire.said_in(await self._reader.readexactly(wire.length_of(head)))
        except TimeoutError:
            if seconds < self._limits.answer_seconds_max:
                raise await self._ended(f"took more than {self._limits.seconds_max} s in all") from None
            raise await self._ended(f"did not answer within {self._limits.answer_seconds_max} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            with anyio.move_on_after(_SECONDS_TO_END):
                await self._child.exited.wait()
            raise await self._ended(self._why()) from None

    def _why(self) -> str:
        code = self._child.exit_code
        if self._printed.bytes > _PRINTED_BYTES_MAX:
            return f"printed more than {_PRINTED_BYTES_MAX // 2**20} MiB"
        match code:
            case None:
                return "closed its pipe"
            case wire.OUT_OF_MEMORY:
                return f"used more than {self._limits.memory_mib_max} MiB"
            case _ if code == -signal.SIGXCPU:
                return f"used more than {self._limits.cpu_seconds_max} s of processor time"
            case _ if code < 0:
                return f"ended by the signal {signal.Signals(-code).name}"
        return f"ended by itself with exit code {code}"

    async def _fault(self, said: Json) -> Exception:
        """What a connector or formatter raised, as far as it says so."""
        match said:
            case {"raised": [str(name), *names], "text": str(text), "place": str(place)}:
                kind = next((_OS_FAULTS[each] for each in (name, *names) if each in _OS_FAULTS), None)
                if kind is not None:
                    self.broken = False
                    return kind(text)
                return await self._ended(f"failed: {name}: {text}{place}")
        return await self._ended("said a fault that is none")

    async def _ended(self, why: str) -> SandboxError:
        """End it; why, with what it printed last."""
        await self.end(at_once=True)
        said = self._printed.kept.decode(errors="replace").replace("\0", "�").strip()[-_TOLD_CHARACTERS:]
        return SandboxError(f"the connector or formatter {why}" + (f"; what it printed last: {said}" if said else ""))

    async def end(self, *, at_once: bool = False) -> None:
        """Let it close what it holds, or not; then nothing of it is left."""
        with anyio.CancelScope(shield=True):
            self.broken = True
            self._writer.close()
            for number in (*(() if at_once else (None,)), signal.SIGTERM, signal.SIGKILL):
                if number is not None:
                    self._child.signal(number)
                with anyio.move_on_after(_SECONDS_TO_END):
                    await self._child.exited.wait()
            await self._stack.aclose()
            with anyio.move_on_after(_SECONDS_TO_END):
                await self._printed.silent.wait()
            self._output.close()


@contextmanager
def _folder(user: int | None, group: int | None) -> Iterator[str]:
    """For what it keeps in files meanwhile; nobody else sees it."""
    folder = tempfile.mkdtemp(prefix="homeroom-merge-")
    try:
        if user is not None and group is not None:
            os.chown(folder, user, group)
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def _environment(folder: str) -> Mapping[str, str]:
    return {**kept_environment(), "TMPDIR": folder, "HOME": folder}
