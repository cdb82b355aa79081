"""`homeroom audit`: who read and wrote which records, and what people and operators did."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from homeroom_server.command.invocation import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    out,
    settings_of,
    with_connection,
)
from homeroom_server.store import audit
from homeroom_server.store.audit import Event, Question

audit_app = typer.Typer(no_args_is_help=True, help="Who read and wrote which records, and what people did.")

_IDS_SHOWN_MAX = 5
_DAYS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@audit_app.command("query")
def query(
    record: Annotated[str | None, typer.Option(help="The id of a record; of a student, the ASN.")] = None,
    actor: Annotated[str | None, typer.Option(help="A client, a person or an account, by name.")] = None,
    organization: Annotated[str | None, typer.Option(help="For which it was done.")] = None,
    action: Annotated[str | None, typer.Option(help="read, readAll, wrote, did or lost.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=_DAYS, help="UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=_DAYS, help="UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """What happened, the newest first; asking is itself noted."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url}, config)
    asked = Question(record, actor, organization, action, _utc(since), _utc(until))
    words = " ".join(f"{name}={value}" for name, value in asked._asdict().items() if value is not None)
    did = f"asked the audit for {words or 'everything'}"
    found = with_connection(settings, lambda connection: audit.find(connection, asked, limit), did)
    if as_json:
        for event, code in found:
            typer.echo(json.dumps(_as_json(event, code)))
        return
    table = Table("when (UTC)", "who", "for", "from", "did", "what")
    for event, code in found:
        when = event.happened_at.strftime("%Y-%m-%d %H:%M:%S")
        who = f"{event.actor_kind} {event.actor}".strip()
        table.add_row(*map(Text, (when, who, code or "", event.address or "", event.action, _what(event))))
    out.print(table)
    if len(found) == limit:
        out.print(f"these are the newest {limit}; --limit shows more")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _what(event: Event) -> str:
    ids = list(event.ids or ())
    more = f" and {len(ids) - _IDS_SHOWN_MAX} more" if len(ids) > _IDS_SHOWN_MAX else ""
    parts = (event.notification_type, " ".join(ids[:_IDS_SHOWN_MAX]) + more, event.detail)
    return " ".join(part for part in parts if part)


def _as_json(event: Event, code: str | None) -> dict[str, object]:
    told = {
        "happenedAt": event.happened_at.isoformat(),
        "actorKind": event.actor_kind,
        "actor": event.actor,
        "organization": code,
        "address": event.address,
        "action": event.action,
        "notificationType": event.notification_type,
        "ids": event.ids,
        "detail": event.detail,
    }
    return {name: value for name, value in told.items() if value is not None}
