"""Who sees what, for operators: grants, `homeroom explain-access`, the access day, what `homeroom status` says."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import asyncpg
import pytest

from homeroom import HomeroomError
from homeroom_server import operations
from homeroom_server.access.explanation import Question, explain_access
from homeroom_server.catalogue import load_catalogue
from homeroom_server.settings import Settings
from homeroom_server.store import associations, moves
from tests.access import CATALOGUE, enrol, settled
from tests.conftest import Core, open_core
from tests.processes import homeroom
from tests.records import Json, accepted, record

MAPLE, ELK, PLAIN, FOOTHILLS, MINISTRY = "S.0982", "S.0983", "S.0990", "A.3020", "O.1"
BULLETIN = '[types.Bulletin]\nschool_year = "none"\nid_format = "code"\naudience = "public"\n'
TODAY, YEAR = datetime.now(UTC).date(), timedelta(days=365)


@pytest.fixture
def access_settings(settings: Settings, tmp_path: Path) -> Settings:
    path = tmp_path / "access.toml"
    path.write_text(f"{CATALOGUE}\n{BULLETIN}", encoding="utf-8")
    return replace(settings, catalogue=str(path), feed_poll_seconds=0.05, time_zone="UTC")


@pytest.fixture
async def access_core(database_of_test: str, access_settings: Settings) -> AsyncIterator[Core]:
    async with open_core(database_of_test, access_settings) as core:
        await settled(core.services)
        yield core


async def explained(core: Core, code: str, notification_type: str, record_id: str) -> Json:
    catalogue = core.services.catalogue
    asked, definition = catalogue.resolve_in_any_year(notification_type)
    question = Question(code, asked, definition, record_id)
    return await explain_access(await core.connect(), question, catalogue, core.services.settings)


def reasons(found: Json, *, counting: bool = True) -> list[str]:
    return [reason["words"] for reason in found["reasons"] if reason["counts"] == counting]


async def command(*arguments: str, url: str) -> tuple[int, str, str]:
    """Exit code and what was said, while the node of this process runs on."""
    done = await anyio.to_thread.run_sync(lambda: homeroom(*arguments, "--database-url", url, check=False))
    return done.returncode, done.stdout, " ".join(done.stderr.split())


async def commands(*calls: Sequence[str], url: str) -> list[tuple[int, str, str]]:
    """Several at once, which do not touch each other."""
    found: dict[int, tuple[int, str, str]] = {}

    async def keep(place: int, arguments: Sequence[str]) -> None:
        found[place] = await command(*arguments, url=url)

    async with anyio.create_task_group() as tasks:
        for place, arguments in enumerate(calls):
            tasks.start_soon(keep, place, arguments)
    return [found[place] for place in range(len(calls))]


@pytest.mark.usefixtures("time_zone")
async def test_a_grant_is_given_explained_and_taken(access_core: Core) -> None:
    maple, url = await access_core.client(MAPLE), access_core.database_url
    await accepted(maple, "Student", record("s1", {}))
    await settled(access_core.services)
    until = str(TODAY + YEAR)
    assert await command("grant", PLAIN, "s1", "--until", until, "--json", url=url) == (
        0,
        json.dumps({"organization": PLAIN, "student": "s1", "until": until}) + "\n",
        "",
    )
    await settled(access_core.services)
    explain = ("explain-access", PLAIN, "Student", "s1", "--catalogue", access_core.services.settings.catalogue)
    code, said, _ = await command(*explain, "--json", url=url)
    found = json.loads(said)
    assert (code, found["sees"], found["agrees"], found["events"][0]["begun"]) == (0, True, True, True)
    assert reasons(found) == [f"it is associated with student s1: it was granted this until {until}"]
    assert found["lookedAtAgainOn"] == str(TODAY + YEAR + timedelta(days=1))
    code, said, _ = await command("revoke", PLAIN, "s1", url=url)
    assert (code, said) == (0, "S.0990 is no longer granted the records of student s1\n")
    await settled(access_core.services)
    code, said, _ = await command(*explain, url=url)
    assert code == 0
    assert "S.0990 no longer sees Student s1, since version " in said
    assert "There is no reason for it to see the record." in said
    assert "granted" in said


@pytest.mark.usefixtures("time_zone")
async def test_what_cannot_be_is_said_in_a_line(access_core: Core) -> None:
    await accepted(await access_core.client(MAPLE), "Enrolment.2027", record("e1", {"studentId": "s1"}))
    catalogue = ("--catalogue", access_core.services.settings.catalogue)
    yesterday = str(TODAY - timedelta(days=1))
    wrong: list[tuple[Sequence[str], int, str]] = [
        (("grant", PLAIN, "s1", "--until", "2026-02-30"), 2, "'2026-02-30' does not match"),
        (("grant", PLAIN, "s1", "--until", yesterday), 1, f"{yesterday} is over"),
        (("grant", PLAIN, "s 1"), 1, "'s 1' cannot be a student: an id has 1-64 of A-Z a-z 0-9 . _ -"),
        (("revoke", PLAIN, "s1"), 1, "S.0990 was granted nothing about student s1"),
        (("explain-access", "S.9", "Enrolment", "e1", *catalogue), 1, "there is no organisation S.9"),
    ]
    answers = await commands(*(arguments for arguments, _, _ in wrong), url=access_core.database_url)
    for (_, code, said), found in zip(wrong, answers, strict=True):
        assert (found[0], "Traceback" in found[2]) == (code, False), found
        assert said in found[2].replace(" │ │ ", " "), found
    for record_type, record_id, said in (
        ("Enrolment", "e9", "there is no Enrolment e9"),
        ("Enrolment", "e 9", "'e 9' is not a code"),
        ("Enrolment.2026", "e1", "it stands under Enrolment.2027"),
        ("None", "e1", "there is no notification type None"),
    ):
        with pytest.raises((operations.OperationError, HomeroomError), match=said):
            await explained(access_core, MAPLE, record_type, record_id)
    with pytest.raises(operations.OperationError, match=r"there is no school or authority S\.9"):
        await operations.grant(await access_core.connect(), "S.9", "s1", None)


@pytest.fixture
def time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEROOM_TIME_ZONE", "UTC")


async def test_every_reason_is_told(access_core: Core) -> None:
    maple, elk, plain = [await access_core.client(code) for code in (MAPLE, ELK, PLAIN)]
    await accepted(maple, "Student", record("s1", {}))
    await accepted(maple, "Bulletin", record("b1", {}))
    await settled(access_core.services)
    found = await explained(access_core, FOOTHILLS, "Student", "s1")
    (created,) = reasons(found)
    assert created.startswith(f"its school S.0982 is associated with student s1: it created the student on {TODAY} (")
    assert "until the first enrolment, at most until" in created
    assert reasons(await explained(access_core, PLAIN, "Bulletin", "b1")) == ["everybody sees records of type Bulletin"]
    assert reasons(await explained(access_core, MINISTRY, "StudentStatus", "s1")) == [
        "it is the ministry, which sees everything"
    ]
    never = await explained(access_core, ELK, "Student", "s1")
    assert (never["sees"], never["verdict"]) == (False, "S.0983 does not see Student s1, and never did.")
    start, left = TODAY + YEAR, TODAY - YEAR * 2
    await enrol(elk, "e1", "s1", "0983")
    await enrol(elk, "e2", "s1", "0983", exit=str(left))
    await enrol(plain, "e3", "s1", "0990", start=str(start))
    (mark,) = await accepted(maple, "Mark", record("m1", {"studentId": "s1", "decision": {"approved": True}}))
    await settled(access_core.services)
    elk_sees = await explained(access_core, ELK, "StudentStatus", "s1")
    assert (elk_sees["sees"], elk_sees["agrees"], elk_sees["state"]) == (True, True, "live")
    assert reasons(elk_sees) == [
        "it is associated with student s1: enrolment record e1 (from 2020-09-01; still enrolled)"
    ]
    (over,) = reasons(elk_sees, counting=False)
    assert f"it was associated with student s1: enrolment record e2 (from 2020-09-01 to {left}; counted until" in over
    maple_lost = await explained(access_core, MAPLE, "Student", "s1")
    assert maple_lost["verdict"].startswith("S.0982 no longer sees Student s1, since version ")
    assert ["which counted until the first enrolment" in words for words in reasons(maple_lost, counting=False)] == [
        True
    ]
    assert [(event["begun"], event["cause"]) for event in maple_lost["events"]] == [
        (False, "created"),
        (True, "created"),
    ]
    plain_later = await explained(access_core, PLAIN, "Student", "s1")
    assert plain_later["lookedAtAgainOn"] == str(start)
    assert reasons(plain_later, counting=False) == [
        f"it will be associated with student s1: enrolment record e3 (from {start})"
    ]
    assert reasons(await explained(access_core, FOOTHILLS, "Mark", "m1")) == [
        "its school S.0982 owns the record",
        "its school S.0983 is associated with student s1: enrolment record e1 (from 2020-09-01; still enrolled);"
        " the record is shared with such organisations because its member /decision/approved is true",
    ]
    await accepted(maple, "Mark", record("m1", {"studentId": "s1"}, mark))
    await settled(access_core.services)
    unshared = await explained(access_core, ELK, "MarkStatus", "m1")
    assert (unshared["sees"], unshared["entitled"], unshared["state"]) == (False, False, "revoked")
    assert all("only while its member /decision/approved is true" in w for w in reasons(unshared, counting=False))
    assert unshared["rule"].startswith("It is seen by its owner S.0982, organisations associated with student s1 while")
    by_year = await explained(access_core, PLAIN, "enrolment", "e3")
    assert (by_year["notificationType"], reasons(by_year)) == ("Enrolment.2027", ["it owns the record"])


async def test_what_is_deleted_is_known_to_those_who_saw_it(access_core: Core) -> None:
    maple = await access_core.client(MAPLE)
    (made,) = await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    await accepted(maple, "Document", record("d1", None, made, deleted=True))
    await enrol(await access_core.client(PLAIN), "e1", "s1", "0990")
    await settled(access_core.services)
    saw, came_late = [await explained(access_core, code, "Document", "d1") for code in (MAPLE, PLAIN)]
    assert (saw["verdict"], saw["agrees"]) == ("S.0982 knows Document d1 as deleted.", True)
    assert (came_late["sees"], came_late["entitled"], came_late["agrees"]) == (False, True, True)
    assert came_late["notes"] == ["The record is deleted: nobody comes to see it any more."]


async def without_a_node(database_url: str, access_settings: Settings) -> asyncpg.Connection:
    """A student of Maple Ridge and a grant to Elk Valley; then the node is gone."""
    async with open_core(database_url, access_settings) as core:
        await accepted(await core.client(MAPLE), "Student", record("s1", {}))
        await operations.grant(await core.connect(), ELK, "s1", TODAY + timedelta(days=400))
        await settled(core.services)
    return await asyncpg.connect(database_url)


async def explained_without_a_node(connection: asyncpg.Connection, settings: Settings, code: str) -> Json:
    catalogue = load_catalogue(settings.catalogue)
    question = Question(code, *catalogue.resolve_in_any_year("Student"), "s1")
    return await explain_access(connection, question, catalogue, replace(settings, access_lapse_held_min=0))


async def test_transitions_are_told_from_faults(database_of_test: str, access_settings: Settings) -> None:
    connection = await without_a_node(database_of_test, access_settings)
    await operations.grant(connection, PLAIN, "s1", None)
    waiting = await explained_without_a_node(connection, access_settings, PLAIN)
    assert (waiting["sees"], waiting["entitled"], waiting["pending"]) == (False, True, True)
    assert waiting["notes"] == [
        "Access to student s1 waits to be computed: within seconds, while a node runs.",
        "Its stream does not show the record, the reasons say that it should: a moment of transition.",
    ]
    await connection.execute("delete from access_trigger")
    (fault,) = (await explained_without_a_node(connection, access_settings, PLAIN))["notes"]
    assert fault.endswith("it should: nothing waits that would change it, so this is a fault.")
    await connection.close()


@pytest.mark.usefixtures("time_zone")
async def test_a_held_day_is_explained_and_moved_on(
    database_of_test: str, access_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, url = await without_a_node(database_of_test, access_settings), database_of_test
    await operations.grant(connection, PLAIN, "s1", None)
    await moves.note_moves(connection, [MAPLE])
    before = TODAY - timedelta(days=500)
    await connection.execute("update core set access_day = $1", before)
    await connection.execute("update association set ends_on = $1 where cause = 'granted'", before)
    status = await operations.read_status(connection, "UTC")
    assert (status["accessDay"], status["accessDayBehind"]) == (str(before), True)
    assert (status["accessTriggersWaiting"], status["organizationMovesWaiting"]) == (1, 1)
    monkeypatch.setenv("HOMEROOM_ACCESS_LAPSE_HELD_MIN", "0")
    shown, as_json, in_words = await commands(["status"], ["access-day", "--json"], ["access-day"], url=url)
    assert f"access day {before}, behind today" in shown[1]
    found = json.loads(as_json[1])
    assert (found["held"], found["lapsing"], found["active"], found["advanced"]) == (True, 1, 2, False)
    assert f"the access day is {before} and held, today is {TODAY}. 1 of 2 associations would lapse." in in_words[1]
    assert "(access_lapse_held_min)" in in_words[1]
    assert "20% of all (access_lapse_share_max)" in in_words[1]
    student = await explained_without_a_node(connection, access_settings, ELK)
    assert student["notes"][1] == "S.0982 has moved among the organisations; its records are being looked at."
    assert f"The access day is held at {before} (today is {TODAY}): 1 of 2" in student["notes"][2]
    code, _, error = await command("access-day", "--advance", url=url)
    assert (code, "Move the access day to" in error) == (1, True), "nobody answered"
    assert await associations.access_day(connection) == before
    code, said, _ = await command("access-day", "--advance", "--yes", url=url)
    assert (code, said) == (0, f"the access day is {TODAY}, today\n")
    assert await associations.access_day(connection) == TODAY
    await connection.close()
