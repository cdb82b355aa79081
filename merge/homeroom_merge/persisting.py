"""A plan carried out through the journal: intent, write, result; the base moves record by record (merge.md 2.7).

What was cut by a crash is sent again under the key that its intent was written down with, so that the hub, which keeps
first answers by key, writes nothing twice.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import orjson

from homeroom_merge.codec import canonical
from homeroom_merge.connectors.hub import Hub, Rejected, Written
from homeroom_merge.plan import Change, Kind, Write
from homeroom_merge.records import State
from homeroom_merge.store import known as records
from homeroom_merge.store import runs
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.known import Settled
from homeroom_merge.store.runs import Intent
from homeroom_merge.terms import Terms

_PER_CALL = 500
_GONE = frozenset({Kind.DELETE})


@dataclass(frozen=True, slots=True)
class _Planned:
    """A change of a plan and the number of its record."""

    number: int
    change: Change

    def write_to(self, side: str) -> Write | None:
        return next((write for write in self.change.writes if write.side == side), None)


class Persisting:
    """Carries out one run's plan on the hub. Everything it learns is written down before it goes on."""

    def __init__(self, connection: Conn, run: UUID, terms: Terms, hubs: Mapping[str, Hub]) -> None:
        self._connection = connection
        self._run = run
        self._terms = terms
        self._hubs = hubs

    async def resume(self) -> None:
        """Find out what became of writes that a crash cut off: they are made again under their keys."""
        calls: dict[UUID, list[Intent]] = defaultdict(list)
        for intent in await runs.open_intents(self._connection, self._run):
            calls[intent.key].append(intent)
        for key, intents in calls.items():
            async with self._connection.transaction():
                planned = dict(await runs.planned_of(self._connection, self._run, [i.record for i in intents]))
            await self._send(key, [(_Planned(i.record, planned[i.record]), i) for i in intents])

    async def persist(self, *, deletes: bool) -> None:
        """The planned creates and updates, or the deletes. Raises HomeroomError; what was done by then is known."""
        while page := await self._page(deletes=deletes):
            await self._without_writes([each for each in page if not each.change.writes or each.change.waits_for])
            going = [each for each in page if each.change.writes and not each.change.waits_for]
            by_call: dict[tuple[str, str], list[_Planned]] = defaultdict(list)
            for each in going:
                by_call[self._call_of(each.change)].append(each)
            for together in by_call.values():
                await self._write(together)

    async def _page(self, *, deletes: bool) -> list[_Planned]:
        async with self._connection.transaction():
            rows = await runs.next_planned(self._connection, self._run, _PER_CALL, deletes=deletes)
        return [_Planned(number, change) for number, change in rows]

    async def _without_writes(self, page: Sequence[_Planned]) -> None:
        """Adopted alike, in conflict, waiting, or just told of."""
        async with self._connection.transaction():
            settled = [each for each in page if not each.change.conflicts and not each.change.waits_for]
            await records.settle(
                self._connection,
                [Settled(e.number, e.change.hub_id, e.change.base, unlinked=e.change.unlink) for e in settled],
            )
            for each in page:
                await runs.note_conflicts(self._connection, each.number, each.change.conflicts)
            outcomes = [(each.number, _outcome(each.change), each.change.note) for each in page]
            await runs.note_outcomes(self._connection, self._run, outcomes)

    async def _write(self, page: Sequence[_Planned]) -> None:
        """The hub's part of some changes, in one call."""
        key = uuid4()
        sent: list[tuple[_Planned, Intent]] = []
        async with self._connection.transaction():
            stands = await records.read(self._connection, [each.number for each in page])
        for each in page:
            write = each.write_to("hub")
            if write is not None and self._terms.persists_hub:
                body = None if write.body is None else canonical(write.body)
                hub = stands[each.number].known.hub
                before = canonical(hub.body) if hub.state is State.LIVE else None
                told = (each.change.hub_id, body, write.expected_version, before)
                intent = Intent(each.number, "hub", write.kind, key, *told)
                sent.append((each, intent))
        for each in page:
            await runs.note_conflicts(self._connection, each.number, each.change.conflicts)
        await runs.intend(self._connection, self._run, [intent for _, intent in sent])
        left = [each for each in page if each.number not in {s.number for s, _ in sent}]
        await runs.note_outcomes(
            self._connection, self._run, [(each.number, "notRun", "this side is not written") for each in left]
        )
        if sent:
            await self._send(key, sent)

    async def _send(self, key: UUID, sent: Sequence[tuple[_Planned, Intent]]) -> None:
        organization, notification_type = self._call_of(sent[0][0].change)
        submitted = [_submitted(each.change, intent) for each, intent in sent]
        results = await self._hubs[organization].write(notification_type, submitted, key)
        async with self._connection.transaction():
            done: list[Settled] = []
            shown: list[tuple[int, str, int]] = []
            outcomes: list[tuple[int, str, str]] = []
            noted: list[tuple[int, str, str, int]] = []
            for (each, intent), result in zip(sent, results, strict=True):
                match result:
                    case Written(version):
                        noted.append((each.number, "done", "", version))
                        outcomes.append((each.number, "done", ""))
                        done.append(Settled(each.number, each.change.hub_id, each.change.base))
                        if intent.body is not None and intent.kind != Kind.DELETE:
                            shown.append((each.number, intent.body, version))
                    case Rejected(is_stale, detail):
                        noted.append((each.number, "moved" if is_stale else "refused", detail, 0))
                        outcomes.append((each.number, "stale" if is_stale else "failed", detail))
            await runs.note_results(self._connection, self._run, key, noted)
            await records.settle(self._connection, done)
            await records.show_written(self._connection, shown)
            await runs.note_outcomes(self._connection, self._run, outcomes)

    def _call_of(self, change: Change) -> tuple[str, str]:
        """As whom, and to which type, a change is written."""
        notification_type = self._terms.type_of(change.school_year)
        assert notification_type is not None, "only allowed years are planned"
        is_own = change.school is not None and change.school in self._hubs
        return (change.school if is_own and change.school else self._terms.acts_as[0]), notification_type


def _submitted(change: Change, intent: Intent) -> dict[str, object]:
    record: dict[str, object] = {"id": intent.hub_id, "expectedVersion": intent.expected_version}
    record["deleted"] = intent.kind in _GONE
    if intent.body is not None and intent.kind not in _GONE:
        record["body"] = orjson.loads(intent.body)
    if intent.kind == Kind.CREATE and change.school is not None:
        record["organization"] = change.school
    return record


def _outcome(change: Change) -> str:
    return "conflict" if change.conflicts else "waits" if change.waits_for else "done"
