"""Times and counts as people say them. Pure."""

from datetime import datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """In one unit below a minute, else in the two largest: `45 s`, `3 min 20 s`, `2 d 4 h`."""
    left = max(0, int(seconds))
    for index, (unit, size) in enumerate(_UNITS):
        if left >= size or size == 1:
            count, rest = divmod(left, size)
            smaller = "".join(f" {rest // s} {u}" for u, s in _UNITS[index + 1 : index + 2] if rest >= s)
            return f"{count} {unit}{smaller}"
    raise AssertionError("the last unit takes what is left")


def counted(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def moment(text: str, now: datetime) -> str:
    """An ISO 8601 time in the reader's time zone, and how long ago it was; `never` if it is empty."""
    if not text:
        return "never"
    at = datetime.fromisoformat(text)
    return f"{at.astimezone(now.tzinfo):%Y-%m-%d %H:%M:%S} ({duration((now - at).total_seconds())} ago)"
