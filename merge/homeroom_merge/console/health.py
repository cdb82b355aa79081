"""Everything that fails now in a feed, since when, and what to do about it."""

from starlette.responses import Response

from homeroom_merge import inbox
from homeroom_merge.console.filtering import Filter, number_of
from homeroom_merge.console.frame.files import PER_PAGE, as_file, is_file
from homeroom_merge.console.frame.forms import Form
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.health import Ailment, ailments
from homeroom_merge.inbox import InboxError
from homeroom_merge.store import failing
from homeroom_merge.store import inbox as store

_COLUMNS = ["entity", "what", "message", "count", "firstSeen", "lastTried", "examples", "title", "advice"]
_SHOWN_MAX = 200


async def health(visit: FeedVisit) -> Response:
    """What fails most first; records of which nobody can tell, to say that the SIS never got them."""
    days = {name: entity.awaiting_days for name, entity in visit.settings.entity.items()} if visit.settings else {}
    found = await ailments(visit.connection, visit.feed, days)
    if is_file(visit.request):
        return as_file(visit.request, "health", _COLUMNS, [_told(each) for each in found])
    unknown = await failing.unknown(visit.connection, visit.feed, PER_PAGE + 1)
    return visit.page(
        "merges/health.html",
        rows=[(each, _links(each)) for each in found[:_SHOWN_MAX]],
        many=len(found),
        unknown=[(each, inbox.label(each)) for each in unknown[:PER_PAGE]],
        has_more=len(unknown) > PER_PAGE,
        done=number_of(visit.request.query_params.get("lost", "")),
    )


async def lost(visit: FeedVisit) -> Response:
    """Somebody's word that the SIS never got what was written to some records. InboxError."""
    form = await visit.form()
    found = await _ticked(visit, form)
    if form.get("sure") != "yes":
        raise InboxError("look in the SIS first, and tick that you have")
    async with visit.connection.transaction():
        await inbox.lost(visit.connection, found)
    told = ", ".join(inbox.label(each) for each in found)
    await visit.note(f"said that {visit.feed}'s SIS never got {told}")
    return visit.to(f"/health?lost={len(found)}")


async def _ticked(visit: FeedVisit, form: Form) -> list[store.Named]:
    numbers = [number for text in form.getlist("record") if (number := number_of(text)) is not None]
    found = await store.by_number(visit.connection, visit.feed, numbers[:PER_PAGE])
    if not found:
        raise InboxError("no record was ticked: tick those that the SIS never got")
    return found


def _links(ailment: Ailment) -> list[tuple[str, str]]:
    """Examples, each with the query of its conflicts; empty: it has none."""
    is_conflict = ailment.what == "conflict"
    return [(each, Filter(ailment.entity, key=each).query if is_conflict else "") for each in ailment.examples]


def _told(ailment: Ailment) -> dict[str, object]:
    advice = ("", "") if ailment.advice is None else (ailment.advice.title, ailment.advice.text)
    said = ailment.entity, ailment.what, ailment.message, ailment.count, ailment.first_seen, ailment.last_tried
    return dict(zip(_COLUMNS, [*said, ", ".join(ailment.examples), *advice], strict=True))
