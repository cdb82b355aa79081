"""What commits need to know of the database, read once in each of its histories."""

from dataclasses import dataclass, field

from homeroom.protocol import NotificationType
from homeroom_server.access.rules import showing_of
from homeroom_server.catalogue import Catalogue
from homeroom_server.store import erasure, types
from homeroom_server.store.connection import Conn
from homeroom_server.store.records import Showing
from homeroom_server.store.types import Standing, TypeRow


@dataclass(slots=True)
class Known:
    """The numbers of types, which hold for one history: another may have lost a type, and given it another number.

    As long as its erasures are 0, nobody was erased, and nobody is looked for on the list.
    """

    catalogue: Catalogue
    standing: Standing
    erasure_secret: bytes
    _rows: dict[NotificationType, TypeRow] = field(default_factory=dict)
    _showings: dict[NotificationType, Showing] = field(default_factory=dict)

    async def row(self, connection: Conn, notification_type: NotificationType) -> TypeRow:
        row = self._rows.get(notification_type)
        if row is None:
            row = self._rows[notification_type] = await types.ensure_type(connection, notification_type)
        return row

    async def showing(self, connection: Conn, notification_type: NotificationType) -> Showing:
        """Who sees records of a type; a status is shown with its source."""
        showing = self._showings.get(notification_type)
        if showing is None:
            definition = self.catalogue.types[notification_type.name]
            source = None
            if definition.source is not None:
                of_source = NotificationType(definition.source, notification_type.school_year)
                source = (await self.row(connection, of_source)).number
            showing = self._showings[notification_type] = showing_of(definition, source)
        return showing


async def read_known(connection: Conn, catalogue: Catalogue) -> Known:
    return Known(catalogue, await types.read_standing(connection), await erasure.read_secret(connection))
