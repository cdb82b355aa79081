"""All cases, in the order in which they are played."""

from collections.abc import Sequence

from homeroom_server.conformance.client import reading, trouble, writing
from homeroom_server.conformance.client.case import Case

CASES: Sequence[Case] = [*reading.CASES, *writing.CASES, *trouble.CASES]


def chosen(names: Sequence[str]) -> Sequence[Case]:
    """The cases of these names, all if there are none; KeyError names those that do not exist."""
    if unknown := set(names) - {case.name for case in CASES}:
        raise KeyError(", ".join(sorted(unknown)))
    return [case for case in CASES if not names or case.name in names]
