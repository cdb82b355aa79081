"""Raw long-poll clients: a map of ids and versions for each type, kept by Is Data Available and Get alone."""

from dataclasses import dataclass, field
from typing import Any

import anyio

from homeroom import version_hash
from tests.history.caller import Answer, Caller
from tests.history.events import Got, Listed, Looked, Recorder, Seen, digest_of
from tests.history.facts import SIGHT

_CURSORS_KEPT = 60
_PAUSE_SECONDS = 0.2
_RESUMED = 0.15
_HASHED = 0.3


@dataclass
class Stream:
    """What is held of a type. `page`: a cut full list as far as it has come."""

    cursor: int = 0
    epoch: str = ""
    held: dict[str, int] = field(default_factory=dict)
    page: dict[str, int] | None = None
    listed_after: int = -1
    left_behind: list[tuple[int, str]] = field(default_factory=list)
    proved: str = ""
    """The last hash with which the Core agreed."""

    @property
    def hash(self) -> str:
        return version_hash(self.held.values())


class Looker:
    """Follows some types for ever; now and then it asks again with a cursor that it has long left behind."""

    def __init__(self, caller: Caller, types: tuple[str, ...], recorder: Recorder) -> None:
        self.caller = caller
        self.streams = {name: Stream() for name in types}
        self.settling = False
        """Prove by hash, without being held for long."""
        self._recorder = recorder

    async def run(self) -> None:
        async with self.caller.http:
            while True:
                await self._step()

    async def _step(self) -> None:
        chance = self.caller.chance
        if chance.random() < _RESUMED and not self.settling:
            await self._resume(chance.choice(list(self.streams)))
            return
        hashed = self.settling or chance.random() < _HASHED
        names = list(self.streams)
        entries = [self._entry(name, hashed) for name in names]
        wait_seconds = 1 if self.settling else chance.choice((0, 1, 2, 3))
        answer = await self.caller.post(
            "/v1/is-data-available", {"waitSeconds": wait_seconds, "types": entries}, wait_seconds
        )
        for place, name in enumerate(names):
            look = self._record(name, entries[place], answer, place)
            if not answer.error:
                await self._follow(name, look, entries[place].get("versionHash", ""))
        if answer.error == 2003:
            self._start_over()
        if answer.error:
            await anyio.sleep(chance.random() * _PAUSE_SECONDS)

    def _entry(self, name: str, hashed: bool) -> dict[str, Any]:
        stream = self.streams[name]
        entry: dict[str, Any] = {"notificationType": name, "maxCoreVersion": stream.cursor}
        if stream.page is not None:
            entry["listAfter"] = stream.listed_after
        elif hashed:
            entry["versionHash"] = stream.hash
        return entry

    def _record(self, name: str, entry: dict[str, Any], answer: Answer, place: int, resumed: str = "") -> Looked:
        found = {} if answer.error else answer.body["types"][place]
        look = Looked(
            began=answer.began,
            ended=answer.ended,
            client=self.caller.name,
            organization=self.caller.organization,
            type=name,
            cursor=entry["maxCoreVersion"],
            cursor_epoch=resumed or self.streams[name].epoch,
            listed_after=entry.get("listAfter", -1),
            hashed="versionHash" in entry,
            resumed=bool(resumed),
            epoch=answer.epoch,
            reason=found.get("reason", ""),
            listed=tuple(Listed(r["id"], r["coreVersion"]) for r in found.get("records", ())),
            bookmark=found.get("maxCoreVersion", 0),
            complete=found.get("complete", True),
            error=answer.error,
        )
        self._recorder.add(look)
        return look

    async def _resume(self, name: str) -> None:
        """Ask with an old cursor; the answer is judged, not followed."""
        if not (known := self.streams[name].left_behind):
            return
        cursor, epoch = self.caller.chance.choice(known)
        entry = {"notificationType": name, "maxCoreVersion": cursor}
        answer = await self.caller.post("/v1/is-data-available", {"waitSeconds": 0, "types": [entry]})
        self._record(name, entry, answer, 0, epoch or "none")

    async def _follow(self, name: str, look: Looked, sent_hash: str) -> None:
        """Take an answer once everything it lists was fetched; else the same cursor is asked with again."""
        stream = self.streams[name]
        deleted = await self._fetch(look) if look.listed else {}
        if deleted is None:
            return
        stream.epoch = look.epoch
        if look.reason == "mismatch":
            page = {} if look.listed_after <= 0 or stream.page is None else stream.page
            page |= dict(look.listed)
            if look.complete:
                stream.held, stream.page, stream.listed_after = page, None, -1
            else:
                stream.page, stream.listed_after = page, max(page.values(), default=0)
        else:
            stream.page, stream.listed_after = None, -1
            for listed in look.listed:
                stream.held[listed.id] = listed.version
                if deleted[listed.id]:
                    del stream.held[listed.id]
            if look.reason == "none" and look.complete and sent_hash:
                stream.proved = sent_hash
        if look.bookmark != stream.cursor and stream.page is None:
            stream.left_behind = [*stream.left_behind, (stream.cursor, look.epoch)][-_CURSORS_KEPT:]
        stream.cursor = look.bookmark

    async def _fetch(self, look: Looked) -> dict[str, bool] | None:
        """Whether each listed record is deleted; None if they cannot all be had at the version listed or above."""
        ids = [listed.id for listed in look.listed]
        chance, organization = self.caller.chance, self.caller.organization
        if organization.startswith("S.") and look.type != "Bulletin" and chance.random() < 0.2:
            other = chance.choice([school for school in SIGHT["O.1"] if school != organization])
            ids.append(f"{other}.{chance.randrange(8)}")  # none of its business: it must learn nothing
        answer = await self.caller.post(f"/v1/get/{look.type}", {"records": [{"id": i} for i in ids]})
        seen = tuple(
            Seen(
                r["id"],
                r["availability"],
                r.get("coreVersion", 0),
                r.get("deleted", False),
                digest_of(r["body"]) if "body" in r else "",
            )
            for r in answer.body.get("records", ())
        )
        self._recorder.add(
            Got(
                began=answer.began,
                ended=answer.ended,
                client=self.caller.name,
                organization=organization,
                type=look.type,
                epoch=answer.epoch,
                records=seen,
                error=answer.error,
            )
        )
        found = {s.id: s for s in seen if s.availability == "Normal"}
        if any(listed.id not in found or found[listed.id].version < listed.version for listed in look.listed):
            return None
        return {s.id: s.deleted for s in found.values()}

    def _start_over(self) -> None:
        """A version of another history: load anew."""
        for name in self.streams:
            self.streams[name] = Stream()
