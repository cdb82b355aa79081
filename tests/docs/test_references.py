"""What pages name exists: other pages and their headings, commands, settings, benchmarks."""

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from homeroom.command.arguments import parser as replica_parser
from homeroom_merge.command import app as merge_app
from homeroom_server.cli import app as core_app
from homeroom_server.settings import Settings
from tests.docs.pages import ROOT, blocks, pages, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_VARIABLE = re.compile(r"\bHOMEROOM_[A-Z][A-Z_]*[A-Z]\b")
_OURS = re.compile(r"(?:^|[\s(=])(?:\.venv/bin/)?(homeroom(?:-merge|-replica)?|make|python -m)((?: |$).*)")
PAGES = pages()


def _names(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    """As forges make them of headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page))
    }


@pytest.mark.parametrize("page", PAGES, ids=_names)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{_names(page)}: {link} leads nowhere"
        if anchor:
            assert anchor in _anchors(target), f"{_names(page)}: {link} names no heading"


def test_every_page_can_be_reached_from_the_first() -> None:
    reached, open_pages = set(), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(page))]
        open_pages += [each for target in targets for each in (target.glob("*.md") if target.is_dir() else [target])]
    assert [_names(page) for page in PAGES if page not in reached and page.name != "CHANGELOG.md"] == []


@pytest.mark.parametrize("page", PAGES, ids=_names)
def test_commands_and_their_options_exist(page: Path) -> None:
    for command in _commands(page):
        fault = _fault(command)
        assert fault is None, f"{_names(page)}: {command}: {fault}"


def test_a_command_that_is_not_there_is_found() -> None:
    assert _fault("homeroom client rename x") == "there is no homeroom client rename"
    assert _fault("homeroom client create x --colour red") == "homeroom client create takes no --colour"
    assert _fault("homeroom-replica sync --twice") == "homeroom-replica sync takes no --twice"
    assert _fault("homeroom-merge run --feed elk --set a=b") is None


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("deploy/*/*"))], ids=_names)
def test_settings_exist(page: Path) -> None:
    named = set(_VARIABLE.findall(page.read_text(encoding="utf-8")))
    assert named - _variables() == set()


@cache
def _variables() -> set[str]:
    """Those that become settings, and those that are read by name."""
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("[!.]*/**/*.py")]
    read_by_name = {name for source in sources for name in _VARIABLE.findall(source)}
    return read_by_name | {f"HOMEROOM_{field.name.upper()}" for field in fields(Settings)}


def _commands(page: Path) -> Iterator[str]:
    """What a reader could type of ours: in code between words, and line by line in blocks."""
    yield from _CODE.findall(prose(page))
    for block in blocks(page):
        if block.language in ("sh", "console"):
            yield from re.sub(r"\\\n", " ", block.text).splitlines()


def _fault(line: str) -> str | None:
    found = _OURS.search(re.split(r"(?:^|\s)#", line)[0])
    if found is None:
        return None
    program, rest = found[1], re.split(r"[|;&>)]", found[2])[0]
    try:
        words = shlex.split(rest)
    except ValueError:
        return None  # an unfinished quotation: the command goes on in the next line
    match program:
        case "make":
            return _missing_target(words)
        case "python -m":
            return None if find_spec(words[0]) else f"there is no module {words[0]}"
        case "homeroom-replica":
            return _fault_of_parser(replica_parser(), program, words)
    return _fault_of_typer(get_command(core_app if program == "homeroom" else merge_app), program, words)


def _missing_target(words: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [word for word in words if "=" not in word]
    return next((f"there is no target {each}" for each in targets if f"\n{each}:" not in makefile), None)


def _fault_of_typer(command: Any, name: str, words: list[str]) -> str | None:
    if isinstance(command, TyperGroup) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        below = command.get_command(typer.Context(command), words[0])
        if below is None:
            return f"there is no {name} {words[0]}"
        return _fault_of_typer(below, f"{name} {words[0]}", words[1:])
    meant = [
        command,
        *getattr(command, "commands", {}).values(),
    ]  # a group may have a command for what is no name of one
    parameters = [parameter for each in meant for parameter in each.params]
    return _unknown_option(name, words, {option for p in parameters for option in (*p.opts, *p.secondary_opts)})


def _fault_of_parser(parser: argparse.ArgumentParser, name: str, words: list[str]) -> str | None:
    for action in parser._actions:
        if isinstance(action.choices, Mapping) and words and re.fullmatch(r"[a-z]+", words[0]):
            if words[0] not in action.choices:
                return f"there is no {name} {words[0]}"
            return _fault_of_parser(action.choices[words[0]], f"{name} {words[0]}", words[1:])
    return _unknown_option(name, words, set(parser._option_string_actions))


def _unknown_option(name: str, words: list[str], known: set[str]) -> str | None:
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    return next((f"{name} takes no {each}" for each in given if each not in {*known, "--help", "--"}), None)
