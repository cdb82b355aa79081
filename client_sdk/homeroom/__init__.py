"""The client side of the homeroom sync protocol."""

from homeroom.blocking import BlockingClient
from homeroom.client import Client
from homeroom.errors import ConnectionCut, FixRequest, HomeroomError, ResyncNeeded, RetryLater, StopCalling
from homeroom.protocol import NotificationType, version_hash
from homeroom.reconciliation import LocalRecords
from homeroom.replica import Change, MemoryStorage, Record, Replica, StorageError, StorageFull, StorageInUse

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
