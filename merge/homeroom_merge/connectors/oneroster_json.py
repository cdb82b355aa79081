"""Objects of OneRoster 1.2 JSON as the cells of its CSV files: references as ids, lists as texts apart by commas."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from homeroom_merge.connectors.csv_sheet import is_secret
from homeroom_merge.formatters.keys import code_key

# Members that the files call otherwise, most of them references.
_TITLES = {
    "agents": "agentSourcedIds",
    "class": "classSourcedId",
    "course": "courseSourcedId",
    "org": "orgSourcedId",
    "parent": "parentSourcedId",
    "preferredFirstName": "preferredGivenName",
    "preferredLastName": "preferredFamilyName",
    "primaryOrg": "primaryOrgSourcedId",
    "school": "schoolSourcedId",
    "terms": "termSourcedIds",
    "user": "userSourcedId",
}
_MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T00:00(:00)?(\.0+)?(Z|[+-][0-9:]{2,6})?", re.ASCII)


def cells(item: Mapping[str, object]) -> dict[str, str]:
    """What an object says, without secrets and without members that no file has; null is an empty cell."""
    found = {}
    for name, value in item.items():
        text = _text(value, is_reference=name in _TITLES)
        if text is None or is_secret(name) or name.startswith("@"):
            continue
        # Some services give days a time.
        is_day = name.endswith("Date") and (match := _MIDNIGHT.fullmatch(text))
        found[_TITLES.get(name, name)] = match[1] if is_day and match else text
    return found


def secrets(item: Mapping[str, object]) -> Iterator[str]:
    """The members that are dropped as nobody else's business."""
    return (name for name in item if is_secret(name))


def roles(user: Mapping[str, object]) -> list[dict[str, str]]:
    """The rows of roles.csv that a user's roles would be.

    They have no ids: one is made of user, organisation and role, and for all but the first of these, of its begin date.
    """
    listed = user.get("roles")
    found = [cells(role) for role in listed if isinstance(role, Mapping)] if isinstance(listed, list) else []
    alike: dict[tuple[str, ...], int] = defaultdict(int)
    for role in sorted(found, key=lambda role: role.get("beginDate", "")):
        role["userSourcedId"] = str(user.get("sourcedId") or "")
        parts = (role["userSourcedId"], role.get("orgSourcedId", ""), role.get("role", ""))
        dated = (role.get("beginDate", ""),) if alike[parts] else ()
        role["sourcedId"] = code_key(*parts, *dated)
        alike[parts] += 1
    return found


def _text(value: object, *, is_reference: bool) -> str | None:
    """The cell of a value; None for what no cell has room for."""
    if not isinstance(value, list):
        return _plain(value, is_reference=is_reference)
    texts = [_plain(one, is_reference=is_reference) for one in value]
    return None if None in texts else ",".join(text for text in texts if text)


def _plain(value: object, *, is_reference: bool) -> str | None:
    if is_reference and isinstance(value, Mapping):
        value = value.get("sourcedId")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() if isinstance(value, str | int | float) else None
