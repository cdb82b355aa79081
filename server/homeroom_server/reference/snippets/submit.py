"""Puts members into a record, which is made if there is none.   python submit.py School 0982 '{"names": []}'"""

import json
import sys
import uuid

from calling import call
from get import get

VERSION_MISMATCH = 3004


def submit(kind, record):
    """Its result. The key lets a call whose answer was lost be sent again: it is never done twice."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    (result,) = call("POST", f"/v1/submit/{kind}", {"records": [record]}, key)["results"]
    return result


def put(kind, record_id, members):
    """The result of a change that keeps what others have written meanwhile."""
    while True:
        (found,) = get(kind, [{"id": record_id}])
        body = found.get("body", {}) | members
        result = submit(kind, {"id": record_id, "expectedVersion": found.get("coreVersion", 0), "body": body})
        if VERSION_MISMATCH not in [rejection["code"] for rejection in result["rejections"]]:
            return result


def report(result):
    """A call that succeeded says nothing of its records: each has a result of its own."""
    if not result["rejections"]:
        print(f"{result['id']} stored as version {result['coreVersion']}")
        return
    for rejection in result["rejections"]:
        print("{code} {title}: {detail} (what to do: {action})".format(**rejection), file=sys.stderr)
        for fault in rejection.get("errors", []):
            print("   {pointer} {detail}".format(**fault), file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    kind, record_id, members = sys.argv[1:]
    report(put(kind, record_id, json.loads(members)))
