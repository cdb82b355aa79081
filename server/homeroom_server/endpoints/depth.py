"""How deep a record's body may be: whoever walks it afterwards may do so by recursion."""

from collections.abc import Sequence
from typing import Any

from homeroom.errors import Code, Fault, error
from homeroom.protocol import JSON_DEPTH_MAX
from homeroom_server.tally import Tally


def check_depth(tally: Tally, body: bytes, document: object) -> None:
    """Raises FixRequest 3002 with a pointer to each record whose body is deeper than `JSON_DEPTH_MAX`.

    Bodies that have few brackets together, beyond one each, are not deep and not looked at. Where entries are not what
    they should be, the count may err: such a request does not match its schema.
    """
    records = document.get("records") if isinstance(document, dict) else None
    if not isinstance(records, list):
        return
    bodies = [record.get("body") if isinstance(record, dict) else None for record in records]
    of_records = 2 + len(records) + len(bodies) - bodies.count(None)
    if body.count(b"{") + body.count(b"[") - of_records < JSON_DEPTH_MAX:
        return
    deep = [Fault(f"/records/{index}/body", "is nested too deep") for index in _deep(bodies)]
    if deep:
        tally.refusals["json_depth_max"] += 1
        detail = f"{deep[0].pointer}: objects and lists may be nested {JSON_DEPTH_MAX} deep"
        raise error(Code.NOT_STRUCTURED, detail, deep)


def _deep(bodies: Sequence[object]) -> list[int]:
    return [index for index, body in enumerate(bodies) if _is_deep(body)]


def _is_deep(body: Any) -> bool:
    level = [body]
    for _ in range(JSON_DEPTH_MAX + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            return False
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return True
