"""CSV files whose columns a mapping file names."""

from collections.abc import Mapping
from pathlib import Path

from homeroom_merge.connectors.csv_free import free_form
from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.formatters.mapping import Mapped, read_mapping
from homeroom_merge.sources.csv_files import csv_source
from homeroom_merge.sources.source import Said, Source, SourceError


def files(said: Said) -> Source:
    """Files whose fields it maps, too."""
    mapped = mapped_by(Path(said["mapping"]))
    return csv_source(said, free_form(mapped), mapped.formatters())


def files_of_own(said: Said, formatters: Mapping[str, Formatter]) -> Source:
    """Files that it names, and what their rows mean a formatter of the school's own says."""
    return csv_source(said, free_form(mapped_by(Path(said["mapping"]), needs_fields=False)), formatters)


def mapped_by(path: Path, *, sql: bool = False, needs_fields: bool = True) -> Mapped:
    """A mapping file. Raises SourceError, MappingFaults, OSError."""
    if not path.name:
        raise SourceError('no mapping is named; write mapping = "mapping.toml" under [connector]')
    try:
        return read_mapping(path.read_text(encoding="utf-8"), path.name, sql=sql, needs_fields=needs_fields)
    except UnicodeDecodeError as fault:
        raise SourceError(f"{path.name}: it is not UTF-8; save it as such") from fault
