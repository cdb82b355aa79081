"""The table and the view of one notification type: their names and statements.

SQL has no parameters for names. Those put together here come from `NotificationType.parse` (letters, digits, a year)
and from the members of a schema, which are quoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Self

from homeroom.protocol import NotificationType

_OWN_COLUMNS = ("id", "version", "changed_at", "body")
_MEMBERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Table:
    """The statements on the records of one type."""

    name: str
    create: str
    index: Sequence[str]
    drop: str
    add_at: str
    overwrite: str
    remove: str
    find: str
    record: str
    live: str
    versions: str
    totals: str
    rows: str
    keep_past: str
    after: str
    tombstones: str
    statuses_ahead: str
    statuses_behind: str
    strays: str

    @classmethod
    def of(cls, name: str, source: str | None = None) -> Self:
        """The table of a type; ValueError unless the name is one."""
        table = f"records_{_plain(name)}"
        columns = "id, version, changed_at, deleted, source_version, body, checksum"
        sources = f"records_{_plain(source or name)}"
        return cls(
            table,
            create=_template().format(table=table, view=_plain(name)),
            index=(
                f'create unique index if not exists "{table}_id" on "{table}" (id)',
                f'create index if not exists "{table}_live" on "{table}" (version) where not deleted',
            ),
            drop=f'drop table if exists "{table}"',
            add_at=f'insert into "{table}" (sequence, {columns}) values (?, ?, ?, ?, ?, ?, ?, ?)',
            overwrite=(
                f'update "{table}" set changed_at = ?, deleted = ?, source_version = ?, body = ?, checksum = ?'
                " where id = ?"
            ),
            remove=f'delete from "{table}" where id = ?',
            find=f'select id, version, deleted from "{table}" where id in (select value from json_each(?))',
            record=f'select id, version, changed_at, deleted, source_version, body from "{table}" where id = ?',
            live=f'select id, version from "{table}" where not deleted',
            versions=f'select version from "{table}" where not deleted order by version',
            totals=(
                "select count(*), coalesce(sum(version), 0), coalesce(max(version), 0)"
                f' from "{table}" where not deleted'
            ),
            rows=f'select id, version, deleted, body, checksum from "{table}"',
            keep_past=(
                "insert into replica_past (type, sequence, id, version, deleted, body, next_sequence) "
                f'select ?, sequence, id, version, deleted, body, ? from "{table}" where id = ?'
            ),
            after=f"""
                select c.sequence, c.id, c.version, c.deleted, c.body, p.body as old, p.deleted as old_deleted
                from (
                    select * from (select sequence, id, version, deleted, body from "{table}"
                                   where sequence > :after order by sequence limit :most)
                    union all
                    select * from (select sequence, id, version, deleted, body from replica_past
                                   where type = :type and sequence > :after order by sequence limit :most)
                ) c
                left join replica_past p
                    on p.type = :type and p.next_sequence = c.sequence and p.sequence < p.next_sequence
                order by c.sequence limit :most
            """,
            tombstones=f'select count(*) from "{table}" where deleted',
            strays=f'select id from "{sources}" where id not in (select id from "{table}")',
            statuses_ahead=f"""
                select s.id from "{table}" s left join "{sources}" r on r.id = s.id
                where not s.deleted and (r.id is null or r.version < s.source_version)
            """,
            statuses_behind=f"""
                select s.id from "{table}" s join "{sources}" r on r.id = s.id
                where not s.deleted and r.version > s.source_version
            """,
        )


@cache
def added(name: str, rows: int) -> str:
    """The statement that adds so many rows, numbered on from the last."""
    table = f"records_{_plain(name)}"
    columns = "id, version, changed_at, deleted, source_version, body, checksum"
    return f'insert into "{table}" ({columns}) values ' + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)


def view_statements(name: str, members: Sequence[str]) -> tuple[str, str]:
    """Drop and create the view of a type: its live records once they are loaded, a column for each member."""
    view = _plain(name)
    taken = {column.lower() for column in _OWN_COLUMNS}
    columns = []
    for member in members[:_MEMBERS_MAX]:
        if any(sign in member for sign in "\"'\\") or not member:
            continue
        column = member if member.lower() not in taken else f"{member}_"
        if column.lower() not in taken:
            taken.add(column.lower())
            columns.append(f'json_extract(body, \'$."{member}"\') as "{column}"')
    listed = ", ".join(["id", "version", "changed_at", *columns, "body"])
    loaded = f"(select loaded from replica_type where name = '{name}')"
    return (
        f'drop view if exists "{view}"',
        f'create view "{view}" as select {listed} from "records_{view}" where not deleted and {loaded}',
    )


def _plain(name: str) -> str:
    return str(NotificationType.parse(name)).replace(".", "_")


def _template() -> str:
    return resources.files(__package__).joinpath("records.sql").read_text(encoding="utf-8")
