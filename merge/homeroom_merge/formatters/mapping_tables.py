"""Where the rows of a mapped entity stand in a database: the lines of a mapping file that only SQL knows."""

from dataclasses import dataclass

from homeroom_merge.toml_tables import Table


@dataclass(frozen=True, slots=True)
class MappedTable:
    """`query`: what is read in place of the table. `changed`: the column that grows with each change."""

    name: str
    schema: str
    query: str
    changed: str
    gives_keys: bool


def mapped_table(entity: Table) -> MappedTable:
    """What an entity says of its table; faults are told of what does not fit together."""
    found = MappedTable(
        entity.text("table", ""),
        entity.text("schema", ""),
        entity.text("query", ""),
        entity.text("changed", ""),
        entity.boolean("gives_keys", False),
    )
    if found.gives_keys and not found.name:
        entity.fault("gives_keys", "a query takes no new rows", 'write table = "pupil", too, or leave this out')
    return found


def check_is_readable(entity: Table, table: MappedTable, key: tuple[str, ...]) -> None:
    """Fault what a database cannot do with an entity."""
    if not table.name and not table.query:
        cure = f'write table = "{entity.path[-1].lower()}", or query = "select ..." to read by'
        entity.fault("", "neither a table nor a query is named", cure)
    if len(key) > 1:
        cure = 'write key = ["Id"]; of several columns, let a query make one, and name it'
        entity.fault("key", "in a database, one column is the key", cure)
