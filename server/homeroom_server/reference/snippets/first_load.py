"""All records of a type, into School.json.   python first_load.py School"""

import json
import os
import sys
import time
from contextlib import closing

import httpx
from calling import Refused, send

OTHER_HISTORY = 2003


def first_load(kind):
    """The records by id, and the cursor from which to follow what changes."""
    records, after, window = {}, 0, ""
    while True:
        try:
            for line in lines(f"/v1/snapshot/{kind}?after={after}{window}"):
                if "until" in line:
                    window = f"&until={line['until']}"
                elif "bookmark" in line:
                    return {"cursor": line["bookmark"], "records": records}
                else:
                    records[line["id"]] = {"version": line["coreVersion"], "body": line["body"]}
                    after = line["coreVersion"]
        except Refused as refused:
            if refused.problem["code"] != OTHER_HISTORY:
                raise
            records, after, window = {}, 0, ""  # the Core was restored meanwhile: from the beginning
        time.sleep(1)  # the stream was cut: go on behind the last record, in the same window


def lines(path):
    """The lines of a stream, up to where it ends or is cut."""
    with closing(send("GET", path, stream=True)) as answer:
        try:
            yield from map(json.loads, answer.iter_lines())
        except httpx.TransportError:
            return


def save(kind, state):
    """Records and cursor together, or neither: they belong to each other."""
    with open(f"{kind}.json.new", "w") as file:
        json.dump(state, file)
    os.replace(f"{kind}.json.new", f"{kind}.json")


if __name__ == "__main__":
    (kind,) = sys.argv[1:]
    state = first_load(kind)
    save(kind, state)
    print(f"{len(state['records'])} records, cursor {state['cursor']}")
