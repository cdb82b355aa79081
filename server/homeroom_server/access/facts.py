"""What is stored of students that associations are derived from: records, enrolments, grants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from homeroom_server.access.associations import Association, Creation, Enrolment, Grant, derive
from homeroom_server.access.rules import TypeAccess
from homeroom_server.store import associations
from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Facts:
    """All that says who is associated with some students."""

    creations: Sequence[Creation]
    enrolments: Sequence[Enrolment]
    grants: Sequence[Grant]

    def associations(self) -> list[Association]:
        return derive(self.creations, self.enrolments, self.grants)


async def read_facts(
    connection: Conn, students: Sequence[str], rules: Sequence[TypeAccess], numbers: Mapping[str, int], time_zone: str
) -> Facts:
    """The facts about these students. `numbers`: those of the types that the database knows, by name."""
    known = [rule for rule in rules if rule.name in numbers]
    own = {numbers[r.name] for r in known if not r.by_owner}
    enrolling = {numbers[r.name]: r.association for r in known if r.association is not None}
    found = await associations.read_facts(connection, students, [*own, *enrolling], time_zone)
    grants = await associations.read_grants(connection, students)
    return Facts(
        [Creation(f.student, f.id, f.owner_code, f.created_on) for f in found if f.record_type in own],
        [
            Enrolment(f.student, f.id, enrolling[f.record_type], orjson.loads(f.body))
            for f in found
            if f.record_type in enrolling and not f.deleted
        ],
        [Grant(g.student, g.organization, g.ends_on) for g in grants],
    )
