"""What a killed process was doing: keeping a replica and writing down each change that it sees."""

import os

import anyio

from homeroom import Client, Replica
from homeroom.replica import loading

CONSUMER = "app"


def keep(url: str, key: str, path: str, log: str) -> None:
    """For ever, or until killed."""
    loading._BLOCK_BYTES = 100_000  # more moments at which something is half done
    anyio.run(_keep, url, key, path, log)


async def _keep(url: str, key: str, path: str, log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with Client(url, key) as client, Replica(path, client, ["Bulletin"]) as replica:
        async for change in replica.changes(CONSUMER):
            os.write(file, f"{change.id} {change.version}\n".encode())
