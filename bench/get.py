"""How many records does Get answer a second, and how many equal Gets, as after a change that wakes thousands?"""

import argparse
from functools import partial
from statistics import median
from typing import Any

import httpx

from bench.callers import Load, call
from bench.loader import request
from bench.rig import SCHOOLS, Rig, report, running_node, spread

_RECORDS = 20_000
_PER_CALL = 1_000
_PAGE_CALLERS = 2
_HERD = 64
_BODY = {"text": "x" * 250, "grade": "10", "n": 12345}


def _ids(rig: Rig) -> list[str]:
    """Submit records of all schools; their ids."""
    headers = {"Authorization": f"Bearer {rig.key}", "Organization": "O.1"}
    ids = [f"r{number:06}" for number in range(_RECORDS)]
    with httpx.Client(base_url=f"http://{rig.host}:{rig.port}", headers=headers, timeout=60) as client:
        for start in range(0, _RECORDS, _PER_CALL):
            records = [
                {"id": name, "expectedVersion": 0, "organization": _school(number), "body": _BODY}
                for number, name in enumerate(ids[start : start + _PER_CALL])
            ]
            client.post("/v1/submit/Note", json={"records": records}).raise_for_status()
    return ids


def _school(number: int) -> str:
    return f"S.{number % SCHOOLS:04}"


def _page(key: str, ids: list[str], caller: int, number: int) -> bytes:
    """The next page; two callers never ask for the same at once."""
    start = (caller * _RECORDS // 2 + number * _PER_CALL) % _RECORDS
    return _request(key, ids[start : start + _PER_CALL], "O.1")


def _one(key: str, ids: list[str], caller: int, number: int) -> bytes:
    """A record that nobody else asks for."""
    return _request(key, [ids[(caller * (_RECORDS // _HERD) + number) % _RECORDS]], "O.1")


def _same(key: str, ids: list[str], organizations: int, caller: int, number: int) -> bytes:
    """The record that everybody asks for, by so many organisations."""
    return _request(key, ids[:1], "O.1" if organizations == 1 else _school(caller % organizations))


def _request(key: str, ids: list[str], organization: str) -> bytes:
    return request(key, "/v1/get/Note", {"records": [{"id": name} for name in ids]}, organization)


def measure(rig: Rig, seconds: float, times: int) -> None:
    """Everything, and the table."""
    ids = _ids(rig)
    loads = {
        "pages": (_PAGE_CALLERS, partial(_page, rig.key, ids)),
        "different": (_HERD, partial(_one, rig.key, ids)),
        "equal": (_HERD, partial(_same, rig.key, ids, 1)),
        "equalOfManySchools": (_HERD, partial(_same, rig.key, ids, SCHOOLS)),
    }
    found: dict[str, list[Load]] = {name: [] for name in loads}
    for _ in range(times):
        for name, (callers, make) in loads.items():
            found[name].append(call(rig, callers, seconds, make))
    _say(found)


def _say(found: dict[str, list[Load]]) -> None:
    calls = {name: [load.calls_per_second for load in loads] for name, loads in found.items()}
    pages = [each * _PER_CALL for each in calls["pages"]]
    said = {
        f"{_HERD} callers, a record each": "different",
        f"{_HERD} callers of one organisation, the same record": "equal",
        f"{_HERD} callers of {SCHOOLS} schools, the same record": "equalOfManySchools",
    }
    rows = [[f"{_PAGE_CALLERS} callers, {_PER_CALL:,} records a call", "records/s", spread(pages)]]
    rows += [[words, "calls/s", spread(calls[name])] for words, name in said.items()]
    rows += [[f"CPU of the callers, {name}", "of a core", spread(_shares(found[name]), 2)] for name in found]
    rows.append(["equal / different", "ratio", f"{median(calls['equal']) / median(calls['different']):.2f}"])
    figures: dict[str, Any] = {"pagesRecordsPerSecond": pages}
    figures |= {f"{name}CallsPerSecond": calls[name] for name in said.values()}
    figures |= {f"{name}CallersCpuShare": _shares(loads) for name, loads in found.items()}
    report("get", ["what", "unit", "median (lowest-highest)"], rows, figures)


def _shares(loads: list[Load]) -> list[float]:
    return [load.cpu_share for load in loads]


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=3, help="of each measurement")
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    given = arguments.parse_args()
    with running_node() as rig:
        measure(rig, given.seconds, given.times)


if __name__ == "__main__":
    main()
