"""What the catalogue says about access, as the access worker and the write path need it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeroom.protocol import STATUS_SUFFIX
from homeroom_server.catalogue import Audience, Catalogue, TypeDefinition
from homeroom_server.store.records import Showing

OWN_ID = "@id"


@dataclass(frozen=True, slots=True)
class TypeAccess:
    """Who sees records of one type, statuses and public types left out: those are seen with their source, or by all.

    `by_owner`: its owner's lineage does. `open`: so do the organisations associated with its student; or else while
    the member at `shared_when` (a JSON pointer) is true. `status`: its status type, if it has
    one. `association`: which members of its body associate a school with its student.
    """

    name: str
    by_owner: bool
    open: bool
    shared_when: str | None
    status: str | None
    association: Mapping[str, str] | None

    @property
    def shared_path(self) -> str | None:
        """The members that the pointer names (RFC 6901), parted by the unit separator, as the store takes them."""
        if self.shared_when is None:
            return None
        members = self.shared_when.removeprefix("/").split("/")
        return "\x1f".join(member.replace("~1", "/").replace("~0", "~") for member in members)


def access_rules(catalogue: Catalogue) -> Sequence[TypeAccess]:
    """The rule of every type that is not public, by the catalogue's order."""
    return [
        _rule(definition, catalogue)
        for definition in catalogue.types.values()
        if definition.audience is not Audience.PUBLIC and definition.source is None
    ]


def _rule(definition: TypeDefinition, catalogue: Catalogue) -> TypeAccess:
    status = definition.name + STATUS_SUFFIX
    return TypeAccess(
        definition.name,
        by_owner=definition.student != OWN_ID,
        open=definition.audience is Audience.STUDENT,
        shared_when=definition.shared_when,
        status=status if status in catalogue.types else None,
        association=definition.association,
    )


def showing_of(definition: TypeDefinition, source_type: int | None) -> Showing:
    """Who a record is shown to at once when it is written. `source_type`: the number of its source's, for a status."""
    if definition.audience is Audience.PUBLIC:
        return Showing()
    if definition.source is not None:
        return Showing(source_type=source_type)
    shared, associates = definition.shared_when is not None, definition.association is not None
    return Showing(
        to_lineage=True,
        owned=definition.student != OWN_ID,
        follows_student=shared or associates or definition.audience is Audience.STUDENT,
        always=shared or associates,
    )
