"""What the docs show, as code."""

import re
from pathlib import Path

_DOCS = Path(__file__).parent.parent.parent / "docs"


def _shown(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (_DOCS / file).read_text(encoding="utf-8"), re.DOTALL)


(MAPPING,) = (text for text in _shown("formats.md", "toml") if "[Student.fields]" in text)
(OWN,) = (text for text in _shown("formats.md", "python") if "class Pupils" in text)
(SUITE,) = (text for text in _shown("merging.md", "python") if "FormatterSuite" in text)
(DOUBLES,) = (text for text in _shown("merging.md", "python") if "MemorySis()" in text)
