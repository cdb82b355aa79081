"""Pure functions between one SIS's shape and the hub's, an entity at a time, a direction each."""

from homeroom_merge.formatters.formatter import Fault, Formatter, Reading, Row

__all__ = ["Fault", "Formatter", "Reading", "Row"]
