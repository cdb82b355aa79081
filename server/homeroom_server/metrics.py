"""What /metrics tells: plain numbers of a node's rooms, read when somebody asks (Prometheus)."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TypeVar

import asyncpg
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from homeroom.protocol import JSON_DEPTH_MAX, RANGES_PER_CALL_MAX, RECORDS_PER_CALL_MAX, TYPES_PER_CALL_MAX
from homeroom_server.services import Services
from homeroom_server.settings import Settings
from homeroom_server.tally import Timings

T = TypeVar("T", bound=tuple[str, ...])

_REFUSING = (
    "connections_max",
    "connections_per_address_max",
    "header_bytes_max",
    "header_seconds_max",
    "body_seconds_max",
    "body_bytes_max",
    "bodies_bytes_max",
    "stalled_seconds_max",
    "turns_waiting_max",
    "turn_seconds_max",
    "calls_per_client_per_second_max",
    "held_requests_per_client_max",
    "held_requests_per_node_max",
    "writes_waiting_max",
    "bulk_readers_max",
    "types_per_call_max",
    "records_per_call_max",
    "ranges_per_call_max",
    "json_depth_max",
)
"""All that count refusals; told from the beginning, so that the first refusal is seen to rise from nothing."""


def told(services: Services) -> bytes:
    """Everything, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_Node(services))
    ProcessCollector(namespace="homeroom", registry=registry)
    return generate_latest(registry)


class _Node(Collector):
    """Labels are of sets that the code bounds: limits, services, pools."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        services, tally = self._services, self._services.tally
        yield _gauge("limit", "What a limit is set to, in the unit of its name", "limit", _limits(services))
        yield _gauge("limit_in_use", "What counts towards a limit now", "limit", _in_use(services))
        refused = {(name,): tally.refusals[name] for name in _REFUSING}
        yield _counter("limit_refusals", "Requests and connections refused or cut by a limit", ["limit"], refused)
        answers = {(name.replace("_", "-"), f"{first}xx"): count for (name, first), count in tally.answers.items()}
        yield _counter("requests", "Requests answered", ["service", "status"], answers)
        yield CounterMetricFamily("homeroom_wakes", "Held requests answered as something came", tally.wakes)
        yield CounterMetricFamily("homeroom_waits_ended", "Held requests whose wait was over", tally.waits_ended)
        yield CounterMetricFamily(
            "homeroom_commits", "Transactions of records committed here", services.committer.commits
        )
        yield CounterMetricFamily("homeroom_records_committed", "Records they wrote", services.committer.changes)
        yield _histogram("commit_seconds", "From a batch's turn to its durable commit", tally.commit_times)
        yield _histogram("wake_seconds", "From learning of a change to the answer to who waited", tally.wake_times)
        waiting = {"status": services.pulse.waiting.statuses, "access": services.pulse.waiting.students}
        yield _gauge("triggers_waiting", "Computations of the whole Core that are due, to 10,000", "kind", waiting)
        yield GaugeMetricFamily("homeroom_audit_waiting", "Reads not yet kept in the audit", services.audit.waiting)
        yield CounterMetricFamily("homeroom_audit_lost", "Reads that could not be kept in it", services.audit.lost)
        yield GaugeMetricFamily("homeroom_held_requests", "Requests held", services.waiters.held)
        yield GaugeMetricFamily(
            "homeroom_behind_seconds",
            "Since when commits are known that not all were told",
            services.feed.behind_seconds,
        )
        yield GaugeMetricFamily("homeroom_feed_alive", "1 while the database can be read", services.feed.alive)
        yield GaugeMetricFamily("homeroom_draining", "1 once the node has begun to end", services.waiters.draining)
        yield GaugeMetricFamily(
            "homeroom_tasks", "Of the event loop; a held request has none", len(asyncio.all_tasks())
        )
        pools = _pools(services)
        opened = {name: pool.get_size() for name, pool in pools.items()}
        lent = {name: pool.get_size() - pool.get_idle_size() for name, pool in pools.items()}
        yield _gauge("database_connections", "Open to the database", "pool", opened)
        yield _gauge("database_connections_in_use", "Lent to work in hand", "pool", lent)
        node = {"pid": str(os.getpid()), "reads": services.reading.place.name}
        yield InfoMetricFamily("homeroom_node", "Which of the workers answers, and where it reads", node)


def _limits(services: Services) -> Mapping[str, float]:
    names = [each.name for each in fields(Settings) if each.name.endswith("_max")]
    return {
        **{name: getattr(services.settings, name) for name in names},
        "connections_max": services.door.connections_max,
        "types_per_call_max": TYPES_PER_CALL_MAX,
        "records_per_call_max": RECORDS_PER_CALL_MAX,
        "ranges_per_call_max": RANGES_PER_CALL_MAX,
        "json_depth_max": JSON_DEPTH_MAX,
    }


def _in_use(services: Services) -> Mapping[str, float]:
    return {
        "connections_max": services.door.connections,
        "connections_per_address_max": services.door.most_of_one,
        "turns_waiting_max": services.turns.waiting,
        "requests_at_once_max": services.turns.at_once,
        "held_requests_per_client_max": services.waiters.held_by_one,
        "held_requests_per_node_max": services.waiters.held,
        "bodies_bytes_max": services.bodies.bytes_in_hand,
        "writes_waiting_max": services.committer.waiting,
        "bulk_readers_max": services.bulk_readers.admitted,
    }


def _pools(services: Services) -> Mapping[str, asyncpg.Pool]:
    """Of where the node reads now, and of where it writes."""
    reads = {str(lane): pool for lane, pool in services.reading.place.pools.items()}
    return {**reads, "write": services.write_pool, "merges": services.merges_pool}


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"homeroom_{name}", text, labels=[label])
    for of, value in values.items():
        family.add_metric([of], value)
    return family


def _histogram(name: str, text: str, timings: Timings) -> Metric:
    return HistogramMetricFamily(
        f"homeroom_{name}", text, buckets=list(timings.buckets()), sum_value=timings.sum_seconds
    )


def _counter(name: str, text: str, labels: Sequence[str], counts: Mapping[T, int]) -> Metric:
    family = CounterMetricFamily(f"homeroom_{name}", text, labels=labels)
    for of, count in counts.items():
        family.add_metric(of, count)
    return family
