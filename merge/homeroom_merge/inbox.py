"""What people say of one record: how a conflict ends, which rule is its own, what of the hub stays.

A decision is kept with the values it was made on, and the next run that reaches both sides carries it out.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from homeroom_merge.codec import canonical, value_text
from homeroom_merge.group import Group
from homeroom_merge.opening import InProgressError
from homeroom_merge.plan import MOVING, RE_KEY, UNDO
from homeroom_merge.pointing import is_named, plain, with_value
from homeroom_merge.records import Known, Method
from homeroom_merge.refusal import RefusedError
from homeroom_merge.rules import Rules, winner
from homeroom_merge.store import conflicts, inbox, own, runs, seen
from homeroom_merge.store import known as records
from homeroom_merge.store.conflicts import Wanted
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.failing import Unknown
from homeroom_merge.store.inbox import Entry, Named
from homeroom_merge.values import SideName, Value, is_item, path_of

NAMED_MAX = 10
"""Records named where somebody's word fits several."""
_MARK_LENGTH = 16


class InboxError(RefusedError):
    """What was asked cannot be done; the message says why, and what can."""


async def record_of(connection: Conn, feed: str, said: str, entity: str | None = None) -> Named:
    """The record that somebody means: by SIS key, hub id, number, or words that stand in it. InboxError."""
    found = await inbox.by_key(connection, feed, entity, said)
    found = [each for each in found if said in (each.sis_key, each.hub_id)] or found
    words = said.casefold().split()
    if not found and words:
        found = [each for each in await inbox.by_words(connection, feed, entity, words) if _told(each, words)]
    if not found:
        raise InboxError(
            f"{feed} has no record {said!r}: name it by its key in the SIS, its id on the hub, its number, or a name"
        )
    if len(found) > 1:
        told = "; ".join(f"{label(each)} {_told(each, words)}".strip() for each in found[:NAMED_MAX])
        more = "; and more" if len(found) > NAMED_MAX else ""
        raise InboxError(f"{said!r} may be {told}{more}: name it by its key or id, or say --entity")
    return found[0]


def label(each: Named | Entry | Unknown) -> str:
    """A record by its keys."""
    keys = [each.sis_key, None if each.hub_id == each.sis_key else each.hub_id and f"(hub {each.hub_id})"]
    return " ".join(filter(None, [each.entity, *keys]))


async def entry_of(connection: Conn, feed: str, record: Named, field: str | None) -> Entry:
    """The conflict of a record that somebody means; no field: the only one it has. InboxError."""
    every = await inbox.entries(connection, feed, None, record.number, None)
    found = [each for each in every if field is None or is_named(field, each.pointer)]
    if len(found) == 1:
        return found[0]
    if not every:
        raise InboxError(f"{label(record)} has no conflict; homeroom-merge conflicts --feed {feed} lists them")
    at = ", ".join(plain(each.pointer) or "the record itself (an empty FIELD)" for each in every)
    raise InboxError(f"{label(record)} has conflicts at {at}: name one of these")


async def take(connection: Conn, entry: Entry, side: SideName, by: str) -> None:
    """The value of a side is to stand on both; the record's deletion, if it is that. InboxError."""
    _expect_decidable(entry)
    await _decide(connection, entry, entry.hub if side == "hub" else entry.sis, by)


async def take_all(connection: Conn, feed: str, wanted: Wanted, side: SideName, expected: int, by: str) -> None:
    """The same for all conflicts that are meant and that nobody has decided, if there are just so many. InboxError."""
    async with connection.transaction():
        done = await conflicts.take_all(connection, feed, wanted, side, by, expected + 1)
        if done != expected:
            how_many = f"more than {expected:,}" if done > expected else f"{done:,}"
            raise InboxError(f"there are {how_many} open conflicts, not {expected:,}: look at them again")


async def chosen(connection: Conn, feed: str, marks: Mapping[tuple[int, str], str]) -> list[Entry]:
    """The conflicts at these records and fields, kept as they are until the caller's transaction ends.

    `marks`: what `mark_of` made of each as somebody saw it. InboxError: one is not so any more.
    """
    await conflicts.lock(connection, list(marks))
    found = await inbox.at(connection, feed, list(marks))
    if any(mark_of(each) != marks[each.record, each.pointer] for each in found) or len(found) != len(marks):
        raise InboxError("some of these conflicts have changed or are gone since you saw them: look at them again")
    return found


def mark_of(entry: Entry) -> str:
    """What is another as soon as something of the conflict is."""
    said = [value_text(value) for value in (entry.base, entry.sis, entry.hub)]
    return sha256(canonical([*said, entry.rule]).encode()).hexdigest()[:_MARK_LENGTH]


