"""A plan's writes to the SIS, record by record: each against what was merged, each told by what became of it.

What a crash or a time-out left open is found out where the SIS shows at once what was written, or takes a write only on
what it was merged with; else it is `unknown`, and awaited rather than repeated.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never
from uuid import UUID, uuid4

import anyio

from homeroom_merge.codec import canonical
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.persisting.drafting import has_moved, key_of, says_nothing_new
from homeroom_merge.persisting.settling import rendered, settled
from homeroom_merge.plan import Change, Write
from homeroom_merge.progress import UNWATCHED, Progress
from homeroom_merge.records import Known, State
from homeroom_merge.sides import Sides
from homeroom_merge.sis.side import Draft, Outcome, Standing
from homeroom_merge.standing import can_look
from homeroom_merge.store import journal, own, runs
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.journal import Intent
from homeroom_merge.store.known import SisShown
from homeroom_merge.terms import Terms

_AWAITED = "written, and awaited until a feed shows it"
_MOVED = "it has moved in the SIS"
_DOWN = "the SIS could not be reached"


class SisWrites:
    """Makes one run's writes to the SIS. After each, the record is `halfway` no longer."""

    def __init__(self, connection: Conn, run: UUID, terms: Terms, sides: Sides, progress: Progress = UNWATCHED) -> None:
        self._connection = connection
        self._run = run
        self._sis, self._pacing = sides.sis, sides.pacing
        self._progress, self._scrub = progress, terms.scrub
        self._abilities = sides.sis.abilities
        self._may_look_early = self._abilities.conditional_write or not self._abilities.by_id
        self._given_up = 0

    async def resume(self, intents: Sequence[Intent]) -> None:
        """Find out what became of writes that a crash cut off; what never arrived is left to be done. OSError."""
        planned = dict(await runs.planned_of(self._connection, self._run, [i.record for i in intents]))
        for intent in intents:
            change = planned[intent.record]
            known, write = await self._known(intent.record), _write_of(change)
            key = await key_of(self._sis, known, write)
            draft = await self._sis.draft(write.kind, key, write.body, (await self._look([key])).get(key))
            assert isinstance(draft, Draft), "it was once"
            outcome = await self._found_out(intent, draft, in_flight=False)
            await self._note(intent, known, change, draft, outcome)
            if outcome.result == "transient":
                await runs.note_outcomes(self._connection, self._run, [(intent.record, "halfway", outcome.detail)])

    async def write(self, page: Sequence[tuple[int, Change]]) -> None:
        """The SIS's part of some changes. What it refuses stays with its record; others go on."""
        async with self._connection.transaction():
            stands = await records.read(self._connection, [number for number, _ in page])
        keys = {number: await key_of(self._sis, stands[number].known, _write_of(change)) for number, change in page}
        together = await self._looked(list(keys.values()))
        for number, change in page:
            looked = together if self._may_look_early or together is None else await self._looked([keys[number]])
            if looked is None or self._given_up >= self._pacing.given_up_in_a_row_max:
                await self._tell(number, "failed", _DOWN)
            else:
                await self._write(number, stands[number].known, change, keys[number], looked.get(keys[number]))
            self._progress.advance(1)

    async def _write(self, number: int, known: Known, change: Change, key: str, standing: Standing | None) -> None:
        if can_look(self._abilities) and has_moved(known, standing):
            await self._tell(number, "stale", _MOVED)
            return
        write = _write_of(change)
        draft = await self._sis.draft(write.kind, key, write.body, standing)
        if isinstance(draft, str):
            await self._tell(number, "failed", self._scrub(draft))
        elif says_nothing_new(draft, known):
            await self._settle_unwritten(number, known, change, draft)
        else:
            intent = _intent(number, known, draft)
            await journal.intend(self._connection, self._run, [intent])
            outcome = await self._send(draft)
            if outcome.result == "unknown":
                outcome = await self._found_out(intent, draft, in_flight=True)
            self._given_up = self._given_up + 1 if outcome.result == "transient" else 0
            await self._note(intent, known, change, draft, outcome)

    async def _settle_unwritten(self, number: int, known: Known, change: Change, draft: Draft) -> None:
        """All that would change is what the SIS cannot express."""
        async with self._connection.transaction():
            done = settled(number, known, _as_shown(change, draft.reading), shown=not change.awaits)
            await records.settle(self._connection, [done])
            await self._tell(number, "done", change.note)

    async def _send(self, draft: Draft) -> Outcome:
        """Write, again after each failure that passes, as often and as late as pacing has it."""
        failures = 0
        while True:
            try:
                said = await self._sis.write(draft)
            except OSError as fault:
                return Outcome("unknown", f"the connection broke: {type(fault).__name__}")
            failures += 1
            outcome = replace(said, detail=self._scrub(said.detail))
            if outcome.result != "transient":
                return outcome
            pause = self._pacing.pause_seconds(failures, outcome.retry_after_seconds)
            if pause is None:
                return outcome
            await anyio.sleep(pause)

    async def _found_out(self, intent: Intent, draft: Draft, *, in_flight: bool) -> Outcome:
        """What became of a write, if that can be known. `in_flight`: it might still arrive."""
        unknown = Outcome("unknown", "nobody can tell whether the SIS has it")
        if not self._abilities.read_back or not can_look(self._abilities):
            if not self._abilities.conditional_write:
                return unknown
            again = await self._send(draft)
            return again if again.result == "done" else unknown
        if draft.expected is None and self._abilities.gives_keys:
            return unknown
        try:
            standing = (await self._look([draft.key])).get(draft.key)
        except OSError:
            if in_flight:
                return unknown
            raise
        now = None if standing is None else canonical(standing.reading.body)
        if now == intent.body:
            return Outcome("done", shown=None if standing is None else standing.reading)
        if now != intent.before:
            return Outcome("moved", _MOVED)
        is_safe = self._abilities.conditional_write or not in_flight
        return Outcome("transient", "it never reached the SIS") if is_safe else unknown

    async def _note(self, intent: Intent, known: Known, change: Change, draft: Draft, outcome: Outcome) -> None:
        """Write down what became of a write, and what the record is by it, at once."""
        number, reading = intent.record, self._reading(draft, outcome)
        after = _as_shown(change, reading)
        key = None if self._abilities.gives_keys and outcome.shown is None else _key(draft, reading)
        async with self._connection.transaction():
            body = None if reading is None else canonical(reading.body)
            await journal.note_sis_result(self._connection, self._run, intent, outcome.result, outcome.detail, body)
            match outcome.result:
                case "done":
                    shown = self._abilities.read_back
                    await own.note_writings(self._connection, "sis", [(number, change)])
                    await records.settle(self._connection, [settled(number, known, after, shown=shown, sis_key=key)])
                    if shown:
                        await records.show_sis(self._connection, number, _row(reading))
                    await self._tell(number, "done", change.note if shown else _AWAITED)
                case "moved":
                    await self._tell(number, "stale", outcome.detail or _MOVED)
                case "unknown":
                    await records.settle(self._connection, [settled(number, known, after, shown=False, sis_key=key)])
                    await self._tell(number, "unknown", outcome.detail)
                case "refused" | "transient":
                    await self._tell(number, "failed", outcome.detail)
                case never:
                    assert_never(never)

    def _reading(self, draft: Draft, outcome: Outcome) -> Reading | None:
        """What the SIS shows now, if it says so; else what was written."""
        if outcome.result != "done" or outcome.shown is None:
            return draft.reading
        return draft.reading if outcome.shown.faults else outcome.shown

    async def _known(self, number: int) -> Known:
        async with self._connection.transaction():
            return (await records.read(self._connection, [number]))[number].known

    async def _look(self, keys: Sequence[str]) -> dict[str, Standing]:
        return {each.reading.key: each for each in await self._sis.look(keys)} if can_look(self._abilities) else {}

    async def _looked(self, keys: Sequence[str]) -> dict[str, Standing] | None:
        """What stands there of these records; None where the SIS cannot be reached after all patience."""
        failures = 0
        while True:
            try:
                return await self._look(keys)
            except OSError:
                failures += 1
                pause = self._pacing.pause_seconds(failures)
            if pause is None:
                return None
            await anyio.sleep(pause)

    async def _tell(self, number: int, outcome: str, detail: str) -> None:
        await runs.note_outcomes(self._connection, self._run, [(number, outcome, detail)])


def _write_of(change: Change) -> Write:
    write = change.write_to("sis")
    assert write is not None, "only what is written to the SIS gets here"
    return write


def _intent(number: int, known: Known, draft: Draft) -> Intent:
    before = canonical(known.sis.body) if known.sis.state is State.LIVE else None
    body = None if draft.reading is None else canonical(draft.reading.body)
    return Intent(number, "sis", draft.kind, uuid4(), known.hub_id, body, 0, before)


def _key(draft: Draft, reading: Reading | None) -> str:
    return draft.key if reading is None or not reading.key else reading.key


def _as_shown(change: Change, reading: Reading | None) -> Change:
    """The change with its base as the SIS shows it."""
    if change.base is None or reading is None:
        return change
    return replace(change, base=rendered(change.base, reading))


def _row(reading: Reading | None) -> SisShown:
    if reading is None:
        return SisShown("deleted", None, None)
    return SisShown("live", canonical(reading.body), sorted(reading.covered))
