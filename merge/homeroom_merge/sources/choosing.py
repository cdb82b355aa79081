"""Which connector and which formatters the words of the settings mean."""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from homeroom_merge.connectors.connector import Connector
from homeroom_merge.installed import installed_formatters
from homeroom_merge.settings.model import Settings
from homeroom_merge.sources.source import Source, SourceError

_SOURCES = {
    ("edfi", "edfi"): "edfi:files",
    ("csv", "oneroster"): "oneroster:files",
    ("csv", "sds-v1"): "sds:files_v1",
    ("csv", "sds-v2.1"): "sds:files_v2",
    ("csv", "mapping"): "mapped:files",
    ("sql", "mapping"): "sql:tables",
    ("oneroster", "oneroster"): "oneroster:service",
}
_FREE_FORM = {"csv": "mapped:files_of_own", "sql": "sql:tables_of_own"}
"""Connectors that take formatters of a school's own."""


def source_of(settings: Settings, secrets: Mapping[str, str]) -> Source:
    """`secrets`: what the connector needs of them, by name.

    Raises SourceError, FormatterError, MappingFaults, OSError for a file that cannot be read.
    """
    kind, name = settings.connector.kind, settings.feed.formatter
    make, said = _SOURCES.get((kind, name)), {**settings.connector.options, **secrets}
    if make is None and kind in _FREE_FORM:
        return _made(_FREE_FORM[kind], said, installed_formatters(name))
    if make is None:
        known = ", ".join(f"{kind} with {name}" for kind, name in sorted(_SOURCES))
        raise SourceError(f"there is no connector {kind} with the formatter {name}; there are {known}")
    return _made(make, said)


def folder_of(settings: Settings) -> Connector | None:
    """The folder that the SIS drops its files into, if it does; no formatter of the school's own is loaded for it.

    Raises SourceError, MappingFaults, OSError for a file that cannot be read.
    """
    kind, said = settings.connector.kind, settings.connector.options
    if kind not in ("csv", "edfi"):
        return None
    make = _SOURCES.get((kind, settings.feed.formatter))
    return (_made(_FREE_FORM[kind], said, {}) if make is None else _made(make, said)).connector


def _made(make: str, *told: Any) -> Source:
    source: Source = resolve_name(f"homeroom_merge.sources.{make}")(*told)
    return source
