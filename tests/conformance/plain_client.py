"""A client of its own make, with the standard library alone, and with one of many faults if it is told to have one."""

import hashlib
import json
import os
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

Json = dict[str, Any]

URL, KEY, SCHOOL = (os.environ[f"HOMEROOM_{name}"] for name in ("URL", "KEY", "ORGANIZATION"))
TYPES = os.environ["HOMEROOM_TYPES"].split(",")
FAULT = sys.argv[1] if len(sys.argv) > 1 else ""
PER_GET = 10_000 if FAULT == "asks-beyond-the-limit" else 1_000


class Refused(Exception):
    """An answer that is a problem, or no answer: status, code (0 if none) and Retry-After."""

    def __init__(self, status: int, code: int, retry_after: float) -> None:
        self.status, self.code, self.retry_after = status, code, retry_after


def call(path: str, body: Json, seconds: float = 10, idempotency_key: str = "") -> Json:
    headers = {"Authorization": f"Bearer {KEY}", "Organization": SCHOOL, "Content-Type": "application/json"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    request = urllib.request.Request(f"{URL}/v1/{path}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            found: Json = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as refusal:
        content = refusal.read()
        known = refusal.headers["Content-Type"] == "application/problem+json"
        code = json.loads(content)["code"] if known else 0
        raise Refused(refusal.code, code, float(refusal.headers["Retry-After"] or 0)) from None


def version_hash(versions: list[int]) -> str:
    if FAULT == "hashes-texts":
        return hashlib.md5(",".join(map(str, sorted(versions))).encode()).hexdigest()
    return hashlib.md5(b"".join(struct.pack(">q", version) for version in sorted(versions))).hexdigest()


class Copy:
    """What is held of one type: versions of live records, those of all ever held, of sources, and the cursor."""

    def __init__(self, name: str) -> None:
        self.name, self.cursor, self.asked = name, 0, 0
        self.live: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.sources: dict[str, int] = {}

    def question(self) -> Json:
        asked: Json = {"notificationType": self.name, "maxCoreVersion": self.cursor}
        self.asked += 1
        no_hash = FAULT == "never-hashes" or (FAULT == "hashes-seldom" and self.asked % 3)
        return asked if no_hash else asked | {"versionHash": version_hash(list(self.live.values()))}

    def take(self, entry: Json) -> None:
        match entry["reason"]:
            case "newer":
                listed = entry["records"][:2] if FAULT == "takes-part-of-a-list" else entry["records"]
                pairs = [(each["id"], each["coreVersion"]) for each in listed]
                if not self.bring([(i, version) for i, version in pairs if self.known.get(i, 0) < version]):
                    return
            case "mismatch" if FAULT != "does-not-repair":
                self.repair(entry)
            case "none" if FAULT == "stops-after-a-wait" and self.live:
                time.sleep(60)
        if FAULT != "forgets-the-bookmark" or entry["reason"] == "newer":
            self.cursor = max(self.cursor, entry["maxCoreVersion"])

    def repair(self, entry: Json) -> None:
        listed = {each["id"]: each["coreVersion"] for each in entry["records"]}
        while not entry["complete"] and FAULT != "repairs-by-the-first-page":
            asked = {"notificationType": self.name, "maxCoreVersion": entry["maxCoreVersion"]}
            asked["listAfter"] = max(listed.values())
            (entry,) = call("is-data-available", {"waitSeconds": 0, "types": [asked]})["types"]
            listed |= {each["id"]: each["coreVersion"] for each in entry["records"]}
        for record_id in self.live.keys() - listed.keys():
            del self.live[record_id]
        self.bring([(i, 0) for i, version in listed.items() if self.live.get(i) != version], repair=True)

    def bring(self, wanted: list[tuple[str, int]], *, repair: bool = False) -> bool:
        """Whether all of it came; the cursor stays behind what did not."""
        for start in range(0, len(wanted), PER_GET):
            page = wanted[start : start + PER_GET]
            items = [{"id": i, "expectedVersion": version} | self.known_source(i) for i, version in page]
            answer = call(f"get/{self.name}", {"records": items})
            for record in answer["records"]:
                if FAULT == "stops-at-no-access" and record["availability"] != "Normal":
                    break
                self.store(record, repair=repair)
            if answer["stoppedAt"] is not None and FAULT != "ignores-the-stop":
                stopped = answer["stoppedAt"]
                self.cursor = (page[stopped - 1][1] if stopped else 0) or self.cursor
                hot = [] if FAULT == "insists-on-its-version" else [(page[stopped][0], 0)]
                self.bring(hot, repair=repair)
                return False
        return True

    def known_source(self, record_id: str) -> Json:
        if FAULT == "takes-the-status-for-its-source" and record_id in self.live:
            return {"knownSourceVersion": self.live[record_id]}
        return {"knownSourceVersion": self.sources[record_id]} if record_id in self.sources else {}

    def store(self, record: Json, *, repair: bool) -> None:
        record_id = record["id"]
        if record["availability"] != "Normal":
            self.known.pop(record_id, None)
            if FAULT != "ignores-no-access":
                self.live.pop(record_id, None)
            return
        version = record["coreVersion"]
        if FAULT == "newest-wins" and version < self.known.get(record_id, 0):
            return
        self.known[record_id] = version
        if "source" in record and FAULT != "ignores-the-source":
            self.sources[record_id] = record["source"]["coreVersion"]
        if not record["deleted"]:
            self.live[record_id] = version
        elif FAULT != "ignores-deletes":
            self.live.pop(record_id, None)


COPIES = {name: Copy(name) for name in TYPES}
ACCEPTED: dict[str, int] = {}


def follow() -> None:
    failures = 0
    while True:
        wait = 0 if FAULT in ("never-waits", "floods") else 20
        try:
            answer = call(
                "is-data-available", {"waitSeconds": wait, "types": [c.question() for c in COPIES.values()]}, 30
            )
            for entry in answer["types"]:
                COPIES[entry["notificationType"]].take(entry)
            failures = 0
            time.sleep(0.2 if FAULT == "never-waits" else 0)
        except Refused as refusal:
            failures += 1
            react(refusal, failures)


def react(refusal: Refused, failures: int) -> None:
    if refusal.status in (401, 403) and FAULT != "retries-a-disabled-key":
        sys.exit(f"a person must act: {refusal.code}")
    if refusal.code == 2003:
        for copy in COPIES.values():
            copy.cursor = copy.cursor if FAULT == "keeps-its-cursor" else 0
    elif FAULT != "retries-at-once":
        retry_after = 0.0 if FAULT == "ignores-retry-after" else refusal.retry_after
        time.sleep(max(retry_after, 0.2 * 2**failures))


def obey() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        submit(order["notificationType"], order["records"])


def submit(name: str, records: list[Json]) -> None:
    items = [record | {"expectedVersion": standing(name, record["id"])} for record in records]
    key = "11111111-1111-4111-8111-111111111111" if FAULT == "has-one-key" else str(uuid.uuid4())
    results = None
    while results is None:
        try:
            results = call(f"submit/{name}", {"records": items}, idempotency_key=key)["results"]
        except Refused:
            time.sleep(0.5)
    for item, result in zip(items, results, strict=True):
        settle(name, item, result)
    if FAULT == "repeats-what-was-in-part-accepted" and any(result["rejections"] for result in results):
        call(f"submit/{name}", {"records": items})


def settle(name: str, item: Json, result: Json) -> None:
    if FAULT == "takes-a-rejection-for-a-success":
        COPIES[TYPES[0]].live[item["id"]] = result["coreVersion"]
    if not result["rejections"]:
        ACCEPTED[item["id"]] = result["coreVersion"]
        if FAULT == "takes-its-cursor-from-submit":
            COPIES[TYPES[0]].cursor = result["coreVersion"]
        return
    (rejection,) = result["rejections"]
    if FAULT == "overwrites-blindly" and rejection["code"] == 3004:
        call(f"submit/{name}", {"records": [item | {"expectedVersion": rejection["coreVersion"]}]})
    if FAULT == "tries-another-year" and rejection["code"] == 9030:
        call(f"submit/{TYPES[0]}", {"records": [item]})


def standing(name: str, record_id: str) -> int:
    """The version of which a write is a change."""
    copy = COPIES.get(name)
    held = copy.known.get(record_id, 0) if copy else COPIES[TYPES[0]].sources.get(record_id, 0)
    if FAULT == "forgets-what-it-wrote":
        return 0
    return max(held, ACCEPTED.get(record_id, 0))


def main() -> None:
    match FAULT:
        case "crashes":
            raise RuntimeError("the store is full")
        case "closes-its-input":
            os.close(0)
        case "hangs":
            time.sleep(600)
        case "sends-rubbish":
            urllib.request.urlopen(
                urllib.request.Request(f"{URL}/v1/is-data-available", b"\xff{", {"Authorization": f"Bearer {KEY}"})
            )
        case "speaks-without-end":
            while True:
                sys.stdout.write("x" * 1000 + "\n")
    threading.Thread(target=obey, daemon=True).start()
    follow()


if __name__ == "__main__":
    main()
