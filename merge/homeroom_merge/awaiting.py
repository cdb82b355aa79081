"""A SIS that shows later what was written to it: until then, the old value in its export is no change."""

from collections.abc import Sequence
from dataclasses import replace

from homeroom_merge.records import Awaited, Base, Known, State
from homeroom_merge.shape import Node, Shape
from homeroom_merge.values import ABSENT, Json, Value

EARLIER_MAX = 8
"""Renderings remembered that a feed may show before the one that was written last."""


def as_awaited(known: Known, awaited: Awaited, shape: Shape) -> tuple[Known, bool]:
    """The record as if the SIS showed what was written, and whether it really does."""
    sis, then, olds = known.sis, awaited.base, awaited.earlier
    settled = replace(known, base=then, awaiting=None)
    if _is_gone(then):
        if sis.state is not State.LIVE:
            return settled, sis.state is State.DELETED
        if any(shape.root.same(sis.body, old) for old in olds):
            return replace(settled, sis=replace(sis, state=State.DELETED, body=None)), False
        return replace(known, awaiting=None), True
    if sis.state is not State.LIVE:
        if awaited.was_gone:
            return replace(settled, sis=replace(sis, state=State.LIVE, body=then.sis)), False
        return settled, sis.state is State.DELETED
    body: Json = _shown(shape.root, sis.body, olds, then.sis)
    return replace(settled, sis=replace(sis, body=body)), shape.root.same(body, sis.body)


def next_awaited(known: Known, base: Base) -> Awaited:
    """What is awaited once a merge of this record has written to a SIS that does not show it at once."""
    before, sis = known.awaiting, known.sis
    earlier = [*before.earlier, before.base.sis] if before else []
    earlier += [known.base.sis] if known.base and not known.base.deleted else []
    earlier += [sis.body] if sis.state is State.LIVE and sis.body is not None else []
    told = [old for place, old in enumerate(earlier) if old not in earlier[:place]]
    was_gone = sis.state is not State.LIVE or (before is not None and before.was_gone)
    return Awaited(base, tuple(told[-EARLIER_MAX:]), was_gone)


def _is_gone(base: Base) -> bool:
    return base.deleted and not (base.deactivated and base.deactivated.side == "sis")


def _shown(node: Node, seen: Value, olds: Sequence[Value], awaited: Value) -> Value:
    """What is seen, with what was awaited wherever an old value still stands."""
    if node.same(seen, awaited):
        return seen
    if any(node.same(seen, old) for old in olds):
        return awaited
    if isinstance(seen, dict) and isinstance(awaited, dict):
        return _members_shown(node, seen, [old for old in olds if isinstance(old, dict)], awaited)
    keyed_seen, keyed_awaited = node.keyed(seen), node.keyed(awaited)
    if not node.item_key or keyed_seen is None or keyed_awaited is None:
        return seen
    keyed = [found for old in olds if (found := node.keyed(old)) is not None]
    keys = dict.fromkeys((*keyed_seen, *keyed_awaited))
    inner = (
        _shown(node.item(), keyed_seen.get(key, ABSENT), [old.get(key, ABSENT) for old in keyed], awaited_item)
        for key in keys
        for awaited_item in [keyed_awaited.get(key, ABSENT)]
    )
    return [item for item in inner if item is not ABSENT]


def _members_shown(node: Node, seen: Json, olds: Sequence[Json], awaited: Json) -> Json:
    shown = {
        name: _shown(
            node.member(name),
            seen.get(name, ABSENT),
            [old.get(name, ABSENT) for old in olds],
            awaited.get(name, ABSENT),
        )
        for name in dict.fromkeys((*seen, *awaited))
    }
    return {name: value for name, value in shown.items() if value is not ABSENT}
