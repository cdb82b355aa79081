"""A SIS with a OneRoster 1.2 REST service, on a loopback socket."""

import base64
import json
import secrets
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

_ROOT = "/ims/oneroster/rostering/v1p2/"
_TOKEN = "/token"  # noqa: S105 a path
_SINGULAR = {"classes": "class", "demographics": "demographics"}


@dataclass(frozen=True, slots=True)
class Mishap:
    """What comes in place of the right answer. `cut`: the connection ends in the middle of the body."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


class RestSis:
    """Objects by collection, served while it is a context. Mishaps are used up by requests, one each."""

    def __init__(self, rows: Mapping[str, list[dict[str, Any]]], *, page_max: int = 100) -> None:
        self.rows = {collection: list(items) for collection, items in rows.items()}
        self.page_max = page_max
        self.client_id, self.client_secret = "homeroom", secrets.token_urlsafe()
        self.token_seconds = 3600.0
        self.says_total = self.says_next = self.filters = True
        self.asked: list[tuple[float, str, dict[str, str]]] = []
        """Every request: when, by `time.monotonic`, of which collection, object or `token`, with its query or form."""
        self.meanwhile: Callable[[str], None] | None = None
        """Called after each page, with its collection: somebody else's chance."""
        self._mishaps: dict[str, deque[Mishap]] = defaultdict(deque)
        self._tokens: dict[str, float] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    def __enter__(self) -> "RestSis":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"{self.address}{_ROOT}".rstrip("/")

    @property
    def token_url(self) -> str:
        return f"{self.address}{_TOKEN}"

    def fail(self, place: str, *mishaps: Mishap) -> None:
        """What the next requests of a collection, an object (`users/u1`) or `token` come to, one after the other."""
        self._mishaps[place].extend(mishaps)

    def expire(self) -> None:
        """Refuse all tokens given so far."""
        self._tokens.clear()

    def counts(self) -> Counter[str]:
        """How often each place was asked."""
        return Counter(place for _, place, _ in self.asked)

    def answer(self, method: str, target: str, authorization: str, form: str) -> Mishap:
        """What to answer."""
        parts = urlsplit(target)
        is_token = parts.path == _TOKEN
        place = "token" if is_token else unquote(parts.path.removeprefix(_ROOT))
        query = {name: values[0] for name, values in parse_qs(form if is_token else parts.query).items()}
        self.asked.append((time.monotonic(), place, query))
        if self._mishaps[place]:
            return self._mishaps[place].popleft()
        if is_token:
            return self._given(authorization)
        if self._tokens.get(authorization.removeprefix("Bearer "), 0) < time.monotonic():
            return Mishap(401)
        collection, _, one = place.partition("/")
        if method != "GET" or collection not in self.rows:
            return Mishap(404)
        return self._one(collection, one) if one else self._page(collection, query)

    def _given(self, authorization: str) -> Mishap:
        pair = f"{self.client_id}:{self.client_secret}"
        if authorization != f"Basic {base64.b64encode(pair.encode()).decode()}":
            return Mishap(401, b'{"error": "invalid_client"}')
        token = secrets.token_urlsafe()
        self._tokens[token] = time.monotonic() + self.token_seconds
        return _json({"access_token": token, "token_type": "bearer", "expires_in": self.token_seconds})

    def _one(self, collection: str, one: str) -> Mishap:
        found = [item for item in self.rows[collection] if item["sourcedId"] == one]
        return _json({_SINGULAR.get(collection, collection[:-1]): found[0]}) if found else Mishap(404)

    def _page(self, collection: str, query: Mapping[str, str]) -> Mishap:
        rows, filter_ = self.rows[collection], query.get("filter", "")
        if filter_ and not self.filters:
            return Mishap(400)
        if filter_:
            since = datetime.fromisoformat(filter_.removeprefix("dateLastModified>").strip("'"))
            rows = [item for item in rows if datetime.fromisoformat(item["dateLastModified"]) > since]
        if query.get("sort") == "sourcedId":
            rows = sorted(rows, key=lambda item: str(item["sourcedId"]))
        offset, limit = int(query.get("offset", 0)), min(self.page_max, int(query.get("limit", 100)))
        headers = {"X-Total-Count": str(len(rows))} if self.says_total else {}
        if self.says_next and offset + limit < len(rows):
            following = urlencode({**query, "offset": offset + limit, "limit": limit})
            headers["Link"] = f'<{self.url}/{collection}?{following}>; rel="next"'
        page = _json({collection: rows[offset : offset + limit]}, headers)
        if self.meanwhile is not None:
            self.meanwhile(collection)
        return page


def _json(said: object, headers: Mapping[str, str] | None = None) -> Mishap:
    return Mishap(200, json.dumps(said).encode(), headers or {})


def _handler(sis: RestSis) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            form = self.rfile.read(length).decode()
            answer = sis.answer(self.command, self.path, self.headers.get("Authorization", ""), form)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body) + answer.cut), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection |= answer.cut

        do_POST = do_GET  # noqa: N815 the server's word

        def log_message(self, *_: object) -> None:
            """Nothing: tests are silent."""

    return Handler
