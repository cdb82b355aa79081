"""Charts: numbers in, paths of an SVG and words out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 300.0, 80.0
_BAR_SHARE = 0.8
"""Of the room that each bar has."""

Values = Sequence[float | None]
"""At even distances; None: nothing is known of that moment."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One series. `path`: what an SVG draws; `area`: what lies below a line.

    `last`, `highest`: for people; empty where nothing is known.
    """

    name: str
    path: str
    area: str
    last: str
    highest: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Series on one scale from 0 to `top`; `now`: how it stands, for people."""

    title: str
    now: str
    top: str
    drawn: Sequence[Drawn]


def lines(title: str, unit: str, series: Mapping[str, Values], now: float | None = None) -> Chart:
    """Series by name, each as a line, broken where nothing is known. `now`: None takes what the series end with."""
    top = _top(series)
    drawn = []
    for name, values in series.items():
        pieces = list(_pieces(values, top))
        drawn.append(_drawn(name, "".join(map(_line, pieces)), "".join(map(_area, pieces)), values, unit))
    return _chart(title, unit, top, drawn, now)


def bars(title: str, unit: str, series: Mapping[str, Values]) -> Chart:
    """Series by name, each as bars that begin at the bottom, later ones before earlier ones."""
    top = _top(series)
    drawn = [_drawn(name, "".join(_bars(values, top)), "", values, unit) for name, values in series.items()]
    return _chart(title, unit, top, drawn, None)


def short(value: float | None) -> str:
    """A number as people read it at a glance; nothing where nothing is known."""
    if value is None:
        return ""
    if value < 10 and round(value, 1) != round(value):
        return f"{value:.1f}"
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.1f} {letter}"
    return f"{value:,.0f}"


def _chart(title: str, unit: str, top: float, drawn: Sequence[Drawn], now: float | None) -> Chart:
    named = [each.last if len(drawn) == 1 else f"{each.name} {each.last}" for each in drawn if each.last]
    ended = " · ".join(named) or "nothing yet"
    return Chart(title, ended if now is None else _said(now, unit), _said(top, unit), drawn)


def _drawn(name: str, path: str, area: str, values: Values, unit: str) -> Drawn:
    known = [value for value in values if value is not None]
    last, highest = (known[-1], max(known)) if known else (None, None)
    return Drawn(name, path, area, _said(last, unit), _said(highest, unit))


def _said(value: float | None, unit: str) -> str:
    return short(value) if value is None or not unit else f"{short(value)} {unit}"


def _top(series: Mapping[str, Values]) -> float:
    """The next of 1, 2, 5, 10, 20 ... that no value is above."""
    highest = max((value for values in series.values() for value in values if value is not None), default=0)
    if highest <= 1:
        return 1
    size = 10.0 ** math.floor(math.log10(highest))
    return next(step * size for step in (1, 2, 5, 10) if step * size >= highest)


def _pieces(values: Values, top: float) -> Iterator[list[tuple[float, float]]]:
    """The runs of values that are known, as points; one that stands alone has some width."""
    step = WIDTH / max(1, len(values) - 1)
    piece: list[tuple[float, float]] = []
    for number, value in enumerate([*values, None]):
        if value is not None:
            piece.append((number * step, _height(value, top)))
        elif piece:
            if len(piece) == 1:
                ((x, y),) = piece
                piece = [(max(0.0, x - 1), y), (min(WIDTH, x + 1), y)]
            yield piece
            piece = []


def _line(piece: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in piece)


def _area(piece: Sequence[tuple[float, float]]) -> str:
    return f"{_line(piece)}V{HEIGHT:.0f}H{piece[0][0]:.1f}Z"


def _bars(values: Values, top: float) -> Iterator[str]:
    room = WIDTH / max(1, len(values))
    width = room * _BAR_SHARE
    for number, value in enumerate(values):
        if value:
            x = number * room + (room - width) / 2
            yield f"M{x:.1f} {HEIGHT:.0f}V{_height(value, top):.1f}h{width:.1f}V{HEIGHT:.0f}Z"


def _height(value: float, top: float) -> float:
    return HEIGHT * (1 - max(0.0, value) / top)
