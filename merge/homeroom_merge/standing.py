"""What stands in the SIS right now, of a few records."""

from collections.abc import AsyncIterator, Sequence

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.fetching import Fetched, take_in
from homeroom_merge.sides import Sides
from homeroom_merge.sis.side import Placed, Standing
from homeroom_merge.store import intake
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms


def can_look(abilities: Abilities) -> bool:
    """Whether the SIS can be asked what it has of a record."""
    return abilities.by_id or abilities.complete


async def look_again(connection: Conn, subject: int, terms: Terms, sides: Sides, numbers: Sequence[int]) -> None:
    """Keep what the SIS shows now of these records as what was seen; one that is not there is absent. OSError."""
    async with connection.transaction():
        known = [each.known for each in (await records.read(connection, numbers)).values()]
    keys = {each.sis_key for each in known if each.sis_key is not None}
    if not keys or not can_look(sides.sis.abilities):
        return
    found = await sides.sis.look(sorted(keys))
    async with connection.transaction():
        await intake.begin(connection)
        await take_in(connection, _placed(found), sides.sis_verifier, terms, Fetched())
        await intake.take(connection, subject)
        await intake.miss(connection, subject, sorted(keys))


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


async def _placed(found: Sequence[Standing]) -> AsyncIterator[Placed]:
    for each in found:
        yield each.reading, each.place
