"""Every page, light and dark, wide and narrow: nothing that keeps anybody out, nothing beyond the window."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser

from tests.browser.browsing import visiting
from tests.browser.stage import Stage, opened_stage

pytestmark = pytest.mark.timeout(240)

DOCS = [
    *("/docs", "/docs/problems", "/docs/programs", "/docs/types/Student", "/docs/types/StudentStatus"),
    *(f"/docs/services/{name}" for name in ("isDataAvailable", "submit", "snapshot", "reconcile", "metrics")),
]


@pytest.fixture
async def places(database_of_test: str, folder: Path) -> AsyncIterator[tuple[Stage, Sequence[str]]]:
    async with opened_stage(database_of_test, folder) as stage:
        yield stage, await stage.lived_in()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
async def test_every_page_lets_everybody_in(
    places: tuple[Stage, Sequence[str]], browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    stage, paths = places
    found = {}
    async with visiting(browser, stage.url, width, 900, scheme) as visitor:
        await visitor.goes_to("/console/sign-in")
        found["/console/sign-in"] = await visitor.serious_findings()
        await visitor.sign_in("olga")
        for path in [*paths, *DOCS]:
            status = await visitor.goes_to(path)
            found[path] = await visitor.serious_findings()
            if status != (404 if path == "/console/nowhere" else 200):
                found[path].append(f"answered with {status}")
            if await visitor.is_wider_than_its_window():
                found[path].append("wider than its window")
    assert {path: said for path, said in found.items() if said} == {}


async def test_what_keeps_people_out_is_found(browser: Browser) -> None:
    async with visiting(browser, "") as visitor:
        await visitor.page.set_content("<html lang=en><title>x</title><main><input><img src='data:,'></main>")
        assert {said.partition(":")[0] for said in await visitor.serious_findings()} >= {"image-alt", "label"}
