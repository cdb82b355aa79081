"""One answer of the server, read without trust."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from homeroom.errors import MEANINGS, Code
from homeroom_server.conformance.core.expectation import BrokenPromiseError, expect, must

EPOCH_HEADER = "Homeroom-Epoch"
_SHOWN_MAX = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and body of what was asked for by `request`."""

    request: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float

    def __str__(self) -> str:
        text = self.content[: _SHOWN_MAX + 1].decode(errors="replace")
        return f"{self.request} → {self.status} {text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + '…'}"

    def document(self) -> Any:
        """The JSON of an answer that must be a 200."""
        expect(f"the status of {self.request}", self.status, 200)
        return self.json()

    def json(self) -> Any:
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError as fault:
            raise BrokenPromiseError(f"the answer to {self.request} is no JSON: {fault}") from fault

    def refused(self, code: Code) -> dict[str, Any]:
        """The problem of an answer that must refuse with this code, and with its status."""
        expect(f"the status of {self.request}", self.status, MEANINGS[code].status)
        problem = self.json()
        must(isinstance(problem, dict), f"the answer to {self.request} is no problem document")
        expect(f"the code of {self.request}", problem.get("code"), code.value)
        found: dict[str, Any] = problem
        return found
