"""What a run may change on both sides, kept before it changes anything (merge.md 2.6), and read again for a restore."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from re import sub
from typing import Any, TypeVar
from uuid import UUID

import anyio
import asyncpg
import orjson
from anyio import to_thread
from zstandard import ZstdCompressor

from homeroom_merge.backup_file import BackupError, Header, Reader, Sealed, Writer, remove
from homeroom_merge.backup_line import UnreadableLineError, key_id_of, sealed, unsealed
from homeroom_merge.codec import awaited_of, canonical
from homeroom_merge.erased import Erased
from homeroom_merge.records import Known, Side, State
from homeroom_merge.store import backups
from homeroom_merge.store.backups import Due
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Backups, Terms

T = TypeVar("T")

_AT_ONCE = 1_000
_STEP_SECONDS_MAX = 120.0
"""A place that takes longer for one block of records is given up."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What became of a run's backup. `issue`: an old one remains."""

    place: str = ""
    records: int = 0
    bytes: int = 0
    issue: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A backup that can be read. `checksum`: as it was noted, None where this state knows nothing of it."""

    place: str
    header: Header
    checksum: str | None


async def is_due(connection: Conn, run: UUID) -> bool:
    """Whether a run writes anything that is not kept yet."""
    return await backups.due(connection, run) is not None


async def back_up(connection: Conn, run: UUID, terms: Terms) -> BackedUp | None:
    """Keep what the run's plan may change; None where it writes nothing, or it is kept already. BackupError."""
    due = await backups.due(connection, run)
    if due is None:
        return None
    place = f"{terms.backups.place.rstrip('/')}/{_name(terms, run)}"
    writer = await _in_thread(Writer, place, Header(terms.feed, terms.entity, str(run)))
    await backups.begin(connection, run, place)
    await backups.make_keys(connection, run, due)
    whole = await _written(connection, run, due, writer)
    await backups.complete(connection, run, whole.records, whole.bytes, whole.checksum)
    return BackedUp(place, whole.records, whole.bytes, issue=await _collect(connection, due.subject, terms.backups))


async def find(connection: Conn, run: UUID, place: str | None = None) -> Found:
    """The backup that was made before a run wrote, or a copy of it at another place. BackupError."""
    noted = await backups.find(connection, run)
    if place is None:
        if noted is None or noted.made_at is None:
            cure = "homeroom-merge backups lists those that there are; --from names a copy"
            raise BackupError(f"there is no backup of the run {run}; {cure}")
        if noted.collected_at is not None:
            raise BackupError(
                f"the backup of the run {run} was removed on {noted.collected_at:%Y-%m-%d}, when its time was over; "
                "--from names a copy"
            )
    found = Found(place or (noted.place if noted else ""), Header("", "", ""), noted.checksum if noted else None)
    async with _opened(found) as reader:
        header = reader.header
    if header.run != str(run):
        raise BackupError(f"{found.place} is the backup of another run, {header.run}; nothing was changed")
    return Found(found.place, header, found.checksum)


async def pages(connection: Conn, found: Found, erased: Erased) -> AsyncIterator[tuple[list[Known], int]]:
    """Its records as they stood, some at a time, and how many of them are left out: their students were erased.

    BackupError, at their end at the latest, where it is not whole.
    """
    async with _opened(found) as reader:
        while page := await _in_thread(reader.page, _AT_ONCE):
            try:
                keys = await backups.keys(connection, [id_ for said in page if (id_ := key_id_of(said))])
                there = [line for said in page if (line := unsealed(said, keys, found.header.run)) is not None]
                records = [known for known in map(_known, there) if not _is_erased(known, erased)]
            except (AttributeError, KeyError, TypeError, ValueError, UnreadableLineError):
                raise BackupError(f"{found.place} has a record that cannot be read; nothing was changed") from None
            yield records, len(page) - len(records)


async def plain_places(connection: Conn, feed: int) -> list[str]:
    """Where those backups of a feed are that hold students as anybody can read them, or that cannot be looked into."""
    return [place for place in await backups.places(connection, feed) if not await _is_sealed(place)]


