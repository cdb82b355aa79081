"""Being in step: Is Data Available for up to 64 types at once, Get for what it lists (protocol 3 and 5)."""

import math
import random
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import anyio

from homeroom.answers import Availability, Listed, RecordAnswer, TypeAvailability
from homeroom.client import Client
from homeroom.errors import Code, ConnectionCut, FixRequest, HomeroomError, ResyncNeeded, RetryLater, error
from homeroom.pacing import Backoff, Hold, LoopGuard
from homeroom.replica.fetching import batch_of, with_known_sources
from homeroom.replica.hashes import Hashes
from homeroom.replica.ledger import Ledger
from homeroom.replica.machine import Happening, Phase, What
from homeroom.replica.repairing import Repair
from homeroom.replica.storage import StorageError

_PER_GET = 1_000
_STOPS_MAX = 3
_SPINNING = "the Core answers at once, again and again, and nothing comes of it"
_AT_ONCE_SECONDS = 1.0
"""An answer that comes sooner was not held."""
_REPAIRS_MAX = 4
_NOT_HELD_LONG_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Page:
    """Part of a delta: what is listed, those of it to be fetched, and the cursor it leads to."""

    listed: Sequence[Listed]
    wanted: Sequence[Listed]
    cursor: int
    last: bool


class Follower:
    """Keeps some types in step, one question at a time, for ever."""

    def __init__(self, client: Client, ledger: Ledger, names: Sequence[str], wait_seconds: int) -> None:
        self._client = client
        self._ledger = ledger
        self._names = names
        self._hashes = Hashes(ledger)
        self._repair = Repair(client, ledger)
        self._hold = Hold(wait_seconds, wait_seconds)
        self._backoff = Backoff()
        self._guard = LoopGuard()
        self._failure: RetryLater | StorageError | None = None
        self._stops: Counter[tuple[str, str]] = Counter()

    async def follow(self) -> None:
        """Never returns; raises StopCalling where a person must act."""
        while True:
            names = self._ledger.in_phase(self._names, Phase.FOLLOWING)
            if not names:
                await self._ledger.watch().wait()
                continue
            await anyio.sleep(await self.round(names, self._hold.wait_seconds))

    async def until_in_step(self) -> None:
        """Return when every type that can be followed was proved to be in step; raises RetryLater or StorageError."""
        while names := [
            n for n in self._ledger.in_phase(self._names, Phase.FOLLOWING) if self._ledger.states[n].in_doubt
        ]:
            pause = await self.round(names, 0)
            if self._failure is not None:
                raise self._failure
            if any(self._ledger.states[name].repairs >= _REPAIRS_MAX for name in names):
                raise error(Code.CORE_NOT_AVAILABLE, "the version hash still differs after several repairs")
            await anyio.sleep(pause)

    async def round(self, names: Sequence[str], wait_seconds: int) -> float:
        """Ask once and act on the answer; how many seconds to pause before the next time."""
        before = {name: self._ledger.states[name] for name in names}
        self._failure = None
        begun = anyio.current_time()
        try:
            await self._ask(names, wait_seconds)
        except (RetryLater, StorageError) as failure:
            return await self._failed(names, failure, anyio.current_time() - begun)
        except ResyncNeeded as failure:
            for name in _named(failure, names):
                await self._ledger.note(name, Happening(What.OTHER_HISTORY, trouble=failure.detail))
        except FixRequest as failure:
            for name in _named(failure, names):
                await self._ledger.note(name, Happening(What.REFUSED, trouble=str(failure)))
        self._backoff = Backoff()
        moved = any(self._ledger.states[name].cursor != before[name].cursor for name in names)
        proved = any(before[n].in_doubt and not self._ledger.states[n].in_doubt for n in names)
        at_once = anyio.current_time() - begun < _AT_ONCE_SECONDS and wait_seconds > 0
        self._guard = self._guard.answered(at_once=at_once, moved=moved or proved)
        if not self._guard.spinning:
            return 0.0
        for name in self._ledger.in_phase(names, Phase.FOLLOWING):
            await self._ledger.note(name, Happening(What.UNREACHABLE, trouble=_SPINNING))
        return self._guard.backoff.pause_seconds(random.random())

    async def _ask(self, names: Sequence[str], wait_seconds: int) -> None:
        """One question and what its answer asks for, type by type: one that fails does not keep the others waiting."""
        asked = [await self._question(name) for name in names]
        at_once = wait_seconds == 0 or any(self._ledger.states[name].in_doubt for name in names)
        answer = await self._held(asked, 0 if at_once else wait_seconds)
        if answer is None:
            return
        failures: list[RetryLater | StorageError] = []
        for entry, question, name in zip(answer.types, asked, names, strict=True):
            state = self._ledger.states[name]
            # A hash that was held may have been judged in the history before the one that the answer is of.
            judged = "versionHash" in question and (at_once or state.epoch == answer.epoch)
            if state.epoch not in ("", answer.epoch) and not state.other_epoch:
                await self._ledger.note(name, Happening(What.NEW_EPOCH))
            try:
                await self._answered(name, entry, answer.epoch if judged else "")
            except FixRequest as failure:
                await self._ledger.note(name, Happening(What.REFUSED, trouble=str(failure)))
            except (RetryLater, StorageError) as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    async def _held(self, asked: Sequence[dict[str, Any]], wait_seconds: int) -> Availability | None:
        """The answer; None if meanwhile a type was loaded that has to be asked for as well."""
        asked_names = {question["notificationType"] for question in asked}
        begun = anyio.current_time()
        answer: Availability | None = None
        failed: HomeroomError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_loaded, asked_names, tasks.cancel_scope)
            try:
                answer = await self._client.is_data_available(asked, wait_seconds)
            except HomeroomError as failure:
                failed = failure
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed
        self._hold = self._hold.held(anyio.current_time() - begun)
        return answer

    async def _cancel_when_loaded(self, asked: Set[str], question: anyio.CancelScope) -> None:
        """A type that was proved already may be left out of a question; one that was just loaded may not."""
        states = self._ledger.states
        while not any(
            states[n].in_doubt for n in self._ledger.in_phase(self._names, Phase.FOLLOWING) if n not in asked
        ):
            await self._ledger.watch().wait()
        question.cancel()

    async def _question(self, name: str) -> dict[str, Any]:
        state = self._ledger.states[name]
        question: dict[str, Any] = {"notificationType": name, "maxCoreVersion": state.cursor}
        digest = await self._hashes.digest(name, must=state.in_doubt)
        return question if digest is None else question | {"versionHash": digest}

    async def _answered(self, name: str, entry: TypeAvailability, epoch_proved: str) -> None:
        match entry["reason"]:
            case "none":
                if epoch_proved and self._ledger.states[name].other_epoch:
                    await self._repair.sources_taken_back(name, epoch_proved)
                happening = Happening(What.NOTHING, cursor=entry["maxCoreVersion"], epoch=epoch_proved)
                await self._ledger.note(name, happening)
            case "newer":
                if entry["records"]:
                    await self._bring(name, entry)
            case "mismatch":
                await self._repair.of_mismatch(name, entry)

    async def _bring(self, name: str, entry: TypeAvailability) -> None:
        """Fetch and store a delta page by page; a page that Get stops at ends it, the rest is asked for anew."""
        await self._ledger.note(name, Happening(What.NEWER))
        for start in range(0, len(entry["records"]), _PER_GET):
            listed = entry["records"][start : start + _PER_GET]
            last = start + _PER_GET >= len(entry["records"])
            held = await self._ledger.in_thread(self._ledger.storage.versions, name, [r["id"] for r in listed])
            wanted = [record for record in listed if held.get(record["id"], -1) < record["coreVersion"]]
            cursor = entry["maxCoreVersion"] if last else listed[-1]["coreVersion"]
            if not await self._bring_page(name, _Page(listed, wanted, cursor, last)):
                return

    async def _bring_page(self, name: str, page: _Page) -> bool:
        """Whether all of it was brought."""
        records: Sequence[RecordAnswer] = ()
        stopped: Listed | None = None
        if page.wanted:
            items = await self._items(name, page.wanted)
            got = await self._client.get(name, items)
            records = got.records
            _must_have_seen(items, page.wanted, records)
            stopped = None if got.stopped_at is None else page.wanted[got.stopped_at]
        cursor = page.cursor if stopped is None else _listed_before(page.listed, stopped)
        batch = batch_of(records, cursor)
        applied = await self._ledger.in_thread(self._ledger.storage.apply, name, batch)
        if stopped is not None:
            self._stops[name, stopped["id"]] += 1
            await self._ledger.note(name, Happening(What.STOPPED, cursor=cursor), applied)
            return False
        for record in page.wanted:
            self._stops.pop((name, record["id"]), None)
        await self._ledger.note(name, Happening(What.BROUGHT if page.last else What.PAGE, cursor=cursor), applied)
        return True

    async def _items(self, name: str, wanted: Sequence[Listed]) -> list[dict[str, Any]]:
        """What Get is asked: a record that it stopped at three times is asked for as it is (protocol 5)."""
        hot = {record["id"] for record in wanted if self._stops[name, record["id"]] >= _STOPS_MAX}
        items: list[dict[str, Any]] = [
            {"id": r["id"], "expectedVersion": 0 if r["id"] in hot else r["coreVersion"]} for r in wanted
        ]
        return await with_known_sources(self._ledger, name, items)

    async def _failed(self, names: Sequence[str], failure: RetryLater | StorageError, seconds: float) -> float:
        """Note what is in the way; how long to pause. A cut after a while says how long those on the way will hold."""
        self._failure = failure
        for name in names:
            await self._ledger.note(name, Happening(What.UNREACHABLE, trouble=str(failure)))
        if isinstance(failure, ConnectionCut) and seconds >= _NOT_HELD_LONG_SECONDS:
            self._hold = self._hold.cut_after(seconds)
            self._backoff = Backoff()
            return random.random()
        self._backoff = self._backoff.failed()
        after = failure.retry_after_seconds if isinstance(failure, HomeroomError) else None
        return self._backoff.pause_seconds(random.random(), after)


