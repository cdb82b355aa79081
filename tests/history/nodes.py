"""Nodes as processes on ports of their own, that can be killed, frozen and started again."""

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx

from tests.cluster import free_port
from tests.processes import HOMEROOM

READY_SECONDS_MAX = 90.0
_LISTED_MAX = 10
"""A low cap, so that lists are cut."""


@dataclass
class Node:
    """One `homeroom serve`. `flags` say on which database."""

    name: str
    folder: Path
    flags: tuple[str, ...]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def clock(self) -> Path:
        return self.folder / f"{self.name}.clock"

    def shift_clock(self, seconds: float) -> None:
        """Make its wall clock jump, as seen from now on."""
        new = self.clock.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.clock)

    def start(self) -> None:
        preload = str(Path(__file__).parent / "preload")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([preload, *filter(None, [os.environ.get("PYTHONPATH")])]),
            "TORTURE_CLOCK": str(self.clock),
            "TORTURE_LISTED_MAX": str(_LISTED_MAX),
            "HOMEROOM_DRAIN_SECONDS": "0.2",
            "HOMEROOM_STATUS_LEASE_SECONDS": "3",  # what a killed node had claimed is soon free
            "HOMEROOM_READ_CONNECTIONS_MAX": "3",
            "HOMEROOM_WRITE_CONNECTIONS_MAX": "3",
        }
        if not self.clock.exists():
            self.shift_clock(0)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [HOMEROOM, "serve", "--port", str(self.port), *self.flags], stderr=log, stdout=log, env=environment
            )

    async def ready(self) -> None:
        """Return once it answers; started again where it ended because the database was away."""
        with anyio.fail_after(READY_SECONDS_MAX):
            async with httpx.AsyncClient(timeout=2.0) as http:
                while not await self._answers(http):
                    if self.process is None or self.process.poll() is not None:
                        self.start()
                    await anyio.sleep(0.1)

    async def _answers(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Gone when this returns, whatever state it was in."""
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        self.send(number)
        with anyio.move_on_after(30):
            while self.process.poll() is None:
                await anyio.sleep(0.02)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
