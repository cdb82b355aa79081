"""Tables for a terminal: aligned columns, cells cut so that a row fits its width. Pure."""

import unicodedata
from collections.abc import Sequence

_GAP = "  "
_CUT = "…"
_NARROWEST = 6

Cell = str | int | float | bytes | None


def laid_out(head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int | None = None) -> list[str]:
    """Lines of a table, its heading first; without a `width` no cell is cut. Numbers stand on the right."""
    texts = [[shown(cell) for cell in row] for row in rows]
    heads = [shown(name) for name in head]
    natural = [max(map(_width, column)) for column in zip(heads, *texts, strict=True)]
    widths = natural if width is None else narrowed(natural, width)
    columns = list(zip(*rows, strict=True)) or [()] * len(heads)
    right = [bool(column) and all(isinstance(c, int | float | None) for c in column) for column in columns]
    lines = [heads, ["─" * size for size in widths], *texts]
    return [_line(line, widths, right) for line in lines]


def narrowed(widths: Sequence[int], total: int) -> list[int]:
    """Widths whose sum with gaps is at most `total`: the widest give first, none below a few signs."""
    room = total - len(_GAP) * (len(widths) - 1)
    for widest in range(room, _NARROWEST, -1):
        found = [min(width, widest) for width in widths]
        if sum(found) <= room:
            return found
    return [min(width, _NARROWEST) for width in widths]


def shown(cell: Cell) -> str:
    """A cell as text on one line; what would steer a terminal is escaped."""
    match cell:
        case None:
            return ""
        case bytes():
            return f"x'{cell.hex()}'"
        case _:
            text = str(cell)
            return text if text.isprintable() else "".join(map(_printable, text))


def cut(text: str, width: int) -> str:
    """A text in at most so many columns."""
    if _width(text) <= width:
        return text
    kept, used = "", 1
    for sign in text:
        used += _width(sign)
        if used > width:
            break
        kept += sign
    return kept + _CUT


def _printable(sign: str) -> str:
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")


def _width(text: str) -> int:
    """How many columns a terminal takes for it."""
    if text.isascii():
        return len(text)
    return sum(_sign_width(sign) for sign in text)


def _sign_width(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _line(texts: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = []
    for text, width, on_the_right in zip(texts, widths, right, strict=True):
        fitting = cut(text, width)
        blank = " " * (width - _width(fitting))
        cells.append(blank + fitting if on_the_right else fitting + blank)
    return _GAP.join(cells).rstrip()
