"""Holding a replica against the Core without changing anything: a local check, then one question for each type."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from homeroom.answers import TypeAvailability
from homeroom.client import Client
from homeroom.errors import FixRequest, ResyncNeeded
from homeroom.replica.ledger import InThread
from homeroom.replica.machine import Phase
from homeroom.replica.storage import Damage, Inspection, Kind, Storage, StorageError

_TRIES_MAX = 5
"""Another process may keep the replica in step meanwhile: what it has brought is looked at anew."""


class Outcome(StrEnum):
    """What a comparison came to."""

    IN_STEP = "in step"
    BEHIND = "behind"
    DIFFERS = "differs"
    DAMAGED = "damaged"
    NOT_LOADED = "not loaded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a type that is followed, and the source that comes with it, compares with what the Core has.

    `behind`: how many changes are not held, at least so many unless `complete`; whether anything older differs shows
    only when there are none. `detail`: what the Core said.
    """

    type: str
    outcome: Outcome
    source: str | None = None
    behind: int = 0
    complete: bool = True
    damage: Damage = field(default_factory=Damage)
    source_damage: Damage = field(default_factory=Damage)
    sources_missing: Sequence[str] = ()
    detail: str = ""


async def verify(client: Client, storage: Storage, in_thread: InThread) -> Sequence[Verdict]:
    """A verdict on each type that is followed.

    Raises StorageError if the client does not act for the replica's organization: the Core would show it other records.
    """
    whose = await in_thread(storage.setting, "organization")
    organization = (await client.hello()).organization
    if whose not in ("", organization):
        raise StorageError(f"this replica holds what {whose} may see; the key is for {organization}")
    kinds = [summary.kind for summary in await in_thread(storage.summaries)]
    return [await _verdict(client, storage, in_thread, kind) for kind in kinds if kind.followed]


async def _verdict(client: Client, storage: Storage, in_thread: InThread, kind: Kind) -> Verdict:
    name, cursor = kind.name, 0
    for _ in range(_TRIES_MAX):
        held = await in_thread(storage.inspect, name)
        if held.state.phase in (Phase.EMPTY, Phase.LOADING):
            return Verdict(name, Outcome.NOT_LOADED, kind.source)
        cursor = max(cursor, held.state.cursor)
        question = {"notificationType": name, "maxCoreVersion": cursor, "versionHash": held.version_hash}
        try:
            (entry,) = (await client.is_data_available([question], 0)).types
        except ResyncNeeded as failure:
            return _judged(kind, held, Outcome.DIFFERS, detail=failure.detail)
        except FixRequest as failure:
            return _judged(kind, held, Outcome.REFUSED, detail=failure.detail)
        missing = await _missing(storage, in_thread, name, entry)
        if missing or entry["reason"] != "newer":
            return _judged(kind, held, _outcome(entry), missing, entry["complete"])
        # All of it is held above the cursor, or has come since: the hash has to be that of now.
        cursor = entry["maxCoreVersion"]
    return _judged(kind, held, Outcome.BEHIND)


async def _missing(storage: Storage, in_thread: InThread, name: str, entry: TypeAvailability) -> int:
    """How many of the changes that the Core lists are not held."""
    if entry["reason"] != "newer":
        return 0
    held = await in_thread(storage.versions, name, [record["id"] for record in entry["records"]])
    return sum(held.get(record["id"], -1) < record["coreVersion"] for record in entry["records"])


def _outcome(entry: TypeAvailability) -> Outcome:
    match entry["reason"]:
        case "newer":
            return Outcome.BEHIND
        case "mismatch":
            return Outcome.DIFFERS
        case "none":
            return Outcome.IN_STEP


def _judged(
    kind: Kind, held: Inspection, outcome: Outcome, behind: int = 0, complete: bool = True, detail: str = ""
) -> Verdict:
    """What other hands did weighs more than what the Core says."""
    if held.damage or held.source_damage or held.sources_missing:
        outcome = Outcome.DAMAGED
    return Verdict(
        kind.name,
        outcome,
        kind.source,
        behind,
        complete,
        held.damage,
        held.source_damage,
        held.sources_missing,
        detail,
    )
