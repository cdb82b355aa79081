"""The conflict inbox of a feed: what waits for a person, and what they say of many at once."""

from collections.abc import Mapping
from typing import NamedTuple

from anyio import to_thread
from starlette.responses import Response

from homeroom_merge import inbox
from homeroom_merge.codec import value_text
from homeroom_merge.console.filtering import Filter, number_of, place_of, place_text
from homeroom_merge.console.frame.files import DOWNLOAD_MAX, PER_PAGE, as_file, camel, is_file
from homeroom_merge.console.frame.forms import Form, RefusedFormError
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.inbox import InboxError
from homeroom_merge.records import Method
from homeroom_merge.report.words import value_text as shown
from homeroom_merge.settings.start import as_field_rule
from homeroom_merge.store import conflicts as store
from homeroom_merge.store import inbox as entries
from homeroom_merge.store.conflicts import COUNT_MAX, FIRST, LAST, Place, Wanted
from homeroom_merge.store.inbox import Entry
from homeroom_merge.values import SideName

SETTLING = (Method.RESOLVE_AS_HUB, Method.RESOLVE_AS_SIS, Method.ALWAYS_HUB, Method.ALWAYS_SIS)
"""Whatever the record is, these leave nothing open."""
DONE = {
    "hub": "The hub's value will stand; the next run carries it out.",
    "sis": "The SIS value will stand; the next run carries it out.",
    "rule": "They have a rule of their own now; the next run goes by it.",
    "same": "It is the same record, under its new key.",
    "apart": "The new key is a record of its own; the next run makes it.",
    "stick": "What the hub has there stays until it is cleared.",
    "unstick": "It is no longer sticky.",
    "unrule": "The record's own rule is gone.",
    "undecide": "The decision is taken back: it is open again.",
}
"""What was done, by what stands in the query after it."""
_BLOCK = 1_000
_COLUMNS = [camel(name) for name in Entry.__slots__]


class _Page(NamedTuple):
    rows: list[Entry]
    back: str
    on: str
    """The query of the page before and of the one after; empty: there is none."""


async def conflicts(visit: FeedVisit) -> Response:
    """The oldest first; `?entity=`, `field`, `key` and `show` filter, `by=field` counts, `as=csv` is a file."""
    said = Filter.of(visit.request.query_params)
    wanted = await said.wanted(visit.connection, visit.feed)
    if is_file(visit.request):
        rows = await _all(visit, wanted, said)
        return await to_thread.run_sync(as_file, visit.request, "conflicts", _COLUMNS, rows)
    counts = await store.counts(visit.connection, visit.feed, wanted)
    page = await _page(visit, wanted, said)
    by_field = visit.request.query_params.get("by") == "field"
    return visit.page(
        "merges/conflicts.html",
        filter=said,
        rows=[(each, inbox.label(each), inbox.mark_of(each)) for each in page.rows],
        back=page.back,
        on=page.on,
        total=sum(counts.get(each, 0) for each in said.stands),
        open=counts.get("open", 0) if said.shows != "decided" and sum(counts.values()) <= COUNT_MAX else 0,
        count_max=COUNT_MAX,
        fields=await store.fields(visit.connection, visit.feed, said.stands) if by_field else [],
        rule=_rule_of(said),
        methods=SETTLING,
        done=DONE.get(visit.request.query_params.get("done", "")),
        count=number_of(visit.request.query_params.get("count", "")),
        shown=shown,
    )


async def decide(visit: FeedVisit) -> Response:
    """What somebody says of the conflicts that they ticked, or of all that their filter shows. InboxError."""
    form, said = await visit.form(), Filter.of(visit.request.query_params)
    what, _, whose = form.get("do", "").partition("-")
    side: SideName | None = "hub" if what == "hub" else "sis" if what == "sis" else None
    by = visit.visitor.name
    if whose == "all" and side is not None:
        count = number_of(form.get("expected", "")) or 0
        if not 0 < count <= COUNT_MAX:
            raise InboxError(f"there may be 1 to {COUNT_MAX:,} at once: show fewer of them")
        wanted = await said.wanted(visit.connection, visit.feed)
        await inbox.take_all(visit.connection, visit.feed, wanted, side, count, by)
        await visit.note(f"took the {side}'s side in all {count} conflicts of {visit.feed} at {said.query or 'any'}")
        return back_to(visit, said, what, count)
    async with visit.connection.transaction():
        chosen = await inbox.chosen(visit.connection, visit.feed, _marks(form))
        for each in chosen:
            if side is not None:
                await inbox.take(visit.connection, each, side, by)
            else:
                await inbox.make_rule(visit.connection, each, method_of(form), by)
    told = f"the {side}'s side" if side else f"the rule {method_of(form)}"
    await visit.note(f"took {told} in {len(chosen)} conflicts of {visit.feed}: {_told(chosen)}")
    return back_to(visit, said, what, len(chosen))


