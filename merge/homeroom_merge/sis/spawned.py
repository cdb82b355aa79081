"""One child process: how it is started, asked, ended, and why it ended."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from shutil import rmtree
from typing import cast

import anyio

from homeroom_merge.settings.model import Sandbox
from homeroom_merge.sis import wire
from homeroom_merge.sis.confinement import close_to_others
from homeroom_merge.sis.side import SandboxError
from homeroom_merge.sis.users import own_user
from homeroom_merge.values import Json

_START = (
    "import json,sys;said=json.loads(sys.argv[1]);sys.path[:]=said.pop('path');"
    "from homeroom_merge.sis.child import main;main(**said)"
)
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
         "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")  # fmt: skip
"""Variables that a connector may need to reach a SIS at all."""
_PRINTED_BYTES_MAX = 64 * 2**20
_TOLD_CHARACTERS = 300
_SECONDS_TO_END = 5
_SECONDS_TO_ARRIVE = 1
_OS_FAULTS: Mapping[str, type[OSError]] = {
    each.__name__: each for each in (ConnectionError, TimeoutError, FileNotFoundError, PermissionError, OSError)
}


class _Watch(asyncio.SubprocessProtocol):
    """What a process prints, the last of it, and that it has ended."""

    def __init__(self, bytes_max: int) -> None:
        self.exited, self.silent = asyncio.Event(), asyncio.Event()
        self.printed_bytes = 0
        self.kept = b""
        self._bytes_max, self._open = bytes_max, 2
        self.transport: asyncio.SubprocessTransport | None = None
        self.writer: asyncio.StreamWriter | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.printed_bytes += len(data)
        self.kept = (self.kept + data)[-self._bytes_max :]
        if self.printed_bytes > _PRINTED_BYTES_MAX and self.transport is not None:
            with suppress(ProcessLookupError):
                self.transport.kill()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open -= 1
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        """Processes that it leaves behind may have its pipe, and hold it open."""
        self.exited.set()
        if self.writer is not None:
            asyncio.get_running_loop().call_later(_SECONDS_TO_ARRIVE, self.writer.close)


class Spawned:
    """A child under its limits. Once something has gone wrong with it, it is `broken`, and good for nothing more."""

    def __init__(self, limits: Sandbox, watch: _Watch, stack: ExitStack) -> None:
        self._limits, self._watch, self._stack = limits, watch, stack
        self._deadline = anyio.current_time() + limits.seconds_max
        self.broken = False
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @classmethod
    async def start(cls, limits: Sandbox) -> "Spawned":
        """One that waits to be told what it is for. OSError, UsersError, ConfinementError."""
        with ExitStack() as stack:
            user, group = await asyncio.to_thread(stack.enter_context, own_user())
            if user is None:
                close_to_others()
            folder = stack.enter_context(_folder(user, group))
            watch = _Watch(limits.output_kib_max * 1024)
            ours, theirs = socket.socketpair()
            with theirs:
                confinement = {
                    "memory_bytes_max": limits.memory_mib_max * 2**20,
                    "cpu_seconds_max": limits.cpu_seconds_max,
                    "user": user,
                    "group": group,
                }
                told = {"descriptor": theirs.fileno(), "parent": os.getpid(), "confinement": confinement}
                await asyncio.get_running_loop().subprocess_exec(
                    lambda: watch,
                    *(sys.executable, "-I", "-B", "-u", "-c", _START, json.dumps({"path": _path(), **told})),
                    stdin=subprocess.DEVNULL,
                    env=_environment(folder),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            spawned = cls(limits, watch, stack.pop_all())
            spawned._reader, spawned._writer = await asyncio.open_unix_connection(sock=ours)
            watch.writer = spawned._writer
            return spawned

    @property
    def has_ended(self) -> bool:
        return self._watch.exited.is_set()

    def printed(self) -> str:
        """What it has printed since it was asked last, cut at its limit."""
        kept, self._watch.kept = self._watch.kept, b""
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
                await self._watch.exited.wait()
            raise await self._ended(self._why()) from None

    def _why(self) -> str:
        transport = self._watch.transport
        code = None if transport is None else transport.get_returncode()
        if self._watch.printed_bytes > _PRINTED_BYTES_MAX:
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
        said = self._watch.kept.decode(errors="replace").replace("\0", "�").strip()[-_TOLD_CHARACTERS:]
        return SandboxError(f"the connector or formatter {why}" + (f"; what it printed last: {said}" if said else ""))

    async def end(self, *, at_once: bool = False) -> None:
        """Let it close what it holds, or not; then nothing of it is left."""
        with anyio.CancelScope(shield=True):
            self.broken = True
            self._writer.close()
            for number in (*(() if at_once else (None,)), signal.SIGTERM, signal.SIGKILL):
                if number is not None:
                    self._signal(number)
                with anyio.move_on_after(_SECONDS_TO_END):
                    await self._watch.exited.wait()
            await asyncio.to_thread(self._stack.close)
            with anyio.move_on_after(_SECONDS_TO_END):
                await self._watch.silent.wait()
            if self._watch.transport is not None:
                self._watch.transport.close()

    def _signal(self, number: signal.Signals) -> None:
        """To all of its group, which may outlive it."""
        assert self._watch.transport is not None, "it was started"
        with suppress(ProcessLookupError):
            os.killpg(self._watch.transport.get_pid(), number)


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
    """`MALLOC_ARENA_MAX`: each thread would take its share of the address space, used or not."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "TMPDIR": folder, "HOME": folder, "MALLOC_ARENA_MAX": "2"}


def _path() -> list[str]:
    return [os.path.abspath(each) for each in sys.path if each]
