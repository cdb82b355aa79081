"""What a record is once its change is done: the base moves, or is awaited until the SIS shows it."""

from dataclasses import replace

from homeroom_merge.awaiting import next_awaited
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.plan import Change
from homeroom_merge.records import Base, Known
from homeroom_merge.store.known import Settled


def settled(number: int, known: Known, change: Change, *, shown: bool, sis_key: str | None = None) -> Settled:
    """`shown`: every side that had to change is known to have it. `sis_key`: under which the SIS has it by now."""
    base = change.base
    undone = tuple(field.pointer for field in change.fields if any(change.write_to(to) is None for to in field.to))
    if base is None or shown:
        return Settled(number, change.hub_id, base, None, change.unlink, sis_key, undone)
    return Settled(number, change.hub_id, None, next_awaited(known, base), change.unlink, sis_key)


def rendered(base: Base, reading: Reading) -> Base:
    """The base as the SIS shows it: what it cannot express is no difference later."""
    apart = {name: value for name, value in base.sis.items() if name not in reading.covered}
    covered = None if base.covered is None else base.covered | reading.covered
    return replace(base, sis={**apart, **reading.body}, covered=covered)
