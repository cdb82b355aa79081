"""Who may connect: so many of one address, and so many in all that open files never run out."""

import resource
from time import monotonic

import structlog

from homeroom_server.peers import Peers
from homeroom_server.settings import Settings
from homeroom_server.tally import Tally

_FILES_KEPT = 256
"""Open files for everything else: the database, the listening socket, logs."""
_SAID_EVERY_SECONDS = 60.0

log = structlog.get_logger()


class Counted:
    """An address from which there are connections, one object for all of them."""

    __slots__ = ("connections", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.connections = 0


class Door:
    """Counts every connection from when it is made to when it is lost."""

    def __init__(self, settings: Settings, peers: Peers, tally: Tally) -> None:
        self._peers = peers
        self._tally = tally
        self._per_address_max = settings.connections_per_address_max
        self.connections_max = settings.connections_max or _files_allowed()
        self.connections = 0
        self._addresses: dict[bytes, Counted] = {}
        self._to_be_said_at = 0.0

    @property
    def most_of_one(self) -> int:
        """Connections of the address that has most of them; those that are not counted apart."""
        return max((counted.connections for key, counted in self._addresses.items() if key), default=0)

    def is_full(self) -> bool:
        """Whether no more may connect; that counts as a refusal."""
        if self.connections < self.connections_max:
            return False
        self._tally.refusals["connections_max"] += 1
        self._say()
        return True

    def enter(self, address: str) -> Counted | None:
        """What a connection is counted under until it leaves; None if there are too many of its address."""
        key = self._peers.counted_as(address)
        counted = self._addresses.get(key)
        if counted is None:
            counted = self._addresses[key] = Counted(key)
        if key and counted.connections >= self._per_address_max:
            self._tally.refusals["connections_per_address_max"] += 1
            return None
        counted.connections += 1
        self.connections += 1
        return counted

    def _say(self) -> None:
        """That it is full, now and then: whoever is refused comes again, and a line for each would fill a disk."""
        if monotonic() >= self._to_be_said_at:
            self._to_be_said_at = monotonic() + _SAID_EVERY_SECONDS
            log.warning(
                "this node is full: add nodes, or raise connections_max and the limit on open files (LimitNOFILE)",
                connections_max=self.connections_max,
                refused=self._tally.refusals["connections_max"],
            )

    def leave(self, counted: Counted) -> None:
        """A connection was lost."""
        self.connections -= 1
        counted.connections -= 1
        if not counted.connections:
            del self._addresses[counted.key]


def _files_allowed() -> int:
    """As many connections as this process may have open files, less some."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return max(soft - _FILES_KEPT, soft // 2)
