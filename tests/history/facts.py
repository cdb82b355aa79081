"""What a recorded history says for certain: which versions there were, in which epoch they live, who may see them."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import NamedTuple

from tests.history.events import Epochs, Event, Got, Looked, Past, Sent, Submitted

PROVINCE = """\
code,name,parent
O.1,Ministry,
A.3020,Foothills,O.1
A.3030,Prairie,O.1
S.0982,Maple Ridge School,A.3020
S.0983,Elk Valley School,A.3020
S.0990,Plainview School,A.3030
"""
SIGHT: Mapping[str, tuple[str, ...]] = {
    "S.0982": ("S.0982",),
    "S.0983": ("S.0983",),
    "S.0990": ("S.0990",),
    "A.3020": ("S.0982", "S.0983"),
    "A.3030": ("S.0990",),
    "O.1": ("S.0982", "S.0983", "S.0990"),
}
"""Whose records each organisation sees of a type with audience `owner`; all know of those with audience `public`."""
PUBLIC = ("Bulletin",)

Record = tuple[str, str]
"""A type and an id."""


def owner_of(record_id: str) -> str:
    """Ids of this history begin with the code of their owner."""
    return record_id.rpartition(".")[0]


def may_see(organization: str, notification_type: str, record_id: str) -> bool:
    return notification_type in PUBLIC or owner_of(record_id) in SIGHT[organization]


class Change(NamedTuple):
    """One accepted record of an acknowledged submit."""

    version: int
    sent: Sent
    call: Submitted

    @property
    def record(self) -> Record:
        return self.call.type, self.sent.id


@dataclass(frozen=True)
class Facts:
    """Read out of the events once, and asked by every promise."""

    events: Sequence[Event]

    @cached_property
    def looks(self) -> Sequence[Looked]:
        """Those that were answered."""
        return [event for event in self.events if isinstance(event, Looked) and not event.error]

    @cached_property
    def answered(self) -> Sequence[Submitted]:
        return [event for event in self.events if isinstance(event, Submitted) and not event.error]

    @cached_property
    def gets(self) -> Sequence[Got]:
        return [event for event in self.events if isinstance(event, Got) and not event.error]

    @cached_property
    def changes(self) -> Sequence[Change]:
        """Every acknowledged change once, by version."""
        found = {
            result.version: Change(result.version, sent, call)
            for call in reversed(self.answered)  # the first answer of a repeated call is the one that counts
            for sent, result in zip(call.sent, call.results, strict=True)
            if result.version
        }
        return [found[version] for version in sorted(found)]

    @cached_property
    def groups(self) -> Mapping[str, Sequence[Sequence[Change]]]:
        """By type: what was committed together, in order of versions."""
        calls: defaultdict[str, dict[tuple[str, int], list[Change]]] = defaultdict(dict)
        for change in self.changes:
            first = next(result.version for result in change.call.results if result.version)
            calls[change.call.type].setdefault((change.call.key, first), []).append(change)
        return {kind: [group for group in found.values() if len(group) > 1] for kind, found in calls.items()}

    @cached_property
    def _changes_of(self) -> Mapping[Record, Sequence[Change]]:
        found: defaultdict[Record, list[Change]] = defaultdict(list)
        for change in self.changes:
            found[change.record].append(change)
        return found

    def existed(self, record: Record, call: Submitted) -> bool:
        """Whether a record was there when a call began, in the epoch in which it was answered."""
        return any(
            change.call.ended < call.began and self.lives(call.type, change.version, call.epoch)
            for change in self._changes_of.get(record, ())
        )

    @cached_property
    def pasts(self) -> Sequence[Past]:
        return max((event.pasts for event in self.events if isinstance(event, Epochs)), key=len, default=())

    def epoch_of(self, version: int) -> int:
        """The place among the epochs of the one in which a version was given out."""
        return max(0, bisect_left(self.pasts, version, key=lambda past: past.begun_above) - 1)

    def lives(self, notification_type: str, version: int, epoch: str) -> bool:
        """Whether a version, once committed, is part of an epoch: given out in it, or kept by all between."""
        place = self._places.get(epoch)
        if place is None:
            return True
        born = self.epoch_of(version)
        return born <= place and version <= self._kept(notification_type, born, place)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {past.epoch: place for place, past in enumerate(self.pasts)}

    @cached_property
    def _kept_by_all(self) -> dict[tuple[str, int, int], float]:
        return {}

    def _kept(self, notification_type: str, born: int, place: int) -> float:
        """The highest version of one epoch that every history up to another kept."""
        key = (notification_type, born, place)
        if key not in self._kept_by_all:
            between = self.pasts[born + 1 : place + 1]
            self._kept_by_all[key] = min((_kept(past, notification_type) for past in between), default=inf)
        return self._kept_by_all[key]

    @cached_property
    def _deleted(self) -> Mapping[int, bool]:
        known = {change.version: change.sent.deleted for change in self.changes}
        return known | {
            seen.version: seen.deleted for got in self.gets for seen in got.records if seen.availability == "Normal"
        }

    def deleted(self, version: int) -> bool | None:
        """Whether this version is a tombstone; None if nobody was told."""
        return self._deleted.get(version)

    @cached_property
    def _versions(self) -> Mapping[Record, Sequence[int]]:
        """Every version of a record that anybody was told of: what is announced or acknowledged is committed."""
        found: defaultdict[Record, set[int]] = defaultdict(set)
        for change in self.changes:
            found[change.record].add(change.version)
        for look in self.looks:
            for listed in look.listed:
                found[look.type, listed.id].add(listed.version)
        for got in self.gets:
            for seen in got.records:
                if seen.version:
                    found[got.type, seen.id].add(seen.version)
        return {record: sorted(versions) for record, versions in found.items()}

    @cached_property
    def _living(self) -> dict[str, Mapping[str, Mapping[str, Sequence[int]]]]:
        return {}

    def living(self, notification_type: str, epoch: str) -> Mapping[str, Sequence[int]]:
        """By id, the versions of a type that live in an epoch."""
        if epoch not in self._living:
            by_type: defaultdict[str, dict[str, Sequence[int]]] = defaultdict(dict)
            for (kind, record_id), versions in self._versions.items():
                by_type[kind][record_id] = [v for v in versions if self.lives(kind, v, epoch)]
            self._living[epoch] = by_type
        return self._living[epoch].get(notification_type, {})

    def newest(self, look: Looked) -> Iterator[tuple[str, int, bool]]:
        """Of every record its caller may see: the id, its newest version up to the bookmark, whether one is above."""
        for record_id, versions in self.living(look.type, look.epoch).items():
            place = bisect_right(versions, look.bookmark)
            if place and may_see(look.organization, look.type, record_id):
                yield record_id, versions[place - 1], place < len(versions)

    @cached_property
    def unsure(self) -> frozenset[Record]:
        """Records that a call which was never answered would have deleted: nobody knows whether it did."""
        epochs_of_keys: defaultdict[str, set[str]] = defaultdict(set)
        for call in self.answered:
            epochs_of_keys[call.key].add(call.epoch)
        return frozenset(
            (event.type, sent.id)
            for event in self.events
            if isinstance(event, Submitted) and event.error and len(epochs_of_keys[event.key]) != 1
            for sent in event.sent
            if sent.deleted
        )


def _kept(past: Past, notification_type: str) -> int:
    return max((kept.version for kept in past.kept if kept.type == notification_type), default=0)
