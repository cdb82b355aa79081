"""Ed-Fi references made whole: who `ref` means, which offering is of which course, what stands beside a record."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from homeroom_merge.connectors.edfi_xml import Record, SourceFault

HELD_MAX = 2_000_000
_DEPTH_MAX = 8

# What identifies a record of each kind, as a reference to it says.
_IDENTITIES: Mapping[str, tuple[str, ...]] = {
    "LocalEducationAgency": ("LocalEducationAgencyId",),
    "School": ("SchoolId",),
    "Student": ("StudentUniqueId",),
    "Staff": ("StaffUniqueId",),
    "Contact": ("ContactUniqueId",),
    "Course": ("CourseCode", "EducationOrganizationReference"),
    "CourseOffering": ("LocalCourseCode", "SchoolReference", "SessionReference"),
    "Session": ("SessionName", "SchoolYear", "SchoolReference"),
    "Section": ("SectionIdentifier", "CourseOfferingReference"),
}
# Contacts were called parents up to Data Standard 4.
_RENAMED = {
    "Parent": "Contact",
    "ParentUniqueId": "ContactUniqueId",
    "ParentReference": "ContactReference",
    "ParentIdentity": "ContactIdentity",
    "StudentParentAssociation": "StudentContactAssociation",
}
REFERRED = frozenset(_IDENTITIES) | {"Parent"}
ORGANIZATIONS = frozenset({"School", "LocalEducationAgency"})

Members = Mapping[str, object]


@dataclass(slots=True)
class Joins:
    """What a fetch holds beside the record in hand: identities by file and id, and what is joined to records."""

    identities: dict[tuple[str, str], tuple[str, Members]] = field(default_factory=dict)
    organizations: dict[str, str] = field(default_factory=dict)
    authorities: set[str] = field(default_factory=set)
    courses: dict[tuple[str, ...], object] = field(default_factory=dict)
    beside: dict[str, list[tuple[str, Members]]] = field(default_factory=lambda: defaultdict(list))
    alone: int = 0
    """Records that nothing was joined to, without which they are nobody's."""
    unresolved: int = 0
    held: int = 0

    def hold_identity(self, record: Record) -> None:
        """Keep what references call a record, and which organisations there are."""
        name = _RENAMED.get(record.name, record.name)
        row = _renamed(record.row)
        if record.id is not None and name in _IDENTITIES:
            self._count()
            self.identities[record.file, record.id] = (
                name,
                {part: row[part] for part in _IDENTITIES[name] if part in row},
            )
        number = row.get(f"{name}Id")
        if name in ORGANIZATIONS and isinstance(number, str):
            self._count()
            self.organizations[number] = name
            if name == "LocalEducationAgency":
                self.authorities.add(number)

    def hold_course(self, row: Members) -> None:
        """Keep which course an offering is of."""
        self._count()
        self.courses[_offering(row)] = row.get("CourseReference")

    def hold_beside(self, key: str, place: str, row: Members) -> None:
        """Keep a row that belongs to the record of that key."""
        self._count()
        self.beside[key].append((place, row))

    def whole(self, record: Record) -> dict[str, object]:
        """A record's row with its references resolved."""
        row = self._resolved(_renamed(record.row), record.file, 0)
        assert isinstance(row, dict)
        return row

    def course_of(self, section: Members) -> object:
        """The course reference of a section, by its offering."""
        return self.courses.get(_offering(section.get("CourseOfferingReference")))

    def authority(self) -> Members | None:
        """A reference to the authority whose folder it is: the only one there."""
        return _reference("LocalEducationAgency", *self.authorities) if len(self.authorities) == 1 else None

    def _count(self) -> None:
        self.held += 1
        if self.held > HELD_MAX:
            raise SourceFault(f"the folder has more than {HELD_MAX:,} records to hold; split it by school")

    def _resolved(self, value: object, file: str, depth: int) -> object:
        if isinstance(value, list):
            return [self._resolved(one, file, depth) for one in value]
        if not isinstance(value, dict):
            return value
        resolved: dict[str, object] = {}
        for name, member in value.items():
            referred = isinstance(member, dict) and "ref" in member
            whole = self._referred(name, member["ref"], file, depth) if referred else member
            if name == "EducationOrganizationReference":
                resolved.update(self._organization(whole))
            else:
                resolved[name] = self._resolved(whole, file, depth + 1)
        return resolved

    def _referred(self, member: str, reference: object, file: str, depth: int) -> object:
        """The identity that `ref` stands for; a reference to what is not held says nothing."""
        found = self.identities.get((file, str(reference)))
        if found is None or depth > _DEPTH_MAX:
            self.unresolved += member.removesuffix("Reference") in _IDENTITIES
            return ""
        name, identity = found
        return {f"{name}Identity": identity}

    def _organization(self, reference: object) -> Members:
        """Ed-Fi refers to schools and authorities alike by number; which of them it is, the folder says."""
        number = text_in(reference, "EducationOrganizationId", "SchoolId", "LocalEducationAgencyId")
        kind = self.organizations.get(number)
        return {} if kind is None else {f"{kind}Reference": _reference(kind, number)}


def text_in(value: object, *names: str) -> str:
    """The first text of one of these names at any depth; empty if there is none."""
    return next(_texts(value, names), "")


def _texts(value: object, names: Iterable[str]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if name in names and isinstance(member, str):
                yield member
            yield from _texts(member, names)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, names)


def _offering(identity: object) -> tuple[str, ...]:
    return tuple(text_in(identity, name) for name in ("LocalCourseCode", "SchoolId", "SessionName", "SchoolYear"))


def _reference(kind: str, number: str) -> Members:
    return {f"{kind}Identity": {f"{kind}Id": number}}


def _renamed(row: Members) -> dict[str, object]:
    return {_RENAMED.get(name, name): _renamed(v) if isinstance(v, dict) else v for name, v in row.items()}
