"""What one read of the feed found, and what it says to those who wait (protocol 3)."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from homeroom.protocol import NotificationType
from homeroom_server.held.answer import Answer, Part, answer_of
from homeroom_server.held.bookmarks import Bookmarks

_NOBODY = 0
"""No organisation's number: who looks with these eyes is told of nothing but what everybody sees."""


class Interest:
    """The types of a request, in its order, and of which it sees everything: one object for all who ask alike."""

    __slots__ = ("__weakref__", "as_viewer", "everything", "types", "whole")

    def __init__(self, types: Sequence[NotificationType], everything: Sequence[bool]) -> None:
        self.types = tuple(types)
        self.everything = tuple(everything)
        self.whole = {each for each, seen in zip(types, everything, strict=True) if seen}
        self.as_viewer = not all(everything)


@dataclass(frozen=True, slots=True)
class Changes:
    """What moved in one stream, ascending by version."""

    ids: Sequence[str]
    versions: Sequence[int]


@dataclass(frozen=True)
class Movement:
    """What moved in one type, up to `bookmark`; `cut` if more has moved beyond it.

    `streams` by viewer; None: what those see who see all of it. `lost`: something of it has been collected already;
    whose it was is no longer known, so that everybody is sent to ask again.
    """

    notification_type: NotificationType
    bookmark: int
    cut: bool = False
    lost: bool = False
    streams: dict[int | None, Changes] = field(default_factory=dict)
    _parts: dict[tuple[int | None, int], Part] = field(default_factory=dict)

    def part(self, viewer: int | None, cursor: int) -> Part | None:
        """What lies above the cursor in a stream, None if nothing does."""
        if self.lost:
            return Part(self.notification_type, "none", cursor)
        changes = self.streams.get(viewer)
        if changes is None or changes.versions[-1] <= cursor:
            return None
        first = bisect_right(changes.versions, cursor)
        part = self._parts.get((viewer, first))
        if part is None:
            top = changes.versions[-1] if self.cut else self.bookmark
            part = self._parts[viewer, first] = Part(
                self.notification_type, "newer", top, not self.cut, changes.ids[first:], changes.versions[first:]
            )
        return part


class News:
    """Everything that one read found, of one snapshot. Those who are told the same are given the same answer."""

    def __init__(self, epoch: str, moved: Sequence[Movement]) -> None:
        self.epoch = epoch
        self.types = {each.notification_type: each for each in moved}
        self._viewers = {viewer for each in moved for viewer in each.streams}
        self._answers: dict[tuple[Interest, int, tuple[int, ...]], Answer | None] = {}
        self._usual: tuple[Interest, tuple[int, ...], Answer | None] | None = None

    def answer(self, bookmarks: Bookmarks, interest: Interest, viewer: int, cursors: tuple[int, ...]) -> Answer | None:
        """What a request is told that has seen everything up to its cursors; None if there is nothing for it."""
        if viewer in self._viewers:
            return self._kept(bookmarks, interest, viewer, cursors)
        usual = self._usual  # most who are woken together were told the same the last time
        if usual is None or usual[0] is not interest or usual[1] is not cursors:
            usual = self._usual = (interest, cursors, self._kept(bookmarks, interest, _NOBODY, cursors))
        return usual[2]

    def _kept(self, bookmarks: Bookmarks, interest: Interest, viewer: int, cursors: tuple[int, ...]) -> Answer | None:
        key = (interest, viewer, cursors)
        if key not in self._answers:
            self._answers[key] = self._compose(bookmarks, interest, viewer, cursors)
        return self._answers[key]

    def _compose(
        self, bookmarks: Bookmarks, interest: Interest, viewer: int, cursors: tuple[int, ...]
    ) -> Answer | None:
        parts, found = [], False
        for notification_type, everything, cursor in zip(interest.types, interest.everything, cursors, strict=True):
            moved = self.types.get(notification_type)
            part = None if moved is None else moved.part(None if everything else viewer, cursor)
            found = found or part is not None
            parts.append(part or bookmarks.still(notification_type, cursor))
        return answer_of(self.epoch, parts) if found else None
