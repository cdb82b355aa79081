"""What stands in the SIS right now, of a few records."""

from collections.abc import AsyncIterator, Sequence

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.fetching import Fetched, take_in
from homeroom_merge.sides import Sides
from homeroom_merge.sis.side import Placed
from homeroom_merge.store import intake
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms

_AT_ONCE = 1_000


def can_look(abilities: Abilities) -> bool:
    """Whether the SIS can be asked what it has of a record."""
    return abilities.by_id or abilities.complete


async def look_again(connection: Conn, subject: int, terms: Terms, sides: Sides, numbers: Sequence[int]) -> None:
    """Keep what the SIS shows now of these records as what was seen; one that is not there is absent. OSError."""
    keys = await records.sis_keys(connection, numbers)
    if not keys or not can_look(sides.sis.abilities):
        return
    async with connection.transaction():
        await intake.begin(connection)
        await take_in(connection, _looked(sides, keys), sides.sis_verifier, terms, Fetched())
        await intake.take(connection, subject)
        await intake.miss(connection, subject, keys)


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


async def look_at_all(connection: Conn, subject: int, terms: Terms, sides: Sides) -> None:
    """Keep what the SIS shows now of a whole entity as what was seen, though it be nothing; the cursor stays. OSError.

    A SIS that cannot show all is looked at record by record, when what is planned for it is approved.
    """
    if not sides.sis.abilities.complete:
        return
    fetch = await sides.sis.fetch(None)
    async with connection.transaction():
        await intake.begin(connection)
        await take_in(connection, fetch.records, sides.sis_verifier, terms, Fetched())
        if fetch.failure:
            raise ConnectionError(fetch.failure)
        await intake.take(connection, subject)
        if fetch.complete:
            await intake.miss(connection, subject)
