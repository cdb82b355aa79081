"""Settings of a feed: what a person writes, what it comes to, and what is said of every mistake."""

import re
import time
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom_merge.guards import Limits, Season
from homeroom_merge.merging import DeletePolicy, OnDelete
from homeroom_merge.records import Method
from homeroom_merge.rules import Rules
from homeroom_merge.settings.connectors import KINDS
from homeroom_merge.settings.diff import diff
from homeroom_merge.settings.model import Entity, Realtime, Settings, SettingsError, Stage
from homeroom_merge.settings.reading import read_settings
from homeroom_merge.settings.start import as_toml
from homeroom_merge.values import ABSENT
from tests.merge.settings_faults import FAULTS

ENTITIES = ["School", "Student", "Section", "CourseEnrolment"]
PLAIN = as_toml("csv", "maple-ridge", "A.3020", ["S.0982"], ENTITIES)
RICH = """\
[feed]
name = "maple-ridge"
authority = "A.3020"
schools = ["S.0982", "S.0983"]
formatter = "sds"
alarm_hours = 36
nightly = "30 1 * * *"

[hub]
url = "https://core.example.org"
organizations = ["A.3020"]

[connector]
kind = "csv"
folder = "/srv/exports"

[secrets]
hub_key = "MAPLE_KEY"

[defaults]
method = "resolveAsSis"
guards = { updates = 50 }

[entity.Student]
school_years = [2026, 2027]
steps = ["fetchHub", "fetchSis", "persistHub"]
fields = { "/grade" = "alwaysSis", "/addresses/$/city" = "manual" }

[entity.Section]
notification_type = "ClassSection"
guards = { deletes = false, deletes_apart = true }
absences = 3
[entity.Section.delete_policy]
on_delete = "deactivate"
member = "status"
value = "inactive"

[[seasons]]
name = "turn of the year"
starts = 2026-08-15
ends = 2026-09-15
guards = { creates = false }

[[blackouts]]
name = "report cards"
starts = 2026-06-22
ends = 2026-06-26
"""


