"""What this machine gives: open files, space on its disk, the time of day."""

import shutil
from datetime import datetime

from homeroom_server.doctor.finding import Finding, fix, ok, unknown, warning

_FILES_KEPT = 256
"""As the door of a node keeps them for everything else."""
_FREE_BYTES_MIN = 2 * 2**30
_FREE_SHARE_MIN = 0.15
_CLOCK_SECONDS_MAX = 2.0
_CLOCK_SECONDS_WRONG = 60.0
_FILES, _DISK, _CLOCK = "open files", "disk of the database", "clocks"


def check_open_files(held_max: int, allowed: float, whose: str) -> Finding:
    """Whether as many requests can be held as the settings promise: each is a connection, so an open file."""
    wanted = held_max + _FILES_KEPT
    found = f"{whose} may have {allowed:,.0f}, to hold {held_max:,} requests"
    if allowed >= wanted:
        return ok(_FILES, found)
    todo = f"LimitNOFILE={wanted} or more in the node's unit (ulimit -Hn), or a lower held_requests_per_node_max"
    return warning(_FILES, found, todo)


def check_disk(data_directory: str) -> Finding:
    """How much room is left where PostgreSQL keeps its files, if that is on this machine."""
    try:
        usage = shutil.disk_usage(data_directory) if data_directory else None
    except OSError:
        usage = None
    if usage is None:
        todo = "look there: without space no submit is taken, and the database may stop"
        return unknown(_DISK, "the database keeps its files on another machine, or does not say where", todo)
    found = f"{usage.free / 2**30:,.1f} GiB free of {usage.total / 2**30:,.1f} at {data_directory}"
    if usage.free < _FREE_BYTES_MIN:
        return fix(_DISK, found, "make room: without space no submit is taken, and the database may stop")
    if usage.free < _FREE_SHARE_MIN * usage.total:
        return warning(_DISK, found, "make room soon, or see what grows: audit_days and retention_days bound history")
    return ok(_DISK, found)


def check_clock(before: datetime, theirs: datetime, after: datetime) -> Finding:
    """How far the database's clock is from this machine's, which was read before and after it."""
    ahead = max((theirs - after).total_seconds(), 0.0) or min((theirs - before).total_seconds(), 0.0)
    if abs(ahead) < _CLOCK_SECONDS_MAX:
        return ok(_CLOCK, "this machine and the database agree")
    words = f"the database is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    todo = "set both by NTP (chronyc tracking): keys expire by the nodes' clocks, all else goes by the database's"
    return fix(_CLOCK, words, todo) if abs(ahead) >= _CLOCK_SECONDS_WRONG else warning(_CLOCK, words, todo)