async def set_value(connection: Conn, entry: Entry, value: Value, group: Group, by: str) -> None:
    """A typed value is to stand on both sides; both schemas have to allow it. InboxError."""
    _expect_decidable(entry)
    if not entry.pointer:
        raise InboxError("this conflict is over the record itself: take one of its sides")
    shape, sides = group.terms_of(entry.entity).shape, group.sides_of(entry.entity)
    path = path_of(entry.pointer)
    if is_order(entry) and not (isinstance(value, list) and sorted(map(str, value)) == sorted(entry.hub)):
        raise InboxError(f"this conflict is over an order: give {canonical(entry.hub)} in the order that is right")
    async with connection.transaction():
        known = (await records.read(connection, [entry.record]))[entry.record].known
    faults: dict[str, str] = {}
    if not is_order(entry):
        for side, verifier in ((known.hub, sides.hub_verifier), (known.sis, sides.sis_verifier)):
            body = with_value(shape, side.body or {}, path, value)
            faults |= {fault.pointer: f"{fault.pointer} {fault.detail}".strip() for fault in verifier.faults(body)}
    if faults:
        raise InboxError(f"{canonical(value)} cannot stand there: " + "; ".join(faults.values()))
    await _decide(connection, entry, value, by)


async def make_rule(connection: Conn, entry: Entry, method: Method, by: str) -> None:
    """From now on this method decides the field of this record, and what lies beneath. InboxError."""
    _expect_decidable(entry)
    async with connection.transaction():
        known = (await records.read(connection, [entry.record]))[entry.record].known
        if method not in settling(known):
            raise InboxError(f"{method} would leave it open: take a rule that settles it, such as resolveAsHub")
        await own.override(connection, entry.record, entry.pointer, method, by)


def settling(known: Known) -> list[Method]:
    """The methods that leave no conflict of this record open."""
    return [method for method in Method if winner(method, None, known, Rules("")) is not None]


def is_order(entry: Entry) -> bool:
    """Whether the sides disagree on the order of a list, and say it by its items' keys."""
    return all(
        isinstance(value, list) and value and all(isinstance(item, str) and is_item(item) for item in value)
        for value in (entry.hub, entry.sis)
    )


async def same(connection: Conn, entry: Entry, by: str) -> None:
    """A proposed re-key is right: the record goes on under its new key. InboxError, InProgressError."""
    subject, old_key = await _proposed(connection, entry)
    if not await runs.hold(connection, subject):
        raise InProgressError(f"a run of {entry.entity} is going on: try again when it has ended")
    try:
        await inbox.re_key(connection, entry.record, old_key, by)
    finally:
        await runs.release(connection)


async def apart(connection: Conn, entry: Entry, by: str) -> None:
    """A proposed re-key is wrong: the new key is a record of its own. InboxError."""
    _, old_key = await _proposed(connection, entry)
    async with connection.transaction():
        await inbox.keep_apart(connection, entry.record, old_key, by)
        await inbox.forget(connection, entry.record, entry.pointer)


async def lost(connection: Conn, found: Sequence[Named]) -> None:
    """Somebody's word that the SIS never got what was written to these, of which nobody can tell. InboxError."""
    for each in found:
        if each.number not in await records.unknown(connection, each.subject):
            raise InboxError(f"of {label(each)} no write is unknown; homeroom-merge health lists those that are")
    await records.await_no_longer(connection, [each.number for each in found])


async def _decide(connection: Conn, entry: Entry, outcome: Value, by: str) -> None:
    if not await own.decide(connection, entry.record, entry.pointer, value_text(outcome), by):
        raise InboxError(f"{label(entry)} has no conflict there any more")


def _expect_decidable(entry: Entry) -> None:
    if entry.rule in _APART:
        raise InboxError(f"{label(entry)}: {_APART[entry.rule]}")


_APART = {
    RE_KEY: "this is a new key for a record that may be there: say --take same or --take apart",
    MOVING: "the next run takes this up by itself, once the record keeps still",
    UNDO: "an undo left what somebody changed since: edit it on either side, and the next run carries it over",
}


async def _proposed(connection: Conn, entry: Entry) -> tuple[int, str]:
    """The subject, and the key that the record had. InboxError."""
    if entry.rule != RE_KEY:
        raise InboxError(f"{label(entry)} is no proposed re-key: --take a side, or give a --value or a --rule")
    subject = await inbox.subject_of(connection, entry.record)
    old_key = (await seen.re_keys(connection, subject)).get(entry.record)
    if old_key is None or old_key != entry.sis:
        raise InboxError(
            f"{label(entry)} is not what it was when this was proposed: run the merge again, and look anew"
        )
    return subject, old_key


def _told(record: Named, words: Sequence[str]) -> str:
    """The texts of a record in which these words stand, if every one of them does."""
    texts = list(dict.fromkeys(text for body in (record.hub, record.sis) for text in _texts(body)))
    parts = {text: set(text.casefold().split()) for text in texts}
    if not all(any(word in each for each in parts.values()) for word in words):
        return ""
    return " ".join(text for text, each in parts.items() if each.intersection(words))


def _texts(value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
