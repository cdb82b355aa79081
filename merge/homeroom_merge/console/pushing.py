"""Settings from the browser: checked, compared with those they replace, and only then pushed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from anyio import to_thread
from starlette.responses import Response

from homeroom_merge.console.frame.files import asked_for
from homeroom_merge.console.frame.forms import Form
from homeroom_merge.console.frame.visiting import Visitor
from homeroom_merge.console.visit import FeedVisit
from homeroom_merge.in_force import pushed_in_force
from homeroom_merge.refusal import RefusedError
from homeroom_merge.settings.diff import Difference, diff, told
from homeroom_merge.settings.model import Settings, SettingsError
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.store import settings as store
from homeroom_merge.store.settings import SettingsMovedError
from homeroom_merge.values import ABSENT, Value

TEXT_MAX = 40_000
"""Characters of settings that a form takes; longer ones go by the command."""
STATE_MAX = 100
COMMENT_MAX = 500
_VERSION_MAX = 2**31 - 1
_EVERYBODYS = ("feed.", "entity.", "realtime.", "hub.organizations")
"""What others than operators may change: the rest names places, programs and secrets of the machine of the worker."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text that is to be the next version of a state. `after`: the version that it was made from; 0: none."""

    state: str
    after: int
    toml: str
    comment: str

    @property
    def mark(self) -> str:
        """What says that just this text was looked at."""
        return hashlib.sha256(self.toml.encode()).hexdigest()


async def edit(visit: FeedVisit) -> Response:
    """`?state=`: its newest version, or that in force, to be changed."""
    state = asked_for(visit.request, "state", STATE_MAX) or await state_in_force(visit)
    newest = await store.pull(visit.connection, visit.feed, state)
    if newest is None:
        return visit.not_found(f"There are no settings {state} in this feed.")
    return _page(visit, Draft(state, newest.version, newest.toml, ""), [], None)


async def push(visit: FeedVisit) -> Response:
    """Faults, or what would change, and the same text again; a text that was looked at so is pushed."""
    form = await visit.form()
    draft = _draft(form)
    faults, changes = await _looked_at(visit, draft)
    if faults:
        return _page(visit, draft, faults, None, 422)
    if form.get("do") != "push" or form.get("mark") != draft.mark:
        return _page(visit, draft, [], changes)
    try:
        return await _pushed(visit, draft)
    except SettingsMovedError as moved:
        return _page(visit, draft, [f"{moved}: somebody pushed meanwhile; begin with theirs"], None, 409)


async def use_again(visit: FeedVisit) -> Response:
    """An old version is the newest again. RefusedError: it may not be; SettingsMovedError."""
    form = await visit.form()
    state, after = form.get("state", "")[:STATE_MAX], whole(form.get("after", ""))
    old = await store.pull(visit.connection, visit.feed, state, whole(form.get("version", "")))
    if old is None:
        return visit.not_found("There is no such version in this feed.")
    draft = Draft(state, after, old.toml, f"version {old.version} again")
    faults, _ = await _looked_at(visit, draft)
    if faults:
        raise RefusedError("\n".join(faults))
    return await _pushed(visit, draft)


async def state_in_force(visit: FeedVisit) -> str:
    """The name of the state that holds today, if it can be read; else of the one that was pushed last."""
    try:
        _, pushed = await pushed_in_force(visit.connection, visit.feed, datetime.now(UTC))
    except SettingsError:
        latest = await store.versions(visit.connection, visit.feed, 1, 0)
        return latest[0].state_name if latest else ""
    return pushed.state_name


def whole(text: str) -> int:
    """A version's number; 0: it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < len(str(_VERSION_MAX)) else 0


def refusals(visitor: Visitor, feed: str, old: Settings | None, new: Settings) -> list[str]:
    """Why somebody may not push these settings of a feed in place of those, `old`."""
    found = []
    if new.feed.name != feed:
        found.append(f"feed.name: these are the settings of {feed}, and of no other feed")
    if visitor.organizations is None:
        return found
    others = {*new.feed.schools, *new.hub.organizations} - visitor.organizations
    known = {old.feed.authority, *old.hub.organizations} if old else set()
    others |= {new.feed.authority} - visitor.organizations
    if others - known:
        found.append(f"you may not speak for {', '.join(sorted(others - known))}: ask an operator")
    changed = [each.path for each in diff(old, new)] if old else ["everything: nothing is in force there"]
    foreign = [path for path in changed if not path.startswith(_EVERYBODYS) or path == "feed.formatter"]
    return found + [f"{path}: an operator changes this, since it concerns the worker's machine" for path in foreign]


def text(value: Value) -> str:
    """A setting's value; empty where there is no such setting."""
    return "" if value is ABSENT else told(value)


def _draft(form: Form) -> Draft:
    """RefusedError: it is too long."""
    toml = form.get("toml", "").replace("\r\n", "\n")
    if len(toml) > TEXT_MAX:
        raise RefusedError(f"settings of more than {TEXT_MAX:,} characters go by homeroom-merge settings push FILE")
    state, comment = form.get("state", "")[:STATE_MAX], form.get("comment", "").strip()[:COMMENT_MAX]
    return Draft(state, whole(form.get("after", "")), toml, comment)


async def _looked_at(visit: FeedVisit, draft: Draft) -> tuple[list[str], Sequence[Difference]]:
    """What is wrong with a draft, or what it changes. RefusedError: nothing was pushed there."""
    newest = await store.pull(visit.connection, visit.feed, draft.state)
    if newest is None:
        raise RefusedError(f"{visit.feed} has no settings {draft.state}: homeroom-merge settings push begins them")
    try:
        new = await to_thread.run_sync(read_settings, draft.toml)
    except SettingsError as wrong:
        return [str(fault) for fault in wrong.faults], []
    try:
        old = await to_thread.run_sync(read_settings, newest.toml)
    except SettingsError:
        return refusals(visit.visitor, visit.feed, None, new), []
    return refusals(visit.visitor, visit.feed, old, new), diff(old, new)


async def _pushed(visit: FeedVisit, draft: Draft) -> Response:
    said = visit.feed, draft.state, draft.toml, draft.comment, visit.visitor.name, draft.after
    version = await store.push(visit.connection, *said)
    await visit.note(f"pushed version {version} of {draft.state} of {visit.feed}: {draft.comment}")
    return visit.to("/settings?done=pushed")


def _page(
    visit: FeedVisit, draft: Draft, faults: Sequence[str], changes: Sequence[Difference] | None, status: int = 200
) -> Response:
    """`changes`: None before they were looked at."""
    return visit.page(
        "merges/settings_edit.html",
        status,
        draft=draft,
        faults=faults,
        changes=None if changes is None else [(each.path, text(each.old), text(each.new)) for each in changes],
        text_max=TEXT_MAX,
        comment_max=COMMENT_MAX,
    )
