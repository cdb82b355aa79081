"""What every formatter promises, as functions that the tests of a school's own formatter call.

Each raises Broken, which says what the formatter did. None of them needs more than the formatter and rows or bodies.
"""

import random
import string
from collections.abc import Collection, Iterator, Sequence

from homeroom_merge.formatters.formatter import Formatter, Reading, Row
from homeroom_merge.values import Json

_DEPTH_MAX = 3
_ODD_TEXTS = ("", " ", "\0", "\ud800", "é" * 300, "2022-02-30", "1e999", "-0", "true", "uri://x/y#z", "../..", "'; --")


class Broken(AssertionError):
    """A promise that the formatter did not keep."""


def check_reading(formatter: Formatter, row: Row) -> Reading:
    """It does not raise, whatever the row says: faults instead; and it speaks of its own fields only."""
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
    for found in reading.faults:
        if not found.detail or (found.pointer and not found.pointer.startswith("/")):
            raise Broken(f"a fault says nothing, or points nowhere: {found.pointer}")
    return reading


def check_round_trip(formatter: Formatter, key: str, body: Json, row: Row | None = None) -> None:
    """read(write(x)) = x on declared fields, over nothing and over the row that stands there."""
    declared = {name: value for name, value in body.items() if name in formatter.fields}
    reading = check_reading(formatter, formatter.write(key, body, row))
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


def check_no_secrets(formatter: Formatter, row: Row, secrets: Collection[str]) -> None:
    """Nothing that a row keeps secret is in what is read of it, nor in what is said about it."""
    said = repr(check_reading(formatter, row))
    if any(secret and secret in said for secret in secrets):
        raise Broken("a secret is in what was read")


def check_random(formatter: Formatter, columns: Sequence[str], *, rows: int = 500, seed: int = 1) -> None:
    """check_steady for that many rows of nonsense."""
    for row in random_rows(columns, rows, seed):
        check_steady(formatter, row)


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
