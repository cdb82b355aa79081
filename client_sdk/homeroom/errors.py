"""What can go wrong between a client and a Core, and what the caller should do (protocol 2).

HomeroomError                 has `code`, `status` (HTTP), `title`, `detail`, `errors`, `action`
├── FixRequest    action fix      the request is wrong; sending it again will not help
│                                 3001 3002 3003 3005 3006 3007 3008 · in rejections 9023 9030 9040 12003
├── RetryLater    action retry    the same request may succeed in `retry_after_seconds`
│   │                             2001 2002 2004 · in rejections 9014
│   └── ConnectionCut             somebody on the way ended the call before its answer had come
├── ResyncNeeded  action resync   what the client holds is not what the Core has
│                                 2003 · in rejections 3004 12001 12002
└── StopCalling   action stop     a person must act: key, client, role or organisation
                                  1001 1002 1003 1007 1008 · in rejections 9020
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """The numbers of protocol 2."""

    NO_SUCH_KEY = 1001
    KEY_DISABLED = 1002
    CLIENT_DISABLED = 1003
    SERVICE_NOT_OPEN = 1007
    ORGANIZATION_NOT_REPRESENTED = 1008
    CORE_NOT_AVAILABLE = 2001
    NODE_BEHIND = 2002
    OTHER_HISTORY = 2003
    CLIENT_LIMIT = 2004
    NOT_OF_SCHEMA = 3001
    NOT_STRUCTURED = 3002
    TOO_LARGE = 3003
    VERSION_MISMATCH = 3004
    UNKNOWN_TYPE = 3005
    UNEXPECTED_YEAR = 3006
    INVALID_WAIT = 3007
    YEAR_MISSING = 3008
    VERSION_NOT_SEEN = 9014
    NOT_AUTHORIZED_FOR_RECORD = 9020
    CHANGES_NOTHING = 9023
    YEAR_NOT_OPEN = 9030
    BODY_FAILS_SCHEMA = 9040
    NO_SUCH_ALERT = 12001
    ARGUMENTS_DIFFER = 12002
    STATE_NOT_ALLOWED = 12003


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where (a JSON pointer, RFC 6901) and what."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code says: its HTTP status, a title that never varies, and what the caller should do."""

    status: int
    title: str
    action: str


_REJECTED = 200

MEANINGS: Mapping[Code, Meaning] = {
    Code.NO_SUCH_KEY: Meaning(401, "No such key", "stop"),
    Code.KEY_DISABLED: Meaning(401, "Key disabled", "stop"),
    Code.CLIENT_DISABLED: Meaning(401, "Client disabled", "stop"),
    Code.SERVICE_NOT_OPEN: Meaning(403, "Service not open to this client, or not as it calls", "stop"),
    Code.ORGANIZATION_NOT_REPRESENTED: Meaning(403, "The client does not represent that organisation", "stop"),
    Code.CORE_NOT_AVAILABLE: Meaning(503, "Core not available", "retry"),
    Code.NODE_BEHIND: Meaning(503, "Node is behind what the client has seen", "retry"),
    Code.OTHER_HISTORY: Meaning(409, "A version of another history", "resync"),
    Code.CLIENT_LIMIT: Meaning(429, "A limit of this client is reached", "retry"),
    Code.NOT_OF_SCHEMA: Meaning(400, "Request does not match the schema", "fix"),
    Code.NOT_STRUCTURED: Meaning(400, "Request is not structured correctly", "fix"),
    Code.TOO_LARGE: Meaning(413, "Body or list over its limit", "fix"),
    Code.VERSION_MISMATCH: Meaning(_REJECTED, "Expected version is not the record's version", "resync"),
    Code.UNKNOWN_TYPE: Meaning(400, "Unknown notification type", "fix"),
    Code.UNEXPECTED_YEAR: Meaning(400, "Unexpected school year", "fix"),
    Code.INVALID_WAIT: Meaning(400, "Invalid wait time", "fix"),
    Code.YEAR_MISSING: Meaning(400, "School year missing", "fix"),
    Code.VERSION_NOT_SEEN: Meaning(_REJECTED, "This node has not yet seen that version", "retry"),
    Code.NOT_AUTHORIZED_FOR_RECORD: Meaning(_REJECTED, "Organisation not authorised for this record", "stop"),
    Code.CHANGES_NOTHING: Meaning(_REJECTED, "The update changes nothing", "fix"),
    Code.YEAR_NOT_OPEN: Meaning(_REJECTED, "School year not open for writing", "fix"),
    Code.BODY_FAILS_SCHEMA: Meaning(_REJECTED, "Body fails the type's schema", "fix"),
    Code.NO_SUCH_ALERT: Meaning(_REJECTED, "The status carries no such alert", "resync"),
    Code.ARGUMENTS_DIFFER: Meaning(_REJECTED, "The alert's arguments are not those given", "resync"),
    Code.STATE_NOT_ALLOWED: Meaning(_REJECTED, "The alert cannot be put into that state", "fix"),
}


class HomeroomError(Exception):
    """An answer of the Core that is no result; see the tree above for what to do."""

    def __init__(
        self,
        code: Code,
        detail: str,
        errors: Sequence[Fault] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_seconds = retry_after_seconds

    @property
    def status(self) -> int:
        return MEANINGS[self.code].status

    @property
    def title(self) -> str:
        return MEANINGS[self.code].title

    @property
    def action(self) -> str:
        return MEANINGS[self.code].action


class FixRequest(HomeroomError):
    """The request itself is wrong: mend it before sending it again."""


class RetryLater(HomeroomError):
    """The same request may succeed later; wait `retry_after_seconds` where given."""


class ConnectionCut(RetryLater):
    """The connection was cut, or a proxy gave up (502, 504, 524), while the Core had the request or may have had it."""


class ResyncNeeded(HomeroomError):
    """Verify by hash or reconcile, then go on."""


class StopCalling(HomeroomError):
    """Nothing the program can do: a person must look at the key, the client or its rights."""


_BY_ACTION: Mapping[str, type[HomeroomError]] = {
    "fix": FixRequest,
    "retry": RetryLater,
    "resync": ResyncNeeded,
    "stop": StopCalling,
}


def error(
    code: Code, detail: str, errors: Sequence[Fault] = (), retry_after_seconds: float | None = None
) -> HomeroomError:
    """The exception of the tree that belongs to `code`."""
    return _BY_ACTION[MEANINGS[code].action](code, detail, errors, retry_after_seconds)


def error_from_problem(problem: Mapping[str, Any], retry_after_seconds: float | None) -> HomeroomError:
    """The exception for an `application/problem+json` answer (RFC 9457)."""
    faults = [Fault(fault["pointer"], fault["detail"]) for fault in problem.get("errors", ())]
    return error(Code(problem["code"]), problem["detail"], faults, retry_after_seconds)
