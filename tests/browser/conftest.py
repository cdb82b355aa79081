"""A stage and a browser for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser.browsing import CHROMIUM, Visitor, chromium, visiting
from tests.browser.stage import Stage, opened_stage


@pytest.fixture
async def stage(database_of_test: str, folder: Path) -> AsyncIterator[Stage]:
    async with opened_stage(database_of_test, folder) as stage:
        yield stage


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def visitor(browser: Browser, stage: Stage) -> AsyncIterator[Visitor]:
    async with visiting(browser, stage.url) as visitor:
        yield visitor


@pytest.fixture
async def reader(browser: Browser, stage: Stage) -> AsyncIterator[Visitor]:
    """Whose browser runs no scripts."""
    async with visiting(browser, stage.url, scripts=False) as visitor:
        yield visitor
