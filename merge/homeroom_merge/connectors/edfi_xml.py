"""Ed-Fi interchange XML, read as a stream: one record at a time, nothing fetched, nothing expanded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

ELEMENTS_PER_RECORD_MAX = 20_000
_NAMESPACE = re.compile(r"http://ed-fi\.org/([0-9]+)\.([0-9]+)[A-Za-z0-9.-]*")
_TRIED = {("3", "3"), ("5", "2")}
_MAJORS = {"3", "4", "5"}
_ENCODING = re.compile(rb"""[^<]{0,3}<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_SECRET = re.compile(
    r"password|passwd|passphrase|secret(?!ar)|apikey|accesstoken|socialsecurity|ssn$|^pin$", re.IGNORECASE
)
_SECRET_SYSTEMS = re.compile(r"#(SSN|PIN|Canadian SIN|Social Security.*)$", re.IGNORECASE)
_TAIL_BYTES = 4096
_CUT = "it ends in the middle of a record: the export was cut"
_AGAIN = "export it again and wait until it is whole"


class SourceFault(Exception):
    """A file that cannot be read as a whole: what is wrong where, and the cure. Never repeats what the file says."""


@dataclass(slots=True)
class Noticed:
    """What was noticed on the way, and handled."""

    secrets: dict[str, int] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)
    encodings: set[str] = field(default_factory=set)

    def notes(self) -> list[str]:
        return [
            *(f"secrets dropped, of {name}: {count}" for name, count in sorted(self.secrets.items())),
            *(f"elements of the namespace {name} were left out" for name in sorted(self.namespaces)),
            *(f"read as Ed-Fi Data Standard {v}, which has not been tried" for v in sorted(self.versions)),
            *(f"read as {encoding}, as the file says" for encoding in sorted(self.encodings)),
        ]


@dataclass(frozen=True, slots=True)
class Record:
    """One element right below the root. `id`: what references in the same file call it."""

    name: str
    row: dict[str, object]
    file: str
    line: int
    id: str | None

    @property
    def place(self) -> str:
        return f"{self.file} line {self.line}"


def interchange_of(path: Path) -> str:
    """The name of a file's root element, without its namespace. Raises SourceFault, OSError."""
    with path.open("rb") as file:
        try:
            for _, element in _parser(file):
                return etree.QName(element).localname
        except etree.XMLSyntaxError as fault:
            raise _fault(path, fault) from fault
    raise SourceFault(f"{path.name}: it is empty; {_AGAIN}")


def records(
    path: Path, names: frozenset[str], noticed: Noticed, referred: frozenset[str] = frozenset()
) -> Iterator[Record]:
    """The records of these names in a file, and those of the names `referred` that have an id. SourceFault, OSError."""
    with path.open("rb") as file:
        try:
            yield from _records(path, _parser(file), names, noticed, referred)
        except etree.XMLSyntaxError as fault:
            raise _fault(path, fault) from fault


