"""Follows a page as a reader would: writes its files, types its commands, compares what it says they print."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from tests.docs.pages import ROOT, Block

_BLOCK_SECONDS = 90
_END_SECONDS = 40
_PORTS = range(8080, 8084)


class Session:
    """A folder in which what is exported, and where one stands, outlast a block. Ports of pages become free ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said = ""
        self._groups: list[int] = []
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._kept, self._place = folder / ".kept", folder / ".place"
        self._kept.write_text("")
        self._place.write_text(str(folder))
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HOMEROOM_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "HOMEROOM_PORT": str(self._ports[8080]),
            "HOMEROOM_SOURCE": str(ROOT),
            "COLUMNS": "120",
        }

    def follow(self, block: Block) -> None:
        """Do what a block says; AssertionError, with its place, where it does not come to what the page says."""
        text = re.sub(r"\b808[0-3]\b", lambda found: str(self._ports[int(found[0])]), block.text)
        if block.language == "sh":
            self._type(block, text)
        elif block.language == "text":
            assert _says(self._said, text), f"{block.place} promises\n{text}\nand not\n{self._said}"
        elif block.file:
            path = self._folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def _type(self, block: Block, text: str) -> None:
        keep = f"trap 'ended=$?; {{ export -p; declare -f; }} > {self._kept}; pwd > {self._place}; exit $ended' EXIT"
        script = f'. {self._kept}; cd "$(cat {self._place})"; {keep}; set -ea\n{text}'
        with (self._folder / ".said").open("w+", encoding="utf-8") as said:
            shell = subprocess.Popen(
                ["bash", "-c", script],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._groups.append(shell.pid)
            ended = shell.wait(_BLOCK_SECONDS)
        self._said = (self._folder / ".said").read_text(encoding="utf-8").rstrip("\n") + "\n"
        assert ended == 0, f"{block.place} ended with {ended}:\n{self._said}"

    def end(self) -> None:
        """End what was left running in the background."""
        left = [each for each in psutil.process_iter() if _group(each.pid) in self._groups]
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGTERM)
        _, stay = psutil.wait_procs(left, _END_SECONDS)
        for each in stay:
            each.kill()
        assert not stay, f"{stay} did not end when told to"


def _group(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return 0


def _free_ports(count: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _says(said: str, promised: str) -> bool:
    """Whether these lines were printed one after the other; … stands for anything in a line, alone for any lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r" *\n" for line in promised.splitlines()
    ]
    return re.search("^" + "".join(lines), said, re.MULTILINE) is not None
