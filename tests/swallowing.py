"""A pooler of transactions as LISTEN meets it: all goes through to PostgreSQL, but what it announces does not come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

_ANNOUNCEMENT = b"A"


@asynccontextmanager
async def swallowing(database_url: str) -> AsyncIterator[str]:
    """The URL of such a thing before a PostgreSQL on a Unix socket."""
    parts = urlsplit(database_url)
    (folder,) = parse_qs(parts.query)["host"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, ours))
                tasks.create_task(_pass_on_but_announcements(theirs, writer))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            ours.close()
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?sslmode=disable"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
    writer.close()


async def _pass_on_but_announcements(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readexactly(5)
        body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
        if head[:1] != _ANNOUNCEMENT:
            writer.write(head + body)
