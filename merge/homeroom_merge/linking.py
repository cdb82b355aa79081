"""Where both sides know a record by keys of their own: references become hub ids to be merged, and keys again after.

What is stored of the SIS names its own keys, so that a fetch can be compared with a base text by text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from homeroom_merge.plan import Change, Kind
from homeroom_merge.records import Awaited, Base, Known, State
from homeroom_merge.shape import Shape
from homeroom_merge.values import Json, path_of

Keys = Mapping[str, Mapping[str, str | None]]
"""By entity, the hub id of each key of the SIS that is there; None: it may be the new key of another record."""


@dataclass(frozen=True, slots=True)
class Links:
    """The records that those of an entity may refer to."""

    hub_ids: Keys = field(default_factory=dict)
    keys: Keys = field(init=False)
    """By entity, the key in the SIS of each hub id."""
    undecided: bool = field(init=False)
    """There are keys of which nobody has said yet whether they are new ones of records that are known."""
    alike: bool = field(init=False)
    """Both sides use the same keys, as with all ids that are codes of the SIS's own."""

    def __post_init__(self) -> None:
        turned = {
            entity: {hub_id: key for key, hub_id in linked.items() if hub_id is not None}
            for entity, linked in self.hub_ids.items()
        }
        object.__setattr__(self, "keys", turned)
        object.__setattr__(self, "undecided", any(None in linked.values() for linked in self.hub_ids.values()))
        alike = all(key == hub_id for linked in turned.values() for hub_id, key in linked.items())
        object.__setattr__(self, "alike", alike)

    def decided(self, known: Known, shape: Shape) -> Known:
        """A record without the SIS's word on members that refer to what may be known under another key.

        They are not covered until somebody has decided; the rest of the record goes on.
        """
        body, covered = known.sis.body, known.sis.covered
        if not self.undecided or known.base is None or body is None or covered is None:
            return known
        open_ = {
            found.path[0]
            for found in shape.references(body)
            if self.hub_ids.get(found.entity, {}).get(found.key, "") is None
        }
        left = {name: value for name, value in body.items() if name not in open_}
        return replace(known, sis=replace(known.sis, body=left, covered=covered - open_)) if open_ else known

    def merged(self, known: Known, shape: Shape) -> Known:
        """A record as it is merged: what is the SIS's names hub ids."""
        if self.alike or not shape.refers_to:
            return known
        awaiting, sis = known.awaiting, known.sis
        return replace(
            known,
            sis=sis if sis.body is None else replace(sis, body=shape.turned(sis.body, self._hub_id)),
            base=None if known.base is None else _each(known.base, shape, self._hub_id),
            awaiting=None if awaiting is None else self._awaited(awaiting, shape),
        )

    def kept(self, change: Change, shape: Shape) -> Change:
        """A change as it is stored and carried out: what goes to the SIS names its keys."""
        if self.alike or not shape.refers_to:
            return change
        writes = tuple(
            replace(write, body=shape.turned(write.body, self._key))
            if write.side == "sis" and write.body is not None
            else write
            for write in change.writes
        )
        return replace(
            change, writes=writes, base=None if change.base is None else _each(change.base, shape, self._key)
        )

    def missing(self, known: Known, change: Change, shape: Shape) -> tuple[tuple[str, str], ...]:
        """What a change refers to that is not there yet; an entity that is not merged is not asked for."""
        body = known.sis.body if known.sis.state is State.LIVE else None
        lacking = self._lacking(body, shape, self.hub_ids)
        write = change.write_to("sis")
        is_new = write is not None and write.kind is Kind.CREATE
        return lacking or (self._lacking(write.body, shape, self.keys) if write is not None and is_new else ())

    def _lacking(self, body: Json | None, shape: Shape, there: Keys) -> tuple[tuple[str, str], ...]:
        if body is None:
            return ()
        return tuple(
            (found.entity, found.key)
            for found in shape.references(body)
            if found.entity in there and there[found.entity].get(found.key) is None
        )

    def _hub_id(self, entity: str, key: str) -> str:
        return self.hub_ids.get(entity, {}).get(key) or key

    def _key(self, entity: str, hub_id: str) -> str:
        return self.keys.get(entity, {}).get(hub_id) or hub_id

    def _awaited(self, awaited: Awaited, shape: Shape) -> Awaited:
        earlier = tuple(shape.turned(body, self._hub_id) for body in awaited.earlier)
        return replace(awaited, base=_each(awaited.base, shape, self._hub_id), earlier=earlier)


def _each(base: Base, shape: Shape, turn: Callable[[str, str], str]) -> Base:
    """A base with what is the SIS's turned."""
    refused = {at: shape.turned(value, turn, path_of(at)) for at, value in base.refused.items()}
    return replace(base, sis=shape.turned(base.sis, turn), refused=refused)
