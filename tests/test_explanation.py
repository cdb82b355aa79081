"""`homeroom explain-mismatch`: what a client was told, since when it differs, and in which record."""

from homeroom import version_hash
from homeroom_server.explanation import explain_mismatch
from tests.conftest import Core
from tests.records import Json, accepted, available, note


async def explained(core: Core, client_name: str) -> Json:
    await core.services.client_streams.write()
    wanted, definition = core.services.catalogue.resolve("Note")
    (found,) = await explain_mismatch(await core.connect(), client_name, wanted, definition)
    return found


async def test_a_client_that_missed_a_record_is_told_apart(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    name = (await school.hello()).client
    held = await accepted(school, "Note", note("a"), note("b"))
    await available(school, "Note", held[-1], versionHash=version_hash(held))
    in_step = await explained(plain_core, name)
    assert (in_step["agreesNow"], in_step["inStepUntilVersion"], in_step["mismatches"]) == (True, held[-1], 0)
    c, missed, e = await accepted(school, "Note", note("c"), note("missed"), note("e"))
    for _ in range(3):
        await available(school, "Note", e, versionHash=version_hash([*held, c, e]))
    found = await explained(plain_core, name)
    assert found["differs"] == [{"id": "missed", "coreVersion": missed, "state": "live"}]
    assert [record["id"] for record in found["changedSince"]] == ["c", "missed", "e"]
    assert (found["mismatches"], found["inStepUntilVersion"], found["agreesNow"]) == (3, held[-1], False)
    assert found["mismatchSince"] is not None
    assert found["told"] == {"reason": "mismatch", "records": 5}
    await available(school, "Note", e, versionHash=version_hash([*held, c, missed, e]))
    healed = await explained(plain_core, name)
    assert (healed["agreesNow"], healed["mismatches"], healed["mismatchSince"]) == (True, 0, None)


async def test_ids_listed_by_reconciliation_are_shown(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    name = (await school.hello()).client
    (a,) = await accepted(school, "Note", note("a"))
    everything = {"from": None, "to": None, "count": 0, "fingerprint": "0" * 32}
    await school.reconcile("Note", a, [everything])
    assert (await explained(plain_core, name))["reconciledIds"] == ["a"]


async def test_a_client_that_never_asked_has_no_explanation(plain_core: Core) -> None:
    wanted, definition = plain_core.services.catalogue.resolve("Note")
    assert await explain_mismatch(await plain_core.connect(), "nobody", wanted, definition) == []
