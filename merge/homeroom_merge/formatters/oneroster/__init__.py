"""OneRoster 1.2 CSV and the roster catalogue's entities."""

from collections.abc import Mapping
from pathlib import Path

from homeroom_merge.formatters.codes import CodeLists, load_lists, place_of
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.oneroster import entities

__all__ = ["load_codes", "oneroster_formatters"]


def load_codes(own: Path | None = None) -> CodeLists:
    """The code lists that ship, and above them those of a district's own file. Raises ValueError, OSError."""
    return CodeLists(load_lists(__package__, own), place_of(own))


def oneroster_formatters(codes: CodeLists) -> Mapping[str, DeclaredFormatter]:
    """A formatter for each entity, by its name, in the order in which records refer to each other."""
    return {formatter.entity: formatter for formatter in entities.formatters(codes)}
