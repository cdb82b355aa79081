"""How nodes are: what each said of itself, all of them together over the last minutes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from homeroom_server.store.connection import Conn
from homeroom_server.store.schema import SCHEMA_VERSION

_BEHIND_MAX = 10_000
"""Changes of one type that are counted: beyond it, how many more there are tells nobody anything."""
_NODES_MAX = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """What a node says of itself. `changes`, `commits` and `wakes`: within the `seconds` since it last did."""

    seconds: float
    held: int
    changes: int
    commits: int
    wakes: int
    wake_p50_ms: float | None
    wake_p99_ms: float | None


class NodeRow(NamedTuple):
    """A node as it last was. `is_heard`: of late.

    `behind`: changes that it had told nobody of, the oldest for `behind_seconds`. `sample`: its newest.
    """

    name: str
    started_at: datetime
    heard_at: datetime
    is_heard: bool
    reads_from: str
    behind: int
    behind_seconds: float
    sample: int | None
    held: int
    changes_per_second: float
    commits_per_second: float


class Point(NamedTuple):
    """All nodes together, over some seconds from `at`; None where none has said anything, or nobody was woken.

    `wake_p50_ms` is the mean of the nodes', by how many they woke; `wake_p99_ms` that of the slowest.
    """

    at: datetime
    held: float | None
    changes_per_second: float | None
    commits_per_second: float | None
    wakes: int | None
    wake_p50_ms: float | None
    wake_p99_ms: float | None


class Waiting(NamedTuple):
    """Records whose status, and students whose access, wait to be computed by any node."""

    statuses: int
    students: int


async def say(
    connection: Conn, node: UUID, name: str, started_at: datetime, reads_from: str, seen: Mapping[int, int]
) -> None:
    """That a node lives, and where it stands: the version up to which it has told everybody, by type."""
    await connection.execute(
        """
        insert into node (id, name, started_at, heard_at, reads_from, behind, behind_since, schema_version)
        select $1, $2, $3, now(), $4, coalesce(sum(unseen.count), 0)::int, min(unseen.since), $8::int
        from notification_type t
        left join unnest($5::int[], $6::bigint[]) as s(number, seen) on s.number = t.number
        cross join lateral (
            select count(*), min(changed_at) as since from (
                select r.changed_at from record r
                where r.notification_type = t.number and r.version > coalesce(s.seen, 0) order by r.version limit $7
            ) as each
        ) as unseen
        where t.watermark > coalesce(s.seen, 0)
        on conflict (id) do update set heard_at = excluded.heard_at, reads_from = excluded.reads_from,
            behind = excluded.behind, behind_since = excluded.behind_since
        """,
        node,
        name,
        started_at,
        reads_from,
        list(seen),
        list(seen.values()),
        _BEHIND_MAX,
        SCHEMA_VERSION,
    )


async def add_sample(connection: Conn, node: UUID, sample: Sample) -> None:
    await connection.execute(
        """
        insert into node_sample (node, seconds, held, changes, commits, wakes, wake_p50_ms, wake_p99_ms)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        node,
        sample.seconds,
        sample.held,
        sample.changes,
        sample.commits,
        sample.wakes,
        sample.wake_p50_ms,
        sample.wake_p99_ms,
    )


async def leave(connection: Conn, node: UUID) -> None:
    """It ends in good order. What it said goes on to count for the time in which it said it."""
    await connection.execute("delete from node where id = $1", node)


async def count_waiting(connection: Conn) -> Waiting:
    """What is due and not leased, up to so many of each that more tell nobody anything."""
    row = await connection.fetchrow(
        """
        select (select count(*)::int from (select from status_trigger where due_at <= now() limit $1) as s),
               (select count(*)::int from (
                    select from access_trigger
                    where due_on <= coalesce((select access_day from core), '-infinity') and leased_until < now()
                    limit $1) as a)
        """,
        _BEHIND_MAX,
    )
    assert row is not None, "a select without from has a row"
    return Waiting(*row.values())


async def wait_for_no_disk(connection: Conn) -> None:
    """To the end of the transaction: its commit waits for no disk, and what a crash takes is not missed."""
    await connection.execute("set local synchronous_commit = off")


async def forget(connection: Conn) -> None:
    """Samples of an hour ago, and nodes that were not heard of for a day."""
    await connection.execute("delete from node_sample where taken_at < now() - interval '1 hour'")
    await connection.execute("delete from node where heard_at < now() - interval '1 day'")


async def read_nodes(connection: Conn, silent_seconds: int) -> list[NodeRow]:
    """As each last was; who is heard of comes first, by name. What was heard in times to come was a wrong clock's."""
    rows = await connection.fetch(
        """
        select n.name, n.started_at, n.heard_at, abs(extract(epoch from now() - n.heard_at)) < $1 as is_heard,
               n.reads_from, n.behind, coalesce(extract(epoch from n.heard_at - n.behind_since), 0)::float,
               s.number, coalesce(s.held, 0), coalesce(s.changes / s.seconds, 0)::float,
               coalesce(s.commits / s.seconds, 0)::float
        from node n
        left join lateral (
            select * from node_sample s where s.node = n.id order by s.number desc limit 1
        ) s on true
        order by is_heard desc, n.name, n.heard_at desc limit $2
        """,
        silent_seconds,
        _NODES_MAX,
    )
    return [NodeRow(*row.values()) for row in rows]


async def read_points(connection: Conn, minutes: int, each_seconds: int) -> list[Point]:
    """The last minutes, in order and without a gap; what has just begun is not among them."""
    rows = await connection.fetch(
        """
        with span as (
            select until - make_interval(mins => $1) as since, until, make_interval(secs => $2) as each
            from date_bin(make_interval(secs => $2), now(), 'epoch') as until
        ), of_nodes as (
            select date_bin(span.each, s.taken_at, 'epoch') as at, avg(s.held) as held,
                   sum(s.changes) / sum(s.seconds) as changes, sum(s.commits) / sum(s.seconds) as commits,
                   sum(s.wakes) as wakes, sum(s.wake_p50_ms * s.wakes) as p50_of_all, max(s.wake_p99_ms) as p99
            from node_sample s, span where s.taken_at >= span.since and s.taken_at < span.until
            group by 1, s.node
        )
        select at, sum(n.held)::float, sum(n.changes)::float, sum(n.commits)::float, sum(n.wakes)::int,
               (sum(n.p50_of_all) / nullif(sum(n.wakes), 0))::float, max(n.p99)::float
        from span cross join generate_series(span.since, span.until - span.each, span.each) as at
        left join of_nodes n using (at) group by at order by at
        """,
        minutes,
        each_seconds,
    )
    return [Point(*row.values()) for row in rows]
