"""What a JSON Schema says about merging: which lists are keyed or ordered, what is locked, what refers to what."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeroom_merge.records import Fault, Method
from homeroom_merge.values import Json, Path, Value, path_of, pointer

_APPLIED = ("allOf", "anyOf", "oneOf")
_BRANCHES = ("then", "else")
_Schemas = tuple[Mapping[str, Any], ...]
ItemKey = tuple[Any, ...]


class ShapeError(ValueError):
    """A schema that cannot be read for merging."""


@dataclass(slots=True, eq=False)
class Node:
    """One place in a body. Filled once, when its shape is made; a schema may lead back to itself."""

    item_key: tuple[str, ...] = ()
    """The members that tell the items of a list apart; empty: the list is merged as a whole."""
    ordered: bool = False
    locked: Method | None = None
    """The method in force here and beneath, whatever the settings say."""
    reference: str | None = None
    """The entity whose key stands here."""
    holds_keys: bool = False
    """Here or beneath are lists whose items have keys."""
    holds_references: bool = False
    """Here or beneath are keys of other records."""
    members: dict[str, "Node"] = field(default_factory=dict)
    rest: "Node | None" = None
    items: "Node | None" = None

    def member(self, name: str) -> "Node":
        """The place of a member, declared or not."""
        return self.members.get(name) or self.rest or self._undeclared()

    def item(self) -> "Node":
        """The place of a list's items."""
        return self.items or self._undeclared()

    def same(self, one: Value, other: Value) -> bool:
        """Whether two values say the same: order counts only where the schema says so."""
        if one is other or one == other:
            return True
        if type(one) is not type(other) or type(one) not in (dict, list) or len(one) != len(other):
            return False
        return bool(self.canonical(one) == self.canonical(other))

    def canonical(self, value: Value) -> Value:
        """The value with every list sorted whose order does not count."""
        if isinstance(value, dict):
            return {name: self.member(name).canonical(inner) for name, inner in value.items()}
        if isinstance(value, list):
            inside = self.item()
            items = [inside.canonical(inner) for inner in value]
            return items if self.ordered else sorted(items, key=_sorting)
        return value

    def keyed(self, value: Value) -> dict[ItemKey, Value] | None:
        """The items of a list by item key, or None where keys are missing or doubled, or it is no list."""
        if not isinstance(value, list):
            return None
        found: dict[ItemKey, Value] = {}
        for item in value:
            key = _key_of(item, self.item_key)
            if key is None or key in found:
                return None
            found[key] = item
        return found

    def _undeclared(self) -> "Node":
        return Node(locked=self.locked) if self.locked else _FREE


_FREE = Node()


@dataclass(frozen=True, slots=True)
class Reference:
    """A key of another record, standing in a body."""

    path: Path
    entity: str
    key: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema, read for merging."""

    root: Node
    refers_to: frozenset[str]
    """The entities that its references name."""

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> "Shape":
        """From a JSON Schema with references within itself; raises ShapeError."""
        reading = _Reading(schema)
        root = reading.node((schema,), None)
        reading.mark()
        return cls(root, frozenset(node.reference for node in reading.made.values() if node.reference))

    def node(self, path: Path) -> Node:
        """The place that a path names; `$`, `[key]` and numbers stand for items of lists."""
        node = self.root
        for part in path:
            node = node.item() if node.items and part not in node.members else node.member(part)
        return node

    def faults(self, body: Json) -> list[Fault]:
        """Item keys that are missing or doubled."""
        return list(_faults(self.root, body, ()))

    def references(self, body: Json) -> Iterator[Reference]:
        """Every reference in a body."""
        return _references(self.root, body, ()) if self.refers_to else iter(())

    def turned(self, value: Value, turn: Callable[[str, str], str], path: Path = ()) -> Value:
        """What stands at a path, a body at its root, with each reference's key turned: `turn(entity, key)`."""
        return _turned(self.node(path), value, turn) if self.refers_to else value


