"""How the Core in a database stands: its schema, its catalogue, what waits, who works on it, its backups."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from homeroom_server.access.calendar import AccessDay
from homeroom_server.catalogue import CatalogueError, load_catalogue
from homeroom_server.doctor.finding import Finding, fix, ok, warning
from homeroom_server.store.examination import WorkRow
from homeroom_server.store.pulse import NodeRow
from homeroom_server.store.schema import SCHEMA_VERSION

_OVERDUE_SECONDS_MAX = 60.0
_BEHIND_SECONDS_MAX = 10.0
_BACKUP_DAYS_MAX = 2.0
_SCHEMA, _CATALOGUE, _WORK, _NODES, _BACKUP = "schema", "catalogue", "triggers", "nodes", "backups"


def check_schema(found: int | None) -> Finding:
    """None: there is none."""
    if found is None:
        return fix(
            _SCHEMA, "there is no Core in this database", "homeroom migrate, or look whether it is the right one"
        )
    if found < SCHEMA_VERSION:
        return fix(_SCHEMA, f"it is {found}, this homeroom works on {SCHEMA_VERSION}", "homeroom migrate")
    if found > SCHEMA_VERSION:
        return fix(_SCHEMA, f"it is {found}, this homeroom works on {SCHEMA_VERSION}", "install a newer homeroom")
    return ok(_SCHEMA, str(found))


def check_types(catalogue: str, with_records: Sequence[str]) -> Iterator[Finding]:
    """Whether the catalogue speaks of all that the database holds; nothing of one that does not load."""
    try:
        known = load_catalogue(catalogue).types
    except CatalogueError:
        return
    if strange := [name for name in with_records if name not in known]:
        todo = "start nodes and commands with the catalogue under which they were written (HOMEROOM_CATALOGUE)"
        yield fix(_CATALOGUE, f"{catalogue} lacks types of which there are records: {', '.join(strange)}", todo)
    else:
        yield ok(_CATALOGUE, f"{catalogue} loads, and has all {len(with_records)} types of which there are records")


def check_work(work: WorkRow) -> Finding:
    """Whether statuses are calculated as they become due."""
    found = f"{work.triggers:,} statuses and the access of {work.students:,} students wait to be computed"
    if work.triggers and work.overdue_seconds > _OVERDUE_SECONDS_MAX:
        since = f"{found}, the oldest for {work.overdue_seconds:,.0f} s"
        return warning(_WORK, since, "see that a node runs and what its log says; a first load takes its time")
    return ok(_WORK, found)


def check_access_day(day: AccessDay) -> Finding:
    looked_at = "access day"
    if day.held:
        found = f"held at {day.day}: {day.lapsing:,} of {day.active:,} associations would lapse at once"
        todo = "look at the clocks and at what was loaded of late; if they should lapse: homeroom access-day --advance"
        return fix(looked_at, found, todo)
    if day.is_behind:
        found = f"{day.day or 'not begun'}, and today is {day.today}"
        return warning(looked_at, found, "see that a node runs: it moves the day on within a minute")
    return ok(looked_at, str(day.day))


def check_nodes(nodes: Sequence[NodeRow]) -> Iterator[Finding]:
    """Who was heard of, and whether each tells what is committed."""
    heard = [node for node in nodes if node.is_heard]
    if not heard:
        yield warning(_NODES, "none was heard of within the last 15 s", "homeroom serve, or see why it does not run")
    else:
        yield ok(_NODES, f"alive: {', '.join(node.name for node in heard)}")
    for node in nodes:
        if not node.is_heard:
            found = f"{node.name} was last heard of at {node.heard_at:%Y-%m-%d %H:%M:%S} UTC and did not say goodbye"
            yield warning(
                _NODES, found, "see whether it died or cannot reach the database; a day later it is forgotten"
            )
        elif node.behind_seconds > _BEHIND_SECONDS_MAX:
            found = f"{node.name} is {node.behind_seconds:,.0f} s behind, by {node.behind:,} changes"
            yield warning(_NODES, found, "see its log, and what it reads from: it tells its clients too late")


def check_backup(last_at: datetime | None, now: datetime) -> Finding:
    """How old the last backup by `homeroom backup` is, as the audit has it."""
    todo = "homeroom backup DIR, every night; unless you have backups of another kind, of which nothing is known here"
    if last_at is None:
        return warning(_BACKUP, "none was ever made by homeroom backup", todo)
    days = (now - last_at).total_seconds() / 86_400
    found = f"the last was made at {last_at:%Y-%m-%d %H:%M} UTC"
    return warning(_BACKUP, f"{found}, {days:.0f} days ago", todo) if days > _BACKUP_DAYS_MAX else ok(_BACKUP, found)
