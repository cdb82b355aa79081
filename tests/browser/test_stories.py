"""What people come to the console for, told in a browser; the last ones by the keyboard alone."""

import pytest

from tests.browser.browsing import Visitor
from tests.browser.stage import Stage
from tests.records import available

pytestmark = pytest.mark.timeout(240)


async def test_a_client_falls_behind_and_is_found_and_explained(stage: Stage, visitor: Visitor) -> None:
    school = await stage.school("maple-ridge", "S.301", "A.30")
    sync = await stage.client("A.30")
    await available(sync, "Staff")
    await school.say("Staff", "301-1", firstName="Adele")
    await stage.forget_nothing()
    await visitor.sign_in("olga")
    await visitor.follows("Clients")
    row = visitor.page.get_by_role("row").filter(has_text="A.30").filter(has_text="Staff")
    assert "behind" in await row.inner_text()
    await row.get_by_role("link").first.click()
    await visitor.sees("has not taken")
    await visitor.sees("so it may be on its way")
    assert await visitor.serious_findings() == []


async def test_a_held_merge_is_looked_at_one_plan_approved_and_another_discarded(
    stage: Stage, visitor: Visitor
) -> None:
    school = await stage.school("maple-ridge", "S.301", "A.30")
    for number in range(1, 9):
        school.edit("Staff", f"301-{number}", given=f"New{number}")
        school.edit("Student", f"301-{number}", family="Wrong")
    await school.merge(exit_code=3)
    await visitor.sign_in("amir")
    await visitor.follows("Merges")
    await visitor.follows("maple-ridge")
    await visitor.sees("2 plans wait for a person")
    async with stage.worker():
        await visitor.page.get_by_role("listitem").filter(has_text="Staff").get_by_role("link").click()
        await visitor.sees("This plan waits for a person")
        await visitor.sees("/firstName")
        await visitor.sees("New1")
        await visitor.presses("Approve")
        assert "/runs/" in visitor.page.url, "nobody approves what he has not looked at"
        await visitor.page.get_by_label("I have looked at it").check()
        await visitor.presses("Approve")
        await visitor.page.wait_for_url("**/jobs/*")
        await visitor.sees_it_done()
    await visitor.follows("Runs")
    await visitor.page.get_by_role("listitem").filter(has_text="Student").get_by_role("link").click()
    await visitor.sees("Wrong")
    await visitor.presses("Discard")
    await visitor.sees("Discarded by amir")
    assert (await school.on_the_hub("Staff"))["301-1"] == "New1"
    assert "Wrong" not in (await school.on_the_hub("Student", "lastName")).values()


async def test_a_conflict_is_resolved_and_becomes_a_rule(stage: Stage, visitor: Visitor) -> None:
    school = await stage.school("maple-ridge", "S.301", "A.30")
    school.edit("Staff", "301-2", given="Benno")
    await school.say("Staff", "301-2", firstName="Benedict")
    await school.merge()
    await visitor.sign_in("amir")
    await visitor.goes_to("/console/merges/maple-ridge")
    await visitor.follows("Conflicts")
    await visitor.follows("Staff 301-2")
    await visitor.sees("Benno")
    await visitor.sees("Benedict")
    await visitor.page.get_by_label("What decides this field").select_option("resolveAsHub")
    await visitor.presses("Make it this record's rule")
    await visitor.goes_to("/console/merges/maple-ridge")
    await visitor.follows("Run now")
    async with stage.worker():
        await visitor.presses("Run")
        await visitor.sees_it_done()
    assert school.rows("Staff")["301-2"] == "Benedict"
    await visitor.follows("Conflicts")
    await visitor.sees("Nothing waits for a decision")
    school.edit("Staff", "301-2", given="Ben")
    await school.say("Staff", "301-2", firstName="Benjamin")
    await school.merge()
    assert school.rows("Staff")["301-2"] == "Benjamin", "the rule decides from now on"


async def test_a_merge_is_taken_back(stage: Stage, visitor: Visitor) -> None:
    school = await stage.school("maple-ridge", "S.301", "A.30")
    school.edit("Staff", "301-3", given="Clea")
    await school.merge()
    assert (await school.on_the_hub("Staff"))["301-3"] == "Clea"
    await visitor.sign_in("amir")
    await visitor.goes_to("/console/merges/maple-ridge?entity=Staff")
    await visitor.page.get_by_role("table").get_by_role("link").first.click()
    await visitor.page.locator("summary").filter(has_text="Take this run back").click()
    await visitor.page.get_by_label("I have looked at it").check()
    async with stage.worker():
        await visitor.presses("Take it back")
        await visitor.page.wait_for_url("**/jobs/*")
        await visitor.sees_it_done()
    assert (await school.on_the_hub("Staff"))["301-3"] == "Cleo"


async def test_the_stories_are_walked_by_the_keyboard_alone(stage: Stage, visitor: Visitor) -> None:
    school = await stage.school("maple-ridge", "S.301", "A.30")
    school.edit("Staff", "301-2", given="Benno")
    await school.say("Staff", "301-2", firstName="Benedict")
    await school.merge()
    await visitor.goes_to("/console/sign-in")
    await visitor.is_at("Name")
    await visitor.types("amir")
    await visitor.tabs_to("Password")
    await visitor.types("otters swim at night")
    await visitor.enters()
    for link in ("Merges", "maple-ridge", "Conflicts", "Staff 301-2"):
        await visitor.tabs_to(link)
        await visitor.enters()
    await visitor.tabs_to("Take the hub's value")
    await visitor.enters()
    await visitor.goes_to("/console/merges/maple-ridge/conflicts?show=decided")
    await visitor.sees("Benedict, by amir")


async def test_without_javascript_everything_is_there_to_read(stage: Stage, reader: Visitor) -> None:
    await stage.school("maple-ridge", "S.301", "A.30")
    await reader.sign_in("olga")
    for path, text in (
        ("/console/now", "Requests held"),
        ("/console/clients", "Clients"),
        ("/console/records?q=301-1", "Staff"),
        ("/console/merges", "maple-ridge"),
    ):
        await reader.goes_to(path)
        await reader.sees(text)