def _parser(file: object) -> "etree.iterparse":
    return etree.iterparse(
        file,
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _records(
    path: Path, events: "etree.iterparse", names: frozenset[str], noticed: Noticed, referred: frozenset[str]
) -> Iterator[Record]:
    depth = elements = 0
    namespace = ""
    for event, element in events:
        if event == "start":
            depth, elements = depth + 1, elements + 1
            if depth == 1:
                namespace = _checked_root(path, element, noticed)
            elif depth == 2:
                elements = 0
            elif elements > ELEMENTS_PER_RECORD_MAX:
                where = f"{path.name} line {element.sourceline}"
                raise SourceFault(f"{where}: one record has more than {ELEMENTS_PER_RECORD_MAX:,} elements")
            continue
        depth -= 1
        if depth == 1:
            name, called = etree.QName(element), element.get("id")
            wanted = name.localname in names or (called is not None and name.localname in referred)
            if wanted and name.namespace == namespace:
                row = _members(element, namespace, noticed)
                yield Record(name.localname, row, path.name, element.sourceline or 0, called)
            _forget(element)


def _checked_root(path: Path, root: "etree._Element", noticed: Noticed) -> str:
    """The Ed-Fi namespace of a file; raises SourceFault for another one, and for any document type."""
    if root.getroottree().docinfo.internalDTD is not None:
        raise SourceFault(f"{path.name} line 1: it declares a document type, which no interchange does; it is not read")
    namespace = etree.QName(root).namespace or ""
    version = _NAMESPACE.fullmatch(namespace)
    if version is None or version[1] not in _MAJORS:
        known = "the Data Standards 3.3 to 5.2 are read (http://ed-fi.org/3.3.1-b, http://ed-fi.org/5.2.0)"
        raise SourceFault(f"{path.name} line {root.sourceline}: its namespace is {namespace[:100] or 'none'}; {known}")
    if version.groups() not in _TRIED:
        noticed.versions.add(".".join(version.groups()))
    if encoding := _other_encoding(path):
        noticed.encodings.add(encoding)
    return namespace


def _other_encoding(path: Path) -> str:
    """The encoding that a file declares; empty if that is UTF-8."""
    with path.open("rb") as file:
        declared = _ENCODING.match(file.read(_TAIL_BYTES).replace(b"\0", b""))
    encoding = declared[1].decode("ascii") if declared else "UTF-8"
    return "" if encoding.upper() in ("UTF-8", "ASCII", "US-ASCII") else encoding


def _is_mislabelled(path: Path) -> bool:
    """Whether a file says that its characters are of two bytes or four, and they are not."""
    with path.open("rb") as file:
        wide = b"\0" in file.read(_TAIL_BYTES)
    return not wide and _other_encoding(path).upper().startswith(("UTF-16", "UTF-32", "UCS"))


def _forget(element: "etree._Element") -> None:
    """Give back the memory of a record that has been read, and of all before it."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _members(element: "etree._Element", namespace: str, noticed: Noticed) -> dict[str, object]:
    """An element's children by name: texts, mappings, None for nil; lists of these where one is repeated."""
    members: dict[str, object] = {}
    for child in element:
        if not isinstance(child.tag, str):
            continue
        name = etree.QName(child)
        if name.namespace != namespace:
            noticed.namespaces.add((name.namespace or "none")[:100])
            continue
        value = _value(child, namespace, noticed)
        if _is_secret(name.localname, value):
            noticed.secrets[name.localname] = noticed.secrets.get(name.localname, 0) + 1
        elif name.localname not in members:
            members[name.localname] = value
        elif isinstance(there := members[name.localname], list):
            there.append(value)
        else:
            members[name.localname] = [there, value]
    return members


def _value(element: "etree._Element", namespace: str, noticed: Noticed) -> object:
    if element.get(_NIL) in ("true", "1"):
        return None
    if len(element):
        return _members(element, namespace, noticed)
    reference = element.get("ref")
    return {"ref": reference} if reference is not None else (element.text or "").strip()


def _is_secret(name: str, value: object) -> bool:
    """A password or the like, or an identification code of a system whose numbers are nobody else's business."""
    if _SECRET.search(name):
        return True
    if not name.endswith("IdentificationCode") or not isinstance(value, dict):
        return False
    return any(isinstance(text, str) and _SECRET_SYSTEMS.search(text) for text in value.values())


def _fault(path: Path, fault: etree.XMLSyntaxError) -> SourceFault:
    """What the parser found, in our words: its own may repeat what the file says."""
    where = f"{path.name} line {fault.lineno or 0}"
    codes, code = etree.ErrorTypes, getattr(fault, "code", None)
    encoding = (codes.ERR_INVALID_ENCODING, codes.ERR_UNSUPPORTED_ENCODING, codes.ERR_UNKNOWN_ENCODING)
    if code in encoding or _is_mislabelled(path):
        return SourceFault(f"{where}: its bytes are not in the encoding that it says; export it as UTF-8")
    if "amplification" in str(fault) or code == codes.ERR_ENTITY_LOOP:
        return SourceFault(f"{where}: it declares entities that grow without bound; it is not read")
    if _is_cut(path):
        return SourceFault(f"{where}: {_CUT}; {_AGAIN}")
    return SourceFault(f"{where}: it is not well-formed XML; {_AGAIN}")


def _is_cut(path: Path) -> bool:
    """Whether a file does not end with the end of its root."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        tail = file.read().replace(b"\0", b"").rstrip()
    return re.search(rb"</([A-Za-z0-9_.-]+:)?Interchange[A-Za-z]*\s*>$", tail) is None
