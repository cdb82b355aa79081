"""The services of the protocol, each with what it takes and answers, and what may go wrong."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from homeroom.errors import Code
from homeroom.protocol import WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX
from homeroom_server.endpoints import acknowledge, get, is_data_available, reconcile, submit
from homeroom_server.endpoints.requests import VERSION_SCHEMA

Json = dict[str, Any]

ABOUT, LOAD, FOLLOW, WRITE, RUN = "About", "Load and repair", "Follow", "Write", "Run"
TAGS: Mapping[str, str] = {
    ABOUT: "Who calls, and which types there are.",
    LOAD: "First loads, and repair in proportion to the difference.",
    FOLLOW: "Learn what has changed, and fetch it.",
    WRITE: "Add, change, delete; acknowledge alerts.",
    RUN: "For whoever starts, balances and watches nodes. They take no key.",
}
_ALL_CALLS = (
    *(Code.NO_SUCH_KEY, Code.KEY_DISABLED, Code.CLIENT_DISABLED, Code.SERVICE_NOT_OPEN),
    *(Code.ORGANIZATION_NOT_REPRESENTED, Code.CORE_NOT_AVAILABLE, Code.CLIENT_LIMIT),
)
_WITH_BODY = (*_ALL_CALLS, Code.NOT_OF_SCHEMA, Code.NOT_STRUCTURED, Code.TOO_LARGE)
_OF_A_TYPE = (Code.UNKNOWN_TYPE, Code.UNEXPECTED_YEAR, Code.YEAR_MISSING)
_OF_A_VERSION = (Code.NODE_BEHIND, Code.OTHER_HISTORY)


class Service(NamedTuple):
    """`answer`: the schema of a 200. `codes`: the problems that end a call. `more`: parameters of its own."""

    name: str
    tag: str
    summary: str
    description: str
    answer: str
    codes: Sequence[Code]
    request: Mapping[str, Any] | None = None
    more: Sequence[Json] = ()
    media_type: str = "application/json"


_WAIT = {"type": "integer", "minimum": 0, "maximum": WAIT_SECONDS_MAX, "default": WAIT_SECONDS_DEFAULT}
_ASKED = is_data_available.REQUEST
IS_DATA_AVAILABLE = Service(
    "isDataAvailable",
    FOLLOW,
    "What has changed; held until something has, or the wait ends",
    "Ask with the cursor of every type that you follow. The answer comes at once if something is above a cursor or a "
    "version hash differs, else when something moves or the wait ends, which is a 200 with the reason none. Fetch "
    "what is listed, keep the new cursor together with it, and ask again at once.",
    "Availability",
    (*_WITH_BODY, *_OF_A_TYPE, *_OF_A_VERSION, Code.INVALID_WAIT),
    {**_ASKED, "properties": {**_ASKED["properties"], "waitSeconds": _WAIT}},  # beyond it: 3007, not 3001
)
GET = Service(
    "get",
    FOLLOW,
    "Records, in order, up to the first that is at another version than expected",
    "Ask for the records of a list with the versions that it named: a node that has not seen them yet waits for them. "
    "If stoppedAt is a number, ask for that item with 0 and for those behind it as before: the next list names it "
    "again.",
    "Records",
    (*_WITH_BODY, *_OF_A_TYPE, Code.NODE_BEHIND),
    get.REQUEST,
)
SUBMIT = Service(
    "submit",
    WRITE,
    "Adds, updates, deletes and undeletes; each record accepted or rejected by itself",
    "What is accepted is stored durably before the answer. Look at the rejections of every result: a 200 alone says "
    "nothing of a record. Send an Idempotency-Key, so that a call whose answer was lost can be sent again.",
    "Results",
    (*_WITH_BODY, *_OF_A_TYPE),
    submit.REQUEST,
    [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A UUID made for this call. Repeated with the same key and body, it gets the first answer; "
            "with another body, 3002. Kept for 30 days unless the operator says otherwise.",
            "schema": {"type": "string", "format": "uuid"},
            "examples": {"made": {"value": "0f4cfb0e-7f2b-4a47-9d3e-0a5b6d1f2c3e"}},
        }
    ],
)
ACKNOWLEDGE = Service(
    "acknowledge",
    WRITE,
    "An alert of a status into another state",
    "Who may write the source may acknowledge. The alert is named by its code and arguments, as Get brought them; the "
    "status takes a new version.",
    "Result",
    (*_WITH_BODY, *_OF_A_TYPE),
    acknowledge.REQUEST,
)
RECONCILE = Service(
    "reconcile",
    LOAD,
    "Repair, by ranges of ids",
    "Begin with one range over everything. Ask on about the smaller ranges that differ, until few records are left. It "
    "moves no cursor, and needs a few small calls where a little differs.",
    "Comparison",
    (*_WITH_BODY, *_OF_A_TYPE, *_OF_A_VERSION),
    reconcile.REQUEST,
)
SNAPSHOT = Service(
    "snapshot",
    LOAD,
    "Every live record, as lines of JSON",
    "For first loads. A first line with the window, a line for each record, a last line with the bookmark, which is "
    "the first cursor for Is Data Available. If the last line is missing, ask again with after and the same until. "
    "Sent as zstd or gzip where Accept-Encoding names them.",
    "SnapshotLine",
    (*_ALL_CALLS, Code.NOT_OF_SCHEMA, *_OF_A_TYPE, *_OF_A_VERSION),
    more=[
        {
            "name": name,
            "in": "query",
            "description": words,
            "schema": VERSION_SCHEMA,
            "examples": {"given": {"value": example}},
        }
        for name, words, example in (
            ("after", "To resume: the version of the last record that came. 0 if left out.", 10),
            (
                "until",
                "To resume: the window's end, as the first line said it. Left out: as far as the node has come.",
                12,
            ),
        )
    ],
    media_type="application/x-ndjson",
)
HELLO = Service(
    "hello",
    ABOUT,
    "Who calls, for whom",
    "The cheapest call that needs a key: make it first, to see that all is well.",
    "Hello",
    _ALL_CALLS,
)
NOTIFICATION_TYPES = Service(
    "notificationTypes",
    ABOUT,
    "The catalogue",
    "The types of this Core, what their ids look like, who sees them, and the schemas of their bodies.",
    "NotificationTypes",
    _ALL_CALLS,
)
