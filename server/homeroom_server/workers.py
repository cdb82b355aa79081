"""`serve --workers N`: equal nodes behind one port, and the parent that starts them, replaces them and ends them.

They share the port and the database, nothing else. Each has a listening socket of its own, over which the kernel
spreads connections; the parent keeps all of them open, so that what queues for a worker that died is accepted by the
next (decision 11). A worker is told its settings by its environment, says on stdout that it is ready, and ends when its
stdin does: nobody writes there, but only as long as the parent lives is it open.
"""

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, suppress

import anyio
import structlog
import uvloop
from anyio.abc import Process

from homeroom_server import database
from homeroom_server.catalogue import load_catalogue
from homeroom_server.refusal import RefusedError
from homeroom_server.server import LAST_ANSWERS_SECONDS, open_listener, serve, url_of
from homeroom_server.settings import Settings, to_environment

log = structlog.get_logger()

_START_SECONDS_MAX = 60
_SETTLED_SECONDS = 10
"""Who was ready for so long did not die of how it was started."""
_PAUSES_SECONDS = (0, 0.5, 1, 2, 4)
"""Before each further start of a worker that keeps dying; then the parent gives up, as its connections wait."""
_CLOSING_SECONDS = 10
"""For connections to the database, once the last answers are given."""


class WorkersError(RefusedError):
    """Workers that cannot be kept running; each has said why."""


async def run_workers(settings: Settings, database_url: str, started: Callable[[str], None]) -> None:
    """Keep `settings.workers` nodes running until SIGTERM or SIGINT; `started` is told their URL once all are ready.

    Raises WorkersError, and what none of them could work with: CatalogueError, DatabaseError, OSError for the port.
    """
    load_catalogue(settings.catalogue)
    await database.apply_schema(database_url)
    await database.check_connections(database_url, settings)
    with ExitStack() as stack:
        signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
        listeners = [stack.enter_context(listener) for listener in _open_listeners(settings)]
        await _Crew(settings, database_url, listeners, started).run(signals)


def work(settings: Settings, listener: int) -> None:
    """Be one of the nodes; `listener` is the file descriptor of its socket."""
    threading.Thread(target=_end_with_parent, args=(_stop_seconds_max(settings),), daemon=True).start()
    uvloop.run(serve(settings, settings.database_url, _say_ready, socket.socket(fileno=listener)))


class _Crew:
    """The workers of this parent."""

    def __init__(
        self, settings: Settings, database_url: str, listeners: Sequence[socket.socket], started: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._environment = {**os.environ, **to_environment(settings), "HOMEROOM_DATABASE_URL": database_url}
        self._listeners = listeners
        self._started = started
        self._never_ready = set(listeners)
        self._running: set[Process] = set()
        self._stopping = anyio.Event()
        self._stop_seconds_max = _stop_seconds_max(settings)
        self._scope = anyio.CancelScope()
        self._failure = ""

    async def run(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Until a signal came and all have ended, or one of them cannot be kept running."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._obey, signals)
            with self._scope:
                async with anyio.create_task_group() as keepers:
                    for listener in self._listeners:
                        keepers.start_soon(self._keep, listener)
            tasks.cancel_scope.cancel()
        if self._scope.cancelled_caught:
            raise WorkersError(f"workers had not ended after {self._stop_seconds_max:g} seconds and were killed")
        if self._failure:
            raise WorkersError(self._failure)

    async def _obey(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for number in signals:
            if self._stopping.is_set():
                self._tell(number)  # a second SIGINT makes a node leave at once
            self._stop()

    def _stop(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._scope.deadline = anyio.current_time() + self._stop_seconds_max
        for listener in self._listeners:
            listener.close()  # or clients would go on queueing where nobody accepts
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, listener: socket.socket) -> None:
        """A worker on this socket, and when it has died another one."""
        deaths = 0
        while not self._stopping.is_set():
            ready_seconds = await self._employ(listener)
            deaths = deaths + 1 if ready_seconds < _SETTLED_SECONDS else 1
            if self._stopping.is_set():
                return
            if self._never_ready:
                self._give_up("a worker died before all were ready")
            elif deaths > len(_PAUSES_SECONDS):
                self._give_up(f"a worker died {deaths} times in a row, soon after its start or before it was ready")
            else:
                with anyio.move_on_after(_PAUSES_SECONDS[deaths - 1]):
                    await self._stopping.wait()

    def _give_up(self, failure: str) -> None:
        self._failure = failure
        self._stop()

    async def _employ(self, listener: socket.socket) -> float:
        """One worker from its start to its end; for how many seconds it was ready."""
        try:
            process = await anyio.open_process(
                [sys.executable, "-m", "homeroom_server", "worker", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,
                env=self._environment,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C is the parent's to pass on: twice would mean at once
            )
        except OSError as failure:
            log.error("a worker could not be started", reason=str(failure))
            return 0
        async with process:
            self._running.add(process)
            try:
                if self._stopping.is_set():
                    process.terminate()
                ready_at = await self._attend(process, listener)
                exit_code = await process.wait()
            finally:
                self._running.discard(process)
        ready_seconds = anyio.current_time() - ready_at
        if not self._stopping.is_set():
            log.error(
                "a worker ended", pid=process.pid, exit_code=exit_code, ready_seconds=round(max(0, ready_seconds))
            )
        return ready_seconds

    async def _attend(self, process: Process, listener: socket.socket) -> float:
        """Return when it has died, or was not ready in time; the time at which it was ready, infinity for never."""
        assert process.stdout is not None
        ready_at = math.inf
        with anyio.move_on_after(_START_SECONDS_MAX) as start:
            async for _ in process.stdout:  # one word; then nothing, until its end is the worker's
                start.deadline, ready_at = math.inf, anyio.current_time()
                self._ready(listener)
        if start.cancelled_caught:
            process.kill()
        return ready_at

    def _ready(self, listener: socket.socket) -> None:
        was_starting = bool(self._never_ready)
        self._never_ready.discard(listener)
        if was_starting and not self._never_ready:
            self._started(url_of(self._settings, listener))


def _open_listeners(settings: Settings) -> list[socket.socket]:
    """One for each worker, all on the same port."""
    host, port = settings.host, settings.port
    socket.create_server((host, port)).close()  # sharing it would not tell that somebody else has the port
    listeners: list[socket.socket] = []
    for _ in range(settings.workers):
        listeners.append(open_listener(host, port, shared=True))
        port = listeners[0].getsockname()[1]
    return listeners


def _stop_seconds_max(settings: Settings) -> float:
    return settings.drain_notice_seconds + settings.drain_seconds + LAST_ANSWERS_SECONDS + _CLOSING_SECONDS


def _say_ready(_url: str) -> None:
    with suppress(OSError):  # the parent is gone, and so will this be
        os.write(sys.stdout.fileno(), b"ready\n")


def _end_with_parent(seconds_max: float) -> None:
    """Once the parent is gone, end in good order, or else at once."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds_max)
    os._exit(1)
