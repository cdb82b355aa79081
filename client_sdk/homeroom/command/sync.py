"""`homeroom-replica sync`: keeps a file in step, for ever or once."""

import random
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.abc

from homeroom.client import Client
from homeroom.command.board import Board, open_board
from homeroom.command.configuration import Configuration, remember
from homeroom.command.endings import Ending
from homeroom.errors import HomeroomError, RetryLater
from homeroom.pacing import Backoff
from homeroom.replica.ledger import InThread, Ledger
from homeroom.replica.replica import Replica
from homeroom.replica.sqlite import SqliteStorage, held_lock
from homeroom.replica.storage import Storage, StorageError
from homeroom.replica.subscription import kinds_of, known_kinds


async def sync(configuration: Configuration, once: bool, as_json: bool) -> Ending:
    """Returns when everything is in step if it is to be so `once`, else when a signal comes.

    Raises StopCalling, FixRequest and StorageError; RetryLater only if `once`.
    """
    # A signal before everything is in step is no success, so `once` leaves it to Python.
    board = open_board(as_json=as_json)
    try:
        kept = partial(_kept, configuration, board, once)
        await (kept() if once else _until_signalled(kept))
    finally:
        board.close()
    return Ending.FINE


async def _until_signalled(work: Callable[[], Awaitable[None]]) -> None:
    """Do something until it ends or SIGINT or SIGTERM comes; raises what it raises."""
    failure: HomeroomError | StorageError | None = None
    async with anyio.create_task_group() as tasks:
        await tasks.start(_cancel_when_signalled, tasks.cancel_scope)
        try:
            await work()
        except (HomeroomError, StorageError) as caught:
            failure = caught
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _cancel_when_signalled(
    scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    if sys.platform == "win32":  # there an interrupt comes as KeyboardInterrupt
        task_status.started()
        return
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
            return


async def _kept(configuration: Configuration, board: Board, once: bool) -> None:
    with held_lock(configuration.file):
        storage = SqliteStorage(configuration.file)
        async with configuration.client() as client:
            await (_begun if once else _begun_at_last)(configuration, client, storage)
            async with Replica(storage, client, configuration.types, follow=not once, progress=board.note) as replica:
                await (replica.sync() if once else replica.ended())


async def _begun(configuration: Configuration, client: Client, storage: Storage) -> None:
    """See that the Core takes the key and has the types and that the file is this organization's; remember it all."""
    hello = await client.hello()
    kinds_of(configuration.types, (await client.notification_types()).notification_types)
    await Ledger(storage, InThread(), lambda progress: None).belong_to(hello.organization)
    remember(storage, configuration)


async def _begun_at_last(configuration: Configuration, client: Client, storage: Storage) -> None:
    """The same, waiting for a Core that cannot be reached, unless the file knows all that is needed to go on."""
    backoff = Backoff()
    while True:
        try:
            return await _begun(configuration, client, storage)
        except RetryLater as failure:
            _say(f"{failure.detail}; trying again")
            if known_kinds(configuration.types, [summary.kind for summary in storage.summaries()]) is not None:
                return None
            backoff = backoff.failed()
            await anyio.sleep(backoff.pause_seconds(random.random(), failure.retry_after_seconds))


def _say(line: str) -> None:
    sys.stderr.write(f"homeroom-replica: {line}\n")
    sys.stderr.flush()
