"""Sending what was written here, in order, each call until it is answered (protocol 6)."""

import random
from collections.abc import Sequence
from uuid import uuid4

import anyio

from homeroom.answers import Result
from homeroom.client import Client
from homeroom.errors import FixRequest, HomeroomError
from homeroom.pacing import Backoff
from homeroom.replica.ledger import InThread
from homeroom.replica.storage import StorageError
from homeroom.replica.writes import Call, WriteStore


class Sender:
    """Sends a queue of writes. `trouble` says what keeps them from going out; empty if nothing does."""

    def __init__(self, client: Client, writes: WriteStore, in_thread: InThread) -> None:
        self.trouble = ""
        self._client = client
        self._writes = writes
        self._in_thread = in_thread
        self._queued = anyio.Event()

    def wake(self) -> None:
        """Something was queued."""
        self._queued.set()

    async def send_for_ever(self) -> None:
        """Never returns. Whatever fails is tried again: a write is kept until the Core has answered it."""
        backoff = Backoff()
        while True:
            queued, self._queued = anyio.Event(), self._queued
            self._queued = queued
            try:
                sent = await self.send_one()
                self.trouble, backoff = "", Backoff()
            except (HomeroomError, StorageError) as failure:
                self.trouble, backoff = str(failure), backoff.failed()
                after = failure.retry_after_seconds if isinstance(failure, HomeroomError) else None
                await anyio.sleep(backoff.pause_seconds(random.random(), after))
                continue
            if not sent:
                await queued.wait()

    async def send_one(self) -> bool:
        """Send the next call and settle it; False if nothing waits. Raises what kept it from being answered."""
        call = await self._in_thread(self._writes.next_call, uuid4())
        if call is None:
            return False
        try:
            answer = await self._client.submit(call.type, [write.as_json() for write in call.writes], call.key)
        except FixRequest as failure:
            await self._unreadable(call, failure)
        else:
            await self._in_thread(self._writes.settle, call, answer.results)
        return True

    async def _unreadable(self, call: Call, failure: FixRequest) -> None:
        """One write of many spoils the call: each goes by itself; then the one that is at fault is rejected."""
        if len(call.writes) > 1:
            await self._in_thread(self._writes.send_alone, call)
        else:
            await self._in_thread(self._writes.settle, call, _rejection(call, failure))


def _rejection(call: Call, failure: FixRequest) -> Sequence[Result]:
    faults = [{"pointer": fault.pointer, "detail": fault.detail} for fault in failure.errors]
    return [
        {
            "id": call.writes[0].id,
            "coreVersion": 0,
            "rejections": [
                {
                    "code": failure.code.value,
                    "title": failure.title,
                    "detail": failure.detail,
                    "action": failure.action,
                    "errors": faults,
                }
            ],
        }
    ]
