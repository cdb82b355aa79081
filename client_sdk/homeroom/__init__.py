"""The client side of the homeroom sync protocol."""

from homeroom.client import Client
from homeroom.errors import ConnectionCut, FixRequest, HomeroomError, ResyncNeeded, RetryLater, StopCalling
from homeroom.protocol import NotificationType, version_hash
from homeroom.reconciliation import LocalRecords

__all__ = [
    "Client",
    "ConnectionCut",
    "FixRequest",
    "HomeroomError",
    "LocalRecords",
    "NotificationType",
    "ResyncNeeded",
    "RetryLater",
    "StopCalling",
    "version_hash",
]
