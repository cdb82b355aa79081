"""Programs that use the interface, in three languages; tests run each of them as it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

LANGUAGES: Mapping[str, str] = {"sh": "curl", "py": "Python", "mjs": "JavaScript"}
TASKS: Mapping[str, str] = {
    "hello": "Say hello",
    "first_load": "Load everything",
    "follow": "Follow what changes",
    "get": "Get records",
    "submit": "Write a record",
    "delete": "Delete a record",
    "calling": "Deal with errors: what all others call",
    "replica": "All of it by the SDK",
}
_OF_SERVICE: Mapping[str, Sequence[str]] = {
    "hello": ["hello"],
    "isDataAvailable": ["follow", "replica"],
    "get": ["get"],
    "submit": ["submit", "delete"],
    "snapshot": ["first_load"],
}


@dataclass(frozen=True, slots=True)
class Program:
    """A file that may be taken away and run."""

    file: str
    language: str
    text: str


@cache
def programs() -> Mapping[str, Sequence[Program]]:
    """By task, one for each language that there is one in."""
    folder = resources.files(__package__).joinpath("snippets")
    return {
        task: [
            Program(file.name, language, file.read_text(encoding="utf-8"))
            for ending, language in LANGUAGES.items()
            if (file := folder.joinpath(f"{task}.{ending}")).is_file()
        ]
        for task in TASKS
    }


def tasks_of(service: str) -> Mapping[str, Sequence[Program]]:
    """The programs that show how a service is used."""
    return {task: programs()[task] for task in _OF_SERVICE.get(service, ())}


def text_of(file: str) -> str | None:
    """A program by its file's name; None: there is none."""
    found = [each.text for task in programs().values() for each in task if each.file == file]
    return found[0] if found else None
