"""How long does the server take for each page of the console, in a large province with thousands of clients?

Each round starts a new node on the same database, signs in an operator and an administrator of an authority, and takes
every page of PAGES once (the first visit), then several times more, one after the other on one connection, from sending
the request to the end of the answer. Each round looks for records that nobody has looked at.
"""

import argparse
import asyncio
import http.client
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from urllib.parse import urlencode

import asyncpg
from rich.progress import Progress, track

from bench.footprint import settled
from bench.province import build, organizations
from bench.rig import Bed, prepared_database, report, serving
from homeroom_server import people
from homeroom_server.people import PersonRole

LIMIT_MS = 100
PAGES = {
    "Now": "/console/now",
    "Clients": "/console/clients",
    "Clients, page 2": "/console/clients?page=2",
    "Clients, page 100": "/console/clients?page=100",
    "Clients, one of them": "/console/clients?client={client}",
    "A client": "/console/clients/{client_path}",
    "Records, by id": "/console/records?q={id}",
    "Records, by student": "/console/records?q={student}",
    "Records, nothing found": "/console/records?q=none-{id}",
    "Record": "/console/records/CourseEnrolment.2027/{id}",
    "Record, a student": "/console/records/Student/{student}",
    "Record, a public one": "/console/records/Section.2027/{section}",
}
OPERATORS = ("Now", "A client")
"""Not asked for by the administrator, who may not see the one, and of the other only clients of the authority."""
FILES = {
    "Clients as JSON": "/console/clients?as=json",
    "Clients as CSV": "/console/clients?as=csv",
    "Records as JSON": "/console/records?q={student}&as=json",
}
"""Whole tables: measured, and held to no limit."""
_AUTHORITY = "A.0007"
_PEOPLE: Mapping[str, tuple[PersonRole, Sequence[str]]] = {
    "operator": (PersonRole.OPERATOR, ()),
    "administrator": (PersonRole.ADMINISTRATOR, (_AUTHORITY,)),
}
_PASSWORD = "measured by the hundred"


@dataclass(slots=True)
class Timed:
    """Milliseconds of one page for one person, over all rounds."""

    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    failed: int = 0


Figures = dict[tuple[str, str], Timed]
"""By page and person."""


def measure(records: int, clients: int, rounds: int, times: int) -> Figures:
    """Build the province, then ask."""
    with prepared_database("alberta", organizations()) as bed:
        asyncio.run(_prepare(bed, records, clients))
        return ask(bed, rounds, times)


def ask(bed: Bed, rounds: int, times: int) -> Figures:
    """Every page and file, on a province with clients and people."""
    found: Figures = {}
    for turn in track(range(rounds), "pages"):
        places = asyncio.run(_places(bed, turn))
        with serving(bed) as rig:
            asyncio.run(settled(rig.pid, bed.postgres_pid))
            for person in _PEOPLE:
                with _signed_in(rig.host, rig.port, person) as browser:
                    for name, path in {**PAGES, **FILES}.items():
                        if person != "operator" and name in OPERATORS:
                            continue
                        timed = found.setdefault((name, person), Timed())
                        for visit in range(1 + (times if name in PAGES else 1)):
                            spent, is_there = browser.take(path.format(**places))
                            (timed.again if visit else timed.first).append(spent)
                            timed.failed += not is_there
    return found


async def _prepare(bed: Bed, records: int, clients: int) -> None:
    begun = time.perf_counter()
    with Progress() as progress:
        await build(bed.database_url, records, progress)
    await populate(bed, clients)
    print(f"{records:,} records and {clients:,} clients built in {time.perf_counter() - begun:.0f} s")


async def populate(bed: Bed, clients: int) -> None:
    """Clients with seven streams each, what came to be known of students, and two people."""
    connection = await asyncpg.connect(bed.database_url)
    try:
        await connection.execute(_CLIENTS, clients)
        await connection.execute(_STREAMS)
        await connection.execute(_EVENTS)
        for name, (role, codes) in _PEOPLE.items():
            await people.create(connection, name, role, codes, _PASSWORD)
        for table in ("client", "client_stream", "access_event"):
            await connection.execute(f"vacuum (analyze) {table}")
        await connection.execute("checkpoint")
    finally:
        await connection.close()


async def _places(bed: Bed, turn: int) -> Mapping[str, str]:
    """What is looked for in that round: records of the administrator's authority."""
    connection = await asyncpg.connect(bed.database_url)
    try:
        row = await connection.fetchrow(_PLACES, _AUTHORITY, 1 + 7 * turn)
    finally:
        await connection.close()
    assert row is not None, "each authority has records"
    return {**row, "client": f"School+{1 + turn}", "client_path": f"School%20{1 + turn}"}


