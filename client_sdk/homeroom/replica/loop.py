"""The loop that keeps a replica in step: what is followed is learned, loaded, followed; what was written is sent."""

import random
from collections.abc import Sequence

import anyio

from homeroom.client import Client
from homeroom.errors import Code, FixRequest, ResyncNeeded, RetryLater, error
from homeroom.pacing import Backoff
from homeroom.protocol import TYPES_PER_CALL_MAX
from homeroom.replica.following import Follower
from homeroom.replica.ledger import Ledger
from homeroom.replica.loading import load
from homeroom.replica.machine import Happening, Phase, What
from homeroom.replica.sending import Sender
from homeroom.replica.storage import StorageError
from homeroom.replica.subscription import kinds_of, known_kinds

_TRY_HALTED_AGAIN_SECONDS = 300.0


class Loop:
    """Keeps the types `wanted` in step, for ever. `trouble`: why the catalogue could not be read; empty if it was."""

    def __init__(
        self, client: Client, ledger: Ledger, sender: Sender, wanted: Sequence[str], wait_seconds: int
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._sender = sender
        self._wanted = wanted
        self._wait_seconds = wait_seconds
        self.trouble = ""

    async def run(self) -> None:
        """Never returns; raises StopCalling where a person must act."""
        followers = await self._prepare(patient=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sender.send_for_ever)
            tasks.start_soon(self._load_for_ever)
            tasks.start_soon(self._try_halted_again)
            for follower in followers:
                tasks.start_soon(follower.follow)

    async def once(self) -> None:
        """Send what waits, load what is missing and follow until every type is in step; then return.

        Raises RetryLater, StorageError or StopCalling: what was done until then stays. FixRequest names the types
        that the Core will not serve, when all others are in step.
        """
        followers = await self._prepare(patient=False)
        while await self._sender.send_one():
            pass
        while loading := self._ledger.in_phase(self._ledger.states, Phase.EMPTY, Phase.LOADING):
            await self._load(loading[0])
        for follower in followers:
            await follower.until_in_step()
        halted = self._ledger.in_phase(self._ledger.states, Phase.HALTED)
        if halted:
            raise error(Code.UNKNOWN_TYPE, "; ".join(f"{n}: {self._ledger.states[n].trouble}" for n in halted))

    async def _prepare(self, *, patient: bool) -> Sequence[Follower]:
        await self._learn(patient=patient)
        names = list(self._ledger.states)
        groups = [names[i : i + TYPES_PER_CALL_MAX] for i in range(0, len(names), TYPES_PER_CALL_MAX)]
        return [Follower(self._client, self._ledger, group, self._wait_seconds) for group in groups]

    async def _learn(self, *, patient: bool) -> None:
        """Read the catalogue and make room for what is wanted. Without a Core, what the file knows must do.

        If that is not enough, one that is `patient` waits for the Core; else RetryLater is raised.

        Raises StorageError for a file of another organization, FixRequest for types that are not in the catalogue.
        """
        backoff = Backoff()
        while True:
            try:
                await self._ledger.belong_to((await self._client.hello()).organization)
                kinds = kinds_of(self._wanted, (await self._client.notification_types()).notification_types)
                self.trouble = ""
                break
            except RetryLater as failure:
                self.trouble = str(failure)
                summaries = await self._ledger.in_thread(self._ledger.storage.summaries)
                known = known_kinds(self._wanted, [summary.kind for summary in summaries])
                if known is not None:
                    kinds = known
                    break
                if not patient:
                    raise
                backoff = backoff.failed()
                await anyio.sleep(backoff.pause_seconds(random.random(), failure.retry_after_seconds))
        await self._ledger.in_thread(self._ledger.storage.subscribe, kinds)
        await self._ledger.open({kind.name: kind.source for kind in kinds if kind.followed})

    async def _load_for_ever(self) -> None:
        """First loads, one after the other; one that fails does not keep the others waiting."""
        backoff = Backoff()
        while True:
            due = self._ledger.in_phase(self._ledger.states, Phase.EMPTY, Phase.LOADING)
            if not due:
                await self._ledger.watch().wait()
                continue
            failed = False
            before = dict(self._ledger.states)
            for name in due:
                source = self._ledger.sources[name]
                if source is not None and not self._ledger.is_loaded(source):
                    failed = True  # what the status brings goes on top of what its source's own load brought
                    continue
                try:
                    await self._load(name)
                except (RetryLater, StorageError) as failure:
                    await self._ledger.note(name, Happening(What.UNREACHABLE, trouble=str(failure)))
                    failed = True
            moved = any(self._ledger.states[name].cursor > before[name].cursor for name in due)
            backoff = Backoff(1) if moved else backoff.failed() if failed else Backoff()
            await anyio.sleep(backoff.pause_seconds(random.random()) if failed else 0)

    async def _load(self, name: str) -> None:
        """One attempt. What the Core will not serve is halted; a window of another history begins anew."""
        try:
            await load(self._client, self._ledger, name)
        except ResyncNeeded:
            await self._ledger.in_thread(self._ledger.storage.forget_load, name)
            await self._ledger.note(name, Happening(What.OTHER_HISTORY))
        except FixRequest as failure:
            await self._ledger.note(name, Happening(What.REFUSED, trouble=str(failure)))

    async def _try_halted_again(self) -> None:
        """A type that was refused may be served again when the Core's catalogue has changed."""
        while True:
            await anyio.sleep(_TRY_HALTED_AGAIN_SECONDS)
            for name in self._ledger.in_phase(self._ledger.states, Phase.HALTED):
                await self._ledger.reopen(name)
