"""A student erased from the state of merges, feed by feed: content gone, keys of backups destroyed, names on a list."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import asyncpg

from homeroom_merge.backup import plain_places
from homeroom_merge.erased import Names, record_hash
from homeroom_merge.refusal import RefusedError
from homeroom_merge.store import erasures
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.erasures import Mine, Whose
from homeroom_merge.unnaming import MAY_HOLD_ANYTHING, names_one, unnamed
from homeroom_merge.values import SideName

LOCK_SECONDS = 60.0
"""So long runs of the feed may go on before an erasure is refused."""
_NAMED = "the reason is kept: say it without naming the student"


class ErasureError(RefusedError):
    """An erasure that cannot be made; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Student:
    """Who is meant: by id on the hub, by key in the SIS of a feed, or both."""

    hub_id: str | None
    sis_key: str | None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.hub_id, self.sis_key) if name is not None]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure comes to in a feed. `counts`: of what kind how many were there.

    `listed`: names that are new on the list. `shared_numbers`: how many of the student's numbers others have too, and
    so are not on it. `plain_backups`: where backups are that anybody can read, and that may hold the student.
    """

    feed: str
    is_known: bool
    counts: Mapping[str, int]
    listed: int
    shared_numbers: int
    plain_backups: Sequence[str]


async def feeds_meant(connection: Conn, student: Student, named: Sequence[str]) -> Mapping[str, int]:
    """The number of each feed that is meant: those named, else all. ErasureError."""
    found = await erasures.feeds(connection, named or None)
    if unknown := sorted(set(named) - set(found)):
        raise ErasureError(f"there is no feed {', '.join(unknown)}; homeroom-merge settings list names those there are")
    if student.sis_key is not None and len(found) != 1:
        raise ErasureError("a key of the SIS is one of a single feed: name that with --feed")
    return found


async def erase(
    connection: Conn,
    feed: tuple[str, int],
    student: Student,
    by: str,
    reason: str,
    *,
    is_meant: bool,
    lock_seconds: float = LOCK_SECONDS,
) -> Erasure:
    """All that a feed's merges keep of a student, in one transaction during which nobody else works on the feed.

    `is_meant`: else it is only tried, and all of it taken back. A student of whom nothing is kept is put on the list.
    ErasureError: runs go on, or the reason names the student.
    """
    name, number = feed
    if names_one(reason, student.names):
        raise ErasureError(_NAMED)
    places = await plain_places(connection, number)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await erasures.hold(connection, number, lock_seconds)
        done = await _erased(connection, feed, student, (by, reason), places)
    except asyncpg.LockNotAvailableError:
        await transaction.rollback()
        cure = "try again once it has ended, or end it with homeroom-merge cancel"
        raise ErasureError(f"a run of {name} is going on: nothing of this feed was erased; {cure}") from None
    except BaseException:
        await transaction.rollback()
        raise
    await (transaction.commit() if is_meant else transaction.rollback())
    return done


async def _erased(
    connection: Conn, feed: tuple[str, int], student: Student, said: tuple[str, str], places: Sequence[str]
) -> Erasure:
    name, number = feed
    own, names = await _found(connection, number, student)
    shared = await erasures.shares_number(connection, number, [each.number for each in own], sorted(names.numbers))
    names = replace(names, numbers=names.numbers - shared)
    hub_ids, sis_keys = sorted(names.hub_ids), sorted(names.sis_keys)
    mine = [*own, *await erasures.naming(connection, number, hub_ids, sis_keys)]
    every = sorted({*names.every, *shared, *(key for each in mine for key in (each.hub_id, each.sis_key) if key)})
    secret, (by, reason) = await erasures.secret_of(connection), said
    if names_one(reason, every):
        raise ErasureError(_NAMED)
    records = [each.number for each in mine]
    counts = {
        **await erasures.erase(connection, Whose(number, records, every)),
        "typed values": await erasures.drop_typed(connection, number, records),
        "keys of backups": await erasures.destroy_keys(connection, number, hub_ids, sis_keys),
        "reports and logs": await _unname(connection, number, every),
    }
    hashes = [*names.hashes(secret), *_hashes_of_records(secret, mine)]
    listed = await erasures.list_(connection, number, hashes, by, reason)
    return Erasure(name, bool(mine), counts, listed, len(shared), places)


async def _unname(connection: Conn, feed: int, names: Sequence[str]) -> int:
    """Take the names out of what is written down of runs and jobs; of how many runs."""
    await erasures.unsay(connection, feed, names)
    found = await erasures.texts(connection, feed, [*names, *MAY_HOLD_ANYTHING])
    told = [(run, unnamed(log, names), report and unnamed(report, names)) for run, log, report in found]
    changed = [new for new, old in zip(told, found, strict=True) if new != old]
    await erasures.replace_texts(connection, changed)
    return len(changed)


async def _found(connection: Conn, feed: int, student: Student) -> tuple[list[Mine], Names]:
    """The records that are the student, and by what names.

    A side of which no name is known would use that of the other one, as links do; unless it is somebody else's there.
    """
    own = await erasures.own(connection, feed, _some(student.hub_id), _some(student.sis_key))
    hub_ids = {*_some(student.hub_id), *(each.hub_id for each in own if each.hub_id)}
    sis_keys = {*_some(student.sis_key), *(each.sis_key for each in own if each.sis_key)}
    if not sis_keys:
        alike = await erasures.own(connection, feed, [], sorted(hub_ids))
        is_another = any(each.hub_id for each in alike)
        own, sis_keys = (own, sis_keys) if is_another else (own + alike, hub_ids)
    elif not hub_ids:
        alike = await erasures.own(connection, feed, sorted(sis_keys), [])
        is_another = any(each.sis_key for each in alike)
        own, hub_ids = (own, hub_ids) if is_another else (own + alike, sis_keys)
    former = await erasures.former_keys(connection, [each.number for each in own])
    numbers = frozenset(each.identifier for each in own if each.identifier)
    return own, Names(frozenset(hub_ids), frozenset({*sis_keys, *former}), numbers)


def _some(name: str | None) -> list[str]:
    return [] if name is None else [name]


def _hashes_of_records(secret: bytes, mine: Sequence[Mine]) -> Iterator[bytes]:
    for each in mine:
        sides: Mapping[SideName, str | None] = {"hub": each.hub_id, "sis": each.sis_key}
        yield from (
            record_hash(secret, each.entity, side, key) for side, key in sides.items() if key and not each.is_own
        )
