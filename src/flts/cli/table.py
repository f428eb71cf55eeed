"""A table that fits its terminal: it drops columns before it cuts a cell, and wraps text at words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flts.contracts.errors import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.segment import Segment

GAP = 2
"""Blanks between two columns."""
WORD = 24
"""A word of text is not folded up to this width: enough for a time, the start of a hash, and every figure."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column: its heading, its cells, and how it may be narrowed. Two with equal texts are two columns."""

    heading: str
    cells: Sequence[str]
    is_number: bool
    """Figures stand at the right and are never wrapped; text wraps at words."""
    priority: int | None
    """0 is dropped last; None never."""

    @property
    def natural(self) -> int:
        """The width of its longest cell."""
        return max(_width(text) for text in (self.heading, *self.cells))

    @property
    def least(self) -> int:
        """The width below which a word would be cut."""
        whole = self.cells if self.is_number else ()
        words = " ".join([self.heading, *(() if self.is_number else self.cells)]).split()
        return max([0, *(min(_width(word), WORD) for word in words), *(_width(cell) for cell in whole)])


@dataclass(frozen=True)
class FittingTable:
    """Columns for rich to print. Its texts are printed as they are: square brackets are no markup."""

    columns: Sequence[Column]
    styles: Sequence[str | None] = ()
    """Of each row."""
    indent: int = 0
    """Blanks before every line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment
        from rich.table import Table
        from rich.text import Text

        room = options.max_width - self.indent
        shown = self.fitting(room)
        widths = _shared(shown, room)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        for column, width in zip(shown, widths, strict=True):
            table.add_column(
                Text(column.heading), justify="right" if column.is_number else "left", overflow="fold", width=width
            )
        for at in range(len(shown[0].cells)):
            table.add_row(*(Text(column.cells[at]) for column in shown), style=self.styles[at] if self.styles else None)
        # where even the narrowest columns do not fit, the terminal breaks the lines: nothing is lost
        wide = options.update(max_width=max(room, _total(widths)))
        for line in console.render_lines(table, wide, pad=False):
            yield from _without_end([Segment(" " * self.indent), *line])
            yield Segment.line()
        dropped = [column.heading for column in self.columns if column not in shown]
        if dropped:
            yield Text(" " * self.indent, end="")
            yield Text(f"not shown in {options.max_width} columns: {', '.join(dropped)}; --wide shows all", style="dim")

    def fitting(self, width: int) -> list[Column]:
        """The columns that fit, in their order: those that always stay, then the most important of the others."""
        chosen = {column for column in self.columns if column.priority is None}
        ranked = [column for column in self.columns if column.priority is not None]
        for column in sorted(ranked, key=lambda column: column.priority or 0):
            if _total([other.least for other in {*chosen, column}]) <= width:
                chosen.add(column)
        return [column for column in self.columns if column in chosen]


def fitting_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str | None] = (),
    *,
    numbers: Collection[str] = (),
    optional: Sequence[str] = (),
    indent: int = 0,
) -> FittingTable:
    """A table from its rows. numbers: headings of figures; optional: those that may be dropped, the last one first.

    indent: blanks before every line.
    """
    return FittingTable(
        [
            Column(
                visible(heading),
                [visible(row[at]) for row in rows],
                heading in numbers,
                optional.index(heading) if heading in optional else None,
            )
            for at, heading in enumerate(headings)
        ],
        styles,
        indent,
    )


def _without_end(line: Sequence[Segment]) -> Sequence[Segment]:
    """A line without the blanks at its end."""
    kept = list(line)
    while kept and not (text := kept[-1].text.rstrip()):
        kept.pop()
    return [*kept[:-1], kept[-1]._replace(text=text)] if kept else []


def _shared(columns: Sequence[Column], width: int) -> list[int]:
    """The width of each column: what is spare goes to the first ones, until each has its natural width."""
    widths = [column.least for column in columns]
    for at, column in enumerate(columns):
        widths[at] += max(0, min(column.natural - widths[at], width - _total(widths)))
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(0, len(widths) - 1)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
