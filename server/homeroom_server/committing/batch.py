"""Changes that wait to be committed, and which of them go together."""

import asyncio
from collections import deque
from dataclasses import dataclass

from homeroom_server.changes import Change, Committed
from homeroom_server.tracing.spans import Span


@dataclass(slots=True)
class Waiting:
    """A change whose caller waits until it is done; without an outcome by then, the node is stopping."""

    change: Change
    request_id: str
    cause: Span
    done: asyncio.Future[None]
    outcome: Committed | Exception | None = None


def gather(waiting: deque[Waiting], records_max: int) -> list[Waiting]:
    """As many as fit into one transaction, in order; two that touch one record or share a key never do."""
    batch: list[Waiting] = []
    taken: set[object] = set()
    count = 0
    while waiting:
        change = waiting[0].change
        call = change.call
        mine = {*change.ids} if call is None else {*change.ids, (call.client, call.organization, call.key)}
        if batch and (count + len(change.ids) > records_max or not taken.isdisjoint(mine)):
            break
        taken |= mine
        count += len(change.ids)
        batch.append(waiting.popleft())
    return batch
