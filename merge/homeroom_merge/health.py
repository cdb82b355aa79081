"""Everything that fails now in a feed, since when, and what to do about it (merge.md 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from homeroom_merge.report.advice import Advice, advise, known_problems
from homeroom_merge.report.summary import alike
from homeroom_merge.store import failing
from homeroom_merge.store.connection import Conn

EXAMPLES_MAX = 5


@dataclass(frozen=True, slots=True)
class Ailment:
    """Records of one entity that fail alike. `what`: hub, sis, write, waits, unknown, awaited, conflict, run;
    or, of no entity, hook."""

    entity: str
    what: str
    message: str
    count: int
    first_seen: datetime
    last_tried: datetime
    examples: tuple[str, ...]
    advice: Advice | None


async def ailments(connection: Conn, feed: str, awaiting_days: Mapping[str, int]) -> list[Ailment]:
    """What fails most comes first. `awaiting_days`: by entity, after how long what no feed has shown is named."""
    known, found = known_problems(), dict[tuple[str, str, str], Ailment]()
    for each in await failing.everything(connection, feed, awaiting_days):
        message = alike(each.message)
        key, examples = (each.entity, each.what, message), (each.example,) if each.example else ()
        before = found.get(key)
        if before is None:
            advice = _ADVICE.get(each.what) or advise(known, each.message)
            told = (each.count, each.first_seen, each.last_tried, examples, advice)
            found[key] = Ailment(each.entity, each.what, message, *told)
        else:
            found[key] = replace(
                before,
                count=before.count + each.count,
                first_seen=min(before.first_seen, each.first_seen),
                last_tried=max(before.last_tried, each.last_tried),
                examples=(*before.examples, *examples)[:EXAMPLES_MAX],
            )
    return sorted(found.values(), key=lambda ailment: (-ailment.count, ailment.first_seen))


_ADVICE = {
    "conflict": Advice(
        "Both sides were changed, and no rule decides",
        "See homeroom-merge conflicts, and settle each with homeroom-merge decide.",
    ),
    "waits": Advice(
        "It refers to what is not there yet",
        "It is written by itself once the record that it refers to is there; see whether that one fails.",
    ),
    "unknown": Advice(
        "Nobody can tell whether the SIS has it",
        "Look in the SIS. If it is there, the next feed settles it; if not, say so: homeroom-merge lost RECORD.",
    ),
    "awaited": Advice(
        "The SIS was given it and has not shown it since",
        "See whether the SIS takes the files in, and whether its export is new.",
    ),
    "run": Advice("Nothing of it is merged now", "homeroom-merge runs lists the last runs; the report says why."),
    "hook": Advice(
        "Nobody is told how runs go",
        "See [[hooks]] in the settings, and whether whoever is to be told can be reached; the next runs try again.",
    ),
}
