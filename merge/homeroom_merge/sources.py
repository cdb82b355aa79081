"""How a SIS is reached and what its rows mean, by the words of the settings."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
from homeroom_merge.formatters.mapping import read_mapping
from homeroom_merge.settings.model import Settings


class SourceError(Exception):
    """Settings whose connector and formatter do not fit each other, or are not there; the message says what is."""


@dataclass(frozen=True, slots=True)
class Source:
    """A SIS, and a formatter for each entity that it carries. `close` gives back what it holds."""

    connector: Connector
    formatters: Mapping[str, Formatter]
    close: Callable[[], Awaitable[None]] | None = None


def source_of(settings: Settings, secrets: Mapping[str, str]) -> Source:
    """`secrets`: themselves, by name. Raises SourceError, MappingFaults, OSError for a mapping that cannot be read."""
    kind, name = settings.connector.kind, settings.feed.formatter
    make = _SOURCES.get((kind, name))
    if make is None:
        known = ", ".join(f"{kind} with {name}" for kind, name in sorted(_SOURCES))
        raise SourceError(f"there is no connector {kind} with the formatter {name}; there are {known}")
    return make(settings.connector.options, secrets)


def _edfi(options: Mapping[str, str], _: Mapping[str, str]) -> Source:
    return Source(EdfiFolder(Path(options["folder"])), edfi.edfi_formatters(edfi.load_codes()))


def _oneroster(options: Mapping[str, str], _: Mapping[str, str]) -> Source:
    codes = oneroster_formats.load_codes()
    return _csv(options, oneroster(codes.lists), oneroster_formats.oneroster_formatters(codes))


def _oneroster_rest(options: Mapping[str, str], secrets: Mapping[str, str]) -> Source:
    codes = oneroster_formats.load_codes()
    service = Service(options["url"], options["token_url"], secrets["sis_client_id"], secrets["sis_client_secret"])
    return Source(OneRosterRest(service, oneroster(codes.lists)), oneroster_formats.oneroster_formatters(codes))


def _sds_v1(options: Mapping[str, str], _: Mapping[str, str]) -> Source:
    codes = sds_formats.load_codes()
    return _csv(options, sds_v1(codes.lists), sds_formats.sds_v1_formatters(codes))


def _sds_v2(options: Mapping[str, str], _: Mapping[str, str]) -> Source:
    codes = sds_formats.load_codes()
    return _csv(options, sds_v2(codes.lists), sds_formats.sds_v2_formatters(codes))


def _mapped(options: Mapping[str, str], _: Mapping[str, str]) -> Source:
    mapped = read_mapping(Path(options["mapping"]).read_text(encoding="utf-8"))
    return _csv(options, free_form(mapped), mapped.formatters())


def _mapped_sql(options: Mapping[str, str], secrets: Mapping[str, str]) -> Source:
    mapped = read_mapping(Path(options["mapping"]).read_text(encoding="utf-8"), sql=True)
    try:
        database = SqlDatabase(options["url"], mapped_tables(mapped), password=secrets["sis_password"])
    except NoDriverError as fault:
        raise SourceError(str(fault)) from None
    return Source(database, typed_formatters(mapped), database.close)


def _csv(options: Mapping[str, str], file_set: FileSet, formatters: Mapping[str, Formatter]) -> Source:
    drop = options.get("drop_folder")
    drop_off = DropOff(Path(drop), file_set) if drop else None
    folder, encoding = Path(options["folder"]), options.get("encoding", "")
    return Source(CsvFolder(folder, file_set, encoding=encoding, drop_off=drop_off), formatters)


_SOURCES: Mapping[tuple[str, str], Callable[[Mapping[str, str], Mapping[str, str]], Source]] = {
    ("edfi", "edfi"): _edfi,
    ("csv", "oneroster"): _oneroster,
    ("csv", "sds-v1"): _sds_v1,
    ("csv", "sds-v2.1"): _sds_v2,
    ("csv", "mapping"): _mapped,
    ("sql", "mapping"): _mapped_sql,
    ("oneroster", "oneroster"): _oneroster_rest,
}
