"""SIS doubles with the mishaps of real ones at will: for the tests of this package, and of a school's own."""

from homeroom_merge.testing.memory import DATABASE, DROP_OFF, Fault, MemorySis
from homeroom_merge.testing.rest import Mishap, RestSis

__all__ = ["DATABASE", "DROP_OFF", "Fault", "MemorySis", "Mishap", "RestSis"]
