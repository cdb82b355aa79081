"""A replica: a local copy of everything an organisation may see, provably in step with the Core."""

from homeroom.replica.ledger import Progress
from homeroom.replica.memory import MemoryStorage
from homeroom.replica.replica import Rejected, Replica
from homeroom.replica.sqlite import SqliteStorage
from homeroom.replica.storage import (
    Change,
    Difference,
    Record,
    Storage,
    StorageError,
    StorageFull,
    StorageInUse,
    TypeSummary,
)
from homeroom.replica.verification import Outcome, Verdict

__all__ = [
    "Change",
    "Difference",
    "MemoryStorage",
    "Outcome",
    "Progress",
    "Record",
    "Rejected",
    "Replica",
    "SqliteStorage",
    "Storage",
    "StorageError",
    "StorageFull",
    "StorageInUse",
    "TypeSummary",
    "Verdict",
]
