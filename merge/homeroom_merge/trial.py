"""Rows of a SIS tried both ways: what the hub would get, what is wrong with it, what would not come back."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from homeroom_merge.connectors.connector import Fetch, SourceRow
from homeroom_merge.connectors.csv_sheet import is_secret
from homeroom_merge.formatters import kit
from homeroom_merge.formatters.formatter import Formatter, Row
from homeroom_merge.records import Fault
from homeroom_merge.values import Json

PLACES_MAX = 3
GROUPS_MAX = 200
_SECRET_LENGTH_MIN = 4
_HIDDEN = "(secret, not shown)"
_OURS = "mend the formatter: each merge would change what nobody has changed"


@dataclass(frozen=True, slots=True)
class Trial:
    """One row, without its secrets. `back`: the row that the body alone makes; None if it makes none."""

    place: str
    key: str
    row: Row
    body: Json
    faults: tuple[Fault, ...]
    back: Row | None

    @property
    def lost(self) -> list[str]:
        """Columns of the row whose cells do not come back from the hub as they were."""
        return [] if self.back is None else [name for name in _said(self.row) if self.back.get(name) != self.row[name]]


@dataclass(slots=True)
class Group:
    """A fault, how many records have it, and where some of them stand."""

    fault: Fault
    count: int = 0
    places: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Trials:
    """All rows of an entity. `shown`: the first ones, or that of a key."""

    entity: str
    fields: frozenset[str]
    records: int = 0
    faulty: int = 0
    failure: str = ""
    notes: list[str] = field(default_factory=list)
    shown: list[Trial] = field(default_factory=list)
    groups: dict[Fault, Group] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    """By column, the records whose cell does not come back from the hub as it was."""
    members: Counter[str] = field(default_factory=Counter)
    """The records that say each member of the hub."""

    @property
    def unsaid(self) -> list[str]:
        """Members that the formatter carries and no record says."""
        return sorted(self.fields - self.members.keys())

    @property
    def is_fine(self) -> bool:
        return not self.failure and not self.faulty

    def add(self, trial: Trial) -> None:
        """Count one row."""
        self.records += 1
        self.faulty += bool(trial.faults)
        self.lost.update(trial.lost)
        self.members.update(trial.body.keys())
        for fault in trial.faults:
            if fault in self.groups or len(self.groups) < GROUPS_MAX:
                group = self.groups.setdefault(fault, Group(fault))
                group.count += 1
                group.places += [trial.place] if len(group.places) < PLACES_MAX else []


async def tried(formatter: Formatter, fetch: Fetch, *, key: str = "", limit: int = 3) -> Trials:
    """Every row of a fetch, tried; the first `limit` are shown, or those of the key. Raises OSError."""
    trials = Trials(formatter.entity, formatter.fields)
    keys: set[str] = set()
    async for source in fetch.rows:
        trial = _trial(formatter, source, keys)
        trials.add(trial)
        if len(trials.shown) < limit and key in ("", trial.key):
            trials.shown.append(trial)
    trials.failure, trials.notes = fetch.failure, fetch.notes
    return trials


def _trial(formatter: Formatter, source: SourceRow, keys: set[str]) -> Trial:
    """`keys`: those seen so far."""
    secrets = frozenset(_secrets(source.row))
    try:
        reading = kit.check_reading(formatter, source.row)
    except kit.Broken as broken:
        return Trial(source.place, "", _hidden(source.row, secrets), {}, (Fault("", str(broken), _OURS),), None)
    faults = [Fault(each.pointer, _cut(each.detail, secrets), _cut(each.cure, secrets)) for each in reading.faults]
    back: Row | None = None
    if not faults:
        try:
            kit.check_no_secrets(formatter, source.row, secrets)
            kit.check_steady(formatter, source.row)
            back = formatter.write(reading.key, reading.body, None)
            kit.check_round_trip(formatter, reading.key, reading.body)
        except kit.Broken as broken:
            faults.append(Fault("", _cut(str(broken), secrets), _OURS))
    if reading.key and reading.key in keys:
        faults.append(Fault("", "its key is also that of an earlier record", "keep one, or give each a key of its own"))
    keys.add(reading.key)
    row, body = _hidden(source.row, secrets), _hidden(reading.body, secrets)
    shown_back = None if back is None else _hidden(back, secrets)
    return Trial(source.place, reading.key, row, dict(body), tuple(faults), shown_back)


def _said(row: Row) -> Iterator[str]:
    """Columns that say something of the record; what starts with @ other rows told."""
    return (name for name, cell in row.items() if cell not in ("", None) and not name.startswith("@"))


def _secrets(value: object, *, within: bool = False) -> Iterator[str]:
    """The texts that stand in columns of secrets; shorter ones may stand anywhere by chance."""
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _secrets(inner, within=within or is_secret(str(name)))
        case list():
            for inner in value:
                yield from _secrets(inner, within=within)
        case str() if within and len(value) >= _SECRET_LENGTH_MIN:
            yield value


def _hidden(value: Any, secrets: Collection[str]) -> Any:
    """The same, with secrets left out."""
    match value:
        case Mapping():
            return {n: _HIDDEN if is_secret(str(n)) and each else _hidden(each, secrets) for n, each in value.items()}
        case list():
            return [_hidden(each, secrets) for each in value]
        case _:
            return _HIDDEN if isinstance(value, str) and value in secrets else value


def _cut(said: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        said = said.replace(secret, "…")
    return said