def faults(text: str, *overrides: str, types: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read_settings(text, overrides, types)
    return [str(fault) for fault in raised.value.faults]


def broken(old: str, new: str) -> list[str]:
    assert old in RICH
    return faults(RICH.replace(old, new))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_feed_starts_from_a_file_that_is_good_and_says_the_defaults(kind: str) -> None:
    text = as_toml(kind, "maple-ridge", "A.3020", ["S.0982"], ENTITIES)
    plain = read_settings(text)
    assert plain.entity == {name: Entity(name) for name in ENTITIES}
    examples = r'# "/grade".*\n'
    said = re.sub(r"(?m)^# (\[\[|(?:[a-z_]+|\"/[a-z]+\") = )", r"\1", re.sub(examples, "", text.split("\n# Days")[0]))
    assert said.count("#") < text.count("#")
    assert diff(read_settings(said), plain) == []


def test_names_with_quotes_stay_names() -> None:
    settings = read_settings(as_toml("csv", 'the "old" one', "A.3020", ["S.0982"], ["My entity"]))
    assert settings.feed.name == 'the "old" one'
    assert list(settings.entity) == ["My entity"]


def test_the_examples_of_seasons_and_hooks_in_a_new_file_are_good() -> None:
    said = re.sub(r"(?m)^# (?=\[\[|name|starts|ends|guards|kind|server|sender|to =)", "", PLAIN)
    settings = read_settings(said)
    seasons = settings.entity["Student"].seasons
    assert [hook.label for hook in settings.hooks] == ["e-mail to office@example.org"]
    assert [season.name for season in seasons] == ["turn of the school year", "report cards"]


def test_realtime_is_off_unless_it_is_asked_for_and_a_webhook_names_its_secret() -> None:
    assert read_settings(PLAIN).realtime == Realtime()
    enabled = "[realtime]\nenabled = true\nwebhook = true\ndebounce_seconds = 40"
    said = [fault.partition(", ")[2] for fault in faults(PLAIN.replace("[realtime]", enabled))]
    assert said == [
        'secrets.webhook_secret: this is missing; write webhook_secret = "WEBHOOK_SECRET"',
        "realtime.debounce_seconds_max: this is less than debounce_seconds; write debounce_seconds_max = 40, or more",
    ]
    text = PLAIN.replace("[realtime]", enabled.replace("40", "2")).replace(
        "\n[secrets]\n", '\n[secrets]\nwebhook_secret = "H"\n'
    )
    settings = read_settings(text)
    assert settings.realtime == Realtime(enabled=True, debounce_seconds=2, webhook=True)
    assert settings.secrets["webhook_secret"] == "H"


class TestWhatSettingsComeTo:
    settings: Settings = read_settings(RICH)

    def test_an_entity_has_what_it_says_and_else_the_defaults(self) -> None:
        student, section = self.settings.entity["Student"], self.settings.entity["Section"]
        assert student.steps == frozenset(Stage) - {Stage.PERSIST_SIS}
        assert (student.absences, section.absences) == (2, 3)
        assert student.guards == Limits(updates=50)
        assert section.guards == Limits(updates=50, deletes=None, deletes_apart=True)
        assert section.delete_policy == DeletePolicy(OnDelete.DEACTIVATE, "status", "inactive")
        assert self.settings.organizations == ("A.3020",)

    def test_rules_are_those_that_merging_goes_by(self) -> None:
        zone = self.settings.feed.zone
        fields = {"/grade": Method.ALWAYS_SIS, "/addresses/$/city": Method.MANUAL}
        expected = Rules("Student", Method.RESOLVE_AS_SIS, fields, True, ZoneInfo("America/Edmonton"))
        assert self.settings.entity["Student"].rules(zone, student_audience=True) == expected
        assert self.settings.entity["Section"].rules(zone, student_audience=False).entity == "ClassSection"

    def test_seasons_start_from_the_entity_s_own_limits(self) -> None:
        starts, ends = date(2026, 8, 15), date(2026, 9, 15)
        season = Season("turn of the year", starts, ends, Limits(None, 50, None, deletes_apart=True))
        blackout = Season("report cards", date(2026, 6, 22), date(2026, 6, 26))
        assert self.settings.entity["Section"].seasons == (season, blackout)

    def test_a_default_delete_policy_leaves_locked_entities_alone(self) -> None:
        settings = read_settings(
            RICH.replace("[entity.Student]", '[defaults.delete_policy]\non_delete="delete"\n[entity.Student]')
        )
        assert settings.entity["Student"].delete_policy == DeletePolicy()

    def test_they_are_read_in_no_time(self) -> None:
        begun = time.perf_counter()
        read_settings(RICH)
        assert time.perf_counter() - begun < 0.2


class TestFaults:
    @pytest.mark.parametrize(("old", "new", "said"), FAULTS)
    def test_each_has_its_line_its_path_and_its_cure(self, old: str, new: str, said: str) -> None:
        assert said in broken(old, new)

    def test_all_are_told_at_once_in_the_order_of_lines(self) -> None:
        text = RICH.replace("absences = 3", "absences = -1").replace("alarm_hours = 36", 'alarm_hours = "36"')
        text = text.replace("deletes = false", "delete = false")
        lines = [int(re.findall(r"line (\d+)", fault)[0]) for fault in faults(text)]
        assert lines == [6, 31, 32]

    def test_what_lies_within_a_long_text_is_no_line_of_its_own(self) -> None:
        text = 'x = """\n[hub]\nurl = 3\n"""\n' + RICH.replace('"https://core.example.org"', "3")
        assert 'line 14, hub.url: this is a text, not 3; write url = "https://core.example.org"' in faults(text)

    def test_what_is_no_toml_is_told_with_its_line(self) -> None:
        said = faults("[feed]\nname = maple\n")
        assert said == ['line 2: this is not TOML: Invalid value; text stands in "quotes", tables in [brackets]']

    def test_a_locked_entity_is_not_deleted(self) -> None:
        (said,) = faults(
            RICH.replace("[entity.Section]", '[entity.Student.delete_policy]\non_delete = "delete"\n[entity.Section]')
        )
        assert said == (
            "line 30, entity.Student.delete_policy.on_delete: Student is locked to ignore: "
            "one school's absence is not everybody's; write on_delete = \"ignore\", or nothing"
        )

    def test_types_that_the_hub_does_not_have_are_named(self) -> None:
        said = faults(RICH, types=("Students", "ClassSection"))
        assert said == ["line 24, entity.Student: the hub has no notification type Student; did you mean Students?"]

    def test_no_fault_repeats_a_secret(self) -> None:
        text = RICH.replace('"MAPLE_KEY"', '"s3cr3t-key"').replace("core.example.org", "u:s3cr3t-key@core.example.org")
        with pytest.raises(SettingsError) as raised:
            read_settings(text)
        assert "s3cr3t" not in str(raised.value)

    def test_an_empty_file_is_told_what_it_lacks(self) -> None:
        assert 'feed.name: this is missing; write name = "maple-ridge"' in faults("")
        assert "entity: no entity is named; write [entity.Student] for each kind of record to be merged" in faults("")

    @given(st.text(max_size=200), st.integers(0, len(RICH)))
    def test_whatever_is_written_is_read_or_told(self, noise: str, at: int) -> None:
        try:
            read_settings(RICH[:at] + noise + RICH[at:])
        except SettingsError as error:
            assert error.faults


class TestOverrides:
    def test_they_count_for_the_run_and_are_recorded(self) -> None:
        settings = read_settings(
            RICH,
            ["entity.Student.allow_empty=true", "entity.Section.method=alwaysHub", 'entity.Section.fields."/a"=manual'],
        )
        assert settings.entity["Student"].allow_empty
        assert settings.entity["Section"].method is Method.ALWAYS_HUB
        assert settings.overrides == {
            "entity.Student.allow_empty": True,
            "entity.Section.method": "alwaysHub",
            'entity.Section.fields."/a"': "manual",
        }

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("foo", "foo: this sets nothing; write KEY=VALUE, as in entity.Student.method=manual"),
            ("feed.name=x", "feed.name: this cannot be set for one run; it names whose state this is"),
            ("feed.paus=x", "feed.paus: there is no such setting; did you mean paused?"),
            ("entity.Student.absences=0", "entity.Student.absences: 0 is too small; 1 is the least"),
            (
                "a b=1",
                'a b: this is no dotted path; write names with other characters in quotes, as in fields."/grade"',
            ),
        ],
    )
    def test_their_faults_are_told_without_a_line(self, override: str, said: str) -> None:
        assert faults(RICH, override) == [said]

    @given(st.text(max_size=60))
    def test_whatever_is_set_is_read_or_told(self, override: str) -> None:
        try:
            read_settings(RICH, [override])
        except SettingsError as error:
            assert error.faults


