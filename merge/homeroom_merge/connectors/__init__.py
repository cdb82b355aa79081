"""Bring records and take them: the hub, and one kind of SIS each."""

from homeroom_merge.connectors.connector import Abilities, Connector, Coverage, Fetch, Outcome, SourceRow

__all__ = ["Abilities", "Connector", "Coverage", "Fetch", "Outcome", "SourceRow"]
