"""A OneRoster 1.2 rostering service: its collections, page by page, and single objects.

A page that fails fails the whole; a total that is not reached is a feed that was cut. What moved while it was read is
said, so that absence is not counted.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import orjson

from homeroom_merge.connectors.csv_tables import HELD_MAX
from homeroom_merge.connectors.oneroster_token import Tokens
from homeroom_merge.connectors.rest_request import Answer, Bounds, ServiceFault, ask, built
from homeroom_merge.pacing import Pacing

PAGE_SIZE = 1_000
Item = Mapping[str, object]
"""One object of a collection, as its JSON has it."""


class Service:
    """Where the service is, and for whom it is read."""

    def __init__(
        self,
        url: str,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        pacing: Pacing | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.pacing, self.bounds = pacing or Pacing(), bounds or Bounds()
        self.tokens = Tokens(token_url, client_id, client_secret, self.pacing, self.bounds)

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Session"]:
        """Its connections, for one fetch."""
        headers = {"Accept": "application/json"}
        async with httpx.AsyncClient(headers=headers, timeout=self.bounds.request_seconds) as client:
            yield Session(self, client)


@dataclass(slots=True)
class Listing:
    """What came of one collection. `moved`: it changed between its pages, or gave an object twice."""

    total: int | None = None
    ids: set[str] = field(default_factory=set)
    moved: bool = False

    def fresh(self, items: list[Item]) -> list[Item]:
        """Those that have not come yet."""
        found = []
        for item in items:
            name = str(item.get("sourcedId") or f"@{len(self.ids)}")
            if name in self.ids:
                self.moved = True
            else:
                self.ids.add(name)
                found.append(item)
        return found

    def count(self, total: int | None) -> None:
        """Take the total that a page tells."""
        self.moved |= None not in (total, self.total) and total != self.total
        self.total = total if total is not None else self.total


@dataclass(slots=True)
class Session:
    """A service and connections to it. `began`: when the service gave its first answer, by its own clock."""

    service: Service
    client: httpx.AsyncClient
    began: datetime | None = None

    async def pages(
        self, collection: str, listing: Listing, since: datetime | None = None
    ) -> AsyncIterator[list[Item]]:
        """All of a collection, or what has changed since. Raises ConnectionError, ServiceFault."""
        query = {"limit": str(PAGE_SIZE), "sort": "sourcedId", "orderBy": "asc"}
        if since is not None:
            text = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            query["filter"] = f"dateLastModified>'{text}'"
        offset, linked = 0, False
        for number in range(self.service.bounds.pages_max):
            answer = await self._get(collection, {**query, "offset": str(offset)})
            items = _items(answer, collection)
            listing.count(_total(answer))
            fresh, following = listing.fresh(items), _next_offset(answer)
            linked |= following is not None
            if not fresh and (items or following is not None):
                raise ServiceFault(f"{collection}: page {number + 1} holds nothing new: its paging never ends")
            if len(listing.ids) > HELD_MAX:
                raise ServiceFault(f"{collection}: more than {HELD_MAX:,} records; ask for a service by school")
            yield fresh
            offset = following if following is not None and following > offset else offset + len(items)
            if following is None and _is_last(len(items), offset, listing.total, linked=linked):
                break
        else:
            raise ServiceFault(
                f"{collection}: more than {self.service.bounds.pages_max:,} pages: its paging never ends"
            )
        if listing.total is not None and len(listing.ids) < listing.total and not listing.moved:
            came = f"{len(listing.ids):,} of {listing.total:,}"
            raise ServiceFault(f"{collection}: {came} records came: the feed was cut; run it again")

    async def one(self, collection: str, sourced_id: str) -> Item | None:
        """One object; None if it is not there. Raises ConnectionError, ServiceFault."""
        try:
            answer = await self._get(f"{collection}/{quote(sourced_id, safe='')}", {})
        except ServiceFault as fault:
            if fault.status == httpx.codes.NOT_FOUND:
                return None
            raise
        said = _parsed(answer, collection)
        found = next(iter(said.values()), None) if isinstance(said, dict) and len(said) == 1 else said
        if not isinstance(found, dict) or str(found.get("sourcedId")) != sourced_id:
            raise ServiceFault(f"{collection}: an object was asked for by its id, and another came")
        return found

    async def _get(self, path: str, query: Mapping[str, str]) -> Answer:
        service = self.service
        for is_last in (False, True):
            token = await service.tokens.current(self.client)
            request = built(self.client, "GET", f"{service.url}/{path}", f"Bearer {token}", query=query)
            answer = await ask(self.client, request, service.pacing, service.bounds)
            if answer.status != httpx.codes.UNAUTHORIZED or is_last:
                break
            service.tokens.drop()
        if answer.status != httpx.codes.OK:
            raise _refusal(path.partition("/")[0], answer.status)
        self.began = self.began or answer.at or datetime.now(UTC)
        return answer


def _is_last(items: int, offset: int, total: int | None, *, linked: bool) -> bool:
    """Whether a page without a link to the next one ends its collection: a service may give less than it is asked."""
    return not items or (offset >= total if total is not None else linked)


def _refusal(collection: str, status: int) -> ServiceFault:
    cures = {
        401: "it refuses the token that its token service has just given; is token_url right?",
        403: "this client may not read it; have the SIS allow it the scope roster-core.readonly",
        404: "there is no such collection; is url that of its rostering service, up to /v1p2?",
    }
    return ServiceFault(f"{collection}: the service answers {status}: {cures.get(status, 'is url right?')}", status)


def _parsed(answer: Answer, collection: str) -> object:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as fault:
        raise ServiceFault(f"{collection}: an answer is no JSON: it was cut, or url is not a service's") from fault


def _items(answer: Answer, collection: str) -> list[Item]:
    said = _parsed(answer, collection)
    found = said.get(collection) if isinstance(said, dict) else said
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ServiceFault(f"{collection}: an answer holds no list of that name; is url its rostering service's?")
    return found


def _total(answer: Answer) -> int | None:
    said = answer.headers.get("X-Total-Count", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 12 else None


def _next_offset(answer: Answer) -> int | None:
    """Where the page begins that `Link` calls the next one, 0 if it does not say; None if there is none.

    Only its offset is taken: the token goes to no other address.
    """
    links = httpx.Response(200, headers={"Link": answer.headers.get("Link", "")}).links
    try:
        query = parse_qs(urlsplit(links["next"]["url"]).query)
    except KeyError:
        return None
    except ValueError:
        return 0
    said = query.get("offset", [""])[0]
    return int(said) if said.isascii() and said.isdigit() and len(said) < 12 else 0
