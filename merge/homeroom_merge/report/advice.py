"""Known problems and what to do about them: known_problems.toml."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Advice:
    """What a failure means, in a line, and what to do."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class KnownProblem:
    """By which numbers of the Core, or by which words, a problem is known."""

    codes: frozenset[int]
    pattern: re.Pattern[str] | None
    advice: Advice


def advise(known: Sequence[KnownProblem], message: str, code: int | None = None) -> Advice | None:
    """Advice by the Core's number, else by what the message says; None where nothing is known."""
    by_code = (each.advice for each in known if code in each.codes)
    by_text = (each.advice for each in known if each.pattern and each.pattern.search(message))
    return next(by_code, None) or next(by_text, None)


def known_problems() -> Sequence[KnownProblem]:
    """The catalogue, the first that fits first."""
    text = resources.files("homeroom_merge.report").joinpath("known_problems.toml").read_text(encoding="utf-8")
    return tuple(
        KnownProblem(
            frozenset(entry.get("codes", ())),
            re.compile(entry["pattern"], re.IGNORECASE) if "pattern" in entry else None,
            Advice(entry["title"], entry["advice"]),
        )
        for entry in tomllib.loads(text)["problem"]
    )
