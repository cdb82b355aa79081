"""A forkserver of this process's own: children begin in the time of a fork, not in that of Python's start."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

import anyio

from homeroom_merge.sis.users import UsersError

_START = (
    "import json,sys;said=json.loads(sys.argv[1]);sys.path[:]=said.pop('path');"
    "from homeroom_merge.sis.forkserver import main;main(**said)"
)
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
         "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")  # fmt: skip
"""Variables that a connector may need to reach a SIS at all."""
_SECONDS_TO_FORK = 30
_SECONDS_TO_TAKE = 0.01


class Child:
    """A process that was forked for us, and is another's child: how it ended is told in a pipe."""

    def __init__(self, number: int) -> None:
        self.exited = asyncio.Event()
        self.exit_code: int | None = None
        """As subprocess has it: the number of a signal is negative. None: it goes on, or nobody can tell."""
        self._number = number
        self._then: list[Callable[[], object]] = []

    def signal(self, number: signal.Signals) -> None:
        """To all of its group, which may outlive it."""
        with suppress(ProcessLookupError):
            os.killpg(self._number, number)

    def call_when_exited(self, then: Callable[[], object]) -> None:
        self._then.append(then)
        if self.exited.is_set():
            then()

    def end(self, exit_code: int | None) -> None:
        self.exit_code = exit_code
        self.exited.set()
        for then in self._then:
            then()


class Forkserver:
    """Started when it is first asked, and again should it have ended. `close` ends it, and all that it forked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._listening: set[asyncio.Task[None]] = set()

    async def fork(self, asked: Mapping[str, object], *given: int) -> Child:
        """A child that gets these descriptors. OSError: there is none."""
        told, telling = os.pipe()
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(told, "rb"))
        try:
            try:
                await self._send(json.dumps(asked).encode(), [telling, *given])
            finally:
                os.close(telling)
            with anyio.fail_after(_SECONDS_TO_FORK):
                line = await reader.readline()
        except BaseException:
            pipe.close()
            raise
        if not line:
            pipe.close()
            raise ConnectionError("the process that children are forked from has ended")
        child = Child(int(line))
        task = loop.create_task(_listen(child, reader, pipe))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)
        return child

    async def end_all(self, user: int, group: int) -> None:
        """Kill what a user runs. UsersError, OSError."""
        child = await self.fork({"endAll": [user, group]})
        await child.exited.wait()
        if child.exit_code:
            raise UsersError(f"the processes of the user {user} cannot be ended: exit code {child.exit_code}")

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()
        self._control = self._process = None

    async def _send(self, message: bytes, descriptors: list[int]) -> None:
        for again in (True, False):
            if self._control is None or self._process is None or self._process.poll() is not None:
                self._start()
            assert self._control is not None, "just started"
            try:
                while True:
                    try:
                        socket.send_fds(self._control, [message], descriptors)
                        return
                    except BlockingIOError:
                        await anyio.sleep(_SECONDS_TO_TAKE)
            except ConnectionError:
                if not again:
                    raise
                self.close()

    def _start(self) -> None:
        self.close()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            told = {"path": [os.path.abspath(each) for each in sys.path if each], "descriptor": theirs.fileno()}
            self._process = subprocess.Popen(  # noqa: S603 # ours
                [sys.executable, "-I", "-B", "-u", "-c", _START, json.dumps({**told, "parent": os.getpid()})],
                stdin=subprocess.DEVNULL,
                env=kept_environment(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )


def kept_environment() -> dict[str, str]:
    """What a connector may see of ours. `MALLOC_ARENA_MAX`: each thread would take its share of the address space."""
    return {**{name: os.environ[name] for name in _KEPT if name in os.environ}, "MALLOC_ARENA_MAX": "2"}


async def _listen(child: Child, reader: asyncio.StreamReader, pipe: asyncio.ReadTransport) -> None:
    line = await reader.readline()
    child.end(int(line) if line else None)
    pipe.close()