class TestDifferences:
    def test_equal_settings_differ_in_nothing(self) -> None:
        assert diff(read_settings(RICH), read_settings(RICH + "\n# a comment\n")) == []

    def test_each_is_named_by_its_dotted_path(self) -> None:
        new = RICH.replace("absences = 3", "absences = 4").replace('"/grade" = "alwaysSis", ', "")
        new = new.replace("deletes = false", "deletes = 20").replace("ends = 2026-06-26", "ends = 2026-06-27")
        said = list(map(str, diff(read_settings(RICH), read_settings(new))))
        blackout = "2026-06-22 to 2026-06-26, a blackout -> 2026-06-22 to 2026-06-27, a blackout"
        assert 'entity.Student.fields."/grade": "alwaysSis" (gone)' in said
        assert f'entity.Student.seasons."report cards": {blackout}' in said
        assert "entity.Section.absences: 3 -> 4" in said
        assert "entity.Section.guards.deletes: off -> 20" in said
        season = "2026-08-15 to 2026-09-15, deletes {}, updates 50, creates off, emptied 10, deletes_apart true"
        assert f'entity.Section.seasons."turn of the year": {season.format("off")} -> {season.format("20")}' in said
        assert len(said) == 6

    def test_two_feeds_can_be_compared(self) -> None:
        other = as_toml("edfi", "elk-valley", "A.3020", ["S.0983"], ENTITIES)
        found = {each.path: (each.old, each.new) for each in diff(read_settings(PLAIN), read_settings(other))}
        assert found["feed.name"] == ("maple-ridge", "elk-valley")
        assert found["connector.options.encoding"] == ("", ABSENT)
        assert not any(path.startswith("entity.") for path in found)
