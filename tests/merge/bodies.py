"""Bodies of the hub that a declared formatter can write, for property tests."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from hypothesis import strategies as st

from homeroom_merge.formatters.codes import Codes
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.formatters.kinds import (
    Assigned,
    Code,
    Day,
    Flag,
    Id,
    Number,
    Reference,
    SchoolYear,
    Separated,
    SetOf,
    Text,
    Year,
)
from homeroom_merge.formatters.members import AnyMember, FlagSet, FlatItems, Items, Kind, Member
from homeroom_merge.values import Json
from homeroom_merge.verification import Verifier

IN_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=30)
AN_ID = st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True)
A_KEY = st.lists(IN_TEXT, min_size=1, max_size=4).map(lambda parts: code_key(*parts))

_YEARS = st.integers(1900, 2999)
_PLAIN: Mapping[type, st.SearchStrategy[Any]] = {
    Text: IN_TEXT,
    Id: AN_ID,
    Reference: A_KEY,
    Number: st.integers(0, 999) | st.floats(0, 999).map(lambda number: round(number, 3)),
    Flag: st.booleans(),
    Day: st.dates(min_value=date(1000, 1, 1)).map(lambda day: day.isoformat()),
    SchoolYear: _YEARS,
    Year: _YEARS,
}


def values(kind: Kind, codes: Codes) -> st.SearchStrategy[Any]:
    """Values of the hub that a kind can say."""
    if type(kind) in _PLAIN:
        return _PLAIN[type(kind)]
    match kind:
        case Code(name):
            return st.sampled_from(sorted(set(codes.lists[name].values())))
        case SetOf(of):
            return st.sets(values(of, codes), min_size=1, max_size=4).map(sorted)
        case Separated(of, separator):
            fitting = values(of, codes).filter(lambda one: separator not in str(one))
            return st.sets(fitting, min_size=1, max_size=4).map(sorted)
        case Assigned():
            return AN_ID.map(lambda school: kind.read([school], codes))
        case Items(members, key, compose):
            item = bodies(members, codes).filter(bool)
            if compose is not None:
                item = item.map(lambda one: {**one, key: compose(one)})
            return st.lists(item, min_size=1, max_size=3)
    raise AssertionError(kind)


def of_member(member: AnyMember, codes: Codes) -> st.SearchStrategy[Any]:
    match member:
        case Member(_, kind):
            return values(kind, codes)
        case FlagSet(_, columns):
            return st.sets(st.sampled_from(sorted(columns)), min_size=1).map(sorted)
        case FlatItems(_, key, items):
            each = [bodies(members, codes).filter(bool).map(_with(key, word)) for word, members in items]
            return st.tuples(*(st.none() | one for one in each)).map(lambda found: [o for o in found if o]).filter(bool)


def _with(key: str, word: str) -> Any:
    return lambda item: {key: word, **item}


def bodies(members: Sequence[AnyMember], codes: Codes, needed: frozenset[str] = frozenset()) -> st.SearchStrategy[Json]:
    said = {member.name: of_member(member, codes) for member in members}
    return st.fixed_dictionaries(
        {name: value for name, value in said.items() if name in needed},
        optional={name: value for name, value in said.items() if name not in needed},
    )


def columns_of(formatter: DeclaredFormatter) -> list[str]:
    return sorted({part for member in formatter.members for path in paths_of(member) for part in path})


def paths_of(member: AnyMember) -> Iterator[Sequence[str]]:
    match member:
        case Member(_, _, paths):
            yield from paths
        case FlagSet(_, columns):
            yield from ((path,) for path in columns.values())
        case FlatItems(_, _, items):
            for _, members in items:
                for one in members:
                    yield from paths_of(one)


def check_words(members: Sequence[AnyMember], properties: Mapping[str, Any], codes: Codes) -> None:
    """Every word that a formatter may read fits the schema."""
    for member in members:
        match member:
            case Member(name, kind):
                _check_kind(kind, properties[name], codes)
            case FlagSet(name, columns):
                _check_all(columns, properties[name]["items"])
            case FlatItems(name, key, items):
                below = properties[name]["items"]["properties"]
                _check_all([word for word, _ in items], below[key])
                for _, each in items:
                    check_words(each, below, codes)


def _check_kind(kind: Kind, schema: Mapping[str, Any], codes: Codes) -> None:
    match kind:
        case Code(name):
            _check_all(codes.lists[name].values(), schema)
        case SetOf(of) | Separated(of):
            _check_kind(of, schema["items"], codes)
        case Items(members):
            check_words(members, schema["items"]["properties"], codes)


def _check_all(words: Any, schema: Mapping[str, Any]) -> None:
    for word in words:
        assert Verifier({"properties": {"word": schema}}).faults({"word": word}) == [], word
