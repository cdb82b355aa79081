"""For the tests of a school: the suite that every formatter passes, and SIS doubles with the mishaps of real ones."""

from homeroom_merge.testing.dropoff import DropOffSis
from homeroom_merge.testing.memory import DATABASE, DROP_OFF, MemorySis
from homeroom_merge.testing.mishaps import Fault
from homeroom_merge.testing.rest import Mishap, RestSis
from homeroom_merge.testing.sql import SqlSis
from homeroom_merge.testing.suite import FormatterSuite

__all__ = ["DATABASE", "DROP_OFF", "DropOffSis", "Fault", "FormatterSuite", "MemorySis", "Mishap", "RestSis", "SqlSis"]
