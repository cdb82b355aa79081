"""The same client for programs without an event loop: each method blocks until its answer is there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from homeroom.answers import Availability, Catalogue, Compared, Got, Hello, Json, Result, Submitted
from homeroom.client import Client
from homeroom.protocol import WAIT_SECONDS_DEFAULT


class BlockingClient:
    """`Client` without `await`: same arguments, same answers, same errors. Its loop runs in a thread of its own.

    May be used by several threads at once, so that one can be held while another submits.
    """

    def __init__(
        self,
        url: str,
        key: str,
        organization: str | None = None,
        *,
        retry_seconds: float = 0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._open = partial(Client, url, key, organization, retry_seconds=retry_seconds, transport=transport)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._portal: BlockingPortal = stack.enter_context(start_blocking_portal())
            self._client = stack.enter_context(self._portal.wrap_async_context_manager(self._open()))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def hello(self) -> Hello:
        """See Client.hello."""
        return self._portal.call(self._client.hello)

    def notification_types(self) -> Catalogue:
        """See Client.notification_types."""
        return self._portal.call(self._client.notification_types)

    def is_data_available(
        self, types: Sequence[Mapping[str, Any]], wait_seconds: int = WAIT_SECONDS_DEFAULT
    ) -> Availability:
        """See Client.is_data_available."""
        return self._portal.call(partial(self._client.is_data_available, types, wait_seconds))

    def get(self, notification_type: str, records: Sequence[Mapping[str, Any]]) -> Got:
        """See Client.get."""
        return self._portal.call(partial(self._client.get, notification_type, records))

    def submit(
        self, notification_type: str, records: Sequence[Mapping[str, Any]], idempotency_key: UUID | None = None
    ) -> Submitted:
        """See Client.submit."""
        return self._portal.call(partial(self._client.submit, notification_type, records, idempotency_key))

    def reconcile(self, notification_type: str, max_core_version: int, ranges: Sequence[Mapping[str, Any]]) -> Compared:
        """See Client.reconcile."""
        return self._portal.call(partial(self._client.reconcile, notification_type, max_core_version, ranges))

    def acknowledge(self, status_type: str, acknowledgement: Mapping[str, Any]) -> Result:
        """See Client.acknowledge."""
        return self._portal.call(partial(self._client.acknowledge, status_type, acknowledgement))

    def snapshot(self, notification_type: str, after: int = 0, until: int | None = None) -> Iterator[Json]:
        """See Client.snapshot."""
        lines = self._client.snapshot(notification_type, after, until)
        try:
            while True:
                try:
                    yield self._portal.call(lines.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            self._portal.call(lines.aclose)
