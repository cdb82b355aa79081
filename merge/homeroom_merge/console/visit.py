"""Who visits the pages of a feed: only those who may see every school that it speaks for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from homeroom_merge.console.frame.forms import Form, RefusedFormError, our_form_of
from homeroom_merge.console.frame.visiting import Visitor
from homeroom_merge.console.host import Host
from homeroom_merge.in_force import settings_in_force
from homeroom_merge.refusal import RefusedError
from homeroom_merge.settings.model import Settings
from homeroom_merge.store import nights
from homeroom_merge.store.connection import AWAY, Conn


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is signed in, and a connection to the state while they are served."""

    request: Request
    visitor: Visitor
    host: Host
    connection: Conn

    def page(self, template: str, status: int = 200, /, **told: Any) -> Response:
        """A page for them."""
        return self.host.pages.page(template, self.visitor, status, **told)

    def not_found(self, text: str) -> Response:
        """What there is not, and what they may not see: nobody can tell which."""
        return self.host.pages.message(self.visitor, 404, "Not found", text)

    async def note(self, what: str) -> None:
        """What they did, kept for good."""
        await self.host.note(self.request, self.visitor, what)


@dataclass(frozen=True, slots=True)
class FeedVisit(Visit):
    """The same, at one feed. `settings`: in force; None: none were pushed, or they cannot be read."""

    feed: str
    settings: Settings | None

    def page(self, template: str, status: int = 200, /, **told: Any) -> Response:
        """A page of the feed, in `merges/feed.html`."""
        pages, settings = self.host.pages, self.settings
        return pages.page(template, self.visitor, status, feed=self.feed, settings=settings, **told)

    def to(self, place: str = "") -> Response:
        """Send them on to a page of the feed, after what they did."""
        return RedirectResponse(f"/console/merges/{quote(self.feed)}{place}", 303)

    async def form(self) -> Form:
        """The form that they sent. RefusedFormError."""
        return await our_form_of(self.request, self.visitor)


Shown = Callable[[FeedVisit], Awaitable[Response]]


def for_all(host: Host, shown: Callable[[Visit], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for whoever is signed in, with the state."""

    async def endpoint(request: Request) -> Response:
        visitor = await host.visitor(request)
        if isinstance(visitor, Response):
            return visitor
        try:
            async with host.state() as connection:
                if connection is None:
                    return host.pages.page("merges/none_here.html", visitor)
                return await shown(Visit(request, visitor, host, connection))
        except AWAY:
            text = "The database cannot be reached at the moment. Try again soon; nothing was changed."
            return host.pages.message(visitor, 503, "The database is away", text)
        except RefusedFormError:
            text = "Nothing was done. Go back, load the page again, and try once more."
            return host.pages.message(visitor, 403, "That form was not ours", text)
        except RefusedError as refused:
            return host.pages.message(visitor, 409, "That cannot be done", str(refused))

    return endpoint


def for_feed(host: Host, shown: Shown, *, acts: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for those who may see the feed that its path names; `acts`: and who may change something."""

    async def checked(visit: Visit) -> Response:
        feed = visit.request.path_params["feed"].replace("\0", "")  # which PostgreSQL takes in no text
        known, settings = await settings_of(visit.connection, feed)
        if not known or not may_see(visit.visitor, settings):
            return visit.not_found(f"There is no feed {feed} that you may see.")
        if acts and not visit.visitor.may_act:
            text = "You may look, and not change anything. An operator gives other rights."
            return host.pages.message(visit.visitor, 403, "Not for viewers", text)
        return await shown(FeedVisit(visit.request, visit.visitor, host, visit.connection, feed, settings))

    return for_all(host, checked)


async def settings_of(connection: Conn, feed: str) -> tuple[bool, Settings | None]:
    """Whether there is such a feed, and its settings in force if they can be read."""
    try:
        return True, (await settings_in_force(connection, feed, datetime.now(UTC)))[0]
    except RefusedError:
        return feed in await nights.feeds(connection), None


def may_see(visitor: Visitor, settings: Settings | None) -> bool:
    """Whether a feed speaks for none but schools that they may see."""
    if visitor.organizations is None:
        return True
    return settings is not None and visitor.organizations.issuperset(settings.feed.schools)
