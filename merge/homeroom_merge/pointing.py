"""What stands at a place of a body, and how people name one: a JSON pointer, or plainly `phones.home.number`."""

from collections.abc import Sequence

from homeroom_merge.refusal import RefusedError
from homeroom_merge.shape import Node, Shape, item_part
from homeroom_merge.values import ABSENT, Json, Path, Value, is_item, member, path_of, pointer

_NAMES_MAX = 40


class NoSuchFieldError(RefusedError):
    """Neither the schema nor the record has such a field; the message says which there are."""


def value_at(shape: Shape, body: Value, path: Path) -> Value:
    """The value that a path leads to, or ABSENT."""
    node, value = shape.root, body
    for part in path:
        value = _inside(node, value, part)
        node = _below(node, part)
    return value


def with_value(shape: Shape, body: Json, path: Path, value: Value) -> Json:
    """The body with another value there; ABSENT takes it away. What stands above it is made if need be."""
    return dict(_with(shape.root, body, path, value))


def field_of(said: str, shape: Shape, bodies: Sequence[Json]) -> str:
    """The JSON pointer of a field that somebody names. NoSuchFieldError."""
    path: Path = ()
    node = shape.root
    for part in path_of(said) if said.startswith("/") else tuple(filter(None, said.split("."))):
        here = f"[{part}]" if node.item_key and not is_item(part) and part != "$" else part
        stands = any(_inside(node, value_at(shape, body, path), here) is not ABSENT for body in bodies)
        if not stands and not node.item_key and part not in node.members:
            known = sorted(node.members) or sorted({name for body in bodies for name in _names(shape, body, path)})
            told = ", ".join(known[:_NAMES_MAX]) or "nothing"
            raise NoSuchFieldError(f"{pointer(path) or 'the record'} has no {part}; there is {told}")
        path, node = (*path, here), _below(node, here)
    return pointer(path)


def is_named(said: str, where: str) -> bool:
    """Whether somebody who says this means the field at a pointer."""
    return said == where or said.strip("/").replace("/", ".") == plain(where)


def plain(where: str) -> str:
    """A pointer as people say it."""
    return ".".join(part[1:-1] if is_item(part) else part for part in path_of(where))


def _below(node: Node, part: str) -> Node:
    return node.item() if node.items and part not in node.members else node.member(part)


def _inside(node: Node, value: Value, part: str) -> Value:
    if isinstance(value, dict):
        return member(value, part)
    items = node.keyed(value) if node.item_key else None
    return {item_part(key): item for key, item in (items or {}).items()}.get(part, ABSENT)


def _with(node: Node, value: Value, path: Path, new: Value) -> Value:
    if not path:
        return new
    part, *rest = path
    after = _with(_below(node, part), _inside(node, value, part), tuple(rest), new)
    if not is_item(part):
        others = {name: inner for name, inner in value.items() if name != part} if isinstance(value, dict) else {}
        return others if after is ABSENT else {**others, part: after}
    items = {item_part(key): item for key, item in (node.keyed(value) or {}).items()}
    items = {key: item for key, item in {**items, part: after}.items() if item is not ABSENT}
    return list(items.values())


def _names(shape: Shape, body: Json, path: Path) -> Sequence[str]:
    found = value_at(shape, body, path)
    return list(found) if isinstance(found, dict) else []
