"""The hub, over the client SDK, by API key alone: what has changed since the last look, and writes by version.

A fetch acts for one organisation. What it saw is kept (`record.hub_seen`), so a fetch brings just what has moved; where
that cannot be told, in another history of the Core or below its horizon, everything comes anew and says so.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID

import anyio

from homeroom import Client, ConnectionCut, ResyncNeeded, RetryLater
from homeroom.answers import RecordAnswer, Result, TypeAvailability
from homeroom.errors import Code, error
from homeroom.errors import HomeroomError as HubError
from homeroom.pacing import Backoff, Hold
from homeroom.protocol import TYPES_PER_CALL_MAX
from homeroom_merge.records import State
from homeroom_merge.values import Json

_PER_GET = 1_000
_HELD_SECONDS_MIN = 2.0
"""A request that is cut sooner was not held at all."""
_CUTS_MAX = 20
"""In a row, with nothing coming between."""

T = TypeVar("T")

__all__ = [
    "TYPES_PER_CALL_MAX",
    "Hub",
    "HubCursor",
    "HubError",
    "HubFetch",
    "HubSeen",
    "Moved",
    "Rejected",
    "Written",
    "open_hub",
    "read_catalogue",
]


@dataclass(frozen=True, slots=True)
class HubSeen:
    """A record as the hub shows it to one organisation; `body` is its last one if it is deleted."""

    hub_id: str
    state: State
    version: int = 0
    body: Json | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HubCursor:
    """Up to where a type has been fetched, and in which history of the Core."""

    version: int = 0
    epoch: str = ""


News = Callable[[Mapping[str, int]], Awaitable[Sequence[str]]]
"""Of ids with the versions that the hub lists, those of which another version is known, or none."""


@dataclass(slots=True)
class HubFetch:
    """Blocks of records as they come; `cursor` is where the next fetch goes on once they have ended.

    `complete`: every live record was among them, so that what is known and was not is gone or out of view.
    """

    cursor: HubCursor
    complete: bool
    blocks: AsyncIterator[Sequence[HubSeen]] = field(init=False)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a wait came to. `cursor`: where the next one goes on; None: from the present.

    `versions`: of the ids that moved, own writes among them. `all_told`: not where the hub cannot tell any more what
    moved, below its horizon, or what was taken back, in another history.
    """

    cursor: HubCursor | None
    versions: Mapping[str, int]
    all_told: bool


@dataclass(frozen=True, slots=True)
class Written:
    """The hub has it, at this version."""

    version: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """It does not. `is_stale`: it has moved on there, and is to be merged again."""

    is_stale: bool
    detail: str


@asynccontextmanager
async def open_hub(url: str, key: str, organization: str, retry_seconds: float) -> AsyncIterator["Hub"]:
    """The Core as an organisation sees it; what may succeed later is tried again for so long."""
    async with Client(url, key, organization, retry_seconds=retry_seconds) as client:
        yield Hub(client)


async def read_catalogue(hub: "Hub") -> Mapping[str, Mapping[str, Any]]:
    """The notification types that may be used, by name."""
    return {each["name"]: each for each in await hub.types()}