@dataclass(slots=True)
class _Reading:
    """A schema document while nodes are made of it."""

    document: Mapping[str, Any]
    made: dict[tuple[tuple[int, ...], Method | None], Node] = field(default_factory=dict)

    def node(self, schemas: _Schemas, locked: Method | None) -> Node:
        """The place that all these schemas describe together."""
        parts = self._parts(schemas)
        locked = next((_lock(part["x-locked"]) for part in parts if part.get("x-locked")), locked)
        known = tuple(sorted({id(part) for part in parts})), locked
        if known in self.made:
            return self.made[known]
        node = self.made[known] = Node(locked=locked)
        for part in parts:
            node.item_key = node.item_key or _item_key(part)
            node.ordered = node.ordered or part.get("x-ordered", "prefixItems" in part) is True
            node.reference = node.reference or part.get("x-reference")
        self._fill(node, parts)
        return node

    def mark(self) -> None:
        """Say of each place what lies beneath it, so that bodies are walked no further than needed."""
        moved, nodes = True, list(self.made.values())
        while moved:
            moved = False
            for node in nodes:
                beneath = [*node.members.values(), *(inner for inner in (node.rest, node.items) if inner)]
                keys = bool(node.item_key) or any(inner.holds_keys for inner in beneath)
                references = bool(node.reference) or any(inner.holds_references for inner in beneath)
                moved |= (keys, references) != (node.holds_keys, node.holds_references)
                node.holds_keys, node.holds_references = keys, references

    def _fill(self, node: Node, parts: _Schemas) -> None:
        names = {name for part in parts for name in part.get("properties", {})}
        for name in sorted(names):
            described = tuple(part["properties"][name] for part in parts if name in part.get("properties", {}))
            node.members[name] = self.node(described, node.locked)
        if rest := _under(parts, "additionalProperties"):
            node.rest = self.node(rest, node.locked)
        if items := _under(parts, "items"):
            node.items = self.node(items, node.locked)

    def _parts(self, schemas: _Schemas) -> _Schemas:
        """The schemas, and those which they refer to or are made up of."""
        found: dict[int, Mapping[str, Any]] = {}
        left = [schema for schema in schemas if isinstance(schema, Mapping)]
        while left:
            schema = left.pop()
            if id(schema) in found:
                continue
            found[id(schema)] = schema
            left += [self._resolve(schema["$ref"])] if "$ref" in schema else []
            left += [part for word in _APPLIED for part in schema.get(word, ()) if isinstance(part, Mapping)]
            left += [schema[word] for word in _BRANCHES if isinstance(schema.get(word), Mapping)]
        return tuple(found.values())

    def _resolve(self, reference: str) -> Mapping[str, Any]:
        found: Any = self.document
        try:
            if reference[:1] != "#" or reference[1:2] not in ("", "/"):
                raise KeyError(reference)
            for part in path_of(reference[1:]):
                found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, ValueError) as fault:
            raise ShapeError(f"$ref {reference} leads to nothing in this schema") from fault
        if not isinstance(found, Mapping):
            raise ShapeError(f"$ref {reference} leads to no schema")
        return found


def _under(parts: _Schemas, word: str) -> _Schemas:
    return tuple(part[word] for part in parts if isinstance(part.get(word), Mapping))


def _lock(said: object) -> Method:
    try:
        return Method.ALWAYS_HUB if said is True else Method(str(said))
    except ValueError as fault:
        raise ShapeError(f"x-locked {said}: true, or one of {', '.join(Method)}") from fault


def _item_key(part: Mapping[str, Any]) -> tuple[str, ...]:
    said = part.get("x-item-key", ())
    return (said,) if isinstance(said, str) else tuple(said)


def _sorting(value: Value) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _key_of(item: Value, names: tuple[str, ...]) -> ItemKey | None:
    if not isinstance(item, dict):
        return None
    key = tuple(item.get(name) for name in names)
    return key if all(isinstance(part, str | int) for part in key) else None


def item_part(key: ItemKey) -> str:
    """An item's key as a part of a path."""
    return "[" + ",".join(map(str, key)) + "]"


def _faults(node: Node, value: Value, path: Path) -> Iterator[Fault]:
    if not node.holds_keys:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if (there := node.member(name)).holds_keys:
                yield from _faults(there, inner, (*path, name))
    elif isinstance(value, list):
        seen: set[ItemKey] = set()
        for place, item in enumerate(value):
            here = (*path, str(place))
            if node.item_key:
                yield from _key_fault(item, node.item_key, here, seen)
            yield from _faults(node.item(), item, here)


def _key_fault(item: Value, names: tuple[str, ...], here: Path, seen: set[ItemKey]) -> Iterator[Fault]:
    told = " and ".join(names)
    key = _key_of(item, names)
    if key is None:
        yield Fault(pointer(here), f"has no item key ({told})", f"give each item its own {told}")
    elif key in seen:
        yield Fault(pointer(here), f"has the same item key ({told}) as another item", f"give each item its own {told}")
    else:
        seen.add(key)


def _references(node: Node, value: Value, path: Path) -> Iterator[Reference]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if (there := node.member(name)).holds_references:
                yield from _references(there, inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _references(_item_of(node), inner, (*path, str(place)))
    elif node.reference and isinstance(value, str):
        yield Reference(path, node.reference, value)


def _turned(node: Node, value: Value, turn: Callable[[str, str], str]) -> Value:
    if not node.holds_references:
        return value
    if isinstance(value, dict):
        return {name: _turned(node.member(name), inner, turn) for name, inner in value.items()}
    if isinstance(value, list):
        return [_turned(_item_of(node), inner, turn) for inner in value]
    return turn(node.reference, value) if node.reference and isinstance(value, str) else value


def _item_of(node: Node) -> Node:
    """A list that is itself marked as a reference means its items."""
    inside = node.item()
    return Node(reference=node.reference, holds_references=True) if node.reference and not inside.reference else inside
