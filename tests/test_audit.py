"""The audit: who read and wrote which records, what people and operators did; only ever added to."""

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from homeroom_server import collection
from homeroom_server.auth import Role
from tests.conftest import Core
from tests.processes import Node, homeroom
from tests.records import accepted, note


async def events(core: Core) -> list[dict[str, Any]]:
    """All that is kept, the oldest first, without when it was."""
    await core.services.audit.write()
    rows = await (await core.connect()).fetch(
        """
        select e.actor_kind, e.actor, o.code, e.action, e.notification_type, e.ids, e.detail
        from audit_event e left join organization o on o.number = e.organization order by happened_at, e.action desc
        """
    )
    return [dict(row) for row in rows]


async def test_who_wrote_and_who_read_is_kept(plain_core: Core) -> None:
    maple, foothills = await plain_core.client("S.0982"), await plain_core.client("A.3020", Role.READER)
    await accepted(maple, "Note", note("a"), note("b"))
    await foothills.get("Note", [{"id": "a"}, {"id": "x"}, {"id": "b"}])
    _ = [line async for line in foothills.snapshot("Note")]
    wrote, read, whole = await events(plain_core)
    assert (wrote["action"], wrote["code"], wrote["notification_type"], wrote["ids"]) == (
        *("wrote", "S.0982", "Note"),
        ["a", "b"],
    )
    assert wrote["actor"].startswith("S.0982")
    assert (read["action"], read["code"], read["ids"]) == ("read", "A.3020", ["a", "b"]), "of x there was nothing"
    assert (whole["action"], whole["detail"][:15]) == ("readAll", "above version 0")


async def test_what_was_refused_or_not_given_is_nobodys_deed(plain_core: Core) -> None:
    maple, elk = await plain_core.client("S.0982"), await plain_core.client("S.0983")
    await accepted(maple, "Note", note("a"))
    await maple.submit("Note", [{**note("a"), "expectedVersion": 7}])
    await elk.get("Note", [{"id": "a"}])
    assert [event["action"] for event in await events(plain_core)] == ["wrote"]


async def test_a_herd_that_shares_one_answer_is_kept_one_by_one(plain_core: Core) -> None:
    maple, one, other = [await plain_core.client(code) for code in ("S.0982", "A.3020", "A.3020")]
    await accepted(maple, "Note", note("a"))
    for client in (one, other):
        await client.get("Note", [{"id": "a"}])
    assert len({event["actor"] for event in await events(plain_core)}) == 3


@pytest.mark.parametrize(
    "statement", ["update audit_event set actor = 'x'", "delete from audit_event", "truncate audit_event"]
)
async def test_nobody_changes_what_was_noted(plain_core: Core, statement: str) -> None:
    await accepted(await plain_core.client("S.0982"), "Note", note("a"))
    with pytest.raises(asyncpg.RaiseError, match="only added to"):
        await (await plain_core.connect()).execute(statement)


async def test_it_is_forgotten_after_its_retention(plain_core: Core) -> None:
    await accepted(await plain_core.client("S.0982"), "Note", note("a"))
    connection = await plain_core.connect()
    await connection.execute(
        "insert into audit_event (happened_at, actor_kind, actor, action) "
        "values (now() - interval '8 days', 'operator', 'old', 'did')"
    )
    await collection.collect_audit(plain_core.services.reading.primary.pools["usual"], 7)
    assert [event["action"] for event in await events(plain_core)] == ["wrote"]


async def test_what_could_not_be_kept_is_counted(plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeroom_server.audit._KEPT_MAX", 1)
    maple = await plain_core.client("S.0982")
    await accepted(maple, "Note", note("a"))
    for _ in range(3):
        await maple.get("Note", [{"id": "a"}])
    found = await events(plain_core)
    assert [event["action"] for event in found] == ["wrote", "read", "lost"]
    assert found[-1]["detail"].startswith("2 reads were not noted")


def test_operators_ask_and_are_noted(node_files: Node, tmp_path: Path) -> None:
    there = ("--data-dir", node_files.data_dir)
    homeroom("client", "create", "maple", "--organization", "S.0982", *there)
    homeroom("client", "disable", "maple", *there)
    assert "gone" in homeroom("client", "disable", "gone", *there, check=False).stderr
    said = homeroom("audit", "query", "--action", "did", "--json", *there).stdout
    told = [json.loads(line)["detail"] for line in said.splitlines()]
    assert told[:2] == ["disabled the client maple", "made the client maple: writer of S.0982"]
    (asked,) = homeroom("audit", "query", "--limit", "1", "--json", *there).stdout.splitlines()
    assert json.loads(asked)["detail"] == "asked the audit for action=did"
    table = homeroom("audit", "query", "--since", "2020-01-01", *there).stdout
    assert "made the client maple" in table
    assert homeroom("audit", "query", "--record", "x", "--json", *there).stdout == ""
