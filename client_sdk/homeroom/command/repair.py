"""`homeroom-replica repair`: compares every record with the Core and mends what differs."""

import sys
from collections.abc import Sequence
from contextlib import closing

import orjson

from homeroom.command.configuration import Configuration, open_to_read
from homeroom.command.endings import Ending
from homeroom.command.status import difference_as_json, difference_table
from homeroom.command.wording import counted
from homeroom.replica.replica import Replica
from homeroom.replica.storage import DIFFERENCES_KEPT, Difference, StorageError


async def repair(configuration: Configuration, as_json: bool) -> Ending:
    """Write what differed and why on stdout. Raises StorageInUse beside a running sync."""
    found = await _mended(configuration)
    if as_json:
        document = {"differences": [difference_as_json(difference) for difference in found]}
        sys.stdout.write(orjson.dumps(document).decode() + "\n")
    else:
        _write(found)
    return Ending.FINE


async def _mended(configuration: Configuration) -> Sequence[Difference]:
    with closing(open_to_read(configuration.file)) as storage:
        types = [summary.kind.name for summary in storage.summaries() if summary.kind.followed]
    if not types:
        raise StorageError(f"{configuration.file} keeps no types yet; `homeroom-replica sync` brings them")
    async with configuration.client() as client:
        await client.hello()  # a key that is refused or a Core that is away ends this before anything is opened
        async with Replica(configuration.file, client, types, follow=False) as replica:
            return await replica.repair()


def _write(found: Sequence[Difference]) -> None:
    if not found:
        sys.stdout.write("nothing differed\n")
        return
    least = "at least " if len(found) == DIFFERENCES_KEPT else ""
    sys.stdout.write(f"{least}{counted(len(found), 'record')} differed; now the file holds what the Core has\n\n")
    sys.stdout.write("".join(f"{line}\n" for line in difference_table(found)))
