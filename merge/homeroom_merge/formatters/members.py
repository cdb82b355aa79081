"""Members of the hub's bodies, and the elements or cells of a SIS's record that they are read from and written to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from homeroom_merge.formatters.codes import Codes, Unreadable
from homeroom_merge.formatters.formatter import Fault, Row
from homeroom_merge.values import ABSENT, Json, Value


class Kind(Protocol):
    """How the elements that say a member become its value, and back."""

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        """The value of one or more elements, none of them empty; raises Unreadable."""

    def write(self, value: Value, codes: Codes) -> list[object]:
        """The elements that say the value; raises Unwritable, or TypeError or ValueError for no value of this kind."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `paths`: where its elements stand, part by part; with several, they must agree.

    `spread`: each path has an element of its own, and all of them together say the value.
    """

    name: str
    kind: Kind
    paths: tuple[tuple[str, ...], ...]
    spread: bool = False

    def read(self, row: Row, codes: Codes) -> "Said":
        """Empty elements say nothing, nil ones say that there is none. Raises Unreadable."""
        there = [element for path in self.paths for element in found(row, path)]
        said = [element for element in there if element is not None]
        return self.kind.read(said, codes) if said else None if there else ABSENT

    def write(self, row: dict[str, object], value: Value, codes: Codes) -> None:
        """Put the value into the row, where the row does not say it already. ABSENT: nothing."""
        if self._says(row, value, codes):
            return
        elements = [] if value is ABSENT else self.kind.write(value, codes)
        for index, path in enumerate(self.paths):
            _put(row, path, elements[index : index + 1] if self.spread else elements)

    def _says(self, row: Row, value: Value, codes: Codes) -> bool:
        try:
            said = self.read(row, codes)
        except Unreadable:
            return False
        return said is not None and type(said) is type(value) and bool(said == value)


@dataclass(frozen=True, slots=True)
class FlatItems:
    """A list of objects of which each kind has cells of its own: a column of mobile numbers, one of those at work.

    Items of other kinds have no cells: what the hub has of them stays there.
    """

    name: str
    key: str
    items: tuple[tuple[str, tuple[Member, ...]], ...]

    def read(self, row: Row, codes: Codes) -> "Said":
        items: list[Json] = []
        for kind, members in self.items:
            item, _, faults = read_members(members, row, codes)
            if faults:
                at = f"/{len(items)}{faults[0].pointer}"
                raise Unreadable(faults[0].detail, faults[0].cure, at)
            if item:
                items.append({self.key: kind, **item})
        return items or ABSENT

    def write(self, row: dict[str, object], value: Value, codes: Codes) -> None:
        said = {} if value is ABSENT else {item.get(self.key): item for item in value}
        for kind, members in self.items:
            for member in members:
                member.write(row, said.get(kind, {}).get(member.name, ABSENT), codes)


@dataclass(frozen=True, slots=True)
class FlagSet:
    """A set of words each of which has a column of its own that says true or false."""

    name: str
    columns: Mapping[str, str]
    """The column of each word, or the path to it."""

    def read(self, row: Row, codes: Codes) -> "Said":
        said = {word: next(iter(found(row, path.split("/"))), None) for word, path in self.columns.items()}
        if strange := [word for word, cell in said.items() if cell is not None and _flag(cell) is None]:
            raise Unreadable(f"the column {self.columns[strange[0]]} is neither true nor false", "write true or false")
        if all(cell is None for cell in said.values()):
            return ABSENT
        return sorted(word for word, cell in said.items() if _flag(cell)) or None

    def write(self, row: dict[str, object], value: Value, codes: Codes) -> None:
        for word, path in self.columns.items():
            says = [] if value is ABSENT else ["true" if word in value else "false"]
            if not says or _flag(next(iter(found(row, path.split("/"))), None)) is not (says[0] == "true"):
                _put(row, path.split("/"), [*says])


def _flag(cell: object) -> bool | None:
    return {"true": True, "false": False}.get(cell.lower()) if isinstance(cell, str) else None


AnyMember = Member | FlatItems | FlagSet
Said = Value
"""What a row says of a member: a value, None for that there is none, ABSENT for nothing."""


def member(name: str, kind: Kind, *paths: str) -> Member:
    """A member whose elements stand at paths like `Name/FirstName`."""
    return Member(name, kind, tuple(tuple(path.split("/")) for path in paths))


def column(name: str, kind: Kind, title: str) -> Member:
    """A member that stands in one column, whose title may be any text."""
    return Member(name, kind, ((title,),))


@dataclass(frozen=True, slots=True)
class Items:
    """A list of objects. `key`: the item key, made of other members by `compose` where the SIS has none of its own."""

    members: tuple[Member, ...]
    key: str = ""
    compose: Callable[[Json], str] | None = None

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        return [self._item(index, element, codes) for index, element in enumerate(found)]

    def _item(self, index: int, element: object, codes: Codes) -> Json:
        if not isinstance(element, Mapping):
            raise Unreadable("holds text where elements belong", at=f"/{index}")
        item, _, faults = read_members(self.members, element, codes)
        if faults:
            raise Unreadable(faults[0].detail, faults[0].cure, f"/{index}{faults[0].pointer}")
        if self.compose is not None:
            item[self.key] = self.compose(item)
        return item

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [write_members(self.members, item, {}, codes) for item in value]


def read_members(members: Sequence[AnyMember], row: Row, codes: Codes) -> tuple[Json, set[str], list[Fault]]:
    """The body, the members that the row speaks of, the faults."""
    body: Json = {}
    covered: set[str] = set()
    faults: list[Fault] = []
    for member in members:
        try:
            said = member.read(row, codes)
        except Unreadable as fault:
            faults.append(Fault(f"/{member.name}{fault.at}", fault.detail, fault.cure))
            continue
        if said is not ABSENT:
            covered.add(member.name)
        if said is not ABSENT and said is not None:
            body[member.name] = said
    return body, covered, faults


def write_members(members: Sequence[AnyMember], body: Mapping[str, Any], row: Row, codes: Codes) -> dict[str, object]:
    """The row with its members' elements saying what the body says, and nothing where it says nothing."""
    written: dict[str, object] = dict(row)
    for member in members:
        member.write(written, body.get(member.name, ABSENT), codes)
    return written


def found(at: object, path: Sequence[str]) -> Sequence[object]:
    """The elements at a path, repeated ones one by one, without empty ones."""
    if len(path) == 1 and isinstance(at, dict):
        element = at.get(path[0], "")
        if not isinstance(element, list):  # as nearly all cells are
            return () if element == "" else (element,)
    return list(_found(at, path))


def _found(at: object, path: Sequence[str]) -> Iterator[object]:
    if isinstance(at, list):
        for element in at:
            yield from _found(element, path)
    elif not path:
        if at != "":
            yield at
    elif isinstance(at, (dict, Mapping)) and path[0] in at:
        yield from _found(at[path[0]], path[1:])


def _put(at: dict[str, object], path: Sequence[str], elements: list[object]) -> None:
    first, *rest = path
    if not rest:
        if elements:
            at[first] = elements[0] if len(elements) == 1 else elements
        else:
            at.pop(first, None)
        return
    below = at.get(first)
    copied = dict(below) if isinstance(below, Mapping) else {}
    _put(copied, rest, elements)
    if copied:
        at[first] = copied
    else:
        at.pop(first, None)
