"""A plan carried out through the journal: intent, write, result; the base moves record by record (merge.md 2.7).

The hub goes before the SIS. A change that is done there, or has nothing to do there, is `halfway` until the SIS has it.
"""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import anyio

from homeroom_merge.codec import change_of
from homeroom_merge.persisting.hub import Call, HubWrites
from homeroom_merge.persisting.settling import settled
from homeroom_merge.persisting.sis import SisWrites
from homeroom_merge.piping import piped
from homeroom_merge.plan import Change
from homeroom_merge.progress import UNWATCHED, Progress
from homeroom_merge.sides import Sides
from homeroom_merge.store import inbox, journal, runs
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.terms import Terms

_AT_ONCE = 500


class Persisting:
    """Carries out one run's plan. Everything it learns is written down before it goes on."""

    def __init__(self, connection: Conn, run: UUID, terms: Terms, sides: Sides, progress: Progress = UNWATCHED) -> None:
        self._connection = connection
        self._run = run
        self._terms = terms
        self._progress = progress
        self._turn = anyio.Lock()
        self._hub = HubWrites(connection, run, terms, sides.hubs, self._turn)
        self._sis = SisWrites(connection, run, terms, sides, progress)

    async def resume(self) -> None:
        """Find out what became of writes that a crash cut off. Raises HomeroomError, OSError."""
        intents = await journal.open_intents(self._connection, self._run)
        await self._hub.resume([intent for intent in intents if intent.side == "hub"])
        await self._sis.resume([intent for intent in intents if intent.side == "sis"])

    async def persist(self, *, deletes: bool) -> None:
        """The planned creates and updates, or the deletes. Raises HomeroomError; what was done by then is known."""
        await self.to_hub(deletes=deletes)
        await self.to_sis(deletes=deletes)

    async def to_hub(self, *, deletes: bool) -> None:
        """What is written to the hub, if anything is; all that the SIS is to have then is halfway. HomeroomError.

        A page is prepared while the calls of the one before are on their way.
        """
        await piped(self._prepared_pages(deletes=deletes), self._send)

    async def _send(self, calls: Sequence[Call]) -> None:
        for call in calls:
            await self._hub.send(call)
            self._progress.advance(len(call.sent))

    async def _prepared_pages(self, *, deletes: bool) -> AsyncIterator[list[Call]]:
        async for page in self._pages("planned", deletes=deletes):
            calls = await self._prepared(page)
            self._progress.advance(len(page) - sum(len(call.sent) for call in calls))
            yield calls

    async def _prepared(self, page: Sequence[tuple[int, Change]]) -> list[Call]:
        async with self._turn:
            await inbox.note_conflicts(self._connection, [(number, change.conflicts) for number, change in page])
        ready = await self._await_references(page)
        await self._without_writes([each for each in ready if _is_told(each[1])])
        return await self._hub.prepare([each for each in ready if not _is_told(each[1])])

    async def to_sis(self, *, deletes: bool) -> None:
        """What is halfway."""
        async for page in self._pages("halfway", deletes=deletes):
            await self._sis.write(page)

    async def _pages(self, outcome: str, *, deletes: bool) -> AsyncIterator[list[tuple[int, Change]]]:
        after = 0
        while True:
            async with self._turn:
                texts = await runs.next_to_do(self._connection, self._run, outcome, after, _AT_ONCE, deletes=deletes)
            if not texts:
                return
            yield [(number, change_of(text)) for number, text in texts]
            after = texts[-1][0]

    async def _await_references(self, page: Sequence[tuple[int, Change]]) -> list[tuple[int, Change]]:
        """Those whose references the hub has by now: a record that was to be there may have been held, or refused."""
        needed = {number: self._needed(change) for number, change in page}
        asked = set().union(*needed.values())
        async with self._turn:
            away = await records.not_on_hub(self._connection, self._terms.feed, asked) if asked else set()
        waiting = {number: sorted(needs & away) for number, needs in needed.items() if needs & away}
        told = [
            (number, "waits", "the hub does not have " + ", ".join(f"{entity} {key}" for entity, key in lacking))
            for number, lacking in waiting.items()
        ]
        async with self._turn:
            await runs.note_outcomes(self._connection, self._run, told)
        return [each for each in page if each[0] not in waiting]

    def _needed(self, change: Change) -> set[tuple[str, str]]:
        write = change.write_to("hub")
        if write is None or write.body is None:
            return set()
        found = self._terms.shape.references(write.body)
        return {(each.entity, each.key) for each in found if each.entity in self._terms.after}

    async def _without_writes(self, page: Sequence[tuple[int, Change]]) -> None:
        """Adopted alike, in conflict, waiting, or just told of."""
        async with self._turn, self._connection.transaction():
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
