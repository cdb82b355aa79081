"""A run that somebody asks for, with settings of its own."""

from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.responses import Response

from homeroom_merge.console.asking import asking
from homeroom_merge.console.frame.forms import Form
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.in_force import settings_in_force
from homeroom_merge.refusal import RefusedError
from homeroom_merge.runners.asked import Asked
from homeroom_merge.runners.queue import defer_manual
from homeroom_merge.settings.model import Settings
from homeroom_merge.toml_tables import parts_of

OVERRIDES_MAX = 50
OVERRIDE_LENGTH_MAX = 1_000
_OF_RECORDS = ("entity", "defaults")
"""What those may set who do not see everything: nothing that says where records and secrets go."""


async def ask(visit: FeedVisit) -> Response:
    return _page(visit, Asked(visit.feed, visit.visitor.name), [])


async def run_now(visit: FeedVisit) -> Response:
    """What was typed is kept where it cannot be."""
    form = await visit.form()
    asked = _asked(visit, form)
    if faults := await _faults(visit, asked):
        return _page(visit, asked, faults, 422)
    async with asking(visit.host) as app:
        await visit.note(f"asks for a {'dry ' if asked.dry else ''}run of {visit.feed}")
        job = await defer_manual(app, asked)
    return visit.to(f"/jobs/{job}")


def _asked(visit: FeedVisit, form: Form) -> Asked:
    lines = [line.strip() for line in form.get("overrides", "").splitlines()]
    return Asked(
        visit.feed,
        visit.visitor.name,
        form.getlist("entity"),
        form.getlist("school"),
        [line for line in lines if line],
        form.get("dry") == "yes",
    )


async def _faults(visit: FeedVisit, asked: Asked) -> Sequence[str]:
    """All that is wrong with it."""
    if len(asked.overrides) > OVERRIDES_MAX or any(len(each) > OVERRIDE_LENGTH_MAX for each in asked.overrides):
        return [f"settings for one run: at most {OVERRIDES_MAX} lines of {OVERRIDE_LENGTH_MAX:,} characters"]
    try:
        settings, _ = await settings_in_force(visit.connection, visit.feed, datetime.now(UTC), asked.overrides)
    except RefusedError as refused:
        return str(refused).splitlines()
    faults = [] if visit.visitor.organizations is None else _beyond(settings)
    enabled = set(_enabled(settings))
    faults += [f"{each}: it is not enabled" for each in asked.entities if each not in enabled]
    schools = set(settings.feed.schools)
    return faults + [
        f"{each}: the feed does not speak for this school" for each in asked.schools if each not in schools
    ]


def _beyond(settings: Settings) -> list[str]:
    others = (path for path in settings.overrides if parts_of(path)[0] not in _OF_RECORDS)
    return [f"{path}: only an operator sets this for one run" for path in others]


def _enabled(settings: Settings) -> list[str]:
    return [name for name, entity in settings.entity.items() if entity.enabled]


def _page(visit: FeedVisit, asked: Asked, faults: Sequence[str], status: int = 200) -> Response:
    entities = [] if visit.settings is None else _enabled(visit.settings)
    return visit.page("merges/run_now.html", status, asked=asked, entities=entities, faults=faults)
