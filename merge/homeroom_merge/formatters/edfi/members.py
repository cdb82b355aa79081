"""Members of the hub's bodies, and the elements of an Ed-Fi record that they are read from and written to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from homeroom_merge.formatters.edfi.codes import Codes, Unreadable
from homeroom_merge.formatters.formatter import Fault, Row
from homeroom_merge.values import Json, Value


class Kind(Protocol):
    """How the elements that say a member become its value, and back."""

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        """The value of one or more elements, none of them empty; raises Unreadable."""

    def write(self, value: Value, codes: Codes) -> list[object]:
        """The elements that say the value; raises Unwritable, or TypeError or ValueError for no value of this kind."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `paths`: where its elements stand (`Name/FirstName`); with several, they must agree."""

    name: str
    kind: Kind
    paths: tuple[str, ...]


def member(name: str, kind: Kind, *paths: str) -> Member:
    return Member(name, kind, paths)


@dataclass(frozen=True, slots=True)
class Items:
    """A list of objects. `key`: the item key, made of other members by `compose` where Ed-Fi has none of its own."""

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


def read_members(members: Sequence[Member], row: Row, codes: Codes) -> tuple[Json, set[str], list[Fault]]:
    """The body, the members that the row speaks of, the faults. An empty element says nothing, a nil one says: none."""
    body: Json = {}
    covered: set[str] = set()
    faults: list[Fault] = []
    for member in members:
        there = [element for path in member.paths for element in found(row, path.split("/"))]
        said = [element for element in there if element is not None]
        if there and not said:
            covered.add(member.name)
        if not said:
            continue
        try:
            body[member.name] = member.kind.read(said, codes)
            covered.add(member.name)
        except Unreadable as fault:
            faults.append(Fault(f"/{member.name}{fault.at}", fault.detail, fault.cure))
    return body, covered, faults


def write_members(members: Sequence[Member], body: Mapping[str, Any], row: Row, codes: Codes) -> dict[str, object]:
    """The row with its members' elements saying what the body says, and nothing where it says nothing."""
    written: dict[str, object] = dict(row)
    for member in members:
        elements = member.kind.write(body[member.name], codes) if member.name in body else []
        for path in member.paths:
            _put(written, path.split("/"), elements)
    return written


def found(at: object, path: Sequence[str]) -> Iterator[object]:
    """The elements at a path, repeated ones one by one, without empty ones."""
    if isinstance(at, list):
        for element in at:
            yield from found(element, path)
    elif not path:
        if at != "":
            yield at
    elif isinstance(at, (dict, Mapping)) and path[0] in at:
        yield from found(at[path[0]], path[1:])


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
