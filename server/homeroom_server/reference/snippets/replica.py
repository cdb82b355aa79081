"""The SDK does all of this by itself, into a SQLite file.   python replica.py School"""

import os
import sys

import anyio

from homeroom import Client, Replica


async def main():
    client = Client(os.environ["HOMEROOM_URL"], os.environ["HOMEROOM_KEY"])
    async with client, Replica("homeroom.db", client, sys.argv[1:]) as replica:
        async for change in replica.changes():
            print(change.type, change.id, change.kind, flush=True)


anyio.run(main)
