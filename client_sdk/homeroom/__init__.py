"""The client side of the homeroom sync protocol."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from homeroom.errors import ConnectionCut, FixRequest, HomeroomError, ResyncNeeded, RetryLater, StopCalling
from homeroom.protocol import NotificationType, version_hash

if TYPE_CHECKING:
    from homeroom.blocking import BlockingClient
    from homeroom.client import Client
    from homeroom.reconciliation import LocalRecords
    from homeroom.replica import Change, MemoryStorage, Record, Replica, StorageError, StorageFull, StorageInUse

_ROOMS = {
    "homeroom.blocking": ["BlockingClient"],
    "homeroom.client": ["Client"],
    "homeroom.reconciliation": ["LocalRecords"],
    "homeroom.replica": [
        "Change",
        "MemoryStorage",
        "Record",
        "Replica",
        "StorageError",
        "StorageFull",
        "StorageInUse",
    ],
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "BlockingClient",
    "Change",
    "Client",
    "ConnectionCut",
    "FixRequest",
    "HomeroomError",
    "LocalRecords",
    "MemoryStorage",
    "NotificationType",
    "Record",
    "Replica",
    "ResyncNeeded",
    "RetryLater",
    "StopCalling",
    "StorageError",
    "StorageFull",
    "StorageInUse",
    "version_hash",
]


def __getattr__(name: str) -> Any:
    """Who wants a client alone does not wait for the replica to load (PEP 562)."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOM_OF[name]), name)
