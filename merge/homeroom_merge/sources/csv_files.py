"""Folders of CSV files, whatever is in them."""

from collections.abc import Mapping
from pathlib import Path

from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_tables import FileSet
from homeroom_merge.formatters.formatter import Formatter
from homeroom_merge.sources.source import Said, Source


def csv_source(said: Said, file_set: FileSet, formatters: Mapping[str, Formatter]) -> Source:
    """The folder that is said, and where what is written is dropped, if anything is."""
    drop = said.get("drop_folder")
    drop_off = DropOff(Path(drop), file_set) if drop else None
    folder, encoding = Path(said["folder"]), said.get("encoding", "")
    return Source(CsvFolder(folder, file_set, encoding=encoding, drop_off=drop_off), formatters)
