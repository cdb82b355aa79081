"""What holds for a feed: the settings in force, every version of them, and whether it is paused."""

from datetime import UTC, datetime

from starlette.responses import Response

from homeroom_merge.console.frame.files import (
    PER_PAGE,
    as_file,
    asked_for,
    camel,
    file_headers,
    is_file,
    limits,
    page_number,
)
from homeroom_merge.console.pushing import STATE_MAX, text, whole
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.in_force import pushed_in_force
from homeroom_merge.refusal import RefusedError
from homeroom_merge.settings.diff import diff, flat, told, usual
from homeroom_merge.settings.model import Settings
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.store import settings as store
from homeroom_merge.store.settings import Pushed, Version

DONE = {
    "pushed": "It is the newest version now.",
    "paused": "The feed is paused: nothing of it runs by itself.",
    "resumed": "The feed runs by itself again.",
}
_COLUMNS = [camel(name) for name in Version._fields]
_BECAUSE_MAX = 500
_DAYS_MAX = 100


async def settings(visit: FeedVisit) -> Response:
    """In force and why, each with its value; and every version, `?as=csv` or `json` as a file."""
    versions = await store.versions(visit.connection, visit.feed, *limits(visit.request))
    if is_file(visit.request):
        rows = [dict(zip(_COLUMNS, each, strict=True)) for each in versions]
        return as_file(visit.request, "settings", _COLUMNS, rows)
    in_force, why_not = None, ""
    try:
        _, in_force = await pushed_in_force(visit.connection, visit.feed, datetime.now(UTC))
    except RefusedError as refused:
        why_not = str(refused)
    now = visit.settings
    unusual = {each.path for each in diff(usual(now), now)} if now else set()
    today = datetime.now(now.feed.zone if now else UTC).date()
    days = await store.days(visit.connection, visit.feed, today, _DAYS_MAX)
    return visit.page(
        "merges/settings.html",
        in_force=in_force,
        why_not=why_not,
        bound=next((each for each in days if in_force and each.first_day <= today), None),
        days=days,
        rows=[(path, told(value), path in unusual) for path, value in flat(now)] if now else [],
        pause=await store.find_pause(visit.connection, visit.feed),
        versions=versions[:PER_PAGE],
        has_more=len(versions) > PER_PAGE,
        number=page_number(visit.request),
        because_max=_BECAUSE_MAX,
        done=DONE.get(asked_for(visit.request, "done")),
    )


async def version(visit: FeedVisit) -> Response:
    """`?state=` and `version=`: as it was pushed; `as=toml`: a file."""
    state, number = asked_for(visit.request, "state", STATE_MAX), whole(asked_for(visit.request, "version"))
    found = await store.pull(visit.connection, visit.feed, state, number)
    newest = await store.pull(visit.connection, visit.feed, state)
    if found is None or newest is None:
        return visit.not_found("There is no such version in this feed.")
    if asked_for(visit.request, "as") == "toml":
        return Response(found.toml, media_type="application/toml", headers=file_headers("settings.toml"))
    return visit.page("merges/settings_version.html", found=found, newest=newest.version)


async def difference(visit: FeedVisit) -> Response:
    """`?a=STATE:VERSION&b=STATE:VERSION`: what differs in force. RefusedError: one of them cannot be read."""
    both = [await _named(visit, asked_for(visit.request, name, STATE_MAX + 12)) for name in ("a", "b")]
    found = [each for each in both if each is not None]
    if len(found) < len(both):
        return visit.not_found("There is no such version in this feed.")
    old, new = (_read(each) for each in found)
    rows = [{"path": each.path, "old": text(each.old), "new": text(each.new)} for each in diff(old, new)]
    if is_file(visit.request):
        return as_file(visit.request, "difference", ["path", "old", "new"], rows)
    return visit.page("merges/settings_difference.html", rows=rows, a=found[0], b=found[1])


async def pause(visit: FeedVisit) -> Response:
    """RefusedError: no reason was given."""
    because = (await visit.form()).get("because", "").strip()[:_BECAUSE_MAX]
    if not because:
        raise RefusedError("say why: whoever comes next will want to know")
    await store.pause(visit.connection, visit.feed, because)
    await visit.note(f"paused {visit.feed}: {because}")
    return visit.to("/settings?done=paused")


async def resume(visit: FeedVisit) -> Response:
    await visit.form()
    await store.resume(visit.connection, visit.feed)
    await visit.note(f"resumed {visit.feed}")
    return visit.to("/settings?done=resumed")


async def _named(visit: FeedVisit, said: str) -> Pushed | None:
    state, _, number = said.rpartition(":")
    return await store.pull(visit.connection, visit.feed, state, whole(number))


def _read(pushed: Pushed) -> Settings:
    try:
        return read_settings(pushed.toml)
    except RefusedError as wrong:
        raise RefusedError(f"{pushed.state_name} {pushed.version} cannot be read: {wrong}") from wrong
