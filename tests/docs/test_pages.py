"""Every page is true: what it tells to type works, and comes to what it says."""

import ast
import importlib
import json
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, pages
from tests.docs.session import Session

FOLLOWED = [
    "README.md",
    "docs/tutorial.md",
    *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/how-to/*.md")) if page.stem != "README"),
]


@pytest.mark.parametrize("page", FOLLOWED)
def test_whoever_follows_the_page_gets_what_it_says(page: str, folder: Path) -> None:
    session = Session(folder)
    try:
        for block in blocks(ROOT / page):
            session.follow(block)
    finally:
        session.end()


@pytest.mark.parametrize("page", [page for page in pages() if str(page.relative_to(ROOT)) not in FOLLOWED], ids=str)
def test_what_is_shown_can_be_read(page: Path) -> None:
    for block in blocks(page):
        assert block.language, f"{block.place} does not say its language"
        _read(block)


def _read(block: Block) -> None:
    match block.language:
        case "python":
            compile(block.text, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            _import(block)
        case "toml":
            tomllib.loads(block.text)
        case "json":
            json.loads(block.text)


def _import(block: Block) -> None:
    """What it imports of ours is there."""
    for statement in ast.walk(ast.parse(block.text)):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("homeroom"):
            module = importlib.import_module(str(statement.module))
            assert [name.name for name in statement.names if not hasattr(module, name.name)] == [], block.place
