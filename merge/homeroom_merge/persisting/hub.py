"""A plan's writes to the hub.

What was cut by a crash is sent again under the key that its intent was written down with, so that the hub, which keeps
first answers by key, writes nothing twice.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import anyio
import orjson

from homeroom_merge.codec import canonical
from homeroom_merge.connectors.hub import Hub, Rejected, Written
from homeroom_merge.persisting.settling import settled
from homeroom_merge.plan import Change, Kind
from homeroom_merge.records import State
from homeroom_merge.store import journal, own, runs
from homeroom_merge.store import known as records
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.journal import Intent
from homeroom_merge.store.known import Numbered, Settled
from homeroom_merge.terms import Terms

_GONE = frozenset({Kind.DELETE})


@dataclass(frozen=True, slots=True)
class Call:
    """One Submit, whose intents are written down: the changes, and what stood there."""

    key: UUID
    sent: Sequence[tuple[Change, Intent]]
    stands: Mapping[int, Numbered]


class HubWrites:
    """Makes one run's writes to the hub, many in a call.

    `turn`: whose turn it is on the connection, where one call is prepared while another is on its way.
    """

    def __init__(self, connection: Conn, run: UUID, terms: Terms, hubs: Mapping[str, Hub], turn: anyio.Lock) -> None:
        self._connection = connection
        self._run = run
        self._terms = terms
        self._hubs = hubs
        self._turn = turn

    async def resume(self, intents: Sequence[Intent]) -> None:
        """Make writes again that a crash cut off, under their keys."""
        calls: dict[UUID, list[Intent]] = defaultdict(list)
        for intent in intents:
            calls[intent.key].append(intent)
        for key, together in calls.items():
            planned = dict(await runs.planned_of(self._connection, self._run, [i.record for i in together]))
            stands = await self._stands([intent.record for intent in together])
            await self.send(Call(key, [(planned[intent.record], intent) for intent in together], stands))

    async def prepare(self, page: Sequence[tuple[int, Change]]) -> list[Call]:
        """The calls for the hub's part of some changes; those that have none are halfway at once."""
        by_call: dict[tuple[str, str], list[tuple[int, Change]]] = defaultdict(list)
        for number, change in page:
            if change.write_to("hub") is not None:
                by_call[self._call_of(change)].append((number, change))
        passed = [(number, "halfway", change.note) for number, change in page if change.write_to("hub") is None]
        async with self._turn:
            await runs.note_outcomes(self._connection, self._run, passed)
        return [await self._intended(together) for together in by_call.values()]

    async def _intended(self, together: Sequence[tuple[int, Change]]) -> Call:
        key = uuid4()
        sent: list[tuple[Change, Intent]] = []
        async with self._turn:
            stands = await self._stands([number for number, _ in together])
        for number, change in together:
            write = change.write_to("hub")
            assert write is not None, "just looked"
            body = None if write.body is None else canonical(write.body)
            hub = stands[number].known.hub
            before = canonical(hub.body) if hub.state is State.LIVE else None
            told = (change.hub_id, body, write.expected_version, before)
            sent.append((change, Intent(number, "hub", write.kind, key, *told)))
        async with self._turn:
            await journal.intend(self._connection, self._run, [intent for _, intent in sent])
        return Call(key, sent, stands)

    async def _stands(self, numbers: Sequence[int]) -> Mapping[int, Numbered]:
        async with self._connection.transaction():
            return await records.read(self._connection, numbers)

    async def send(self, call: Call) -> None:
        """Make a call, and write down what came of it. Raises HomeroomError."""
        organization, notification_type = self._call_of(call.sent[0][0])
        submitted = [_submitted(change, intent) for change, intent in call.sent]
        results = await self._hubs[organization].write(notification_type, submitted, call.key)
        done: list[Settled] = []
        shown: list[tuple[int, str, int]] = []
        outcomes: list[tuple[int, str, str]] = []
        noted: list[tuple[int, str, str, int]] = []
        written: list[tuple[int, Change]] = []
        for (change, intent), result in zip(call.sent, results, strict=True):
            number = intent.record
            match result:
                case Written(version):
                    noted.append((number, "done", "", version))
                    written.append((number, change))
                    if change.write_to("sis") is None:
                        done.append(settled(number, call.stands[number].known, change, shown=not change.awaits))
                        outcomes.append((number, "done", change.note))
                    else:
                        outcomes.append((number, "halfway", change.note))
                    if intent.body is not None and intent.kind != Kind.DELETE:
                        shown.append((number, intent.body, version))
                case Rejected(is_stale, detail):
                    noted.append((number, "moved" if is_stale else "refused", detail, 0))
                    outcomes.append((number, "stale" if is_stale else "failed", detail))
        async with self._turn, self._connection.transaction():
            await journal.note_results(self._connection, self._run, call.key, noted)
            await own.note_writings(self._connection, "hub", written)
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
