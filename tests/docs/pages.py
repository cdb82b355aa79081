"""Pages of the documentation, taken apart: their fenced blocks, links and words."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ```` ```toml types.toml ```` says that its text is the content of a file."""

    page: Path
    line: int
    language: str
    file: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that people read."""
    return sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")) + sorted(ROOT.glob("[!.]*/README.md"))


def blocks(page: Path) -> Iterator[Block]:
    """Its fenced blocks, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        language, _, file = found["info"].partition(" ")
        yield Block(page, text.count("\n", 0, found.start()) + 1, language, file.strip(), found["text"])


def prose(page: Path) -> str:
    """What stands outside of fenced blocks, line for line."""
    return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text(encoding="utf-8"))
