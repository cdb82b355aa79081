"""What every formatter promises, as functions; `suite` makes tests of them.

Each raises Broken, which says what the formatter did. None of them needs more than the formatter and rows or bodies.
"""

import math
import random
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy

from homeroom_merge.formatters.formatter import Formatter, Reading, Row
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.values import Json

_DEPTH_MAX = 3
_STRANGE_COLUMN = "a column that no formatter knows"
_ODD_TEXTS = ("", " ", "\0", "\ud800", "é" * 300, "2022-02-30", "1e999", "-0", "true", "uri://x/y#z", "../..", "'; --")


class Broken(AssertionError):
    """A promise that the formatter did not keep."""


def check_reading(formatter: Formatter, row: Row) -> Reading:
    """It does not raise, whatever the row says: faults instead; it speaks of its own fields only, and in JSON."""
    try:
        reading = formatter.read(row)
    except Exception as fault:
        raise Broken(f"read raised {type(fault).__name__} where it owes a fault") from fault
    if strangers := reading.covered - formatter.fields:
        raise Broken(f"covered has what is not among the fields: {', '.join(sorted(strangers))}")
    if strangers := frozenset(reading.body.keys() - formatter.fields):
        raise Broken(f"the body has what is not among the fields: {', '.join(sorted(strangers))}")
    if strangers := frozenset(reading.body.keys() - reading.covered):
        raise Broken(f"the body says what is not covered: {', '.join(sorted(strangers))}")
    if not reading.key and not reading.faults:
        raise Broken("there is neither a key nor a fault")
    if reading.key and (not isinstance(reading.key, str) or reading.key != code_key(reading.key)):
        raise Broken("the key is no code that the hub takes: 1-64 of A-Z a-z 0-9 . _ -; keys.code_key makes one")
    if strange := sorted(name for name, value in reading.body.items() if not _is_json(value)):
        raise Broken(f"this is no JSON value: {', '.join(strange)}")
    for found in reading.faults:
        if not found.detail or (found.pointer and not found.pointer.startswith("/")):
            raise Broken(f"a fault says nothing, or points nowhere: {found.pointer}")
    return reading


def check_valid(formatter: Formatter, row: Row) -> Reading:
    """A row of the SIS as it should be is read without a fault."""
    reading = check_reading(formatter, row)
    for fault in reading.faults:
        raise Broken(f"a row that is right has a fault: {fault.pointer} {fault.detail}; {fault.cure}")
    return reading


def check_round_trip(formatter: Formatter, key: str, body: Json, row: Row | None = None) -> None:
    """read(write(x)) = x on declared fields, over nothing and over the row that stands there."""
    declared = {name: value for name, value in body.items() if name in formatter.fields}
    reading = check_reading(formatter, _written(formatter, key, body, row))
    if reading.faults:
        raise Broken(f"what was written cannot be read: {reading.faults[0].pointer} {reading.faults[0].detail}")
    if reading.key != key:
        raise Broken("what was written is read under another key")
    for name in sorted(declared.keys() | reading.body.keys()):
        if name not in declared or name not in reading.body or declared[name] != reading.body[name]:
            raise Broken(f"/{name} is read otherwise than it was written")


def check_steady(formatter: Formatter, row: Row) -> None:
    """Writing what a row says back over it, and reading that, changes nothing."""
    reading = check_reading(formatter, row)
    if not reading.faults:
        check_round_trip(formatter, reading.key, reading.body, row)


def check_changes(formatter: Formatter, row: Row, other: Row, always: Collection[str] = ()) -> None:
    """Whatever the hub takes away from a record, or changes to what another has, is written over its row.

    `always`: members that no record is without, and that never change: those of its key, constants.
    """
    reading, changed = check_valid(formatter, row), check_valid(formatter, other).body
    kept = {name: value for name, value in reading.body.items() if name in always}
    for name in reading.body.keys() - kept.keys():
        fewer = {each: value for each, value in reading.body.items() if each != name}
        check_round_trip(formatter, reading.key, fewer, row)
    for name in changed.keys() - set(always):
        check_round_trip(formatter, reading.key, {**reading.body, name: changed[name]}, row)