async def _is_sealed(place: str) -> bool:
    try:
        async with _opened(Found(place, Header("", "", ""), None)) as reader:
            return not reader.is_plain
    except BackupError:
        return False


def _is_erased(known: Known, erased: Erased) -> bool:
    on_hub = known.hub_id is not None and erased.on_hub(known.hub_id, known.hub.body)
    return on_hub or (known.sis_key is not None and erased.in_sis_under(known.sis_key, known.sis.body))


async def _written(connection: Conn, run: UUID, due: Due, writer: Writer) -> Sealed:
    try:
        async with connection.transaction():
            rows = (
                backups.everything(connection, due.subject)
                if due.is_whole
                else backups.what_is_planned(connection, run)
            )
            block: list[asyncpg.Record] = []
            async for row in rows:
                block.append(row)
                if len(block) == _AT_ONCE:
                    await _in_thread(_add, writer, block)
                    block = []
        await _in_thread(_add, writer, block)
        return await _in_thread(writer.seal)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _in_thread(writer.abandon)
        raise


async def _collect(connection: Conn, subject: int, rule: Backups) -> str:
    """Remove what need not be kept any longer; what could not be."""
    collected, issue = [], ""
    for run, place in await backups.outlived(connection, subject, rule.keep, rule.keep_days):
        try:
            await _in_thread(remove, place)
            collected.append(run)
        except BackupError as fault:
            issue = str(fault)
    await backups.note_collected(connection, collected)
    return issue


@asynccontextmanager
async def _opened(found: Found) -> AsyncIterator[Reader]:
    reader = await _in_thread(Reader, found.place, found.checksum)
    try:
        yield reader
    finally:
        reader.close()


async def _in_thread(call: Callable[..., T], *arguments: object) -> T:
    """Places block: a disk, a network. One that does not answer is left alone. BackupError."""
    try:
        with anyio.fail_after(_STEP_SECONDS_MAX):
            return await to_thread.run_sync(call, *arguments, abandon_on_cancel=True)
    except TimeoutError:
        why = f"the place of the backups did not answer for {_STEP_SECONDS_MAX:.0f} seconds"
        raise BackupError(f"{why}; name another one under [backup] in the settings, and run again") from None


def _name(terms: Terms, run: UUID) -> str:
    """Told apart by the run; the rest is for people."""
    said = sub(r"[^A-Za-z0-9-]+", "_", f"{terms.feed}-{terms.entity}")[:100]
    return f"{said}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{run}.jsonl.zst"


def _add(writer: Writer, block: Sequence[asyncpg.Record]) -> None:
    """What is a student's, so that his key alone opens it."""
    run, packing = writer.header.run, ZstdCompressor()
    writer.add(
        [
            _line(row) if row["key"] is None else sealed(_line(row), row["key_id"], row["key"], run, packing)
            for row in block
        ]
    )


def _line(row: asyncpg.Record) -> bytes:
    return orjson.dumps(
        {
            "hubId": row["hub_id"],
            "sisKey": row["sis_key"],
            "school": row["school"],
            "schoolYear": row["school_year"],
            "hub": {"state": row["hub_state"], "version": row["hub_version"], "body": _text(row["hub_seen"])},
            "sis": {"state": row["sis_state"], "covered": row["sis_covered"], "body": _text(row["sis_seen"])},
            "awaiting": _text(row["awaiting"]),
        },
        option=orjson.OPT_SORT_KEYS,
    )


def _text(stored: str | None) -> orjson.Fragment | None:
    return None if stored is None else orjson.Fragment(stored)


def _known(said: Any) -> Known:
    hub, sis, awaiting = said["hub"], said["sis"], said["awaiting"]
    covered = None if sis["covered"] is None else frozenset(sis["covered"])
    return Known(
        said["sisKey"],
        said["hubId"],
        Side(State(hub["state"]), hub["body"], version=hub["version"]),
        Side(State(sis["state"]), sis["body"], covered),
        school=said["school"],
        school_year=said["schoolYear"],
        awaiting=None if awaiting is None else awaited_of(canonical(awaiting)),
    )
