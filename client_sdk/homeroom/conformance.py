"""`python -m homeroom.conformance`: a client for `homeroom conformance client`, over a replica.

It reads where the Core is from the environment, and does what the lines on its standard input say; it shows how any
client can be put through the cases.
"""

import os
import sys

import anyio
import orjson

from homeroom.client import Client
from homeroom.errors import HomeroomError
from homeroom.replica import Replica

_CHUNK_BYTES = 65_536


async def follow_and_obey() -> None:
    """Keep a replica in step, and submit what is ordered; raises what ends the replica."""
    environment = os.environ
    url, key, organization = (environment[f"HOMEROOM_{name}"] for name in ("URL", "KEY", "ORGANIZATION"))
    types = environment["HOMEROOM_TYPES"].split(",")
    failure: HomeroomError | None = None
    async with (
        Client(url, key, organization) as client,
        Replica("replica.db", client, types) as replica,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_obey, replica)
        try:
            await replica.ended()
        except HomeroomError as ended:
            failure = ended
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _obey(replica: Replica) -> None:
    """Submit what each line says, as changes of what is held."""
    rest = b""
    while True:
        await anyio.wait_readable(sys.stdin)
        chunk = os.read(sys.stdin.fileno(), _CHUNK_BYTES)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            order = orjson.loads(line)
            for record in order["records"]:
                deleted = record.get("deleted", False)
                await replica.submit(order["notificationType"], record["id"], record.get("body"), deleted=deleted)


if __name__ == "__main__":
    try:
        anyio.run(follow_and_obey)
    except HomeroomError as failure:
        sys.exit(str(failure))
