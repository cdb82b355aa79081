"""Secrets taken out of texts that leave: messages, notes, reports."""

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "(a secret)"
_LENGTH_MIN = 4
"""Shorter ones may stand anywhere by chance."""


class Scrubber:
    """Replaces these secrets in a text, also as URLs, JSON, Python and Base64 write them. It is not shown by `repr`."""

    __slots__ = ("_forms",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _LENGTH_MIN for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)  # one may be a part of another

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text


NOTHING_SECRET = Scrubber()


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    yield base64.b64encode(secret.encode()).decode()
