"""Records by their ids.   python get.py School 0982"""

import json
import sys

from calling import call

PER_CALL = 1_000


def get(kind, wanted):
    """The records, each `{"id", "expectedVersion"}` of `wanted`."""
    while wanted:
        answer = call("POST", f"/v1/get/{kind}", {"records": wanted[:PER_CALL]})
        yield from answer["records"]
        wanted = wanted[len(answer["records"]) :]
        if answer["stoppedAt"] is not None:  # it has changed again: as it stands, and the next list names it once more
            wanted = [{"id": wanted[0]["id"]}, *wanted[1:]]


if __name__ == "__main__":
    kind, *ids = sys.argv[1:]
    for record in get(kind, [{"id": each} for each in ids]):
        print(json.dumps(record))