def _must_have_seen(items: Sequence[dict[str, Any]], listed: Sequence[Listed], records: Sequence[RecordAnswer]) -> None:
    """RetryLater if a record that was asked for as it is comes from a node that is behind the one that listed it.

    The cursor would pass a version that was not brought. An expected version says how far a node must be; 0 does not.
    """
    for item, entry, record in zip(items, listed, records, strict=False):
        behind = record["availability"] == "Unknown" or record.get("coreVersion", math.inf) < entry["coreVersion"]
        if behind and item["expectedVersion"] == 0:
            detail = f"{record['id']} was listed at {entry['coreVersion']}, which this node has not seen yet"
            raise error(Code.NODE_BEHIND, detail)


def _named(failure: HomeroomError, names: Sequence[str]) -> Sequence[str]:
    """The types that an error points at; all of them if it points at none."""
    places = [fault.pointer.split("/")[2] for fault in failure.errors if fault.pointer.startswith("/types/")]
    return [names[int(place)] for place in places if place.isdigit() and int(place) < len(names)] or names


def _listed_before(listed: Sequence[Listed], stopped: Listed) -> int:
    """Up to where a delta is stored if Get stopped at one of its records; 0 if that was the first."""
    index = listed.index(stopped)
    return listed[index - 1]["coreVersion"] if index else 0