class _Browser:
    """Somebody who is signed in, on one connection."""

    def __init__(self, connection: http.client.HTTPConnection, cookie: str) -> None:
        self._connection = connection
        self._headers = {"Cookie": cookie}

    def take(self, path: str) -> tuple[float, bool]:
        """Milliseconds, and whether it was there."""
        begun = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return (time.perf_counter() - begun) * 1000, answer.status == 200


@contextmanager
def _signed_in(host: str, port: int, person: str) -> Iterator[_Browser]:
    with closing(http.client.HTTPConnection(host, port)) as connection:
        form = urlencode({"name": person, "password": _PASSWORD})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/console/sign-in", form, headers)
        answer = connection.getresponse()
        answer.read()
        cookie = answer.getheader("Set-Cookie", "").partition(";")[0]
        yield _Browser(connection, cookie)


def show(found: Figures, records: int, clients: int) -> None:
    """The table, and which pages take too long."""
    rows, figures, slow = [], [], []
    for (name, person), timed in found.items():
        said = [median(timed.first), max(timed.first), median(timed.again), max(timed.again)]
        rows.append([name, person, *(f"{value:,.1f}" for value in said)])
        figures.append({"page": name, "person": person, **asdict(timed)})
        if timed.failed or (name in PAGES and max(said) > LIMIT_MS):
            slow.append(f"{name} ({person}{', failed' if timed.failed else ''})")
    columns = ["ms", "who", "first visit: median", "worst", "again: median", "worst"]
    about = {"records": records, "clients": clients, "limitMs": LIMIT_MS, "pages": figures, "slow": slow}
    report("console", columns, rows, about)
    print(f"more than {LIMIT_MS} ms at worst: {'; '.join(slow) or 'no page'}")


def main() -> None:
    """Command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=10_000_000)
    arguments.add_argument("--clients", type=int, default=2_500)
    arguments.add_argument("--rounds", type=int, default=5, help="each on a new node")
    arguments.add_argument("--times", type=int, default=20, help="each page is taken again in a round")
    given = arguments.parse_args()
    show(measure(given.records, given.clients, given.rounds, given.times), given.records, given.clients)


_CLIENTS = "insert into client (name, role) select 'School ' || n, 'writer' from generate_series(1, $1::int) n"
_STREAMS = """
insert into client_stream (client, organization, notification_type, asked_at, cursor, told_reason, told_records,
                           in_step_at, in_step_version, mismatch_since, mismatch_count)
select c.number, o.number, k.name || case when t.school_year = 0 then '' else '.' || t.school_year end,
       now() - case when c.place % 40 = 1 then interval '2 hours' else interval '1 second' * (c.place % 50) end,
       case when c.place % 25 = 2 then 0 else t.watermark end, 'none', 0,
       now() - interval '1 hour', t.watermark,
       case when c.place % 100 = 3 and t.number = 1 then now() - interval '1 day' end,
       case when c.place % 100 = 3 and t.number = 1 then 500 else 0 end
from (select number, row_number() over (order by number) as place from client where name like 'School %') c
join (select number, row_number() over (order by code) as place, count(*) over () as among
      from organization where code like 'S.%') o on o.place = 1 + c.place % o.among
cross join notification_type t join record_type k on k.number = t.record_type
"""
"""One client in 40 is silent, one in 25 has taken nothing of any type, one in 100 has another hash."""
_EVENTS = """
insert into access_event (happened_at, student, organization, cause, source, begun)
select r.changed_at, r.id, r.owner, 'enrolled', r.id, true
from record r join record_type k on k.number = r.record_type where k.name = 'Student'
"""
_PLACES = """
select (select v.id from viewer v where v.notification_type = e.number and v.organization = o.number
        order by v.version offset $2 limit 1) as id,
       (select v.id from viewer v where v.notification_type = p.number and v.organization = o.number
        order by v.version offset $2 limit 1) as student,
       (select r.id from record r where r.notification_type = s.number order by r.version offset $2 limit 1) as section
from organization o
cross join lateral (select t.number from notification_type t join record_type k on k.number = t.record_type
                    where k.name = 'CourseEnrolment' and t.school_year = 2027) e
cross join lateral (select t.number from notification_type t join record_type k on k.number = t.record_type
                    where k.name = 'Student') p
cross join lateral (select t.number from notification_type t join record_type k on k.number = t.record_type
                    where k.name = 'Section') s
where o.code = $1
"""


if __name__ == "__main__":
    main()
