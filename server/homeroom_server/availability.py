"""Is Data Available: what one look at the database says about everything a request asks (protocol 3 and 4)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import anyio

from homeroom.errors import Code, error
from homeroom.protocol import LISTED_PER_ANSWER_MAX, LISTED_PER_TYPE_MAX, NotificationType, version_hash
from homeroom_server.hashes.hashing import Stream
from homeroom_server.hashes.version_hash import Question, VersionHashes
from homeroom_server.held.answer import Answer, Part, Reason, answer_of
from homeroom_server.held.bookmarks import Bookmarks
from homeroom_server.single_flight import Connection, SingleFlight
from homeroom_server.store import streams
from homeroom_server.store.streams import Asked, Delta, Listing

_FIRST_LOOK = 1_000
"""Rows per type of the read that serves all types at once; a longer list is read by itself."""
HASH_PUT_OFF_SECONDS_MAX = 60.0
"""How long the judgement of a hash may be put off (protocol 4)."""
_NO_RECORDS = version_hash(())


@dataclass(frozen=True, slots=True)
class Entry:
    """One type of a request: who looks at it, and what the client holds."""

    notification_type: NotificationType
    viewer: int | None
    max_core_version: int
    version_hash: str | None
    list_after: int | None


@dataclass(frozen=True)
class Finding:
    """What a look found. `behind`: types of which the client has seen more than this node, whose counter is `counter`.

    `unjudged`: by their place in the request, types whose hash is still being computed; nothing else was found of them.
    `outrun`: types whose stream moved on before its hash was there, so that it was not judged either.
    """

    epoch: str
    parts: Sequence[Part]
    behind: Sequence[NotificationType] = ()
    counter: int = 0
    unjudged: Mapping[int, Question] = field(default_factory=dict)
    outrun: Sequence[NotificationType] = ()

    @property
    def has_news(self) -> bool:
        return any(part.reason != "none" or not part.complete for part in self.parts)

    @property
    def cursors(self) -> tuple[int, ...]:
        return tuple(part.max_core_version for part in self.parts)

    @cached_property
    def answer(self) -> Answer:
        """Made once for all who share the look."""
        return answer_of(self.epoch, self.parts)


class Availability:
    """Looks at the database for those who ask; equal questions asked together share one look and one answer."""

    def __init__(self, flights: SingleFlight, hashes: VersionHashes, bookmarks: Bookmarks) -> None:
        self._flights = flights
        self._hashes = hashes
        self._bookmarks = bookmarks

    def in_step(self, entries: Sequence[Entry]) -> Finding | None:
        """That there is nothing for a client which, by its hashes, holds all that this node's feed has seen.

        None if that is not known in memory. What the feed has not seen yet will wake whoever watches by now, so that
        a request which is going to be held need not ask the database.
        """
        if not all(map(self._is_in_step, entries)):
            return None
        parts = [self._bookmarks.still(entry.notification_type, entry.max_core_version) for entry in entries]
        return Finding(self._bookmarks.epoch, parts)

    def _is_in_step(self, entry: Entry) -> bool:
        notification_type, cursor = entry.notification_type, entry.max_core_version
        if entry.version_hash is None or entry.list_after is not None:
            return False
        number = self._bookmarks.numbers.get(notification_type)
        if number is None:
            return cursor == 0 and entry.version_hash == _NO_RECORDS
        if not self._bookmarks.horizons[notification_type] <= cursor <= self._bookmarks.seen(notification_type):
            return False
        md5 = bytes.fromhex(entry.version_hash)
        return self._hashes.in_step((number, entry.viewer), self._bookmarks.epoch, cursor, md5)

    async def look(self, entries: tuple[Entry, ...], patience_seconds: float = HASH_PUT_OFF_SECONDS_MAX) -> Finding:
        """Judge every entry; lists are cut at the caps, types that come too late are cut to nothing.

        A hash that is not there when patience ends goes on being computed: its stream is `unjudged`.
        """
        asked = [Asked(entry.notification_type, entry.viewer, entry.max_core_version) for entry in entries]

        async def read(connection: Connection) -> list[Delta]:
            return await streams.read_deltas(connection, asked, _FIRST_LOOK)

        async def judge(deltas: list[Delta]) -> Finding:
            return await self._judge_all(entries, deltas, patience_seconds)

        return await self._flights.read_then(("look", entries, patience_seconds), read, judge)

    def judge_later(self, unjudged: Iterable[Question], ask_again: Callable[[], None]) -> None:
        """Call `ask_again` when the hash of one of these turns out to differ, or cannot be computed; once for each."""
        for question in unjudged:
            self._hashes.when_landed(question.stream, partial(self._judge_now, question, ask_again))

    def _judge_now(self, question: Question, ask_again: Callable[[], None]) -> None:
        if self._hashes.differs(question) is not False:
            ask_again()

    async def _judge_all(self, entries: Sequence[Entry], deltas: Sequence[Delta], patience_seconds: float) -> Finding:
        room = LISTED_PER_ANSWER_MAX
        parts: list[Part] = []
        behind: list[NotificationType] = []
        questions = [_question(entry, delta) for entry, delta in zip(entries, deltas, strict=True)]
        verdicts = await self._verdicts([q for q in questions if q is not None], patience_seconds)
        outrun = [
            entry.notification_type
            for entry, question in zip(entries, questions, strict=True)
            if question is not None and self._hashes.moved_on(question)
        ]
        for entry, delta, question in zip(entries, deltas, questions, strict=True):
            if entry.max_core_version > delta.watermark:
                behind.append(entry.notification_type)
                parts.append(Part(entry.notification_type, "none", entry.max_core_version))
                continue
            differs = question is not None and verdicts[question.stream] is True
            part = await self._judge(entry, delta, differs, min(room, LISTED_PER_TYPE_MAX))
            room -= len(part.ids)
            parts.append(part)
        unjudged = {
            place: question
            for place, question in enumerate(questions)
            if question is not None and verdicts[question.stream] is None
        }
        return Finding(deltas[0].epoch, parts, behind, deltas[0].counter, unjudged, outrun)

    async def _verdicts(self, questions: Sequence[Question], patience_seconds: float) -> dict[Stream, bool | None]:
        """Whether each hash differs; None where that was not known in time."""
        verdicts = {question.stream: self._hashes.differs(question) for question in questions}  # all are under way
        with anyio.move_on_after(patience_seconds):
            for question in questions:
                while self._hashes.differs(question) is None:
                    _same_epoch((await self._hashes.landed(question.stream)).epoch, question.epoch)
        return verdicts | {question.stream: self._hashes.differs(question) for question in questions}

    async def _judge(self, entry: Entry, delta: Delta, differs: bool, room: int) -> Part:
        if entry.max_core_version < delta.horizon:
            return await self._full_list(entry, delta, room, 0, None)
        if entry.list_after is not None:
            return await self._full_list(entry, delta, room, entry.list_after, entry.max_core_version)
        if delta.ids:
            return await self._newer(entry, delta, room)
        if differs or _differs_from_nothing(entry, delta):
            return await self._full_list(entry, delta, room, 0, None)
        return Part(entry.notification_type, "none", delta.watermark)

    async def _newer(self, entry: Entry, delta: Delta, room: int) -> Part:
        asked = Asked(entry.notification_type, entry.viewer, entry.max_core_version)
        if len(delta.ids) == _FIRST_LOOK:

            async def read(connection: Connection) -> list[Delta]:
                return await streams.read_deltas(connection, [asked], room + 1)

            (longer,) = await self._flights.read(("newer", asked, room), read)
            _same_history(longer, delta)
            if entry.max_core_version < longer.horizon:  # collected since the look
                return await self._full_list(entry, longer, room, 0, None)
            delta = longer
        return _cut(entry, "newer", delta.ids, delta.versions, room, delta.watermark, None)

    async def _full_list(self, entry: Entry, delta: Delta, room: int, after: int, until: int | None) -> Part:
        """A page of the live records; `until` is the watermark of its first page."""
        number = delta.type_number
        if number is None:
            return Part(entry.notification_type, "mismatch", 0)

        async def read(connection: Connection) -> Listing:
            return await streams.read_listing(connection, number, entry.viewer, after, until, room + 1)

        listing = await self._flights.read(("list", number, entry.viewer, after, until, room), read)
        _same_history(listing, delta)
        window = listing.watermark if until is None else until
        return _cut(entry, "mismatch", listing.ids, listing.versions, room, window, window)


def _question(entry: Entry, delta: Delta) -> Question | None:
    """What is to be known of the stream's hash: None unless a hash was sent and all else says that nothing is new."""
    if entry.version_hash is None or entry.list_after is not None or delta.type_number is None or delta.ids:
        return None
    if not delta.horizon <= entry.max_core_version <= delta.watermark:
        return None
    stream = (delta.type_number, entry.viewer)
    changed_upto = max(delta.top, delta.horizon)  # what was collected, was in the stream up to the horizon
    return Question(stream, delta.epoch, changed_upto, delta.watermark, bytes.fromhex(entry.version_hash))


