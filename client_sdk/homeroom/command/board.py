"""Where a running sync tells how it goes: lines redrawn on a terminal, occasional ones in a log, JSON for machines."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Protocol

import orjson

from homeroom.command.progress import Account, Standing, accounted, event, standing, told
from homeroom.command.tables import cut, shown
from homeroom.replica.ledger import Progress
from homeroom.replica.machine import What

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 10.0
_MORE_FOLLOWS = (What.WINDOW, What.BLOCK, What.PAGE)
"""Another event follows soon: what is not drawn now will be then."""
_UP_AND_CLEAR = "\x1b[{}A\x1b[J"


class Board(Protocol):
    """Told of everything that happens."""

    def note(self, progress: Progress) -> None:
        """Something happened to a type."""

    def close(self) -> None:
        """Nothing more will."""


def open_board(*, as_json: bool) -> Board:
    if as_json:
        return JsonBoard()
    return TerminalBoard() if sys.stderr.isatty() else LogBoard()


class JsonBoard:
    """Each event as a line on stdout."""

    def note(self, progress: Progress) -> None:
        sys.stdout.write(orjson.dumps(event(progress)).decode() + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        pass


class LogBoard:
    """A line on stderr when a type's standing changes; while it stays the same, one now and then."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._written: dict[str, tuple[Standing, float]] = {}
        self._untold: set[str] = set()

    def note(self, progress: Progress) -> None:
        name, now = progress.type, time.monotonic()
        account = accounted(self._accounts.get(name, Account(name)), progress, now, _clock())
        self._accounts[name] = account
        before, at = self._written.get(name, (None, 0.0))
        if before is standing(account.state) and (not progress.applied or now - at < _LINE_SECONDS):
            self._untold |= {name} if progress.applied else set()
            return
        self._write(account)
        self._written[name] = standing(account.state), now

    def close(self) -> None:
        for name in sorted(self._untold):
            self._write(self._accounts[name])

    def _write(self, account: Account) -> None:
        self._untold.discard(account.name)
        sys.stderr.write(f"{_clock()}  {account.name}  {shown(told(account))}\n")
        sys.stderr.flush()


class TerminalBoard:
    """A line for each type on stderr, drawn anew as things happen."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._drawn = 0
        self._drawn_at = 0.0

    def note(self, progress: Progress) -> None:
        name, now = progress.type, time.monotonic()
        self._accounts[name] = accounted(self._accounts.get(name, Account(name)), progress, now, _clock())
        if progress.what not in _MORE_FOLLOWS or now - self._drawn_at >= _REDRAW_SECONDS:
            self._draw(now)

    def close(self) -> None:
        if self._accounts:
            self._draw(time.monotonic())

    def _draw(self, now: float) -> None:
        size = shutil.get_terminal_size()
        lines = fitted(list(self._accounts.values()), size.lines - 1)
        back = _UP_AND_CLEAR.format(self._drawn) if self._drawn else ""
        sys.stderr.write(back + "".join(f"{cut(shown(line), size.columns - 1)}\n" for line in lines))
        sys.stderr.flush()
        self._drawn, self._drawn_at = len(lines), now


def fitted(accounts: Sequence[Account], most: int) -> list[str]:
    """At most so many lines, those that are in step giving way first. A terminal cannot go back beyond its top."""
    widest = max(len(account.name) for account in accounts)
    if len(accounts) > most:
        ranked = sorted(accounts, key=lambda account: standing(account.state) is Standing.IN_STEP)
        accounts, left = ranked[: max(0, most - 1)], ranked[max(0, most - 1) :]
        more = [f"… and {len(left)} more"]
    else:
        more = []
    return [f"{account.name:<{widest}}  {told(account)}" for account in accounts] + more


def _clock() -> str:
    return time.strftime("%H:%M:%S")
