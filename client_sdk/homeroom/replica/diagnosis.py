"""Why a record was not what the Core had: missed, tampered with, access lost, or of another history. Pure."""

from homeroom.answers import RecordAnswer
from homeroom.replica.machine import TypeState
from homeroom.replica.storage import Damage, Difference

CAUSES = {
    "tampered": "the row was changed, added or removed by other hands than the SDK's",
    "access lost": "this organisation may no longer see the record",
    "other epoch": "the Core's database went back in time (a restore or a fail-over) since this was fetched",
    "missed": "the change never came as a notification: tell the Core's operator, this must not happen",
}


def difference(name: str, held: int, record: RecordAnswer, damage: Damage, state: TypeState) -> Difference:
    """Between the version held (0: none) and what the Core answered, with the likely cause."""
    return Difference(name, record["id"], held, record.get("coreVersion", 0), _cause(held, record, damage, state))


def source_difference(name: str, record_id: str, held: int, core: int) -> Difference:
    """Of a source whose status was in order: it comes and goes with its status, so somebody else touched it."""
    return Difference(name, record_id, held, core, "tampered")


def _cause(held: int, record: RecordAnswer, damage: Damage, state: TypeState) -> str:
    gone = record["availability"] != "Normal"
    if record["id"] in damage.altered or (held == 0 and damage.rows_missing):
        return "tampered"
    if record["availability"] == "Unknown" and damage.rows_added:
        return "tampered"
    if gone:
        return "access lost"
    return "other epoch" if state.other_epoch else "missed"
