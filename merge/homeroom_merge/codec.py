"""Records and plans as canonical JSON text, and back: absent values are left out, so that they stay absent."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from homeroom_merge.plan import Change, Conflict, FieldChange, Kind, Write
from homeroom_merge.records import Awaited, Base, Deactivated, Fault
from homeroom_merge.values import ABSENT, Json, Value


def canonical(value: object) -> str:
    """JSON text with sorted members: equal texts are equal values."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def value_text(value: Value) -> str | None:
    """A value's text; None for ABSENT."""
    return None if value is ABSENT else canonical(value)


def value_of(text: str | None) -> Value:
    """The value that `value_text` wrote."""
    return ABSENT if text is None else orjson.loads(text)


def base_more(base: Base) -> str | None:
    """What a base says beside its two bodies; None where it says nothing more."""
    said = _more_json(base)
    return canonical(said) if said else None


def base_of(hub: str, sis: str, more: str | None, *, deleted: bool) -> Base:
    """A base from its texts."""
    said: Json = {} if more is None else orjson.loads(more)
    return _base_with(orjson.loads(hub), orjson.loads(sis), said, deleted=deleted)


def _more_json(base: Base) -> Json:
    said: Json = {}
    if base.refused:
        said["refused"] = base.refused
    if base.covered is not None:
        said["covered"] = sorted(base.covered)
    if base.deactivated is not None:
        away = base.deactivated
        said["deactivated"] = {
            "side": away.side,
            "member": away.member,
            **_present(value=away.value, before=away.before),
        }
    return said


def _base_with(hub: Json, sis: Json, said: Mapping[str, Any], *, deleted: bool) -> Base:
    away = said.get("deactivated")
    return Base(
        hub,
        sis,
        deleted,
        said.get("refused", {}),
        frozenset(said["covered"]) if "covered" in said else None,
        None
        if away is None
        else Deactivated(away["side"], away["member"], away.get("value", ABSENT), away.get("before", ABSENT)),
    )


def faults_text(faults: Sequence[Fault], place: str) -> str:
    """Why a record is left out, and where it stands in its source."""
    said = [{"pointer": fault.pointer, "detail": fault.detail, "cure": fault.cure} for fault in faults]
    return canonical({"place": place, "faults": said})


def faults_of(text: str) -> list[Fault]:
    return [Fault(each["pointer"], each["detail"], each["cure"]) for each in orjson.loads(text)["faults"]]


def awaited_text(awaited: Awaited) -> str:
    said: Json = {"base": _base_json(awaited.base), "earlier": list(awaited.earlier), "wasGone": awaited.was_gone}
    return canonical(said)


def awaited_of(text: str) -> Awaited:
    said = orjson.loads(text)
    return Awaited(_base_from(said["base"]), tuple(said["earlier"]), said["wasGone"])


def change_text(change: Change) -> str:
    """A planned change with its exact bodies."""
    said: Json = {
        "sisKey": change.sis_key,
        "hubId": change.hub_id,
        "school": change.school,
        "schoolYear": change.school_year,
        "note": change.note,
        "awaits": change.awaits,
        "unlink": change.unlink,
        "setAside": change.set_aside,
        "waitsFor": [list(reference) for reference in change.waits_for],
        "writes": [_write_json(write) for write in change.writes],
        "fields": [
            {"pointer": f.pointer, "decidedBy": f.decided_by, "to": list(f.to), **_values(f)} for f in change.fields
        ],
        "conflicts": [{"pointer": c.pointer, "rule": c.rule, **_values(c)} for c in change.conflicts],
    }
    if change.base is not None:
        said["base"] = _base_json(change.base)
    return canonical(said)


def change_of(text: str) -> Change:
    """The change that `change_text` wrote."""
    said = orjson.loads(text)
    return Change(
        said["sisKey"],
        said["hubId"],
        tuple(_write_from(write) for write in said["writes"]),
        tuple(
            FieldChange(f["pointer"], *_three(f), f.get("outcome", ABSENT), f["decidedBy"], tuple(f["to"]))
            for f in said["fields"]
        ),
        tuple(Conflict(c["pointer"], *_three(c), c["rule"]) for c in said["conflicts"]),
        tuple((entity, key) for entity, key in said["waitsFor"]),
        said["note"],
        _base_from(said["base"]) if "base" in said else None,
        said["awaits"],
        said["unlink"],
        said["setAside"],
        said["school"],
        said["schoolYear"],
    )


def _base_json(base: Base) -> Json:
    more = _more_json(base)
    return {"hub": base.hub, "sis": base.sis, "deleted": base.deleted, **({"more": more} if more else {})}


def _base_from(said: Mapping[str, Any]) -> Base:
    return _base_with(said["hub"], said["sis"], said.get("more", {}), deleted=said["deleted"])


def _write_json(write: Write) -> Json:
    said: Json = {"side": write.side, "kind": write.kind.value, "body": write.body}
    return {**said, "expectedVersion": write.expected_version, "token": write.token}


def _write_from(said: Mapping[str, Any]) -> Write:
    return Write(said["side"], Kind(said["kind"]), said["body"], said["expectedVersion"], said["token"])


def _three(said: Mapping[str, Any]) -> tuple[Value, Value, Value]:
    return said.get("base", ABSENT), said.get("sis", ABSENT), said.get("hub", ABSENT)


def _values(of: FieldChange | Conflict) -> Json:
    values = _present(base=of.base, sis=of.sis, hub=of.hub)
    return values if isinstance(of, Conflict) else {**values, **_present(outcome=of.outcome)}


def _present(**values: Value) -> Json:
    return {name: value for name, value in values.items() if value is not ABSENT}
