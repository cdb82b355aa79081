"""Judges a recorded history against each promise of protocol 9, by name. Pure: events in, findings out."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tests.history.events import Ended, Event, Got, Held, Looked, Sent, Stored, Submitted
from tests.history.facts import Change, Facts, Record, may_see


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept, why, and the events that show it."""

    promise: str
    explanation: str
    events: tuple[Event, ...]


Finding = tuple[str, tuple[Event, ...]]


def check(events: Sequence[Event]) -> list[Broken]:
    """Every breach of every promise; none for a history that keeps them all."""
    facts = Facts(events)
    return [
        Broken(promise, explanation, shown)
        for promise, judge in PROMISES.items()
        for explanation, shown in judge(facts)
    ]


def ordered(facts: Facts) -> Iterator[Finding]:
    """In successive deltas, each asked with the previous answer's cursor, versions only rise."""
    last: dict[tuple[str, str], Looked] = {}
    for look in facts.looks:
        versions = [listed.version for listed in look.listed]
        if any(one >= other for one, other in pairwise(versions)):
            yield f"{look.client} was listed versions of {look.type} that do not rise", (look,)
        if versions and versions[-1] > look.bookmark:
            yield f"{look.client} was listed {versions[-1]}, above its bookmark {look.bookmark}", (look,)
        if look.reason != "mismatch" and min([look.bookmark, *(v - 1 for v in versions[:1])]) < look.cursor:
            yield f"{look.client} asked above {look.cursor} and was answered from below", (look,)
        before = last.get((look.client, look.type))
        if before and look.reason == "newer" and look.cursor == before.bookmark and look.epoch == before.epoch:
            told = before.listed[-1:]
            if told and versions and versions[0] <= told[0].version and not look.resumed:
                yield f"{look.client} was listed {versions[0]} after {told[0].version}", (before, look)
        if not look.resumed:
            last[look.client, look.type] = look


def reliable(facts: Facts) -> Iterator[Finding]:
    """No answer moves a cursor past a committed change that its stream sees without listing it."""
    for look in facts.looks:
        if not look.resumed:
            yield from _gaps(facts, look)


def resumable(facts: Facts) -> Iterator[Finding]:
    """Any earlier cursor of the epoch yields everything since, or the full list."""
    for look in facts.looks:
        if look.resumed:
            yield from _gaps(facts, look)
    for event in facts.events:
        if isinstance(event, Looked) and event.error == 2003 and event.epoch == event.cursor_epoch:
            ended = facts.pasts and facts.pasts[-1].epoch != event.epoch
            if not ended:  # the new history may not have been named yet
                yield f"{event.client} was refused its cursor {event.cursor} within the epoch it is of", (event,)


def unique(facts: Facts) -> Iterator[Finding]:
    """No version is announced for two different changes, epochs included."""
    known: dict[int, _Said] = {}
    for said in (each for event in facts.events for each in _said(event)):
        first = known.setdefault(said.version, said)
        if said.record != first.record:
            yield (
                f"{said.version} is both {' '.join(first.record)} and {' '.join(said.record)}",
                (first.event, said.event),
            )
        elif said.digest and first.digest not in ("", said.digest):
            yield f"{said.version} of {' '.join(said.record)} has two bodies", (first.event, said.event)
        elif said.deleted is not None and first.deleted is (not said.deleted):
            yield f"{said.version} of {' '.join(said.record)} is both live and deleted", (first.event, said.event)
        elif not first.digest:
            known[said.version] = said._replace(deleted=first.deleted if said.deleted is None else said.deleted)


def atomic(facts: Facts) -> Iterator[Finding]:
    """Of records committed together, one stream shows all or none; a cut list continues."""
    lows = {kind: [group[0].version for group in groups] for kind, groups in facts.groups.items()}
    for look in facts.looks:
        if not look.complete or look.type not in lows or look.listed_after > 0:
            continue
        groups = facts.groups[look.type]
        begin, end = bisect_left(lows[look.type], look.cursor), bisect_right(lows[look.type], look.bookmark)
        for group in groups[max(0, begin - 1) : end] if look.reason == "newer" else groups[max(0, end - 1) : end]:
            told = [change for change in group if may_see(look.organization, look.type, change.sent.id)]
            if any(not facts.lives(look.type, change.version, look.epoch) for change in told):
                continue
            past = [change for change in told if change.version <= look.bookmark]
            if past and len(past) < len(told):
                yield f"{look.client} was shown half of what {group[0].call.key} committed", (look, group[0].call)
            elif look.reason == "newer" and _shown_in_part(look, told):
                yield f"{look.client} was listed a part of what {group[0].call.key} committed", (look, group[0].call)


