"""Tables of a SIS's own database, whose columns a mapping file names."""

from collections.abc import Mapping
from pathlib import Path

from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.connectors.sql_engine import NoDriverError
from homeroom_merge.connectors.sql_mapped import mapped_tables, typed_formatters
from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.formatters.mapping import Mapped
from homeroom_merge.sources.mapped import mapped_by
from homeroom_merge.sources.source import Said, Source, SourceError


def tables(said: Said) -> Source:
    """Tables whose fields it maps, too."""
    mapped = mapped_by(Path(said["mapping"]), sql=True)
    return _sql(said, mapped, typed_formatters(mapped))


def tables_of_own(said: Said, formatters: Mapping[str, Formatter]) -> Source:
    """Tables that it names, and what their rows mean a formatter of the school's own says."""
    return _sql(said, mapped_by(Path(said["mapping"]), sql=True, needs_fields=False), formatters)


def _sql(said: Said, mapped: Mapped, formatters: Mapping[str, Formatter]) -> Source:
    try:
        database = SqlDatabase(said["url"], mapped_tables(mapped), password=said["sis_password"])
    except NoDriverError as fault:
        raise SourceError(str(fault)) from None
    return Source(database, formatters, database.close)
