"""Which conflicts of a feed somebody looks at: kept in the query from page to page, and through every form."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

from homeroom_merge.store import conflicts
from homeroom_merge.store.conflicts import FIRST, LAST, Place, Wanted
from homeroom_merge.store.connection import Conn

POINTER_MAX = 3_000
"""Characters of a field: longer ones are in no index."""
KEY_MAX = 200
OPEN, DECIDED, ALL = "open", "decided", "all"
_STANDS = {OPEN: ("open", "apart"), DECIDED: ("decided",), ALL: ("open", "apart", "decided")}
_THE_RECORD = "(record)"
"""The field of a conflict that is over the record itself."""
_NUMBER_DIGITS_MAX = 18
"""Of a number that PostgreSQL can keep."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What stands in the query; empty: nothing. `shows`: open, decided or all."""

    entity: str = ""
    field: str = ""
    key: str = ""
    shows: str = OPEN

    @classmethod
    def of(cls, said: Mapping[str, str]) -> "Filter":
        """Any text will do: what is no filter is none."""
        entity, field, key = (
            said.get(name, "").replace("\0", "").strip()[:longest]
            for name, longest in (("entity", KEY_MAX), ("field", POINTER_MAX), ("key", KEY_MAX))
        )
        shows = said.get("show", OPEN)
        return cls(entity, field, key, shows if shows in _STANDS else OPEN)

    @classmethod
    def of_text(cls, query: str) -> "Filter":
        """Of a query within a query."""
        try:
            return cls.of(dict(parse_qsl(query, max_num_fields=20)))
        except ValueError:
            return cls()

    @property
    def stands(self) -> tuple[str, ...]:
        return _STANDS[self.shows]

    @property
    def query(self) -> str:
        """As it stands in addresses."""
        said = {"entity": self.entity, "field": self.field, "key": self.key, "show": self.shows}
        return urlencode({name: value for name, value in said.items() if value and (name, value) != ("show", OPEN)})

    def at(self, entity: str, pointer: str) -> str:
        """The query that shows just a field."""
        return Filter(entity, pointer or _THE_RECORD, self.key, self.shows).query

    async def wanted(self, connection: Conn, feed: str) -> Wanted:
        """What the state is asked for."""
        pointer = "" if self.field == _THE_RECORD else self.field or None
        records = await conflicts.records_of(connection, feed, self.key) if self.key else None
        return Wanted(self.entity or None, pointer, records)


def place_text(place: Place) -> str:
    """A place in an address."""
    return f"{(place.since - FIRST.since) // timedelta(microseconds=1)}.{place.record}.{place.pointer}"


def place_of(text: str) -> Place | None:
    """The place that an address names; None: it names none."""
    if text == "end":
        return LAST
    micros, _, rest = text.replace("\0", "").partition(".")
    record, _, pointer = rest.partition(".")
    if number_of(micros) is None or number_of(record) is None or len(micros) == _NUMBER_DIGITS_MAX:
        return None
    return Place(FIRST.since + timedelta(microseconds=int(micros)), int(record), pointer[:POINTER_MAX])


def number_of(text: str) -> int | None:
    """A number that PostgreSQL can keep; None: it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS_MAX else None
