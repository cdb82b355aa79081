"""How do single writes, batches and empty polls compare with Kinto's, on the same PostgreSQL? It has no long polls.

32 callers each; batches of 25 records, which is what Kinto takes in one call by default. Its callers write to a
collection each, because it turns writers of the same one away (409) when they meet; ours write to one stream.
"""

import argparse
import asyncio
import base64
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import orjson
import uvloop

from bench.loader import connect, request, spin
from bench.peers import MissingPeerError, cache_folder, free_port, running
from bench.rig import Rig, prepared_database, report, serving, spread

_CALLERS = 32
_BATCH = 25
_BODY = {"text": "x" * 250, "grade": "10"}
_BUCKET = "/v1/buckets/bench"
_DATABASE = "kinto"
_INI = """\
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
threads = 8
[app:main]
use = egg:kinto
kinto.userid_hmac_secret = bench
multiauth.policies = basicauth
multiauth.policy.basicauth.use = kinto.core.authentication.BasicAuthAuthenticationPolicy
kinto.bucket_create_principals = system.Authenticated
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = {url}
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.postgresql
kinto.permission_url = {url}
"""


@contextmanager
def opened(database_url: str) -> Iterator[tuple[str, int]]:
    """Running on a database of its own, with a collection."""
    home = cache_folder("kinto")
    kinto = home / "bin/kinto"
    if not kinto.exists():
        install = f"python3 -m venv {home} && {home}/bin/pip install 'kinto[postgresql]' 'sqlalchemy<2.1'"
        raise MissingPeerError(f"Kinto: {install}")
    port = free_port()
    url = urlunsplit(urlsplit(database_url)._replace(path=f"/{_DATABASE}")).replace("%", "%%")
    with tempfile.TemporaryDirectory(prefix="homeroom-bench-kinto-") as folder:
        ini = Path(folder, "kinto.ini")
        ini.write_text(_INI.format(port=port, url=url), encoding="utf-8")
        subprocess.run([str(kinto), "migrate", "--ini", str(ini)], check=True, capture_output=True, timeout=60)
        with running([str(kinto), "start", "--ini", str(ini)], port, Path(folder, "said.log")):
            yield "127.0.0.1", port


def _call(method: str, path: str, body: object = None) -> bytes:
    content = b"" if body is None else orjson.dumps(body)
    who = base64.b64encode(b"bench:bench").decode()
    head = f"{method} {path} HTTP/1.1\r\nHost: peer\r\nAuthorization: Basic {who}\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content


async def of_kinto(at: tuple[str, int], seconds: float) -> dict[str, float]:
    """Single writes, records in batches and empty polls a second."""
    first = await connect(*at)
    await first.send(_call("PUT", _BUCKET))
    for caller in range(_CALLERS):
        await first.send(_call("PUT", f"{_BUCKET}/collections/{caller}"))
    created: Any = orjson.loads(await first.send(_call("POST", _records(0), {"data": _BODY})))
    first.close()
    poll = _call("GET", f"{_records(0)}?_since={created['data']['last_modified']}")
    one = [_call("POST", _records(caller), {"data": _BODY}) for caller in range(_CALLERS)]
    many = [_call("POST", "/v1/batch", {"requests": _writes(caller)}) for caller in range(_CALLERS)]
    return {
        "empty polls/s": await spin(at, _CALLERS, seconds, lambda _: poll),
        "single writes/s": await spin(at, _CALLERS, seconds, lambda caller: one[caller]),
        "records/s in batches": await spin(at, _CALLERS, seconds, lambda caller: many[caller], _BATCH),
    }


def _records(caller: int) -> str:
    return f"{_BUCKET}/collections/{caller}/records"


def _writes(caller: int) -> list[dict[str, Any]]:
    return [{"method": "POST", "path": _records(caller), "body": {"data": _BODY}}] * _BATCH


async def of_homeroom(rig: Rig, seconds: float) -> dict[str, float]:
    """The same three."""
    at = (rig.host, rig.port)

    def write(records: int) -> bytes:
        some = [{"id": uuid4().hex, "expectedVersion": 0, "body": _BODY} for _ in range(records)]
        return request(rig.key, "/v1/submit/Note", {"records": some}, "S.0001")

    first = await connect(*at)
    version = orjson.loads(await first.send(write(1)))["results"][0]["coreVersion"]
    first.close()
    asked = {"waitSeconds": 0, "types": [{"notificationType": "Note", "maxCoreVersion": version}]}
    poll = request(rig.key, "/v1/is-data-available", asked, "S.0002")
    return {
        "empty polls/s": await spin(at, _CALLERS, seconds, lambda _: poll),
        "single writes/s": await spin(at, _CALLERS, seconds, lambda _: write(1)),
        "records/s in batches": await spin(at, _CALLERS, seconds, lambda _: write(_BATCH), _BATCH),
    }


async def _add_database(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"create database {_DATABASE}")
    await connection.close()


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=4, help="of each measurement")
    arguments.add_argument("--times", type=int, default=3, help="each is repeated")
    given = arguments.parse_args()
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    with prepared_database() as bed:
        asyncio.run(_add_database(bed.database_url))
        for _ in range(given.times):
            with serving(bed) as rig:
                ours.append(uvloop.run(of_homeroom(rig, given.seconds)))
            try:
                with opened(bed.database_url) as at:
                    theirs.append(uvloop.run(of_kinto(at, given.seconds)))
            except MissingPeerError as missing:
                print(f"skipped {missing}")
                return
    rows = []
    for what in ours[0]:
        own, its = ([each[what] for each in found] for found in (ours, theirs))
        rows.append([what, spread(own), spread(its), f"{median(own) / median(its):.1f}"])
    report("kinto", ["what", "homeroom", "Kinto", "ours / its"], rows, {"homeroom": ours, "kinto": theirs})


if __name__ == "__main__":
    main()
