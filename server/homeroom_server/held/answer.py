"""The answer to Is Data Available: a part for each type, made once for all who are told the same (protocol 3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import orjson

from homeroom.protocol import NotificationType

Reason = Literal["newer", "mismatch", "none"]


@dataclass(frozen=True)
class Part:
    """The answer for one type."""

    notification_type: NotificationType
    reason: Reason
    max_core_version: int
    complete: bool = True
    ids: Sequence[str] = ()
    versions: Sequence[int] = ()

    @cached_property
    def encoded(self) -> bytes:
        return orjson.dumps(
            {
                "notificationType": str(self.notification_type),
                "reason": self.reason,
                "maxCoreVersion": self.max_core_version,
                "complete": self.complete,
                "records": [{"id": i, "coreVersion": v} for i, v in zip(self.ids, self.versions, strict=True)],
            }
        )


@dataclass(slots=True)
class Answer:
    """A finished body and the epoch it belongs to; `wire` is for who sends it to many and dresses it once."""

    epoch: str
    body: bytes
    wire: bytes = b""


def answer_of(epoch: str, parts: Iterable[Part]) -> Answer:
    """The parts of a request's types, in its order, as one answer."""
    return Answer(epoch, b'{"types":[' + b",".join([part.encoded for part in parts]) + b"]}")
