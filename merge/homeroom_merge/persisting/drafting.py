"""What is sent to the SIS for one change, and whether the record there is still the one that was merged."""

from homeroom_merge.codec import canonical
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.plan import Write
from homeroom_merge.records import Known, State
from homeroom_merge.sis.side import Draft, Sis, Standing
from homeroom_merge.values import Json


async def key_of(sis: Sis, known: Known, write: Write) -> str:
    """The key of a record in the SIS: for a new one that under which the SIS will show it, or its hub id."""
    if known.sis_key is not None:
        return known.sis_key
    assert known.hub_id is not None, "what the SIS does not have is on the hub"
    return (await sis.anticipated(known.hub_id, write.body or {})).key or known.hub_id


def has_moved(known: Known, standing: Standing | None) -> bool:
    """Whether the SIS has something else by now than what was merged."""
    if known.sis.state is not State.LIVE:
        return standing is not None
    return standing is None or bool(standing.reading.faults) or not same(standing.reading, known.sis.body)


def says_nothing_new(draft: Draft, known: Known) -> bool:
    """Whether all that would change is what the SIS cannot express."""
    lives = known.sis.state is State.LIVE and known.awaiting is None  # what is awaited overtakes what was seen
    return lives and draft.reading is not None and same(draft.reading, known.sis.body)


def same(reading: Reading | None, body: Json | None) -> bool:
    """Whether the SIS shows just this; None: gone."""
    if reading is None or body is None:
        return reading is None and body is None
    return canonical(reading.body) == canonical(body)
