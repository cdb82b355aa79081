"""Settings from TOML: every fault at once, with the cure."""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from homeroom_merge.guards import Limits, Season
from homeroom_merge.merging import NEVER_DELETED, DeletePolicy, OnDelete
from homeroom_merge.records import Method
from homeroom_merge.settings.connectors import KINDS
from homeroom_merge.settings.hooks import Hook, read_hooks
from homeroom_merge.settings.model import (
    Connector,
    Entity,
    Feed,
    Hub,
    Realtime,
    Sandbox,
    Settings,
    SettingsError,
    Stage,
)
from homeroom_merge.settings.overrides import apply_overrides
from homeroom_merge.settings.urls import read_url
from homeroom_merge.terms import Backups
from homeroom_merge.toml_tables import Faults, Table, lines_of, parse, suggestion

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_CRON = re.compile(r"[0-9*/,-]+( [0-9A-Za-z*/,-]+){4}")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_YEARS = range(1990, 2100)
_SOME_DAY = date(2026, 9, 1)
_PLAIN = Feed("", "", "", ())


def read_settings(text: str, overrides: Collection[str] = (), types: Collection[str] = ()) -> Settings:
    """Settings from TOML and `KEY=VALUE`s for one run; `types`: the hub's, where they are known. SettingsError."""
    faults = Faults(lines_of(text))
    document = parse(text, faults)
    if faults.found:
        raise SettingsError(faults.found)
    document, given = apply_overrides(document, overrides, faults)
    settings = replace(_settings(Table(document, (), faults), types), overrides=given)
    if faults.found:
        raise SettingsError(sorted(faults.found, key=lambda fault: fault.line))
    return settings


def _settings(top: Table, types: Collection[str]) -> Settings:
    connector = _connector(top.table("connector"))
    feed = _feed(top.table("feed"), connector)
    seasons = top.tables("seasons"), top.tables("blackouts")
    defaults = _entity(top.table("defaults"), Entity(""), *seasons)
    table = top.table("entity")
    quiet = _quietly(seasons[0]), _quietly(seasons[1])
    entities = {name: _entity(table.table(name), defaults, *quiet, types=types) for name in table}
    if not entities:
        top.fault("entity", "no entity is named", "write [entity.Student] for each kind of record to be merged")
    realtime = _realtime(top.table("realtime"))
    needed = _secrets_of_feed(connector, realtime)
    hooks = read_hooks(top.tables("hooks"), needed)
    told = _hub(top.table("hub")), connector, _secrets(top.table("secrets"), needed, hooks), entities
    backup, sandbox = _backup(top.table("backup")), _sandbox(top.table("sandbox"))
    settings = Settings(feed, *told, backup=backup, realtime=realtime, sandbox=sandbox, hooks=hooks)
    top.close()
    return settings


def _feed(table: Table, connector: Connector) -> Feed:
    kind, usual = KINDS.get(connector.kind), _PLAIN
    feed = Feed(
        name=table.text("name", None, "maple-ridge"),
        formatter=table.text("formatter", kind.formatter if kind else ""),
        authority=table.text("authority", None, "A.3020"),
        schools=table.texts("schools", ()),
        time_zone=table.text("time_zone", usual.time_zone, "America/Edmonton"),
        nightly=table.text("nightly", usual.nightly, "30 1 * * *"),
        nightly_spread_minutes=table.whole("nightly_spread_minutes", usual.nightly_spread_minutes),
        nightly_until=table.text("nightly_until", usual.nightly_until, "06:00"),
        alarm_hours=table.whole("alarm_hours", usual.alarm_hours),
        paused=table.text("paused", usual.paused, "why"),
    )
    if not feed.schools:
        table.fault("schools", "no school is named", 'write schools = ["S.0982"], the codes that it speaks for')
    if not _TIME.fullmatch(feed.nightly_until):
        table.fault("nightly_until", "this is no time of day", 'write nightly_until = "06:00"')
    if feed.nightly and not _is_cron(feed.nightly):
        table.fault("nightly", "this is no cron line", 'write nightly = "30 1 * * *" for half past one each night')
    try:
        ZoneInfo(feed.time_zone)
    except (KeyError, OSError, ValueError):  # by a name of no zone, of a folder, of no file
        table.fault("time_zone", f"there is no time zone {feed.time_zone}", 'write time_zone = "America/Edmonton"')
    table.close()
    return feed


def _is_cron(text: str) -> bool:
    try:
        return bool(_CRON.fullmatch(text) and CronSim(text, datetime.combine(_SOME_DAY, time())))
    except CronSimError:
        return False


def _hub(table: Table) -> Hub:
    hub = Hub(read_url(table, "url", "https://core.example.org"), table.texts("organizations", ()))
    table.close()
    return hub


def _connector(table: Table) -> Connector:
    name = table.text("kind", None, "csv")
    kind = KINDS.get(name)
    if kind is None:
        if name:
            table.fault("kind", f"there is no connector {name}", suggestion(name, KINDS))
        return Connector(name)
    options: dict[str, str] = {}
    for option in kind.options:
        read = read_url if option.name.endswith("url") else _text
        options[option.name] = read(table, option.name, option.example, option.default)
    table.close()
    return Connector(name, options)


def _text(table: Table, key: str, example: str, default: str | None = None) -> str:
    return table.text(key, default, example)


def _backup(table: Table) -> Backups:
    usual = Backups()
    backups = Backups(
        place=read_url(table, "place", "file:///srv/merge-backups", usual.place),
        keep=table.whole("keep", usual.keep, lowest=1),
        keep_days=table.whole("keep_days", usual.keep_days, lowest=1),
    )
    table.close()
    return backups