def check_keeps(formatter: Formatter, row: Row) -> None:
    """What the SIS has and the hub does not carry stays in the row that is written over."""
    reading = check_valid(formatter, row)
    alone = _written(formatter, reading.key, reading.body, None)
    stood = {**row, _STRANGE_COLUMN: "4"}
    written = _written(formatter, reading.key, reading.body, stood)
    if lost := sorted(name for name in stood.keys() - alone.keys() if written.get(name) != stood[name]):
        raise Broken(f"what the hub does not carry is lost from the row: {', '.join(lost)}")


def check_pure(formatter: Formatter, row: Row) -> None:
    """What it is given stays as it is, and it says the same each time."""
    stood = deepcopy(row)
    first, again = (check_reading(formatter, row) for _ in range(2))
    if (first.key, repr(first.body), first.faults) != (again.key, repr(again.body), again.faults):
        raise Broken("the same row is read otherwise the second time")
    body = deepcopy(first.body)
    if not first.faults:
        _written(formatter, first.key, first.body, row)
    if repr(row) != repr(stood):
        raise Broken("the row it was given has been changed")
    if repr(first.body) != repr(body):
        raise Broken("the body it was given has been changed")


def check_keys(formatter: Formatter, rows: Sequence[Row]) -> None:
    """Rows of different records have different keys."""
    keys = [check_valid(formatter, row).key for row in rows]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise Broken(f"several rows have the key {twice[0]}")


def check_no_secrets(formatter: Formatter, row: Row, secrets: Collection[str]) -> None:
    """Nothing that a row keeps secret is in what is read of it, nor in what is said about it."""
    said = repr(check_reading(formatter, row))
    if any(secret and secret in said for secret in secrets):
        raise Broken("a secret is in what was read")


def check_random(formatter: Formatter, columns: Sequence[str], *, rows: int = 500, seed: int = 1) -> None:
    """check_steady for that many rows of nonsense."""
    for row in random_rows(columns, rows, seed):
        check_steady(formatter, row)


def spoiled_rows(row: Row) -> Iterator[Row]:
    """A row with each of its cells in turn as nobody expects it."""
    for column in row:
        for odd in (*_ODD_TEXTS, None, 0, 1.5, float("nan"), b"bytes", [], {}, ["x", "y"], {"x": "y"}):
            yield {**row, column: odd}
        yield {name: cell for name, cell in row.items() if name != column}


def _written(formatter: Formatter, key: str, body: Json, row: Row | None) -> Row:
    try:
        return formatter.write(key, body, row)
    except Exception as fault:
        raise Broken(f"write raised {type(fault).__name__}: {fault}") from fault


def _is_json(value: object) -> bool:
    match value:
        case Mapping():
            return all(isinstance(name, str) and _is_json(inner) for name, inner in value.items())
        case list():
            return all(map(_is_json, value))
        case float():
            return math.isfinite(value)
        case _:
            return value is None or isinstance(value, str | bool | int)


def random_rows(columns: Sequence[str], count: int, seed: int = 1) -> Iterator[Row]:
    """Rows of nonsense in some of these columns, and in others: the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        chosen = chance.sample(columns, chance.randint(0, len(columns)))
        row = {column: _nonsense(chance, columns, 0) for column in chosen}
        yield row | {_text(chance): _nonsense(chance, columns, 0) for _ in range(chance.randint(0, 2))}


def _nonsense(chance: random.Random, columns: Sequence[str], depth: int) -> object:
    if depth < _DEPTH_MAX and chance.random() < 0.4:
        below = [_nonsense(chance, columns, depth + 1) for _ in range(chance.randint(0, 3))]
        return below if chance.random() < 0.4 else {chance.choice([*columns, _text(chance)]): one for one in below}
    plain = (None, True, 0, -1, 1.5, float("nan"), b"bytes", chance.choice(_ODD_TEXTS), _text(chance))
    return chance.choice(plain)


def _text(chance: random.Random) -> str:
    return "".join(chance.choice(string.printable) for _ in range(chance.randint(1, 12)))
