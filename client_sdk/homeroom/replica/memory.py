"""A replica in memory: the same promises as a file's, for as long as the process lives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from uuid import UUID

import orjson

from homeroom.answers import Json, Rejection, Result
from homeroom.protocol import version_hash
from homeroom.replica.machine import Phase, TypeState
from homeroom.replica.storage import (
    DIFFERENCES_KEPT,
    Arrival,
    Batch,
    Change,
    Damage,
    Difference,
    Inspection,
    Kind,
    Record,
    StorageError,
    TypeSummary,
    now,
    takes,
)
from homeroom.replica.writes import (
    ACCEPTED_KEPT,
    QUEUED_WRITES_MAX,
    Call,
    RejectedWrite,
    Write,
    by_number,
    goes_again,
    next_writes,
    rejected_before,
)


@dataclass
class _Kept:
    """One type: where it stands, its records and at which place in the sequence each was applied."""

    kind: Kind
    state: TypeState = field(default_factory=TypeState)
    loaded: bool = False
    rows: dict[str, Arrival] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    in_step_at: str = ""
    asked_at: str = ""


class MemoryStorage:
    """The storage of a process."""

    def __init__(self) -> None:
        self.writes = MemoryWrites(self._held_version)
        self._settings: dict[str, str] = {}
        self._types: dict[str, _Kept] = {}
        self._sequence = 0
        self._pending: dict[str, list[Change]] = {}
        self._differences: list[Difference] = []

    def close(self) -> None:
        pass

    def setting(self, name: str, value: str | None = None) -> str:
        if value is not None:
            self._settings[name] = value
        return self._settings.get(name, "")

    def subscribe(self, kinds: Sequence[Kind]) -> None:
        for kept in self._types.values():
            kept.kind = replace(kept.kind, followed=False)
        for kind in kinds:
            self._types.setdefault(kind.name, _Kept(kind)).kind = kind

    def summaries(self) -> Sequence[TypeSummary]:
        found = []
        for name, kept in sorted(self._types.items()):
            deleted = sum(row.deleted for row in kept.rows.values())
            live = len(kept.rows) - deleted
            found.append(TypeSummary(kept.kind, self.state(name), live, deleted, kept.in_step_at, kept.asked_at))
        return found

    def state(self, name: str) -> TypeState:
        return self._types[name].state

    def remember(self, name: str, state: TypeState, *, in_step: bool) -> None:
        kept = self._types[name]
        kept.state = replace(state, in_doubt=True, repairs=0)
        kept.asked_at = now()
        kept.in_step_at = kept.asked_at if in_step else kept.in_step_at

    def load(self, name: str, batch: Batch, state: TypeState) -> None:
        self._store(name, batch.records, repair=False)
        source = self._types[name].kind.source
        if source is not None:
            self._store(source, batch.sources, repair=False)
        self._types[name].state = state

    def finish_load(self, name: str, state: TypeState) -> None:
        for kind in filter(None, (name, self._types[name].kind.source)):
            kept = self._types[kind]
            if not kept.loaded:
                kept.loaded = True
                kept.state = replace(kept.state, phase=Phase.FOLLOWING, until=0)
                self._announce(_as_news(kept))
        self._types[name].state = state

    def forget_load(self, name: str) -> None:
        for kind in filter(None, (name, self._types[name].kind.source)):
            if not self._types[kind].loaded:
                self._types[kind] = _Kept(self._types[kind].kind)

    def apply(self, name: str, batch: Batch) -> int:
        kept = self._types[name]
        applied = self._store(kept.kind.source, batch.sources, repair=batch.repair) if kept.kind.source else 0
        applied += self._store(name, batch.records, repair=batch.repair)
        applied += self._drop(name, batch.dropped)
        if kept.kind.source and not self._types[kept.kind.source].kind.followed:
            applied += self._drop(kept.kind.source, batch.dropped)
        kept.state = replace(kept.state, cursor=max(kept.state.cursor, batch.cursor))
        return applied

    def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        rows = self._types[name].rows
        return {record_id: rows[record_id].version for record_id in ids if record_id in rows}

    def live(self, name: str) -> Iterator[tuple[str, int]]:
        yield from ((row.id, row.version) for row in self._types[name].rows.values() if not row.deleted)

    def highest_version(self, name: str) -> int:
        return max((version for _, version in self.live(name)), default=0)

    def version_hash(self, name: str) -> str:
        return version_hash(version for _, version in self.live(name))

    def stamp(self) -> object:
        return self._sequence

    def damage(self, name: str) -> Damage:
        return Damage()

    def sources_missing(self, name: str) -> Sequence[str]:
        source = self._types[name].kind.source
        if source is None:
            return []
        held = {row.id: row.version for row in self._types[source].rows.values()}
        rows = (row for row in self._types[name].rows.values() if not row.deleted)
        return [row.id for row in rows if held.get(row.id, -1) < (row.source_version or 0)]

    def sources_beyond(self, name: str) -> Sequence[str]:
        source = self._types[name].kind.source
        if source is None:
            return []
        held = {row.id: row.version for row in self._types[source].rows.values()}
        rows = (row for row in self._types[name].rows.values() if not row.deleted)
        return [row.id for row in rows if held.get(row.id, 0) > (row.source_version or 0)]

    def strays(self, name: str) -> Sequence[str]:
        source = self._types[name].kind.source
        if source is None or self._types[source].kind.followed:
            return []
        return list(self._types[source].rows.keys() - self._types[name].rows.keys())

    def inspect(self, name: str) -> Inspection:
        missing = self.sources_missing(name)
        return Inspection(self.state(name), self.version_hash(name), sources_missing=missing)

    def record(self, name: str, record_id: str) -> Record | None:
        kept = self._types[name]
        row = kept.rows.get(record_id) if kept.loaded else None
        if row is None:
            return None
        body = orjson.loads(row.body)
        return Record(name, row.id, row.version, row.changed_at, row.deleted, row.source_version, body)

    def changes(self, consumer: str, limit: int) -> Sequence[Change]:
        if consumer not in self._pending:
            loaded = [kept for kept in self._types.values() if kept.loaded]
            news = [change for kept in loaded for change in _as_news(kept)]
            self._pending[consumer] = sorted(news, key=lambda change: change.sequence)
        return self._pending[consumer][:limit]

    def acknowledge(self, consumer: str, change: Change) -> None:
        left = [c for c in self._pending[consumer] if c.type != change.type or c.sequence > change.sequence]
        self._pending[consumer] = left

    def forget_consumer(self, consumer: str) -> None:
        self._pending.pop(consumer, None)

    def note_differences(self, differences: Sequence[Difference]) -> None:
        noted = [replace(difference, found_at=now()) for difference in differences]
        self._differences = [*self._differences, *noted][-DIFFERENCES_KEPT:]

    def differences(self, limit: int) -> Sequence[Difference]:
        return self._differences[::-1][:limit]

    def _held_version(self, name: str, record_id: str) -> int:
        row = self._types[name].rows.get(record_id) if name in self._types else None
        return 0 if row is None else row.version

    def _announce(self, changes: Sequence[Change]) -> None:
        for pending in self._pending.values():
            pending += changes

    def _store(self, name: str, arrivals: Sequence[Arrival], *, repair: bool) -> int:
        kept = self._types[name]
        applied = 0
        for arrival in arrivals:
            held = kept.rows.get(arrival.id)
            if not takes(None if held is None else held.version, arrival.version, repair=repair):
                continue
            applied += 1
            self._sequence += 1
            kept.rows[arrival.id], kept.places[arrival.id] = arrival, self._sequence
            old = None if held is None or held.deleted else held
            if kept.loaded and (old is not None or not arrival.deleted):
                self._announce([_change(kept.kind.name, self._sequence, arrival, old)])
        return applied

    def _drop(self, name: str, ids: Sequence[str]) -> int:
        kept = self._types[name]
        found = [kept.rows.pop(record_id) for record_id in ids if record_id in kept.rows]
        for row in found:
            self._sequence += 1
            if not row.deleted:
                body = orjson.loads(row.body)
                self._announce([Change(self._sequence, name, row.id, row.version, "dropped", body, None)])
        return len(found)


class MemoryWrites:
    """The queue of a process. `held` tells which version of a record (type, id) is held; 0 for none."""

    def __init__(self, held: Callable[[str, str], int]) -> None:
        self._held = held
        self._numbers = count(1)
        self._queued: list[Write] = []
        self._rejected: dict[int, RejectedWrite] = {}
        self._accepted: dict[tuple[str, str], int] = {}

    def queue(self, write: Write, *, as_held: bool) -> int:
        if as_held:
            made_here = self._accepted.get((write.type, write.id), 0)
            write = replace(write, expected_version=max(self._held(write.type, write.id), made_here))
        if len(self._queued) >= QUEUED_WRITES_MAX:
            raise StorageError(f"{QUEUED_WRITES_MAX:,} writes wait already; is the Core reachable?")
        earlier = [w.number for w in self._queued if (w.type, w.id) == (write.type, write.id)]
        follows = earlier[-1] if earlier else None
        number = next(self._numbers)
        size = len(orjson.dumps(write.body))
        kept = replace(write, number=number, queued_at=now(), follows=follows, alone=False, call=None, bytes=size)
        self._queued.append(kept)
        return number

    def next_call(self, key: UUID) -> Call | None:
        begun = [write for write in self._queued if write.call is not None]
        if begun and begun[0].call:
            return Call(begun[0].call, begun[0].type, begun)
        chosen = {write.number for write in next_writes(self._queued)}
        self._queued = [replace(w, call=key) if w.number in chosen else w for w in self._queued]
        writes = [write for write in self._queued if write.number in chosen]
        return Call(key, writes[0].type, writes) if writes else None

    def settle(self, call: Call, results: Sequence[Result]) -> None:
        for number, result in by_number(call, results).items():
            if goes_again(result):
                self._change(number, call=None)
            elif result["rejections"]:
                self._reject(number, result["rejections"])
            else:
                self._queued = [write for write in self._queued if write.number != number]
                self._accepted.pop((call.type, result["id"]), None)
                self._accepted[call.type, result["id"]] = result["coreVersion"]
                self._accepted = dict(list(self._accepted.items())[-ACCEPTED_KEPT:])
                for later in [write.number for write in self._queued if write.follows == number]:
                    self._change(later, expected_version=result["coreVersion"], follows=None)

    def send_alone(self, call: Call) -> None:
        for write in call.writes:
            self._change(write.number, call=None, alone=True)

    def waiting(self) -> int:
        return len(self._queued)

    def rejected(self) -> Sequence[RejectedWrite]:
        return [self._rejected[number] for number in sorted(self._rejected)]

    def discard(self, number: int) -> None:
        del self._rejected[number]

    def requeue(self, number: int, expected_version: int, body: Json | None) -> int:
        write = self._rejected.pop(number).write
        again = replace(write, expected_version=expected_version, body=body or write.body)
        return self.queue(again, as_held=False)

    def _change(self, number: int, **members: Any) -> None:
        self._queued = [replace(w, **members) if w.number == number else w for w in self._queued]

    def _reject(self, number: int, rejections: Sequence[Rejection]) -> None:
        (write,) = (write for write in self._queued if write.number == number)
        self._queued.remove(write)
        self._rejected[number] = RejectedWrite(replace(write, call=None), rejections)
        for later in [write.number for write in self._queued if write.follows == number]:
            self._reject(later, [rejected_before(number)])


def _as_news(kept: _Kept) -> list[Change]:
    """What is held, to somebody who has seen none of it."""
    return [_change(kept.kind.name, kept.places[row.id], row, None) for row in kept.rows.values() if not row.deleted]


def _change(name: str, sequence: int, new: Arrival, old: Arrival | None) -> Change:
    old_body = None if old is None else orjson.loads(old.body)
    if new.deleted:
        return Change(sequence, name, new.id, new.version, "deleted", old_body, None)
    return Change(sequence, name, new.id, new.version, "changed", old_body, orjson.loads(new.body))
