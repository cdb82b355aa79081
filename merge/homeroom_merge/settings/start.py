"""The settings that a new feed starts from: what must be said is asked for, what may be said is there as a comment."""

import json
from collections.abc import Sequence

from homeroom_merge.settings.connectors import KINDS, ConnectorKind
from homeroom_merge.toml_tables import dotted
from homeroom_merge.values import path_of, pattern_of, pointer

_FEED = """\
# The settings of one feed. A line that begins with # is what holds if you say nothing; take the # away to change it.
# Push them with `homeroom-merge settings push`; each push is a version that can be brought back.

[feed]
name = {name}
authority = {authority}  # the organisation code of the school authority
schools = [{schools}]  # for whom the SIS speaks: nothing of other schools is ever deleted
formatter = "{formatter}"  # between the shape of this SIS and the hub's
# time_zone = "America/Edmonton"  # of its nights, and of SIS times that name no zone
# nightly = ""  # cron, "30 1 * * *" for half past one each night; empty: by hand alone
# nightly_spread_minutes = 60  # it begins within so many minutes of that, each night the same: feeds are spread
# nightly_until = "06:00"  # what has not begun by then is left for the next night
# alarm_hours = 0  # after so long without a feed somebody is told; 0: never
# paused = ""  # a reason, and nothing runs by itself while this state is in force

[hub]
url = "https://core.example.org"
# organizations = []  # for whom records are fetched and written, one at a time; empty: the schools above

"""
_SECRETS = """
# Of secrets, only the names of environment variables that hold them; what is in none, `homeroom-merge secrets` keeps.
[secrets]
{secrets}
"""
_BACKUP = """
# Where what a run may change is kept before it does: any URL of a folder that fsspec knows, "s3://bucket/merge", say.
[backup]
# place = ""  # empty: the folder backups of the data directory
# keep = 30  # the last ones of each entity
# keep_days = 90  # older ones are removed, but for the last
"""
_REALTIME = """
# What moves on either side is merged at once, where settings and the SIS allow.
[realtime]
# enabled = false
# debounce_seconds = 1  # once nothing has moved for so long,
# debounce_seconds_max = 30  # and at the latest so long after the first
# folder = true  # the connector's folder is watched, where it has one
# webhook = false  # true: the SIS tells; it signs with webhook_secret, which is named under [secrets]
"""
_SANDBOX = """
# What the process of a run may take, in which its connector and formatter are.
[sandbox]
# memory_mib_max = 1024  # of address space
# cpu_seconds_max = 3600
# seconds_max = 7200  # for all of it
# answer_seconds_max = 600  # for any one answer, or the next of many records
# output_kib_max = 64  # of what it prints, the last so much is kept with the run
"""
_ENTITIES = """
# What holds for every entity that does not say it itself.
[defaults]
# enabled = true
# school_years = []  # those that are merged; empty: all
# steps = ["fetchHub", "fetchSis", "persistHub", "persistSis"]
# method = "manual"  # or resolveAsHub, resolveAsSis, alwaysHub, alwaysSis, newest
# allow_empty = false  # whether an empty feed is to be believed
# absences = 2  # complete feeds in a row without a record, before it counts as deleted
# complete_every_hours = 20  # a SIS that gives deltas is asked for everything so often: deltas say nothing of deletes
# awaiting_days = 14  # what no feed has shown so long after it was written is named in the report

# Per cent of the records beyond which a plan waits for a person; false: no limit.
[defaults.guards]
# deletes = 10
# updates = 75
# creates = 75
# emptied = 10  # any one field
# deletes_apart = false  # true: while deletes are held, creates and updates go on

[defaults.delete_policy]
# on_delete = "ignore"  # or "delete", or "deactivate", which sets a member to a value
# member = ""  # "status" with value = "inactive", say

# Rules for fields, by JSON pointer, with $ for each item of a list; they hold for what lies beneath, too.
[defaults.fields]
# "/grade" = "alwaysSis"

"""
_SEASONS = """
# Days, both included, with other limits than usual, and days on which nothing runs by itself.
# [[seasons]]
# name = "turn of the school year"
# starts = 2026-08-15
# ends = 2026-09-15
# guards = { creates = false, deletes = 40 }
# [[blackouts]]
# name = "report cards"
# starts = 2026-06-22
# ends = 2026-06-26
"""
_HOOKS = """
# Who is told how runs went, of trouble alone unless on = [...] says else: also kind = "webhook" or "command".
# [[hooks]]
# kind = "email"
# server = "smtp.example.org"  # port = 587, security = "starttls", user = "" if you say nothing
# sender = "merge@example.org"
# to = ["office@example.org"]
"""


def as_toml(kind: str, name: str, authority: str, schools: Sequence[str], entities: Sequence[str]) -> str:
    """A commented settings file for a new feed by a kind of connector (settings.connectors.KINDS)."""
    connector = KINDS[kind]
    codes = ", ".join(json.dumps(school) for school in schools)
    secrets = {"hub_key": "HOMEROOM_KEY", **connector.secrets}
    return "".join(
        (
            _FEED.format(
                name=json.dumps(name),
                authority=json.dumps(authority),
                schools=codes,
                formatter=connector.formatter,
            ),
            _connector(kind, connector),
            _SECRETS.format(secrets="\n".join(f'{each} = "{variable}"' for each, variable in secrets.items())),
            _BACKUP,
            _REALTIME,
            _SANDBOX,
            _ENTITIES,
            "\n".join(f"[{dotted(('entity', entity))}]" for entity in entities),
            "\n",
            _SEASONS,
            _HOOKS,
        )
    )


def as_field_rule(entity: str, where: str, method: str) -> str:
    """The lines that give a field of all records a rule: `where`, a JSON pointer, may name one item of a list."""
    field = json.dumps(pointer(pattern_of(path_of(where))), ensure_ascii=False)
    return f'[{dotted(("entity", entity, "fields"))}]\n{field} = "{method}"\n'


def _connector(kind: str, connector: ConnectorKind) -> str:
    lines = [f"# {connector.about[0].upper()}{connector.about[1:]}.", "[connector]", f'kind = "{kind}"']
    for option in connector.options:
        if option.default is None:
            lines.append(f'{option.name} = "{option.example}"  # {option.about}')
        else:
            lines.append(f'# {option.name} = "{option.default}"  # {option.about}; "{option.example}", say')
    return "\n".join((*lines, ""))
