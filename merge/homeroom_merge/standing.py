"""What stands in the SIS right now, of a few records."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from homeroom_merge.connectors.connector import Abilities
from homeroom_merge.fetching import Fetched, Placed, take_in
from homeroom_merge.formatters.formatter import Reading, Row
from homeroom_merge.sides import Sides
from homeroom_merge.store import intake
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Standing:
    """A record as the SIS has it, and as the formatter reads that."""

    row: Row
    reading: Reading
    place: str


def can_look(abilities: Abilities) -> bool:
    """Whether the SIS can be asked what it has of a record."""
    return abilities.by_id or abilities.complete


async def look(sides: Sides, entity: str, keys: Collection[str]) -> dict[str, Standing]:
    """Those of these records that are there, by key. Raises OSError where the SIS cannot be read."""
    return {each.reading.key: each for each in await _found(sides, entity, keys)}


async def look_again(connection: Conn, subject: int, terms: Terms, sides: Sides, numbers: Sequence[int]) -> None:
    """Keep what the SIS shows now of these records as what was seen; one that is not there is absent. OSError."""
    async with connection.transaction():
        known = [each.known for each in (await records.read(connection, numbers)).values()]
    keys = {each.sis_key for each in known if each.sis_key is not None}
    if not keys or not can_look(sides.connector.abilities):
        return
    found = await _found(sides, terms.entity, keys)
    async with connection.transaction():
        await intake.begin(connection)
        await take_in(connection, _placed(found), sides.sis_verifier, terms, Fetched())
        await intake.take(connection, subject)
        await intake.miss(connection, subject, sorted(keys))


async def _placed(found: Sequence[Standing]) -> AsyncIterator[Placed]:
    for each in found:
        yield each.reading, each.place


async def _found(sides: Sides, entity: str, keys: Collection[str]) -> list[Standing]:
    wanted, found = sorted(set(keys)), list[Standing]()
    by_id = sides.connector.abilities.by_id
    pages = [wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)] if by_id else [wanted]
    for page in pages:
        fetch = await (sides.connector.fetch_by_id(entity, page) if by_id else sides.connector.fetch(entity))
        among = frozenset(page)
        async for row in fetch.rows:
            reading = sides.formatter.read(row.row)
            if reading.key in among:
                found.append(Standing(row.row, reading, row.place))
        if fetch.failure:
            raise ConnectionError(fetch.failure)
    return found
