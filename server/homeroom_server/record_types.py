"""The numbers of the catalogue's types: a fail-over may have lost some, and given them to others."""

from collections.abc import Iterable, Mapping

from homeroom_server.store import types
from homeroom_server.store.connection import Conn


class RecordTypes:
    """Numbers by name, as the history has them that the connection of the last `refresh` is in."""

    def __init__(self, names: Iterable[str]) -> None:
        self._wanted = list(names)
        self._epoch = ""
        self.numbers: Mapping[str, int] = {}
        self.names: Mapping[int, str] = {}

    async def refresh(self, connection: Conn) -> bool:
        """Read them, types that are new included, if the history is another one; whether it was."""
        epoch = await types.read_epoch(connection)
        if epoch == self._epoch:
            return False
        self.numbers = await types.ensure_record_types(connection, self._wanted)
        self.names = {number: name for name, number in self.numbers.items()}
        self._epoch = epoch
        return True
