"""Who sees what of a type (protocol 8)."""

from homeroom_server.auth import Caller
from homeroom_server.catalogue import Audience, TypeDefinition


def viewer(definition: TypeDefinition, caller: Caller) -> int | None:
    """As whom the caller looks at a type: None where it sees every record, else by its organisation's viewer rows."""
    if definition.audience is Audience.PUBLIC or caller.is_ministry:
        return None
    return caller.organization.number
