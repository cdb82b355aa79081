"""The settings of a feed: one TOML file a state, edited by people; what they leave out is the default given here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from homeroom_merge.guards import Limits, Season
from homeroom_merge.merging import DeletePolicy
from homeroom_merge.records import Method
from homeroom_merge.refusal import RefusedError
from homeroom_merge.rules import Rules
from homeroom_merge.settings.hooks import Hook
from homeroom_merge.terms import Backups
from homeroom_merge.toml_tables import TomlFault


class SettingsError(RefusedError):
    """Settings that cannot be used; the message names every fault, one a line."""

    def __init__(self, faults: Collection[TomlFault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class Stage(StrEnum):
    """The steps of a run that settings can leave out."""

    FETCH_HUB = "fetchHub"
    FETCH_SIS = "fetchSis"
    PERSIST_HUB = "persistHub"
    PERSIST_SIS = "persistSis"


@dataclass(frozen=True, slots=True)
class Feed:
    """Whose records these are. Required: `name`, `formatter`, `authority`, `schools`."""

    name: str
    formatter: str
    authority: str
    """The organisation code of the school authority."""
    schools: tuple[str, ...]
    """The organisation codes that it speaks for: only their records can be deleted by absence."""
    time_zone: str = "America/Edmonton"
    """Of its nights, and of SIS times that name no zone."""
    nightly: str = ""
    """Cron of the nightly runs, in its time zone. Empty: none."""
    nightly_spread_minutes: int = 60
    """It begins at a moment of so many minutes from then, the same each night: feeds do not all begin at once."""
    nightly_until: str = "06:00"
    """What has not begun by then, in its time zone, is left for the next night."""
    alarm_hours: int = 0
    """After so long without a feed somebody is told. 0: never."""
    paused: str = ""
    """Why nothing runs by itself while this state is in force. Empty: it does."""

    @property
    def zone(self) -> tzinfo:
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class Hub:
    """The Core. `organizations`: for whom records are fetched and written, one at a time; empty: the feed's schools."""

    url: str
    organizations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Connector:
    """How the SIS is reached: a kind of settings.connectors.KINDS and its options."""

    kind: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Realtime:
    """Whether what moves is merged at once, and who notices it; the hub is listened to wherever it is enabled."""

    enabled: bool = False
    debounce_seconds: int = 1
    """What moves is merged once nothing has moved for so long,"""
    debounce_seconds_max: int = 30
    """and at the latest so long after the first."""
    folder: bool = True
    """A connector's folder is watched."""
    webhook: bool = False
    """The SIS tells of what has changed, and signs with the secret `webhook_secret`."""


@dataclass(frozen=True, slots=True)
class Entity:
    """What holds for one kind of record; `[defaults]` says it for all that do not say it themselves."""

    notification_type: str
    """Of the hub's catalogue; the entity's own name if nothing is said."""
    enabled: bool = True
    school_years: tuple[int, ...] = ()
    """Those that are merged. Empty: all."""
    steps: frozenset[Stage] = frozenset(Stage)
    method: Method = Method.MANUAL
    """How conflicts are settled where no field rule says otherwise."""
    fields: Mapping[str, Method] = field(default_factory=dict)
    """Rules by JSON pointer, with `$` for items of lists; for what lies beneath, too."""
    allow_empty: bool = False
    """Whether an empty feed is to be believed."""
    absences: int = 2
    """Complete feeds in a row without a record, before it counts as deleted."""
    complete_every_hours: int = 20
    """A SIS that gives deltas is asked for everything, if it last was so long ago: deltas say nothing of deletes."""
    awaiting_days: int = 14
    """What was written and no feed has shown for so long is named in the report."""
    guards: Limits = field(default_factory=Limits)
    seasons: tuple[Season, ...] = ()
    """The feed's seasons with this entity's limits, and its blackouts."""
    delete_policy: DeletePolicy = field(default_factory=DeletePolicy)

    def rules(self, zone: tzinfo, student_audience: bool) -> Rules:
        """The rules that merging goes by. `student_audience`: what the catalogue says of the type."""
        return Rules(self.notification_type, self.method, self.fields, student_audience, zone)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the process of a run may take, in which its connector and formatter are."""

    memory_mib_max: int = 1024
    """Of address space."""
    cpu_seconds_max: int = 3600
    seconds_max: int = 7200
    """For all of it."""
    answer_seconds_max: int = 600
    """For any one answer, or the next of many records."""
    output_kib_max: int = 64
    """Of what it prints, the last so much is kept."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One state of one feed. `secrets`: the environment variable that holds each. `overrides`: set for a run alone."""

    feed: Feed
    hub: Hub
    connector: Connector
    secrets: Mapping[str, str]
    entity: Mapping[str, Entity]
    backup: Backups = field(default_factory=Backups)
    """Without a place: the folder `backups` of the data directory."""
    realtime: Realtime = field(default_factory=Realtime)
    sandbox: Sandbox = field(default_factory=Sandbox)
    hooks: tuple[Hook, ...] = ()
    overrides: Mapping[str, object] = field(default_factory=dict)

    @property
    def organizations(self) -> tuple[str, ...]:
        """For whom records are fetched and written on the hub."""
        return self.hub.organizations or self.feed.schools