class Hub:
    """One organisation's view of the Core; errors are those of the SDK's tree."""

    def __init__(self, client: Client, told: Callable[[int], None] = lambda _: None) -> None:
        self._client = client
        self._told = told
        self._hold = Hold()

    def watched(self, told: Callable[[int], None]) -> "Hub":
        """The same, telling of a fetch how many more records have come."""
        return Hub(self._client, told)

    async def types(self) -> Sequence[Mapping[str, Any]]:
        """The Core's catalogue, as far as this client may use it."""
        return (await self._client.notification_types()).notification_types

    async def fetch(self, notification_type: str, cursor: HubCursor, news: News) -> HubFetch:
        """What has moved since; everything the first time, and where that cannot be told.

        Of records that are listed with their versions, those are brought that are `news`: not what we wrote ourselves.
        """
        fetch = HubFetch(cursor, complete=False)
        if cursor.epoch and await self._goes_on(notification_type, cursor):
            fetch.blocks = self._changes(notification_type, fetch, news)
        else:
            fetch.cursor, fetch.complete = HubCursor(), True
            fetch.blocks = self._snapshot(notification_type, fetch)
        return fetch

    async def present(self, notification_type: str) -> HubCursor:
        """Where a type stands now, for those who want just what moves from here on."""
        async with aclosing(self._client.snapshot(notification_type)) as lines:
            async for line in lines:
                return HubCursor(line["until"], line["epoch"])
        raise error(Code.CORE_NOT_AVAILABLE, "the snapshot has no line")

    async def wait(self, cursors: Mapping[str, HubCursor]) -> Mapping[str, Moved]:
        """Be held until something has moved beyond these cursors, or for as long as those on the way allow.

        At most TYPES_PER_CALL_MAX types, in one request.
        """
        asked = [{"notificationType": name, "maxCoreVersion": cursor.version} for name, cursor in cursors.items()]
        begun = anyio.current_time()
        try:
            answer = await self._client.is_data_available(asked, self._hold.wait_seconds)
        except ResyncNeeded:
            return {name: Moved(None, {}, all_told=False) for name in cursors}
        except ConnectionCut:
            seconds = anyio.current_time() - begun
            if seconds < _HELD_SECONDS_MIN:
                raise
            self._hold = self._hold.cut_after(seconds)
            return {}
        self._hold = self._hold.held(anyio.current_time() - begun)
        return {
            name: _moved(cursor, answer.epoch, entry)
            for (name, cursor), entry in zip(cursors.items(), answer.types, strict=True)
        }

    async def look(
        self, notification_type: str, ids: Sequence[str], known: Mapping[str, int] = MappingProxyType({})
    ) -> list[HubSeen]:
        """Just these records, as they are now. `known`: versions that they have at least; an older one is no answer."""
        found: list[HubSeen] = []
        for page in _pages(ids, _PER_GET):
            got = await self._client.get(notification_type, [{"id": each} for each in page])
            found += map(_seen, got.records)
        if any(each.version < known.get(each.hub_id, 0) for each in found if each.version):
            raise error(Code.NODE_BEHIND, "a node is behind what is known of the hub; fetch again")
        return found

    async def write(
        self, notification_type: str, records: Sequence[Mapping[str, Any]], key: UUID
    ) -> list[Written | Rejected]:
        """Submit; under the same key the same records are written once, however often they are sent.

        A record that says what the hub has already counts as written.
        """
        results = (await self._client.submit(notification_type, records, key)).results
        same = [each["id"] for each in results if _codes(each) == [Code.CHANGES_NOTHING]]
        there = {seen.hub_id: seen for seen in await self.look(notification_type, same)} if same else {}
        return [_result(record, result, there) for record, result in zip(records, results, strict=True)]

    async def _goes_on(self, notification_type: str, cursor: HubCursor) -> bool:
        """Whether the Core can still tell what has moved since."""
        try:
            epoch, entry = await self._ask(notification_type, cursor.version)
        except ResyncNeeded:
            return False
        return epoch == cursor.epoch and entry["reason"] != "mismatch"

    async def _ask(self, notification_type: str, version: int) -> tuple[str, TypeAvailability]:
        question = {"notificationType": notification_type, "maxCoreVersion": version}
        answer = await self._client.is_data_available([question], wait_seconds=0)
        return answer.epoch, answer.types[0]

    async def _snapshot(self, notification_type: str, fetch: HubFetch) -> AsyncIterator[Sequence[HubSeen]]:
        """Resumed where it is cut, with the same window (protocol 7)."""
        after, until, epoch, backoff = 0, None, "", Backoff()
        while not fetch.cursor.epoch:
            block: list[HubSeen] = []
            try:
                async for line in self._client.snapshot(notification_type, after, until):
                    if "until" in line:
                        until, epoch = line["until"], line["epoch"]
                    elif "bookmark" in line:
                        fetch.cursor = HubCursor(line["bookmark"], epoch)
                    else:
                        block.append(_live(line))
                        self._told(1)
                        after = line["coreVersion"]
                        backoff = Backoff()
                    if len(block) == _PER_GET:
                        yield block
                        block = []
            except RetryLater as failure:
                backoff = backoff.failed()
                if backoff.failures > _CUTS_MAX:
                    raise
                await anyio.sleep(backoff.pause_seconds(random.random(), failure.retry_after_seconds))
            if block:
                yield block

    async def _changes(self, notification_type: str, fetch: HubFetch, news: News) -> AsyncIterator[Sequence[HubSeen]]:
        complete = False
        while not complete:
            epoch, entry = await self._ask(notification_type, fetch.cursor.version)
            if epoch != fetch.cursor.epoch or entry["reason"] == "mismatch":
                raise error(Code.CORE_NOT_AVAILABLE, "the Core's history changed during the fetch; fetch again")
            listed = {record["id"]: record["coreVersion"] for record in entry["records"]}
            for page in _pages(await news(listed), _PER_GET):
                seen = await self.look(notification_type, page, listed)
                self._told(len(seen))
                yield seen
            fetch.cursor = HubCursor(entry["maxCoreVersion"], epoch)
            complete = entry["complete"]


def _pages(all_: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(all_), size):
        yield all_[start : start + size]


def _moved(cursor: HubCursor, epoch: str, entry: TypeAvailability) -> Moved:
    """A full list says nothing of what moved."""
    is_full = entry["reason"] == "mismatch"
    versions = {} if is_full else {record["id"]: record["coreVersion"] for record in entry["records"]}
    return Moved(HubCursor(entry["maxCoreVersion"], epoch), versions, all_told=not is_full and epoch == cursor.epoch)


def _codes(result: Result) -> list[int]:
    return [rejection["code"] for rejection in result["rejections"]]


def _result(record: Mapping[str, Any], result: Result, there: Mapping[str, HubSeen]) -> Written | Rejected:
    codes = _codes(result)
    if not codes:
        return Written(result["coreVersion"])
    seen = there.get(result["id"])
    if seen is not None and (record["deleted"] or seen.body == record.get("body")):
        return Written(seen.version)
    is_stale = codes == [Code.VERSION_MISMATCH] or seen is not None
    return Rejected(is_stale, "; ".join(f"{each['code']}: {each['detail']}" for each in result["rejections"]))


def _live(line: Mapping[str, Any]) -> HubSeen:
    return HubSeen(line["id"], State.LIVE, line["coreVersion"], line["body"], _moment(line.get("changedAt")))


def _seen(record: RecordAnswer) -> HubSeen:
    if record["availability"] != "Normal":
        return HubSeen(record["id"], State.OUT_OF_VIEW)
    state = State.DELETED if record["deleted"] else State.LIVE
    return HubSeen(record["id"], state, record["coreVersion"], record["body"], _moment(record.get("changedAt")))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
