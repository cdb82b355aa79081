"""Pictures of the console's pages for the documentation: `python -m tests.browser.screenshots`."""

import tempfile
from pathlib import Path

import anyio
from rich.progress import track

from homeroom_server import database
from homeroom_server.settings import Settings
from tests.browser.browsing import chromium, visiting
from tests.browser.stage import opened_stage

_PLACE = Path(__file__).parent.parent.parent / "docs" / "screenshots"
_NAMES = {
    "/console/now": "now",
    "/console/clients": "clients",
    "/console/clients/": "client",
    "/console/records?q=301-1": "records",
    "/console/records/": "record",
    "/console/merges": "merges",
    "/console/merges/maple-ridge": "runs",
    "/console/merges/maple-ridge/runs/": "run",
    "/console/merges/elk-valley/runs/": "held",
    "/console/merges/maple-ridge/run": "run-now",
    "/console/merges/maple-ridge/jobs": "jobs",
    "/console/merges/maple-ridge/conflicts": "conflicts",
    "/console/merges/maple-ridge/conflicts/": "conflict",
    "/console/merges/maple-ridge/health": "health",
    "/console/merges/maple-ridge/settings": "settings",
    "/console/merges/maple-ridge/settings/edit": "settings-edit",
    "/console/merges/compare?": "compare",
}
_MOMENTS = 8
"""Beats of the node before its charts are worth a picture."""


def _name_of(path: str) -> str | None:
    """What a page's picture is called; None: it has none."""
    starts = [start for start in _NAMES if start.endswith(("/", "?")) and path.startswith(start)]
    return _NAMES.get(path) or (_NAMES[max(starts, key=len)] if starts else None)


async def _take(database_url: str, folder: Path) -> None:
    _PLACE.mkdir(exist_ok=True)
    async with opened_stage(database_url, folder) as stage, chromium() as browser:
        paths = await stage.lived_in()
        for _ in range(_MOMENTS):
            await anyio.sleep(2)
        async with visiting(browser, stage.url, 1200, 800) as visitor:
            await visitor.goes_to("/console/sign-in")
            await visitor.page.screenshot(path=_PLACE / "sign-in.png")
            await visitor.sign_in("olga")
            for path in track(paths, "pictures"):
                if (name := _name_of(path)) is not None:
                    await visitor.goes_to(path)
                    await visitor.page.screenshot(path=_PLACE / f"{name}.png")


def main() -> None:
    """On a PostgreSQL of its own, which goes away."""
    with tempfile.TemporaryDirectory(prefix="homeroom-screenshots-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        data = folder / "data"
        with database.open_database(Settings(data_dir=str(data))) as url:
            place = folder / "stage"
            place.mkdir()
            anyio.run(_prepared, url, place)


async def _prepared(url: str, place: Path) -> None:
    await database.apply_schema(url)
    await _take(url, place)


if __name__ == "__main__":
    main()
