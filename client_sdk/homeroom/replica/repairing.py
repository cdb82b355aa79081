"""Repair: what is held is compared with the Core, what differs is fetched or dropped, and told with its cause.

A full list that came at once is compared as it is. One that was cut, or one after which the hash still differs, gives
way to reconciliation, which costs in proportion to the difference; if that comes to no end, the whole list is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeroom.answers import RecordAnswer, TypeAvailability
from homeroom.client import Client
from homeroom.errors import Code, ResyncNeeded, error
from homeroom.protocol import RANGES_PER_CALL_MAX
from homeroom.reconciliation import LocalRecords
from homeroom.replica.diagnosis import difference, source_difference
from homeroom.replica.fetching import batch_of, with_known_sources
from homeroom.replica.ledger import Ledger
from homeroom.replica.machine import Happening, Phase, What
from homeroom.replica.storage import Batch, Damage, Difference

_PER_GET = 1_000
_LIST_PAGES_MAX = 1_000
_ROUNDS_MAX = 64
"""Far more than ranges can be split; beyond it the Core and this client do not understand each other."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The Core's (id, version) that are not held so, and ids that only this side holds."""

    differing: Mapping[str, int]
    extra: Sequence[str]


class Repair:
    """Repairs types of one replica."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger

    async def of_mismatch(self, name: str, entry: TypeAvailability) -> Sequence[Difference]:
        """Act on the full list that Is Data Available answered; what differed."""
        still = not entry["complete"] or self._ledger.states[name].repairs % 2 == 1
        state = await self._ledger.note(name, Happening(What.DIFFERS_STILL if still else What.DIFFERS))
        window = entry["maxCoreVersion"]
        found = await self._reconcile(name, window) if state.phase is Phase.REPAIRING else None
        if found is None:
            await self._ledger.note(name, Happening(What.UNSETTLED))
            found = await self._compare(name, entry)
        damage = await self._ledger.in_thread(self._ledger.storage.damage, name)
        return await self._mend(name, found, damage, window)

    async def whole(self, name: str) -> Sequence[Difference]:
        """Repair a type whether or not its hash agrees: rows that other hands altered and sources too; what differed.

        The cursor stays where it is.
        """
        found = await self._reconcile(name)
        if found is None:
            return []
        storage, in_thread, source = self._ledger.storage, self._ledger.in_thread, self._ledger.sources[name]
        damage = await in_thread(storage.damage, name)
        sources = list(await in_thread(storage.sources_missing, name))
        if source is not None:
            sources += (await in_thread(storage.damage, source)).altered
        held = await in_thread(storage.versions, name, [*damage.altered, *sources])
        again = {i: version for i, version in held.items() if i not in found.extra}
        every = _Found({**again, **found.differing}, found.extra)
        differences = list(await self._mend(name, every, damage, 0, frozenset(sources)))
        return differences + await self._drop_strays(name, source)

    async def sources_taken_back(self, name: str, epoch: str) -> None:
        """In a new history a status may live on while the source that came with it last does not: take what there is.

        Raises RetryLater if a node answers that is in another history still.
        """
        storage, in_thread = self._ledger.storage, self._ledger.in_thread
        beyond = await in_thread(storage.sources_beyond, name)
        for start in range(0, len(beyond), _PER_GET):
            got = await self._client.get(name, [{"id": each} for each in beyond[start : start + _PER_GET]])
            if got.epoch != epoch:
                raise error(Code.NODE_BEHIND, "this node is in another history than the one that was verified")
            await in_thread(storage.apply, name, batch_of(got.records, repair=True))

    async def _reconcile(self, name: str, window: int = 0) -> _Found | None:
        """What differs, by fingerprints of ranges; None if that comes to no end.

        The highest version held is named, or the `window` to which the cursor will move, so that no node answers that
        has seen less. If no history of the Core ever gave that out, it is not true, and the cursor must do; failing
        that, whatever the Core has.
        """
        storage, in_thread = self._ledger.storage, self._ledger.in_thread
        local = await in_thread(lambda: LocalRecords(storage.live(name)))
        highest = await in_thread(storage.highest_version, name)
        cursor = self._ledger.states[name].cursor
        for version in (max(highest, cursor, window), cursor):
            try:
                return await self._compare_ranges(name, version, local)
            except ResyncNeeded:
                continue
        return await self._compare_ranges(name, 0, local)

    async def _compare_ranges(self, name: str, version: int, local: LocalRecords) -> _Found | None:
        ask = local.whole()
        differing: dict[str, int] = {}
        extra: list[str] = []
        for _ in range(_ROUNDS_MAX):
            answer = await self._client.reconcile(name, version, ask[:RANGES_PER_CALL_MAX])
            step = local.compare(answer.ranges)
            differing |= step.differing
            extra += step.extra
            ask = [*step.ask, *ask[RANGES_PER_CALL_MAX:]]
            if not ask:
                return _Found(differing, extra)
        return None

    async def _compare(self, name: str, entry: TypeAvailability) -> _Found:
        """What differs from a full list, whose further pages are read if it was cut (protocol 3).

        What is held above the list's watermark is newer than it and left alone.
        """
        window = entry["maxCoreVersion"]
        listed = {record["id"]: record["coreVersion"] for record in entry["records"]}
        for _ in range(_LIST_PAGES_MAX):
            if entry["complete"]:
                break
            question = {"notificationType": name, "maxCoreVersion": window}
            after = max(listed.values(), default=0)
            (entry,) = (await self._client.is_data_available([question | {"listAfter": after}], 0)).types
            if entry["maxCoreVersion"] != window:  # what the list was of has been collected meanwhile: a new one begins
                window, listed = entry["maxCoreVersion"], {}
            listed |= {record["id"]: record["coreVersion"] for record in entry["records"]}
        live = await self._ledger.in_thread(lambda: dict(self._ledger.storage.live(name)))
        held = {record_id: version for record_id, version in live.items() if version <= window}
        newer = live.keys() - held.keys()
        differing = {i: v for i, v in listed.items() if held.get(i) != v and i not in newer}
        return _Found(differing, list(held.keys() - listed.keys()))

    async def _mend(
        self, name: str, found: _Found, damage: Damage, cursor: int, sources: frozenset[str] = frozenset()
    ) -> Sequence[Difference]:
        """Fetch what differs and, of the statuses in `sources`, their source; drop what the Core does not give."""
        storage, in_thread = self._ledger.storage, self._ledger.in_thread
        judge = await self._judge(name, damage, sources)
        differences: list[Difference] = []
        wanted = [*found.differing.items(), *((record_id, 0) for record_id in found.extra)]
        while wanted:
            page, wanted = wanted[:_PER_GET], wanted[_PER_GET:]
            held = await in_thread(storage.versions, name, [record_id for record_id, _ in page])
            got = await self._client.get(name, await self._items(name, page, sources))
            if got.stopped_at is not None:
                # It has moved on since it was compared: its new version comes as a change. The rest is asked again.
                wanted = [*page[got.stopped_at + 1 :], *wanted]
            judged = [d for record in got.records if (d := judge(held.get(record["id"], 0), record)) is not None]
            await in_thread(storage.note_differences, judged)
            applied = await in_thread(storage.apply, name, batch_of(got.records, repair=True))
            differences += judged
            self._ledger.noted(name, What.PAGE, applied)
        await in_thread(storage.apply, name, Batch(repair=True))
        await self._ledger.note(name, Happening(What.REPAIRED, cursor=cursor))
        return differences

    async def _judge(
        self, name: str, damage: Damage, sources: frozenset[str]
    ) -> Callable[[int, RecordAnswer], Difference | None]:
        """What a record that was fetched differed in from the version held; None if in nothing."""
        source, state = self._ledger.sources[name], self._ledger.states[name]
        held_sources: Mapping[str, int] = {}
        if source is not None:
            held_sources = await self._ledger.in_thread(self._ledger.storage.versions, source, list(sources))

        def judge(held: int, record: RecordAnswer) -> Difference | None:
            record_id = record["id"]
            if held != record.get("coreVersion", 0) or record_id in damage.altered:
                return difference(name, held, record, damage, state)
            if record_id in sources and source is not None and "source" in record:
                core = record["source"]["coreVersion"]
                return source_difference(source, record_id, held_sources.get(record_id, 0), core)
            return None

        return judge

    async def _drop_strays(self, name: str, source: str | None) -> list[Difference]:
        """Records that came with no status of ours."""
        storage, in_thread = self._ledger.storage, self._ledger.in_thread
        strays = await in_thread(storage.strays, name)
        if source is None or not strays:
            return []
        held = await in_thread(storage.versions, source, strays)
        await in_thread(storage.apply, source, Batch(dropped=strays, repair=True))
        differences = [source_difference(source, record_id, held[record_id], 0) for record_id in strays]
        await in_thread(storage.note_differences, differences)
        return differences

    async def _items(
        self, name: str, page: Sequence[tuple[str, int]], sources: frozenset[str]
    ) -> Sequence[dict[str, Any]]:
        items: list[dict[str, Any]] = [{"id": i, "expectedVersion": version} for i, version in page]
        if self._ledger.states[name].other_epoch:
            return items  # what is held of a source may be of the history that ended, and above all that it is now
        known = await with_known_sources(self._ledger, name, items)
        return [item if item["id"] in sources else k for item, k in zip(items, known, strict=True)]
