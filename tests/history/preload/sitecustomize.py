"""Loaded by every Python of a node under torture: a wall clock that jumps, and lists that are cut early.

The shift in seconds stands in the file named by TORTURE_CLOCK and is read at every look at the clock. Monotonic time
is left alone, as a real clock leaves it; PostgreSQL keeps the machine's.
"""

import datetime
import os
import time
from pathlib import Path
from typing import Any, Self

_FILE = Path(os.environ.get("TORTURE_CLOCK", os.devnull))
_true_time = time.time


def _shifted() -> float:
    return _true_time() + float(_FILE.read_text() or 0)


class _Kind(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _TRUE)


_TRUE = datetime.datetime


class _Shifted(datetime.datetime, metaclass=_Kind):
    """What the database driver makes are plain datetimes: they count as this too."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _TRUE.fromtimestamp(_shifted(), tz)

    @classmethod
    def utcnow(cls) -> Self:
        raise NotImplementedError("a moment without its zone")


if "TORTURE_CLOCK" in os.environ:
    time.time = _shifted
    datetime.datetime = _Shifted  # type: ignore[misc]
if "TORTURE_LISTED_MAX" in os.environ:
    from homeroom import protocol

    protocol.LISTED_PER_TYPE_MAX = int(os.environ["TORTURE_LISTED_MAX"])
