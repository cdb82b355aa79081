"""How far this node has come, type by type: what clients are sent on with where nothing has come for them."""

from collections.abc import Sequence

from homeroom.protocol import NotificationType
from homeroom_server.held.answer import Answer, Part, answer_of


class Bookmarks:
    """How far this node has come: the version of each type up to which everybody concerned has been woken (protocol 3).

    `numbers` and `horizons` are those of every type that the node has met in this history.
    """

    def __init__(self) -> None:
        self.epoch = ""
        self.numbers: dict[NotificationType, int] = {}
        self.horizons: dict[NotificationType, int] = {}
        self._seen: dict[NotificationType, int] = {}
        self._still: dict[NotificationType, Part] = {}

    def begin(self, epoch: str) -> None:
        """Another history of the database: nothing has been told of it yet, and it may have lost a type."""
        self.epoch = epoch
        self.numbers.clear()
        self.horizons.clear()
        self._seen.clear()
        self._still.clear()

    def seen(self, notification_type: NotificationType) -> int:
        return self._seen.get(notification_type, 0)

    def advance(self, notification_type: NotificationType, version: int) -> None:
        if version > self.seen(notification_type):
            self._seen[notification_type] = version
            self._still[notification_type] = Part(notification_type, "none", version)

    def still(self, notification_type: NotificationType, cursor: int) -> Part:
        """A type in which nothing has come for a request: all that lies below the bookmark was looked at for it."""
        part = self._still.get(notification_type)
        return part if part is not None and part.max_core_version >= cursor else Part(notification_type, "none", cursor)

    def nothing(self, types: Sequence[NotificationType], cursors: Sequence[int]) -> Answer:
        """The answer to a wait that ends."""
        return answer_of(self.epoch, map(self.still, types, cursors))