def _differs_from_nothing(entry: Entry, delta: Delta) -> bool:
    return delta.type_number is None and entry.version_hash not in (None, _NO_RECORDS)


def _same_history(later: Delta | Listing, delta: Delta) -> None:
    """Both reads are of one history, and the later one is not of a server that is behind the other's."""
    _same_epoch(later.epoch, delta.epoch)
    if later.watermark < delta.watermark:
        raise error(Code.NODE_BEHIND, "this node has begun to read elsewhere during this call; ask again")


def _same_epoch(epoch: str, epoch_of_look: str) -> None:
    if epoch != epoch_of_look:
        raise error(Code.CORE_NOT_AVAILABLE, "the database's history changed during this call; ask again")


def _cut(
    entry: Entry,
    reason: Reason,
    ids: Sequence[str],
    versions: Sequence[int],
    room: int,
    cursor_complete: int,
    cursor_cut: int | None,
) -> Part:
    """The part of a list that there is room for; `cursor_cut` None: a cut list goes on from its last version."""
    if len(ids) <= room:
        return Part(entry.notification_type, reason, cursor_complete, True, ids, versions)
    if room == 0:
        return Part(entry.notification_type, reason, entry.max_core_version, False)
    cursor = versions[room - 1] if cursor_cut is None else cursor_cut
    return Part(entry.notification_type, reason, cursor, False, ids[:room], versions[:room])
