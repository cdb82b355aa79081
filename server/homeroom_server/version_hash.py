"""Version hashes of streams: computed on demand, once for as long as the stream does not move (protocol 4)."""

from collections import OrderedDict

from homeroom_server.single_flight import Connection, SingleFlight
from homeroom_server.store import streams
from homeroom_server.store.streams import Digest

_KEPT_MAX = 50_000
"""Streams whose hash is kept: some 200 bytes each."""


class VersionHashes:
    """The last known hash of each stream, least recently asked forgotten first."""

    def __init__(self, flights: SingleFlight) -> None:
        self._flights = flights
        self._kept: OrderedDict[tuple[int, int | None], Digest] = OrderedDict()

    async def digest(self, type_number: int, viewer: int | None, horizon: int, top: int) -> Digest:
        """The hash of a stream last seen with this horizon and highest version.

        If it has moved since, that of the newer stream: the caller sees it by `top`. Without the horizon, a stream
        whose last version was collected would be taken for the one it was before.
        """
        stream = (type_number, viewer)
        kept = self._kept.get(stream)
        if kept is None or (kept.horizon, kept.top) != (horizon, top):

            async def read(connection: Connection) -> Digest:
                return await streams.read_digest(connection, type_number, viewer)

            kept = self._kept[stream] = await self._flights.read(("digest", stream), read)
        self._kept.move_to_end(stream)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return kept