def bounded(facts: Facts) -> Iterator[Finding]:
    """A list has one entry per id, not one per change."""
    for look in facts.looks:
        if len({listed.id for listed in look.listed}) < len(look.listed):
            yield f"{look.client} was listed a record of {look.type} twice", (look,)


def visible(facts: Facts) -> Iterator[Finding]:
    """Nobody learns of a record that it was never entitled to: not by a list, nor by Get, nor by trying to write."""
    for look in facts.looks:
        for listed in look.listed:
            if not may_see(look.organization, look.type, listed.id):
                yield f"{look.organization} was listed {look.type} {listed.id}", (look,)
    for got in facts.gets:
        for seen in got.records:
            if seen.availability != "Unknown" and not may_see(got.organization, got.type, seen.id):
                yield f"{got.organization} was told that {got.type} {seen.id} is {seen.availability}", (got,)
    for call in facts.answered:
        for sent, result in zip(call.sent, call.results, strict=True):
            if may_see(call.organization, "", sent.id):
                continue
            allowed = {9020} if facts.existed((call.type, sent.id), call) else {9020, 3004}
            if result.version or set(result.codes) - allowed:
                yield f"{call.organization} tried to write {sent.id} and was told {result}", (call,)


def converging(facts: Facts) -> Iterator[Finding]:
    """A client that keeps polling holds exactly the stream: replica and `SELECT` agree, and so do the hashes."""
    stored = {(e.checkpoint, e.type): e for e in facts.events if isinstance(e, Stored)}
    for event in facts.events:
        if isinstance(event, Ended):
            yield f"{event.client} gave up: {event.explanation}", (event,)
        if not isinstance(event, Held):
            continue
        there = stored[event.checkpoint, event.type]
        live = {
            row.id: (row.version, row.digest)
            for row in there.rows
            if not row.deleted and may_see(event.organization, event.type, row.id)
        }
        here = {row.id: (row.version, row.digest or live.get(row.id, (0, ""))[1]) for row in event.rows}
        if here != live:
            differing = sorted(i for i in here.keys() | live.keys() if here.get(i) != live.get(i))
            shown = [(i, here.get(i), live.get(i)) for i in differing[:3]]
            yield f"{event.client} differs in {len(differing)} of {event.type}: {shown}", (event,)
        elif not event.hash_agreed:
            yield f"{event.client} holds all of {event.type} and its hash is said to differ", (event,)


def acknowledged(facts: Facts) -> Iterator[Finding]:
    """Acknowledged writes survive everything but the declared tail of a change of epoch."""
    yield from _stored_changes(facts)
    yield from _overwritten_changes(facts)
    yield from _repeated_calls(facts)


PROMISES: Mapping[str, Callable[[Facts], Iterator[Finding]]] = {
    "Ordered": ordered,
    "Reliable": reliable,
    "Unique": unique,
    "Atomic": atomic,
    "Resumable": resumable,
    "Bounded": bounded,
    "Visible": visible,
    "Converging": converging,
    "Acknowledged": acknowledged,
}


def _gaps(facts: Facts, look: Looked) -> Iterator[Finding]:
    """Committed changes up to the bookmark of an answer that it leaves out."""
    told = {listed.id: listed.version for listed in look.listed}
    full = look.reason == "mismatch"
    since = max(look.listed_after, 0) if full else look.cursor
    until = look.bookmark if look.complete or not full else max(told.values(), default=since)
    for record_id, version, moved_on in facts.newest(look):
        listed = told.get(record_id, 0)
        if full and facts.deleted(version) is not False:
            if facts.deleted(version) and listed == version:
                yield f"{look.client} was listed {record_id} at {version}, which is deleted, in a full list", (look,)
            continue
        if not since < version <= until or listed >= version:
            continue
        # A page shows what stands when it is read: what has moved on by then is found above the bookmark.
        on_a_later_page = moved_on and (not look.complete or look.listed_after >= 0)
        if not on_a_later_page and not (full and (look.type, record_id) in facts.unsure):
            said = f"from {since} to {look.bookmark} without {record_id} at {version}"
            yield f"{look.client} was taken in {look.type} {said} (listed: {listed or 'not at all'})", (look,)


