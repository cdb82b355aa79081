"""Who looks at a console."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in. `form_token`: what forms bring back. `may_act`: they change things, not just look.

    `organizations`: codes of those that they may see, the ones below their own included; None: all.
    """

    name: str
    role: str
    form_token: str
    may_act: bool
    organizations: frozenset[str] | None
