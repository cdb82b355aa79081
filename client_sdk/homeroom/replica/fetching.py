"""Between Get and a storage: what is asked for, and what comes of the answer (protocol 5)."""

from collections.abc import Sequence
from typing import Any

from homeroom.answers import RecordAnswer
from homeroom.replica.arrivals import arrival
from homeroom.replica.ledger import Ledger
from homeroom.replica.storage import Batch


def batch_of(records: Sequence[RecordAnswer], cursor: int = 0, *, repair: bool = False) -> Batch:
    """What Get answered, as a storage takes it."""
    normal = [record for record in records if record["availability"] == "Normal"]
    return Batch(
        [arrival(record) for record in normal],
        [arrival(record["source"]) for record in normal if "source" in record],
        [record["id"] for record in records if record["availability"] != "Normal"],
        cursor,
        repair,
    )


async def with_known_sources(ledger: Ledger, name: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items of a status type say which version of its source is held, so that it need not come again."""
    source = ledger.sources[name]
    if source is None:
        return items
    held = await ledger.in_thread(ledger.storage.versions, source, [item["id"] for item in items])
    return [item | {"knownSourceVersion": held[item["id"]]} if item["id"] in held else item for item in items]
