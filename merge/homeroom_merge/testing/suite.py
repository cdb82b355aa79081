"""The behaviour of every formatter as one suite: a school's tests subclass it, and pytest runs it."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from homeroom_merge.formatters import kit
from homeroom_merge.formatters.formatter import Formatter, Row
from homeroom_merge.values import Json
from homeroom_merge.verification import Verifier

PAIRS_MAX = 100


class FormatterSuite:
    """Give a subclass a name that begins with Test, a `formatter` and `rows`, and whatever else there is.

    Several formatters: an autouse fixture of the subclass, with a parameter, sets the attributes of `self`.
    """

    formatter: Formatter
    rows: Sequence[Row]
    """Rows of different records as the SIS has them, without a fault: two at least show the most."""
    bodies: Mapping[str, Json] = {}
    """What the hub may say of records, by key."""
    always: Collection[str] = ()
    """Members that no record is without, and that never change: those of its key, constants."""
    secrets: Collection[str] = ()
    """Texts in the rows that must not leave the SIS."""
    schema: Mapping[str, Any] | None = None
    """The JSON Schema of the hub's notification type."""

    def test_its_rows_are_read_without_a_fault(self) -> None:
        assert self.rows, "give the suite rows as the SIS has them"
        for row in self.rows:
            kit.check_valid(self.formatter, row)

    def test_each_row_has_a_key_of_its_own(self) -> None:
        kit.check_keys(self.formatter, self.rows)

    def test_what_is_read_is_written_and_read_alike(self) -> None:
        for row in self.rows:
            reading = kit.check_valid(self.formatter, row)
            kit.check_round_trip(self.formatter, reading.key, reading.body)
            kit.check_steady(self.formatter, row)

    def test_what_the_hub_says_is_written_and_read_again(self) -> None:
        for key, body in self.bodies.items():
            kit.check_round_trip(self.formatter, key, body)
            for row in self.rows:
                if kit.check_valid(self.formatter, row).key == key:
                    kit.check_round_trip(self.formatter, key, body, row)

    def test_what_the_hub_changes_or_takes_away_is_written(self) -> None:
        for row, other in list(product(self.rows, self.rows))[:PAIRS_MAX]:
            kit.check_changes(self.formatter, row, other, self.always)

    def test_what_the_hub_does_not_carry_stays(self) -> None:
        for row in self.rows:
            kit.check_keeps(self.formatter, row)

    def test_what_it_is_given_stays_as_it_is(self) -> None:
        for row in self.rows:
            kit.check_pure(self.formatter, row)

    def test_nonsense_becomes_faults_and_never_raises(self) -> None:
        columns = sorted({column for row in self.rows for column in row})
        kit.check_random(self.formatter, columns)
        for row in self.rows[:PAIRS_MAX]:
            for spoiled in kit.spoiled_rows(row):
                kit.check_steady(self.formatter, spoiled)

    def test_no_secret_is_read(self) -> None:
        for row in self.rows:
            kit.check_no_secrets(self.formatter, row, self.secrets)

    def test_what_is_read_fits_the_schema(self) -> None:
        if self.schema is not None:
            verifier = Verifier(self.schema, self.formatter.fields)
            assert self.formatter.fields <= set(self.schema.get("properties", self.formatter.fields))
            for row in self.rows:
                assert verifier.faults(kit.check_valid(self.formatter, row).body) == []
