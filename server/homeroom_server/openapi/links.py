"""Where an answer leads: what of it goes into which next question."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_SAME_TYPE = {"notificationType": "$request.path.notificationType"}
_LISTED_TYPE = {"notificationType": "$response.body#/types/0/notificationType"}
EVERYTHING: Json = {"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}
"""The range of a client that holds nothing."""


def _for_the_same(operation: str) -> Json:
    return {
        "operationId": operation,
        "description": "For one of the organisations that the client represents.",
        "parameters": {"header.Organization": "$response.body#/organizations/0/code"},
    }


LINKS: Mapping[str, Mapping[str, Json]] = {
    "hello": {
        f"{operation}For": _for_the_same(operation)
        for operation in (
            *("isDataAvailable", "get", "submit", "acknowledge", "reconcile", "snapshot"),
            "notificationTypes",
        )
    },
    "submit": {
        "getWhatWasSubmitted": {
            "operationId": "get",
            "parameters": _SAME_TYPE,
            "requestBody": {"records": [{"id": "$response.body#/results/0/id"}]},
        },
        "seeItAnnounced": {
            "operationId": "isDataAvailable",
            "requestBody": {
                "waitSeconds": 0,
                "types": [{"notificationType": "$request.path.notificationType", "maxCoreVersion": 0}],
            },
        },
    },
    "isDataAvailable": {
        "getWhatIsNew": {
            "operationId": "get",
            "parameters": _LISTED_TYPE,
            "requestBody": {
                "records": [
                    {
                        "id": "$response.body#/types/0/records/0/id",
                        "expectedVersion": "$response.body#/types/0/records/0/coreVersion",
                    }
                ]
            },
        },
        "askOn": {
            "operationId": "isDataAvailable",
            "description": "The cursor of an answer is the next question's.",
            "requestBody": {
                "types": [{**_LISTED_TYPE, "maxCoreVersion": "$response.body#/types/0/maxCoreVersion"}],
            },
        },
        "reconcileUpToIt": {
            "operationId": "reconcile",
            "parameters": _LISTED_TYPE,
            "requestBody": {"maxCoreVersion": "$response.body#/types/0/maxCoreVersion", "ranges": [EVERYTHING]},
        },
    },
    "get": {
        "acknowledgeItsAlert": {
            "operationId": "acknowledge",
            "description": "Of a status.",
            "parameters": _SAME_TYPE,
            "requestBody": {
                "id": "$response.body#/records/0/id",
                "alertCode": "$response.body#/records/0/body/alerts/0/alertCode",
                "arguments": "$response.body#/records/0/body/alerts/0/arguments",
                "state": "Acknowledged",
            },
        }
    },
}
