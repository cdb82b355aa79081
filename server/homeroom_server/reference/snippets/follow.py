"""Keeps School.json in step, for as long as it runs.   python follow.py School"""

import hashlib
import json
import os
import struct
import sys

from calling import Refused, call
from first_load import OTHER_HISTORY, first_load, save
from get import get

WAIT_SECONDS = 50


def follow(kind, state):
    """Apply every change as it comes; prove by the hash that nothing is missing."""
    while True:
        news = ask(kind, state)
        if news["reason"] == "mismatch":  # the Core has something else than we hold
            state = first_load(kind)
            print(f"{kind} loaded anew: {len(state['records'])} records", flush=True)
        else:
            wanted = [{"id": each["id"], "expectedVersion": each["coreVersion"]} for each in news["records"]]
            for record in get(kind, wanted):
                apply(kind, state["records"], record)
            state["cursor"] = news["maxCoreVersion"]
        save(kind, state)


def ask(kind, state):
    """What is new; held by the Core until something is, or the wait ends."""
    stream = {
        "notificationType": kind,
        "maxCoreVersion": state["cursor"],
        "versionHash": version_hash(state["records"]),
    }
    try:
        (news,) = call("POST", "/v1/is-data-available", {"waitSeconds": WAIT_SECONDS, "types": [stream]})["types"]
    except Refused as refused:
        if refused.problem["code"] != OTHER_HISTORY:
            raise
        return {"reason": "mismatch"}
    return news


def apply(kind, records, record):
    """Your own work begins here."""
    if record["availability"] != "Normal":  # we may see it no longer
        records.pop(record["id"], None)
        said = "dropped"
    elif record["deleted"]:
        records.pop(record["id"], None)
        said = "deleted"
    else:
        records[record["id"]] = {"version": record["coreVersion"], "body": record["body"]}
        said = "changed"
    print(kind, record["id"], said, flush=True)


def version_hash(records):
    """MD5 over the versions of all that is held, ascending, each as 8 bytes big-endian."""
    versions = sorted(record["version"] for record in records.values())
    return hashlib.md5(struct.pack(f">{len(versions)}q", *versions), usedforsecurity=False).hexdigest()


def loaded(kind):
    """What an earlier run has saved, or a first load."""
    if not os.path.exists(f"{kind}.json"):
        return first_load(kind)
    with open(f"{kind}.json") as file:
        return json.load(file)


if __name__ == "__main__":
    (kind,) = sys.argv[1:]
    follow(kind, loaded(kind))
