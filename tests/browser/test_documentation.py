"""/docs in a browser that runs no scripts, by the keyboard alone."""

from tests.browser.browsing import Visitor


async def test_a_service_and_a_program_for_it_are_reached_by_the_keyboard(reader: Visitor) -> None:
    await reader.goes_to("/docs")
    await reader.tabs_to("isDataAvailable")
    await reader.enters()
    await reader.sees("POST /v1/is-data-available")
    assert not await reader.page.get_by_text("def follow(kind, state)").is_visible()
    await reader.tabs_to("Python")
    await reader.page.keyboard.press("Enter")
    await reader.sees("def follow(kind, state)")
    await reader.tabs_to("follow.py")
