"""A plan carried out through the journal: intent, write, result; the base moves record by record (merge.md 2.7).

The hub goes before the SIS. A change that is done there, or has nothing to do there, is `halfway` until the SIS has it.
"""

from collections.abc import Sequence
from uuid import UUID

from homeroom_merge.persisting.hub import HubWrites
from homeroom_merge.persisting.settling import settled
from homeroom_merge.persisting.sis import SisWrites
from homeroom_merge.plan import Change
from homeroom_merge.sides import Sides
from homeroom_merge.store import journal, runs
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms

_AT_ONCE = 500


class Persisting:
    """Carries out one run's plan. Everything it learns is written down before it goes on."""

    def __init__(self, connection: Conn, run: UUID, terms: Terms, sides: Sides) -> None:
        self._connection = connection
        self._run = run
        self._hub = HubWrites(connection, run, terms, sides.hubs)
        self._sis = SisWrites(connection, run, terms, sides)

    async def resume(self) -> None:
        """Find out what became of writes that a crash cut off. Raises HomeroomError, OSError."""
        intents = await journal.open_intents(self._connection, self._run)
        await self._hub.resume([intent for intent in intents if intent.side == "hub"])
        await self._sis.resume([intent for intent in intents if intent.side == "sis"])

    async def persist(self, *, deletes: bool) -> None:
        """The planned creates and updates, or the deletes. Raises HomeroomError; what was done by then is known."""
        while page := await runs.next_planned(self._connection, self._run, _AT_ONCE, deletes=deletes):
            for number, change in page:
                await runs.note_conflicts(self._connection, number, change.conflicts)
            await self._without_writes([each for each in page if _is_told(each[1])])
            await self._hub.write([each for each in page if not _is_told(each[1])])
        while page := await runs.next_halfway(self._connection, self._run, _AT_ONCE, deletes=deletes):
            await self._sis.write(page)

    async def _without_writes(self, page: Sequence[tuple[int, Change]]) -> None:
        """Adopted alike, in conflict, waiting, or just told of."""
        async with self._connection.transaction():
            going = {number: change for number, change in page if not change.conflicts and not change.waits_for}
            stands = await records.read(self._connection, sorted(going))
            done = [
                settled(number, stands[number].known, change, shown=not change.awaits)
                for number, change in going.items()
            ]
            await records.settle(self._connection, done)
            outcomes = [(number, _outcome(change), change.note) for number, change in page]
            await runs.note_outcomes(self._connection, self._run, outcomes)


def _is_told(change: Change) -> bool:
    return not change.writes or bool(change.waits_for)


def _outcome(change: Change) -> str:
    return "conflict" if change.conflicts else "waits" if change.waits_for else "done"
