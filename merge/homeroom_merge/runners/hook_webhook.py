"""News by HTTP: a POST of JSON, signed, tried a few times."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from uuid import uuid4

import anyio
import httpx

from homeroom_merge.runners.news import HookError, News
from homeroom_merge.settings.hooks import Webhook

_SECONDS_MAX = 10.0
"""For each try, whatever the receiver does meanwhile."""
_PAUSES_SECONDS = (0.5, 2.0)
"""Between tries."""


async def post(hook: Webhook, news: News, secret: str) -> None:
    """Raises HookError once it was tried in vain often enough, or was refused."""
    body, id_ = news.as_json(), str(uuid4())
    async with httpx.AsyncClient(timeout=_SECONDS_MAX) as client:
        for pause in (*_PAUSES_SECONDS, None):
            said = await _tried(client, hook.url, body, headers_of(id_, int(time.time()), body, secret))
            if not said:
                return
            if pause is None:
                raise HookError(f"{said}, {len(_PAUSES_SECONDS) + 1} times")
            await anyio.sleep(pause)


async def _tried(client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]) -> str:
    """What may pass by itself; empty once it has arrived. Raises HookError for what will not."""
    try:
        with anyio.fail_after(_SECONDS_MAX):  # httpx's own limit is for each piece
            async with client.stream("POST", url, content=body, headers=headers) as answer:
                status = answer.status_code
    except TimeoutError:
        return "it did not answer in time"
    except httpx.TransportError as fault:
        return f"it could not be reached: {type(fault).__name__}"
    if httpx.codes.is_success(status):
        return ""
    if status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(status):
        return f"it answered {status}"
    raise HookError(f"it refused the message with {status}")


def headers_of(id_: str, timestamp: int, body: bytes, secret: str) -> Mapping[str, str]:
    """The signature is HMAC-SHA256 of `id.timestamp.body`: an old message cannot be sent again as a new one."""
    signed = b".".join((id_.encode(), str(timestamp).encode(), body))
    return {
        "Content-Type": "application/json",
        "Homeroom-Id": id_,
        "Homeroom-Timestamp": str(timestamp),
        "Homeroom-Signature": f"sha256={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}",
    }
