"""A local copy of everything an organisation may see, kept in step for as long as it is open."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from homeroom.answers import Json, Rejection
from homeroom.client import Client
from homeroom.errors import HomeroomError
from homeroom.protocol import WAIT_SECONDS_DEFAULT, NotificationType
from homeroom.replica.ledger import InThread, Ledger, Progress
from homeroom.replica.loop import Loop
from homeroom.replica.machine import Phase, TypeState
from homeroom.replica.repairing import Repair
from homeroom.replica.sending import Sender
from homeroom.replica.sqlite import SqliteStorage, held_lock
from homeroom.replica.storage import (
    DIFFERENCES_KEPT,
    Change,
    Difference,
    Record,
    Storage,
    StorageError,
    TypeSummary,
    now,
)
from homeroom.replica.verification import Verdict, verify
from homeroom.replica.writes import Write

_CHANGES_AT_ONCE = 500
_LOOK_AGAIN_SECONDS = 1.0
"""Another process may keep the file in step: its changes are looked for this often."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A write that the Core did not take: what was to be, why not, and the record as it stands now."""

    write: Write
    rejections: Sequence[Rejection]
    held: Record | None


class Replica:
    """The records of `types` that the client's organisation may see, in a SQLite file (or another storage).

    While it is open it loads, follows, repairs and sends by itself, through outages and restarts; with `follow` false
    it does so only when `sync` is called. A status type brings the type it speaks of. The Core is asked to hold each
    question for `wait_seconds`, or for less where somebody on the way cuts sooner. `progress` is told what happens.

    Raises StorageInUse if another process keeps this file in step, StorageError if the file is none of ours.
    """

    def __init__(
        self,
        file: str | PathLike[str] | Storage,
        client: Client,
        types: Sequence[str],
        *,
        follow: bool = True,
        wait_seconds: int = WAIT_SECONDS_DEFAULT,
        progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._file = file
        self._client = client
        self._types = types
        self._follow = follow
        self._wait_seconds = wait_seconds
        self._progress = progress
        self._stack = AsyncExitStack()
        self._failure: HomeroomError | StorageError | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if isinstance(self._file, str | PathLike):
                stack.enter_context(held_lock(Path(self._file)))
                self._storage: Storage = SqliteStorage(Path(self._file))
            else:
                self._storage = self._file
            stack.callback(self._storage.close)
            self._in_thread = InThread()
            self._ledger = Ledger(self._storage, self._in_thread, self._progress)
            self._sender = Sender(self._client, self._storage.writes, self._in_thread)
            self._loop = Loop(self._client, self._ledger, self._sender, self._types, self._wait_seconds)
            if self._follow:
                tasks = await stack.enter_async_context(anyio.create_task_group())
                stack.callback(tasks.cancel_scope.cancel)
                tasks.start_soon(self._run)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def sync(self) -> None:
        """Send what waits and bring every type in step, once. For replicas that do not follow by themselves.

        Raises RetryLater, StorageError or StopCalling; what was done until then stays.
        """
        await self._loop.once()

    async def in_step(self) -> None:
        """Return when every type was proved by its version hash to be what the Core has.

        Raises what ended the loop, if a person must act.
        """
        while not (self._ledger.states and all(s.phase is Phase.FOLLOWING and not s.in_doubt for s in self._states())):
            news = self._ledger.watch()
            self._raise_failure()
            await news.wait()

    async def ended(self) -> None:
        """Never returns: raises what ended the loop, when a person must act."""
        while True:
            news = self._ledger.watch()
            self._raise_failure()
            await news.wait()

    async def changes(self, consumer: str = "default") -> AsyncIterator[Change]:
        """Every version that is applied, each once, for ever: first, to a consumer that is new, everything held.

        A change counts as seen when the next one is asked for; after a restart it goes on there. What ended the loop
        is raised when all changes have been seen.
        """
        while True:
            news = self._ledger.watch()
            failure = self._failure
            found = await self._in_thread(self._storage.changes, consumer, _CHANGES_AT_ONCE)
            for change in found:
                yield change
                await self._in_thread(self._storage.acknowledge, consumer, change)
            if found:
                continue
            if failure is not None:
                raise failure
            with anyio.move_on_after(_LOOK_AGAIN_SECONDS):
                await news.wait()

    async def forget_consumer(self, consumer: str) -> None:
        """Keep nothing for a consumer that will not come again."""
        await self._in_thread(self._storage.forget_consumer, consumer)

    async def get(self, notification_type: str, record_id: str) -> Record | None:
        """A record as it is held; None for one that is not, or is deleted. KeyError for a type that is not kept."""
        kept = [summary.kind.name for summary in await self.status()]
        name = next((kind for kind in kept if kind.lower() == notification_type.lower()), None)
        if name is None:
            raise KeyError(f"{notification_type} is not kept here; kept are {', '.join(kept)}")
        found = await self._in_thread(self._storage.record, name, record_id)
        return None if found is None or found.deleted else found

    async def status(self) -> Sequence[TypeSummary]:
        """How each type stands."""
        return await self._in_thread(self._storage.summaries)

    async def repair(self) -> Sequence[Difference]:
        """Compare every type with the Core, whether or not its hash agrees, and mend it; what differed and why.

        For replicas that do not follow by themselves: those repair on their own. Of very many the latest 1,000.
        """
        begun = now()
        await self.sync()  # repairs already what its hashes show
        for name in self._ledger.in_phase(self._ledger.states, Phase.FOLLOWING):
            await Repair(self._client, self._ledger).whole(name)
        await self.sync()
        return [found for found in await self.differences() if found.found_at >= begun]

    async def differences(self) -> Sequence[Difference]:
        """What repairs have found so far and why it is thought to have happened: the latest 1,000, newest first."""
        return await self._in_thread(self._storage.differences, DIFFERENCES_KEPT)

    async def verify(self) -> Sequence[Verdict]:
        """Hold every type against the Core without changing anything; raises RetryLater, StopCalling, StorageError."""
        return await verify(self._client, self._storage, self._in_thread)

    async def submit(
        self,
        notification_type: str,
        record_id: str,
        body: Json | None,
        *,
        expected_version: int | None = None,
        deleted: bool = False,
        organization: str | None = None,
    ) -> int:
        """Queue a write, on disk when this returns; its number. It is sent, once and in order, as soon as may be.

        `expected_version` is the version that the writer saw; by default the one that is held, or what the last write
        from here made of it. A delete may leave the body out. Raises ValueError for what is no notification type.
        """
        name = str(NotificationType.parse(notification_type))
        kept = {summary.kind.name.lower(): summary.kind.name for summary in await self.status()}
        name = kept.get(name.lower(), name)
        write = Write(0, name, record_id, expected_version or 0, deleted, organization, body, "")
        number = await self._in_thread(self._storage.writes.queue, write, as_held=expected_version is None)
        self._sender.wake()
        return number

    @property
    def trouble(self) -> str:
        """What is in the way of learning the catalogue, following or sending, in words; empty if nothing is."""
        troubles = [self._loop.trouble, *(state.trouble for state in self._states()), self._sender.trouble]
        return "; ".join(dict.fromkeys(filter(None, troubles)))

    async def waiting(self) -> int:
        """How many writes have not been answered yet."""
        return await self._in_thread(self._storage.writes.waiting)

    async def rejected(self) -> Sequence[Rejected]:
        """Writes that wait for a person, oldest first."""
        kept = {summary.kind.name for summary in await self.status()}
        found = []
        for entry in await self._in_thread(self._storage.writes.rejected):
            name = entry.write.type
            held = await self._in_thread(self._storage.record, name, entry.write.id) if name in kept else None
            found.append(Rejected(entry.write, entry.rejections, held))
        return found

    async def discard(self, number: int) -> None:
        """Give up a rejected write; KeyError if there is none of this number."""
        await self._in_thread(self._storage.writes.discard, number)

    async def resubmit(self, number: int, body: Json | None = None) -> int:
        """Send a rejected write again, with another body perhaps, as a change of the version held now; its new number.

        KeyError if there is none of this number.
        """
        found = next((entry for entry in await self.rejected() if entry.write.number == number), None)
        if found is None:
            raise KeyError(f"no rejected write has the number {number}")
        version = found.held.version if found.held is not None else 0
        queued = await self._in_thread(self._storage.writes.requeue, number, version, body)
        self._sender.wake()
        return queued

    async def _run(self) -> None:
        """The loop's end is told to those who wait for it."""
        try:
            await self._loop.run()
        except* (HomeroomError, StorageError) as failures:
            self._failure = _first(failures)
        self._ledger.wake()

    def _states(self) -> Sequence[TypeState]:
        return list(self._ledger.states.values())

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _first(failures: BaseExceptionGroup[HomeroomError | StorageError]) -> HomeroomError | StorageError:
    found: BaseException = failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, HomeroomError | StorageError), "nothing else was caught"
    return found
