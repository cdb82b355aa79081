"""Everybody who sees a record, and why: each organisation as `homeroom explain-access` says it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from homeroom_server.access.explanation import NOBODY, read_case
from homeroom_server.access.reasons import rule_in_words
from homeroom_server.access.verdict import Explained
from homeroom_server.catalogue import Catalogue, TypeDefinition
from homeroom_server.settings import Settings
from homeroom_server.store import access_explained as store
from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Seer:
    """An organisation that sees a record, did, or should."""

    name: str
    explained: Explained


@dataclass(frozen=True, slots=True)
class Seers:
    """`rule`: who sees such a record at all. `among`: how many there are. `student`: whom its access hangs on."""

    rule: str
    seers: Sequence[Seer]
    among: int
    student: str | None


async def read_seers(
    connection: Conn,
    scope: Sequence[int] | None,
    definition: TypeDefinition,
    record_id: str,
    catalogue: Catalogue,
    settings: Settings,
    limit: int,
) -> Seers:
    """Of a record that was found in the same snapshot; nobody by name if everybody sees it.

    `scope`: numbers of organisations, with those below; None: all. An owner beyond it is not named.
    """
    record = await store.read_observed(connection, definition.name, record_id, NOBODY, None)
    assert record is not None, "it was found in the same snapshot"
    case = await read_case(connection, definition, record, record_id, catalogue, settings)
    if case.rule is None:
        return Seers(rule_in_words(None, case.decisive), [], 0, case.decisive.student)
    found, among = await store.read_observers(
        connection, scope, record.notification_type, record_id, case.through, limit
    )
    seers = [
        Seer(
            each.name,
            case.explained(each.observer, replace(record, state=each.state, state_version=each.state_version)),
        )
        for each in found
    ]
    is_named = scope is None or any(case.decisive.owner in each.observer.below for each in found)
    decisive = case.decisive if is_named else replace(case.decisive, owner="")
    return Seers(rule_in_words(case.rule, decisive), seers, among, case.decisive.student)