def back_to(visit: FeedVisit, said: Filter, done: str, count: int) -> Response:
    """To the list that somebody came from, with what was done."""
    return visit.to(f"/conflicts?{said.query}{'&' if said.query else ''}done={done}&count={count}")


async def _page(visit: FeedVisit, wanted: Wanted, said: Filter) -> _Page:
    connection, feed, asked = visit.connection, visit.feed, visit.request.query_params
    until, since = place_of(asked.get("before", "")), place_of(asked.get("after", "")) or FIRST
    if until is not None:
        found = await store.before(connection, feed, wanted, said.stands, until, PER_PAGE + 1)
        places, has_back, has_more = found[:PER_PAGE][::-1], len(found) > PER_PAGE, until != LAST
    else:
        found = await store.after(connection, feed, wanted, said.stands, since, PER_PAGE + 1)
        places, has_back, has_more = found[:PER_PAGE], since != FIRST, len(found) > PER_PAGE
    rows = await entries.at(connection, feed, [(each.record, each.pointer) for each in places])
    back = place_text(places[0]) if places and has_back else ""
    return _Page(rows, back, place_text(places[-1]) if places and has_more else "")


async def _all(visit: FeedVisit, wanted: Wanted, said: Filter) -> list[Mapping[str, object]]:
    """A block at a time, so that others go on meanwhile."""
    rows: list[Mapping[str, object]] = []
    place: Place | None = FIRST
    while place is not None and len(rows) < DOWNLOAD_MAX:
        block = await store.after(visit.connection, visit.feed, wanted, said.stands, place, _BLOCK)
        found = await entries.at(visit.connection, visit.feed, [(each.record, each.pointer) for each in block])
        rows += await to_thread.run_sync(lambda found: [_row(each) for each in found], found)
        place = block[-1] if len(block) == _BLOCK else None
    return rows


def _rule_of(said: Filter) -> str:
    """How the settings say a rule for the field that is filtered by."""
    is_field = said.entity and said.field.startswith("/")
    return as_field_rule(said.entity, said.field, Method.RESOLVE_AS_HUB) if is_field else ""


def _row(entry: Entry) -> Mapping[str, object]:
    """Values as JSON texts; None where they are absent."""
    said = {name: getattr(entry, name) for name in Entry.__slots__}
    values = {name: value_text(said[name]) for name in ("base", "sis", "hub", "outcome")}
    return {camel(name): value for name, value in {**said, **values}.items()}


def _marks(form: Form) -> dict[tuple[int, str], str]:
    """The conflicts that were ticked, as they were shown. InboxError, RefusedFormError."""
    marks = {}
    for text in form.getlist("chosen"):
        record, _, rest = text.partition(":")
        mark, _, pointer = rest.partition(":")
        number = number_of(record)
        if number is None:
            raise RefusedFormError
        marks[number, pointer] = mark
    if not marks:
        raise InboxError("no conflict was ticked: tick those that are meant")
    return marks


def method_of(form: Form) -> Method:
    """InboxError: it is none."""
    try:
        return Method(form.get("method", ""))
    except ValueError:
        raise InboxError("say which rule it is to be, such as resolveAsHub") from None


def _told(chosen: list[Entry]) -> str:
    named = [f"{inbox.label(each)} {each.pointer}".strip() for each in chosen[: inbox.NAMED_MAX]]
    return ", ".join(named) + (", ..." if len(chosen) > inbox.NAMED_MAX else "")
