"""The suite for formatters that are declared: their records are drawn, of all kinds."""

from collections.abc import Mapping

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeroom_merge.formatters import kit
from homeroom_merge.formatters.codes import Codes
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.testing import FormatterSuite
from homeroom_merge.values import Json
from tests.merge.bodies import bodies, check_words, columns_of
from tests.merge.tables import ROSTER

_SHARED = [HealthCheck.differing_executors, HealthCheck.too_slow]


class DeclaredSuite:
    """For each entity by which a subclass is parametrized."""

    formatters: Mapping[str, DeclaredFormatter]
    codes: Codes

    @settings(max_examples=20, deadline=None, suppress_health_check=_SHARED)
    @given(data=st.data())
    def test_records_of_all_kinds_keep_the_promises(self, entity: str, data: st.DataObject) -> None:
        suite = FormatterSuite()
        suite.formatter = formatter = self.formatters[entity]
        names = [*formatter.key, "schoolYear"]
        suite.always = {name for each in names for name in each.split("|")}
        needed = frozenset(each.split("|")[0] for each in names) & formatter.fields
        body, other = (data.draw(bodies(formatter.members, self.codes, needed)) for _ in range(2))
        stood = formatter.write(_key(formatter, other), other, None)
        kit.check_round_trip(formatter, _key(formatter, body), body, stood)
        suite.rows, suite.bodies = [stood], {_key(formatter, body): body}
        suite.test_its_rows_are_read_without_a_fault()
        suite.test_what_is_read_is_written_and_read_alike()
        suite.test_what_the_hub_says_is_written_and_read_again()
        suite.test_what_the_hub_changes_or_takes_away_is_written()
        suite.test_what_the_hub_does_not_carry_stays()
        suite.test_what_it_is_given_stays_as_it_is()

    def test_rows_of_nonsense_are_faults_and_never_raise(self, entity: str) -> None:
        formatter = self.formatters[entity]
        kit.check_random(formatter, [*columns_of(formatter), *formatter.key_columns])

    def test_every_word_fits_the_roster_schema(self, entity: str) -> None:
        schema = ROSTER[entity].schema
        assert schema is not None
        assert self.formatters[entity].fields <= schema["properties"].keys()
        check_words(self.formatters[entity].members, schema["properties"], self.codes)


def _key(formatter: DeclaredFormatter, body: Json) -> str:
    """The key, of its members as the formatter names them."""
    parts = [next(body[name] for name in names.split("|") if name in body) for names in formatter.key]
    return code_key(*map(str, parts)) if parts else "k-1"
