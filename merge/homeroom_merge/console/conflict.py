"""One conflict: both sides, why nothing decides it, and each way to end it."""

from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from homeroom_merge import inbox
from homeroom_merge.codec import canonical
from homeroom_merge.console.asking import asking
from homeroom_merge.console.conflicts import DONE, back_to, method_of
from homeroom_merge.console.filtering import POINTER_MAX, Filter, number_of
from homeroom_merge.console.frame.files import asked_for
from homeroom_merge.console.frame.forms import Form
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.inbox import InboxError
from homeroom_merge.plan import MOVING, RE_KEY, UNDO
from homeroom_merge.records import Method
from homeroom_merge.refusal import RefusedError
from homeroom_merge.report.words import cut, value_text
from homeroom_merge.rules import ruling_of, worded
from homeroom_merge.runners.queue import defer_value
from homeroom_merge.settings.start import as_field_rule
from homeroom_merge.store import inbox as entries
from homeroom_merge.store import known as records
from homeroom_merge.store import own
from homeroom_merge.store.inbox import Entry
from homeroom_merge.values import ABSENT, Value

VALUE_MAX = 10_000
"""Characters shown of a value, and typed of one."""
BODY_MAX = 20_000
_FROM_MAX = 5_000
_WHY = {
    RE_KEY: "a new key of the SIS carries a number that another record had, which the SIS no longer shows",
    MOVING: "it moved each time it was about to be written; the next run takes it up by itself, once it keeps still",
    UNDO: "an undo left what somebody changed since: edit it on either side, and the next run carries it over",
    "flips": "runs turned it to and fro three times in 24 hours: find out who else writes it",
}


async def conflict(visit: FeedVisit) -> Response:
    """`?field=` is a JSON pointer, empty for the record itself; `from=` the query of the list that it leads back to."""
    number, where = _asked(visit)
    looked_at = None if number is None else await records.look(visit.connection, visit.feed, number)
    if looked_at is None or number is None:
        return visit.not_found("There is no such record in this feed.")
    entity, record = looked_at
    entry = await _entry(visit, number, where)
    known = record.known
    return visit.page(
        "merges/conflict.html",
        number=number,
        where=where,
        entity=entity,
        label=" ".join(filter(None, (entity, known.sis_key or known.hub_id))),
        hub_id=known.hub_id,
        entry=entry,
        mark="" if entry is None else inbox.mark_of(entry),
        why="" if entry is None else why(entry),
        bodies=[("SIS", _body(known.sis.body), known.sis.state), ("Hub", _body(known.hub.body), known.hub.state)],
        own=known.own,
        methods=inbox.settling(known),
        typed="" if entry is None else _usual(entry),
        is_text=entry is not None and isinstance(entry.sis, str) and isinstance(entry.hub, str),
        is_order=entry is not None and inbox.is_order(entry),
        rule=as_field_rule(entity, where, Method.RESOLVE_AS_HUB) if where.startswith("/") else "",
        here=urlencode({"field": where, "from": _filter(visit).query}),
        back=_filter(visit).query,
        done=DONE.get(asked_for(visit.request, "done")),
        shown=lambda value: value_text(value, VALUE_MAX),
    )


async def decide(visit: FeedVisit) -> Response:
    """What somebody says of it. InboxError."""
    form, (number, where) = await visit.form(), _asked(visit)
    if number is None or await records.look(visit.connection, visit.feed, number) is None:
        return visit.not_found("There is no such record in this feed.")
    what, mark = form.get("do", ""), {(number, where): form.get("mark", "")}
    if what in _UNDO:
        return await _undo(visit, what, number, where, form.get("at", ""))
    async with visit.connection.transaction():
        (entry,) = await inbox.chosen(visit.connection, visit.feed, mark)
        if what not in ("same", "value"):
            await _decide(visit, what, entry, form)
    if what == "value":
        return await _ask(visit, entry, form)
    if what == "same":  # which ends its own transaction while nobody else works on the entity
        await inbox.same(visit.connection, entry, visit.visitor.name)
    await visit.note(f"{what} {form.get('method', '')}: {visit.feed} {inbox.label(entry)} {cut(where, VALUE_MAX)}")
    return back_to(visit, _filter(visit), what, 1)


async def _decide(visit: FeedVisit, what: str, entry: Entry, form: Form) -> None:
    connection, by = visit.connection, visit.visitor.name
    match what:
        case "hub" | "sis":
            await inbox.take(connection, entry, what, by)
        case "rule":
            await inbox.make_rule(connection, entry, method_of(form), by)
        case "stick":
            await own.stick(connection, entry.record, entry.pointer, by)
        case "apart":
            await inbox.apart(connection, entry, by)
        case _:
            raise InboxError("say how it is to end")


async def _ask(visit: FeedVisit, entry: Entry, form: Form) -> Response:
    """A typed value is checked by a worker, which knows schema and formatter. InboxError."""
    value = _typed(form)
    async with asking(visit.host) as app:
        named = visit.feed, entry.entity, entry.record, entry.pointer
        job = await defer_value(app, *named, value, visit.visitor.name)
    told = f"{visit.feed} {inbox.label(entry)} {cut(entry.pointer, VALUE_MAX)}"
    await visit.note(f"asked for a typed value by job {job}: {told}")
    return visit.to(f"/jobs/{job}")


async def _undo(visit: FeedVisit, what: str, number: int, where: str, at: str) -> Response:
    """Of what was said of the record at a field, `at`. RefusedError: nothing was."""
    if not await _UNDO[what](visit.connection, number, at):
        raise RefusedError("nothing of this kind is in force there any more: load the page again")
    await visit.note(f"{what}: {visit.feed} record {number} {cut(at, VALUE_MAX)}")
    query = urlencode({"field": where, "from": _filter(visit).query, "done": what})
    return visit.to(f"/conflicts/{number}?{query}")


def why(entry: Entry) -> str:
    """What the conflict rests on, as far as the state alone tells."""
    ruling = ruling_of(entry.rule)
    return _WHY.get(entry.rule, entry.rule) if ruling is None else worded(ruling, entry.entity)


def _asked(visit: FeedVisit) -> tuple[int | None, str]:
    return number_of(visit.request.path_params["record"]), asked_for(visit.request, "field", POINTER_MAX)


def _filter(visit: FeedVisit) -> Filter:
    return Filter.of_text(asked_for(visit.request, "from", _FROM_MAX))


async def _entry(visit: FeedVisit, number: int, where: str) -> Entry | None:
    found = await entries.at(visit.connection, visit.feed, [(number, where)])
    return found[0] if found else None


def _usual(entry: Entry) -> str:
    """What the field for a typed value begins with."""
    if isinstance(entry.hub, str) and isinstance(entry.sis, str):
        return entry.hub
    return "" if entry.hub is ABSENT else canonical(entry.hub)


def _typed(form: Form) -> Value:
    """InboxError: it is too long, or no JSON."""
    text = form.get("value", "").replace("\r\n", "\n")
    if len(text) > VALUE_MAX:
        raise InboxError(f"a value may have {VALUE_MAX:,} characters")
    if form.get("as") == "text":
        return text
    try:
        return orjson.loads(text)
    except ValueError:
        raise InboxError('this is no JSON: a text goes in quotes, as "Ida", or say that it is a text') from None


def _body(body: Value) -> str:
    if body is None:
        return ""
    return cut(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode(), BODY_MAX)


_UNDO = {"unstick": own.clear_sticky, "unrule": own.clear_override, "undecide": own.take_back}
