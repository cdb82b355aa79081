"""Chromium, and what people do in it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, async_playwright

from tests.browser.stage import PASSWORD

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_SERIOUS = ("serious", "critical")
_TABS_MAX = 100
_FOCUSED = """() => {
    const at = document.activeElement;
    const labels = Array.from(at.labels || [], each => each.innerText);
    return [at.getAttribute("aria-label") || "", at.innerText, ...labels].map(each => each.trim());
}"""


@dataclass
class Visitor:
    """Somebody with a browser window on a console."""

    page: Page
    url: str

    async def sign_in(self, name: str) -> None:
        await self.goes_to("/console/sign-in")
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.get_by_role("button", name="Sign out").wait_for()

    async def goes_to(self, path: str) -> int:
        """The status of the answer."""
        response = await self.page.goto(self.url + path)
        return 0 if response is None else response.status

    async def follows(self, link: str) -> None:
        await self.page.get_by_role("link", name=link, exact=True).first.click()

    async def presses(self, button: str) -> None:
        await self.page.get_by_role("button", name=button, exact=True).first.click()

    async def sees(self, text: str) -> None:
        await self.page.get_by_text(text).first.wait_for()

    async def sees_it_done(self) -> None:
        """The job on this page, which lives."""
        await self.page.locator("section[aria-label='How it stands'] .state.inStep").wait_for()

    async def types(self, text: str) -> None:
        await self.page.keyboard.type(text)

    async def enters(self) -> None:
        """Into where the focused link or button leads."""
        async with self.page.expect_navigation():
            await self.page.keyboard.press("Enter")

    async def is_at(self, name: str) -> None:
        """What is called so has, or gets, the keyboard by itself."""
        await self.page.wait_for_function(f"name => ({_FOCUSED})().includes(name)", arg=name)

    async def tabs_to(self, name: str) -> None:
        """By the keyboard, to what is called so; AssertionError: it cannot be reached."""
        for _ in range(_TABS_MAX):
            await self.page.keyboard.press("Tab")
            if name in await self.page.evaluate(_FOCUSED):
                return
        raise AssertionError(f"{name} cannot be reached by the keyboard")

    async def serious_findings(self) -> list[str]:
        """What axe-core finds wrong with the page for those who cannot see or point."""
        found = await Axe().run(self.page)
        return [
            f"{each['id']}: {each['help']} ({each['nodes'][0]['html'][:200]})"
            for each in found.response["violations"]
            if each["impact"] in _SERIOUS
        ]

    async def is_wider_than_its_window(self) -> bool:
        wider: bool = await self.page.evaluate("document.scrollingElement.scrollWidth > window.innerWidth")
        return wider


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The system's own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(_SWITCHES))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(
    browser: Browser,
    url: str,
    width: int = 1200,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    *,
    scripts: bool = True,
) -> AsyncIterator[Visitor]:
    """A window of its own, with no cookies."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=scripts
    )
    context.set_default_timeout(20_000)
    try:
        yield Visitor(await context.new_page(), url)
    finally:
        await context.close()
