"""The body of a status record: the alerts of a calculation and what people have said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from homeroom_server.rule_set import Alert, AlertType


class AcknowledgementState(StrEnum):
    """Only an advice can be acknowledged; only the ministry overrides."""

    UNACKNOWLEDGED = "Unacknowledged"
    IN_PROGRESS = "InProgress"
    ACKNOWLEDGED = "Acknowledged"
    OVERRIDDEN = "Overridden"


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes an alert the same in the next calculation."""

    code: int
    arguments: frozenset[tuple[str, object]]


def identity(code: int, arguments: Mapping[str, str]) -> Identity:
    """Values must match exactly, except that the order in lists of integers does not count."""
    return Identity(code, frozenset((name, _comparable(value)) for name, value in arguments.items()))


def status_body(alerts: Sequence[Alert], before: str | None) -> str:
    """The body of a calculated status; alerts that stood before keep their acknowledgement."""
    known = {} if before is None else {_identity_of(entry): entry["acknowledgement"] for entry in parse_alerts(before)}
    fresh = {"state": AcknowledgementState.UNACKNOWLEDGED.value}
    entries = [
        {
            "alertCode": alert.code,
            "alertType": alert.type.value,
            "description": alert.description,
            "arguments": dict(alert.arguments),
            "acknowledgement": known.get(identity(alert.code, alert.arguments), fresh),
        }
        for alert in alerts
    ]
    return encode_alerts(entries)


def parse_alerts(body: str) -> list[dict[str, Any]]:
    alerts: list[dict[str, Any]] = orjson.loads(body)["alerts"]
    return alerts


def encode_alerts(entries: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps({"alerts": entries}, option=orjson.OPT_SORT_KEYS).decode()


def allows(state: AcknowledgementState, alert_type: str, *, is_ministry: bool) -> bool:
    """Whether an alert of this type may be put into that state by this caller."""
    match state:
        case AcknowledgementState.ACKNOWLEDGED:
            return alert_type == AlertType.ADVICE
        case AcknowledgementState.OVERRIDDEN:
            return is_ministry
        case AcknowledgementState.UNACKNOWLEDGED | AcknowledgementState.IN_PROGRESS:
            return True


def _identity_of(entry: Mapping[str, Any]) -> Identity:
    return identity(entry["alertCode"], entry["arguments"])


def _comparable(value: str) -> object:
    parts = [part.strip() for part in value.split(",")]
    return tuple(sorted(map(int, parts))) if all(part.isascii() and part.isdigit() for part in parts) else value
