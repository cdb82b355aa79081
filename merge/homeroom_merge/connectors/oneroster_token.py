"""Access tokens by OAuth 2 client credentials, with the scopes of OneRoster 1.2."""

import base64
import math
import time

import httpx
import orjson

from homeroom_merge.connectors.rest_request import Answer, Bounds, ServiceFault, ask, built
from homeroom_merge.pacing import Pacing

_SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
CORE = f"{_SCOPE}roster-core.readonly"
DEMOGRAPHICS = f"{_SCOPE}roster-demographics.readonly"
_KEPT_SHARE = 0.9
_USUAL_SECONDS = 600.0


class Tokens:
    """The tokens of one client: each is kept for nine tenths of its life."""

    def __init__(self, url: str, client_id: str, client_secret: str, pacing: Pacing, bounds: Bounds) -> None:
        self._url, self._pacing, self._bounds = url, pacing, bounds
        # Not form-encoded first, as RFC 6749 has it: most token services compare what they gave out.
        self._basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._token, self._kept_until = "", -math.inf

    async def current(self, client: httpx.AsyncClient) -> str:
        """A token that is still good. Raises ConnectionError, ServiceFault."""
        if time.monotonic() >= self._kept_until:
            self._token, seconds = await self._new(client)
            self._kept_until = time.monotonic() + seconds * _KEPT_SHARE
        return self._token

    def drop(self) -> None:
        """The service refuses the token: the next one is new."""
        self._kept_until = -math.inf

    async def _new(self, client: httpx.AsyncClient) -> tuple[str, float]:
        answer = await self._asked(client, f"{CORE} {DEMOGRAPHICS}")
        if answer.status == httpx.codes.BAD_REQUEST and _members(answer).get("error") == "invalid_scope":
            answer = await self._asked(client, CORE)
        if answer.status in (400, 401, 403):
            raise ServiceFault(
                f"the token service refuses this client ({answer.status}); look at sis_client_id and sis_client_secret "
                "under [secrets], and at what the SIS allows it to read"
            )
        said = _members(answer)
        token = said.get("access_token")
        if not httpx.codes.is_success(answer.status) or not isinstance(token, str) or not token:
            raise ServiceFault(f"the token service answers {answer.status} without a token; is token_url right?")
        if not (token.isascii() and token.isprintable()):
            raise ServiceFault("the token service gives a token that cannot be sent; is token_url right?")
        return token, _seconds(said.get("expires_in"))

    async def _asked(self, client: httpx.AsyncClient, scope: str) -> Answer:
        form = {"grant_type": "client_credentials", "scope": scope}
        request = built(client, "POST", self._url, f"Basic {self._basic}", form=form)
        return await ask(client, request, self._pacing, self._bounds)


def _members(answer: Answer) -> dict[str, object]:
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(said: object) -> float:
    try:
        seconds = float(said) if isinstance(said, int | float | str) else _USUAL_SECONDS
    except ValueError:
        return _USUAL_SECONDS
    return seconds if math.isfinite(seconds) else _USUAL_SECONDS
