"""What stands on either side right now, of a few records; cursors stay where they are."""

from collections.abc import AsyncIterator, Sequence

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.fetching import Fetched, best, hub_rows, take_in
from homeroom_merge.records import State
from homeroom_merge.sides import Sides
from homeroom_merge.sis.side import Placed
from homeroom_merge.store import erasures, intake, seen
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.realtime import Linked
from homeroom_merge.store.seen import HubRow
from homeroom_merge.terms import Terms
from homeroom_merge.verification import Screen

_AT_ONCE = 1_000


def can_look(abilities: Abilities) -> bool:
    """Whether the SIS can be asked what it has of a record."""
    return abilities.by_id or abilities.complete


async def look_again(connection: Conn, subject: int, terms: Terms, sides: Sides, numbers: Sequence[int]) -> None:
    """Keep what the SIS shows now of these records as what was seen; one that is not there is absent. OSError."""
    keys = await records.sis_keys(connection, numbers)
    if keys and can_look(sides.sis.abilities):
        await look_in_sis(connection, subject, terms, sides, keys)


async def look_in_sis(connection: Conn, subject: int, terms: Terms, sides: Sides, keys: Sequence[str]) -> Fetched:
    """Keep what the SIS shows now under these keys as what was seen; what is not there is absent. OSError."""
    found = Fetched()
    async with connection.transaction():
        await intake.begin(connection)
        await take_in(connection, _looked(sides, keys), sides, terms, found)
        await intake.take(connection, subject)
        await intake.miss(connection, subject, keys)
    return found


async def _looked(sides: Sides, keys: Sequence[str]) -> AsyncIterator[Placed]:
    """These records of the SIS, by id where it can be asked so, else out of all that it shows."""
    if sides.sis.abilities.by_id:
        for start in range(0, len(keys), _AT_ONCE):
            for each in await sides.sis.look(keys[start : start + _AT_ONCE]):
                yield each.reading, each.place
        return
    wanted, fetch = frozenset(keys), await sides.sis.fetch(None)
    async for reading, place in fetch.records:
        if reading.key in wanted:
            yield reading, place
    if fetch.failure:
        raise ConnectionError(fetch.failure)


async def look_on_hub(connection: Conn, subject: int, terms: Terms, sides: Sides, asked: Sequence[Linked]) -> Fetched:
    """Keep what the hub shows now of these records as what was seen. HomeroomError, also where a node is behind.

    One that it does not show is out of view if it was ever shown, and is of a year that is merged; else it is nothing.
    """
    found, left = Fetched(), {each.hub_id: each for each in asked if each.hub_id is not None}
    known = {hub_id: each.version for hub_id, each in left.items()}
    screen = Screen(sides.hub_verifier, await erasures.erased(connection, terms.feed, terms.entity, terms.student))
    rows: list[HubRow] = []
    for year, notification_type in terms.types.items():
        shown = await best(sides.hubs, notification_type, sorted(left), known)
        there = [each for each in shown if each.state is not State.OUT_OF_VIEW]
        rows += hub_rows(there, year, screen, found)
        for each in there:
            del left[each.hub_id]
    rows += [
        HubRow(hub_id, State.OUT_OF_VIEW, each.version, None, None)
        for hub_id, each in left.items()
        if each.is_known and _is_of(each.school_year, terms)
    ]
    await seen.store_hub(connection, subject, rows)
    return found


def _is_of(school_year: int | None, terms: Terms) -> bool:
    return school_year is None or terms.type_of(school_year) is not None


async def look_at_all(connection: Conn, subject: int, terms: Terms, sides: Sides) -> None:
    """Keep what the SIS shows now of a whole entity as what was seen, though it be nothing; the cursor stays. OSError.

    A SIS that cannot show all is looked at record by record, when what is planned for it is approved.
    """
    if not sides.sis.abilities.complete:
        return
    fetch = await sides.sis.fetch(None)
    async with connection.transaction():
        await intake.begin(connection)
        await take_in(connection, fetch.records, sides, terms, Fetched())
        if fetch.failure:
            raise ConnectionError(fetch.failure)
        await intake.take(connection, subject)
        if fetch.complete:
            await intake.miss(connection, subject)
