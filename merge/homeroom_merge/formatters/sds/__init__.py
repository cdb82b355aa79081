"""Microsoft School Data Sync CSV, the file sets v1 and v2.1, and the roster catalogue's entities."""

from collections.abc import Mapping
from pathlib import Path

from homeroom_merge.formatters.codes import CodeLists, load_lists, place_of
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.sds import v1, v2

__all__ = ["load_codes", "sds_v1_formatters", "sds_v2_formatters"]


def load_codes(own: Path | None = None) -> CodeLists:
    """The code lists that ship, and above them those of a district's own file. Raises ValueError, OSError."""
    return CodeLists(load_lists(__package__, own), place_of(own))


def sds_v1_formatters(codes: CodeLists) -> Mapping[str, DeclaredFormatter]:
    """A formatter for each entity of the file set v1, by its name, in the order of references."""
    return {formatter.entity: formatter for formatter in v1.formatters(codes)}


def sds_v2_formatters(codes: CodeLists) -> Mapping[str, DeclaredFormatter]:
    """A formatter for each entity of the file set v2.1, by its name, in the order of references."""
    return {formatter.entity: formatter for formatter in v2.formatters(codes)}
