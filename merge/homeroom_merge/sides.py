"""Both sides of an entity, as a run reaches them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from homeroom_merge.connectors.hub import Hub
from homeroom_merge.pacing import Pacing
from homeroom_merge.reach import Reach
from homeroom_merge.sis.side import Sis
from homeroom_merge.terms import Terms
from homeroom_merge.verification import Verifier


@dataclass(frozen=True, slots=True)
class Sides:
    """How both sides of an entity are reached, and what makes a record of either valid."""

    hubs: Mapping[str, Hub]
    sis: Sis
    hub_verifier: Verifier
    sis_verifier: Verifier
    pacing: Pacing = field(default_factory=Pacing)

    def reach(self, terms: Terms) -> Reach:
        """What of a plan can be carried out: what settings allow, and the connector can do."""
        writes_sis = terms.persists_sis and self.sis.abilities.write
        return Reach(self.sis.fields, terms.schools, hub=terms.persists_hub, sis=writes_sis, only=terms.only)
