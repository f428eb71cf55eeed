"""The figures of a report as inline SVG. Colours are classes of its style sheet, so they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

WIDTH, NAMES, VALUES, ROW, TOP = 720, 170, 90, 26, 22
"""Sizes in pixels: of the figure, of the columns beside its axis, of a row, and of what is above the rows."""


@dataclass(frozen=True)
class ScoreBar:
    """One value with its interval; `baseline`: one that is not a candidate."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    baseline: bool = False


def bars(title: str, rows: Sequence[ScoreBar], unit: str = "") -> Element:
    """Values as bars from zero, each with its interval as a line."""
    height = TOP + ROW * len(rows) + 6
    svg = Element("svg", viewBox=f"0 0 {WIDTH} {height}", role="img")
    SubElement(svg, "title").text = f"{title}: " + ", ".join(f"{bar.name} {bar.value:.4g}{unit}" for bar in rows)
    most = max(max(bar.value, bar.high or 0.0) for bar in rows) or 1.0
    _text(svg, title, 0, 12, "faint")
    for place, bar in enumerate(rows):
        _row(svg, bar, TOP + ROW * place, (WIDTH - NAMES - VALUES) / most, unit)
    return svg


def _row(svg: Element, bar: ScoreBar, top: float, scale: float, unit: str) -> None:
    middle = top + ROW / 2
    _text(svg, bar.name, 0, middle + 4)
    SubElement(
        svg,
        "rect",
        {
            "class": "base" if bar.baseline else "mark",
            "fill-opacity": "0.35",
            "x": str(NAMES),
            "y": _number(top + 5),
            "width": _number(max(bar.value, 0.0) * scale),
            "height": str(ROW - 10),
        },
    )
    if bar.low is not None and bar.high is not None:
        left, right = (NAMES + max(end, 0.0) * scale for end in (bar.low, bar.high))
        for x1, x2, half in ((left, right, 0), (left, left, 4), (right, right, 4)):
            ends = {"x1": x1, "x2": x2, "y1": middle - half, "y2": middle + half}
            SubElement(svg, "line", {"class": "mark", **{name: _number(at) for name, at in ends.items()}})
    _text(svg, f"{bar.value:.4g}{unit}", WIDTH - VALUES + 8, middle + 4)


def _text(svg: Element, text: str, x: float, y: float, kind: str = "") -> None:
    placed = {"x": _number(x), "y": _number(y)}
    SubElement(svg, "text", {**placed, **({"class": kind} if kind else {})}).text = text


def _number(value: float) -> str:
    """Coordinates to a tenth of a pixel, so that equal reports have equal bytes."""
    return f"{value:.1f}"
