"""How a SIS is reached and what its rows mean, by the words of the settings."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from homeroom_merge.connectors.connector import Connector
from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_free import free_form
from homeroom_merge.connectors.csv_oneroster import oneroster
from homeroom_merge.connectors.csv_sds import sds_v1, sds_v2
from homeroom_merge.connectors.csv_tables import FileSet
from homeroom_merge.connectors.edfi import EdfiFolder
from homeroom_merge.connectors.oneroster_rest import OneRosterRest
from homeroom_merge.connectors.oneroster_service import Service
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.connectors.sql_engine import NoDriverError
from homeroom_merge.connectors.sql_mapped import mapped_tables, typed_formatters
from homeroom_merge.formatters import edfi
from homeroom_merge.formatters import oneroster as oneroster_formats
from homeroom_merge.formatters import sds as sds_formats
from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.formatters.mapping import Mapped, read_mapping
from homeroom_merge.installed import installed_formatters
from homeroom_merge.settings.model import Settings

T = TypeVar("T")


class SourceError(Exception):
    """Settings whose connector and formatter do not fit each other, or are not there; the message says what is."""


@dataclass(frozen=True, slots=True)
class Source:
    """A SIS, and a formatter for each entity that it carries. `close` gives back what it holds."""

    connector: Connector
    formatters: Mapping[str, Formatter]
    close: Callable[[], Awaitable[None]] | None = None


Said = Mapping[str, str]
"""Options of a connector, and its secrets, by name."""


def source_of(settings: Settings, secrets: Mapping[str, str]) -> Source:
    """`secrets`: what the connector needs of them, by name.

    Raises SourceError, FormatterError, MappingFaults, OSError for a file that cannot be read.
    """
    kind, name = settings.connector.kind, settings.feed.formatter
    make, said = _SOURCES.get((kind, name)), {**settings.connector.options, **secrets}
    if make is None and kind in _FREE_FORM:
        return _FREE_FORM[kind](said, installed_formatters(name))
    if make is None:
        known = ", ".join(f"{kind} with {name}" for kind, name in sorted(_SOURCES))
        raise SourceError(f"there is no connector {kind} with the formatter {name}; there are {known}")
    return make(said)


def folder_of(settings: Settings) -> CsvFolder | EdfiFolder | None:
    """The folder that the SIS drops its files into, if it does; no formatter of the school's own is loaded for it.

    Raises SourceError, MappingFaults, OSError for a file that cannot be read.
    """
    kind, said = settings.connector.kind, settings.connector.options
    if kind not in ("csv", "edfi"):
        return None
    make = _SOURCES.get((kind, settings.feed.formatter))
    connector = (_own(said, {}) if make is None else make(said)).connector
    return connector if isinstance(connector, CsvFolder | EdfiFolder) else None


def _edfi(said: Said) -> Source:
    return Source(EdfiFolder(Path(said["folder"])), edfi.edfi_formatters(_codes(edfi.load_codes, said)))


def _oneroster(said: Said) -> Source:
    codes = _codes(oneroster_formats.load_codes, said)
    return _csv(said, oneroster(codes.lists), oneroster_formats.oneroster_formatters(codes))


def _oneroster_rest(said: Said) -> Source:
    codes = _codes(oneroster_formats.load_codes, said)
    service = Service(said["url"], said["token_url"], said["sis_client_id"], said["sis_client_secret"])
    return Source(OneRosterRest(service, oneroster(codes.lists)), oneroster_formats.oneroster_formatters(codes))


def _sds_v1(said: Said) -> Source:
    codes = _codes(sds_formats.load_codes, said)
    return _csv(said, sds_v1(codes.lists), sds_formats.sds_v1_formatters(codes))


def _sds_v2(said: Said) -> Source:
    codes = _codes(sds_formats.load_codes, said)
    return _csv(said, sds_v2(codes.lists), sds_formats.sds_v2_formatters(codes))


def _mapped(said: Said) -> Source:
    mapped = mapped_by(Path(said["mapping"]))
    return _csv(said, free_form(mapped), mapped.formatters())


def _mapped_sql(said: Said) -> Source:
    mapped = mapped_by(Path(said["mapping"]), sql=True)
    return _sql(said, mapped, typed_formatters(mapped))


def _own(said: Said, formatters: Mapping[str, Formatter]) -> Source:
    """Files that a mapping names, and what their rows mean a formatter of the school's own says."""
    return _csv(said, free_form(mapped_by(Path(said["mapping"]), needs_fields=False)), formatters)


def _own_sql(said: Said, formatters: Mapping[str, Formatter]) -> Source:
    return _sql(said, mapped_by(Path(said["mapping"]), sql=True, needs_fields=False), formatters)


def mapped_by(path: Path, *, sql: bool = False, needs_fields: bool = True) -> Mapped:
    """A mapping file. Raises SourceError, MappingFaults, OSError."""
    if not path.name:
        raise SourceError('no mapping is named; write mapping = "mapping.toml" under [connector]')
    try:
        return read_mapping(path.read_text(encoding="utf-8"), path.name, sql=sql, needs_fields=needs_fields)
    except UnicodeDecodeError as fault:
        raise SourceError(f"{path.name}: it is not UTF-8; save it as such") from fault


def _codes(load: Callable[[Path | None], T], said: Said) -> T:
    """The code lists that ship, and a district's own above them."""
    own = Path(said["codes"]) if said.get("codes") else None
    try:
        return load(own)
    except ValueError as fault:
        raise SourceError(f"the codes of {own} cannot be used: {fault}") from fault


def _csv(said: Said, file_set: FileSet, formatters: Mapping[str, Formatter]) -> Source:
    drop = said.get("drop_folder")
    drop_off = DropOff(Path(drop), file_set) if drop else None
    folder, encoding = Path(said["folder"]), said.get("encoding", "")
    return Source(CsvFolder(folder, file_set, encoding=encoding, drop_off=drop_off), formatters)


def _sql(said: Said, mapped: Mapped, formatters: Mapping[str, Formatter]) -> Source:
    try:
        database = SqlDatabase(said["url"], mapped_tables(mapped), password=said["sis_password"])
    except NoDriverError as fault:
        raise SourceError(str(fault)) from None
    return Source(database, formatters, database.close)


_SOURCES: Mapping[tuple[str, str], Callable[[Said], Source]] = {
    ("edfi", "edfi"): _edfi,
    ("csv", "oneroster"): _oneroster,
    ("csv", "sds-v1"): _sds_v1,
    ("csv", "sds-v2.1"): _sds_v2,
    ("csv", "mapping"): _mapped,
    ("sql", "mapping"): _mapped_sql,
    ("oneroster", "oneroster"): _oneroster_rest,
}

_FREE_FORM: Mapping[str, Callable[[Said, Mapping[str, Formatter]], Source]] = {"csv": _own, "sql": _own_sql}
"""Connectors that take formatters of a school's own."""