def _sandbox(table: Table) -> Sandbox:
    usual = Sandbox()
    sandbox = Sandbox(
        **{each.name: table.whole(each.name, getattr(usual, each.name), lowest=1) for each in fields(usual)}
    )
    table.close()
    return sandbox


def _realtime(table: Table) -> Realtime:
    usual = Realtime()
    realtime = Realtime(
        enabled=table.boolean("enabled", usual.enabled),
        debounce_seconds=table.whole("debounce_seconds", usual.debounce_seconds, lowest=1),
        debounce_seconds_max=table.whole("debounce_seconds_max", usual.debounce_seconds_max, lowest=1),
        folder=table.boolean("folder", usual.folder),
        webhook=table.boolean("webhook", usual.webhook),
    )
    if realtime.debounce_seconds_max < realtime.debounce_seconds:
        cure = f"write debounce_seconds_max = {realtime.debounce_seconds}, or more"
        table.fault("debounce_seconds_max", "this is less than debounce_seconds", cure)
    table.close()
    return realtime


def _secrets_of_feed(connector: Connector, realtime: Realtime) -> Mapping[str, str]:
    """What the merge itself needs, each with the environment variable that usually holds it."""
    kind = KINDS.get(connector.kind)
    found = {"hub_key": "HOMEROOM_KEY", **(kind.secrets if kind else {})}
    return found | ({"webhook_secret": "WEBHOOK_SECRET"} if realtime.webhook else {})


def _secrets(table: Table, needed: Mapping[str, str], hooks: Collection[Hook]) -> Mapping[str, str]:
    """Never repeats what stands there: it may be the secret itself."""
    needed = {**{hook.secret: hook.secret.upper() for hook in hooks if hook.secret}, **needed}
    found = {name: table.text(name, None, example) for name, example in needed.items()}
    for name, variable in found.items():
        if variable and not _VARIABLE.fullmatch(variable):
            cure = f'put it there and write {name} = "{needed[name]}"; if this was the secret, change it'
            table.fault(name, "this is not the name of an environment variable", cure)
    table.close()
    return found


def _entity(
    table: Table, usual: Entity, seasons: list[Table], blackouts: list[Table], types: Collection[str] = ()
) -> Entity:
    is_defaults = not usual.notification_type and table.path == ("defaults",)
    name = "" if is_defaults else table.text("notification_type", table.path[-1])
    limits = _limits(table.table("guards"), usual.guards)
    entity = Entity(
        notification_type=name,
        enabled=table.boolean("enabled", usual.enabled),
        school_years=table.wholes("school_years", usual.school_years),
        steps=table.choices("steps", Stage, usual.steps),
        method=table.choice("method", Method, usual.method),
        fields={**usual.fields, **_fields(table.table("fields"))},
        allow_empty=table.boolean("allow_empty", usual.allow_empty),
        absences=table.whole("absences", usual.absences, lowest=1),
        complete_every_hours=table.whole("complete_every_hours", usual.complete_every_hours),
        awaiting_days=table.whole("awaiting_days", usual.awaiting_days, lowest=1),
        guards=limits,
        seasons=tuple(_season(each, limits) for each in seasons) + tuple(_season(each, None) for each in blackouts),
        delete_policy=_delete_policy(table.table("delete_policy"), usual.delete_policy, name),
    )
    if name and types and name not in types:
        key = "notification_type" if table.has("notification_type") else ""
        table.fault(key, f"the hub has no notification type {name}", suggestion(name, types))
    if any(year not in _YEARS for year in entity.school_years):
        table.fault("school_years", "this is no school year", "write four digits, as in [2026, 2027]")
    table.close()
    return entity


def _fields(table: Table) -> Mapping[str, Method]:
    rules = {}
    for at in table:
        rules[at] = table.choice(at, Method, Method.MANUAL)
        if not at.startswith("/"):
            table.fault(at, "a field is named by its JSON pointer", f'write "/{at.replace(".", "/")}" = "..."')
    return rules


def _limits(table: Table, usual: Limits) -> Limits:
    limits = Limits(
        deletes=table.share("deletes", usual.deletes),
        updates=table.share("updates", usual.updates),
        creates=table.share("creates", usual.creates),
        emptied=table.share("emptied", usual.emptied),
        deletes_apart=table.boolean("deletes_apart", usual.deletes_apart),
    )
    table.close()
    return limits


def _season(table: Table, usual: Limits | None) -> Season:
    """Some days with other limits than usual; without, a blackout."""
    starts, ends = table.day("starts", _SOME_DAY), table.day("ends", _SOME_DAY)
    if starts and ends and ends < starts:
        table.fault("ends", "this is before it starts", "both days are included")
    limits = None if usual is None else _limits(table.table("guards"), usual)
    season = Season(table.text("name", None, "turn of the school year"), starts or _SOME_DAY, ends or _SOME_DAY, limits)
    table.close()
    return season


def _quietly(tables: list[Table]) -> list[Table]:
    """The same tables for another entity: their faults are told once."""
    return [Table(table.values, table.path, Faults()) for table in tables]


def _delete_policy(table: Table, usual: DeletePolicy, entity: str) -> DeletePolicy:
    on_delete = table.choice("on_delete", OnDelete, usual.on_delete)
    value = table.any("value")
    policy = DeletePolicy(on_delete, table.text("member", usual.member), usual.value if value is None else value)
    table.close()
    if entity in NEVER_DELETED:
        if on_delete is not OnDelete.IGNORE and table.has("on_delete"):
            cure = 'write on_delete = "ignore", or nothing'
            table.fault("on_delete", f"{entity} is locked to ignore: one school's absence is not everybody's", cure)
        return DeletePolicy()
    if on_delete is OnDelete.DEACTIVATE and not policy.member:
        table.fault("member", "this is missing", 'write member = "status" and value = "inactive", say')
    return policy