def _shown_in_part(look: Looked, told: Sequence[Change]) -> bool:
    versions = {listed.id: listed.version for listed in look.listed}
    above = [change for change in told if change.version > look.cursor]
    shown = [change for change in above if versions.get(change.sent.id, 0) >= change.version]
    return 0 < len(shown) < len(above)


class _Said(NamedTuple):
    """What an event says of a version; an empty digest and no `deleted` are things that it leaves open."""

    event: Event
    record: Record
    version: int
    digest: str = ""
    deleted: bool | None = None


def _said(event: Event) -> list[_Said]:
    match event:
        case Submitted():
            pairs = zip(event.sent, event.results, strict=False)
            return [_Said(event, (event.type, s.id), r.version, s.digest, s.deleted) for s, r in pairs if r.version]
        case Looked():
            return [_Said(event, (event.type, listed.id), listed.version) for listed in event.listed]
        case Got():
            seen = [each for each in event.records if each.version]
            return [_Said(event, (event.type, s.id), s.version, s.digest, s.deleted) for s in seen]
        case Held():
            return [_Said(event, (event.type, row.id), row.version, row.digest, False) for row in event.rows]
        case Stored():
            return [_Said(event, (event.type, r.id), r.version, r.digest, r.deleted) for r in event.rows]
        case _:
            return []


def _stored_changes(facts: Facts) -> Iterator[Finding]:
    """What was acknowledged before a quiet point stands there, or something newer does."""
    for stored in facts.events:
        if not isinstance(stored, Stored):
            continue
        rows = {row.id: row for row in stored.rows}
        for change in facts.changes:
            call, sent = change.call, change.sent
            if call.type != stored.type or call.ended > stored.at:
                continue
            row = rows.get(sent.id)
            lost = row is None or row.version < change.version
            if lost and facts.lives(call.type, change.version, stored.epoch):
                stands = "is gone" if row is None else f"stands at {row.version}"
                yield f"{change.version} of {call.type} {sent.id} was acknowledged, and it {stands}", (call, stored)


def _overwritten_changes(facts: Facts) -> Iterator[Finding]:
    """A change is accepted only from one who knew of every acknowledged change before it (rule 3004)."""
    before: defaultdict[Record, list[Change]] = defaultdict(list)
    for change in facts.changes:
        epoch = facts.pasts[facts.epoch_of(change.version)].epoch if facts.pasts else ""
        earlier = reversed(before[change.record])
        stood = next((each for each in earlier if facts.lives(change.call.type, each.version, epoch)), None)
        before[change.record].append(change)
        if stood is not None and not _knew(change.sent, stood) and change.record not in facts.unsure:
            said = f"{change.version} was accepted on top of {change.sent.expected_version}"
            yield f"{said} although {stood.version} had been acknowledged", (stood.call, change.call)


def _knew(sent: Sent, last: Change) -> bool:
    return sent.expected_version >= last.version or (last.sent.deleted and sent.expected_version == 0)


def _repeated_calls(facts: Facts) -> Iterator[Finding]:
    """A call that is repeated under its key gets its first answer, unless the epoch took that away."""
    first: dict[str, Submitted] = {}
    for call in facts.answered:
        known = first.setdefault(call.key, call)
        versions = [result.version for result in known.results if result.version]
        # A call that changed nothing has no version by which to know whether its answer lived on.
        kept = known.epoch == call.epoch if not versions else _lived_on(facts, call, versions)
        if known.results != call.results and kept:
            yield f"{call.key} was answered twice, and not alike", (known, call)


def _lived_on(facts: Facts, again: Submitted, versions: Sequence[int]) -> bool:
    """Whether the versions of a first answer are part of the epoch in which the call was answered again."""
    given_out = max((result.version for result in again.results), default=0)
    epoch = facts.pasts[facts.epoch_of(given_out)].epoch if facts.pasts and given_out else again.epoch
    return all(facts.lives(again.type, version, epoch) for version in versions)
