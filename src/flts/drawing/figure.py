"""A picture: drawn once, shown by a notebook, written as PNG or SVG. Its background is light wherever it is shown."""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from flts.contracts.errors import MissingExtra, UsageError, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, SOFT = "#1f2933", "#c2410c", "#94a3b8"
MODELS = ("#c2410c", "#0072b2", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7c3aed")
"""Colours of models side by side, which people with any colour vision tell apart (after Okabe and Ito 2008)."""
COLUMNS = 80
"""Characters in a line of a caption."""
NAME = 40
"""Characters of a name."""
LINE = 0.16
"""Inches that a line of a caption is high."""
PALETTE = 128
"""Colours of a PNG."""
FORMATS = (".png", ".svg")
_drawing = threading.Lock()
"""matplotlib cannot draw from several threads at once."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One figure. A notebook shows it, and `save` writes it; `figure` is matplotlib's, to be changed before that."""

    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """The picture as PNG."""
        from PIL import Image

        drawn = io.BytesIO()
        # lines and areas have few colours: as a palette they take a fourth of the bytes
        with Image.open(io.BytesIO(self._drawn("png"))) as whole:
            whole.convert("RGB").quantize(PALETTE).save(drawn, "PNG", optimize=True)
        return drawn.getvalue()

    @cached_property
    def svg(self) -> bytes:
        """The picture as SVG."""
        return self._drawn("svg")

    def save(self, file: str | Path) -> None:
        """Write a PNG or an SVG, as the ending of the file says. Raises UsageError for another ending."""
        place = checked(Path(file))
        place.write_bytes(self.png if place.suffix == ".png" else self.svg)

    def _repr_png_(self) -> bytes:
        return self.png

    def _drawn(self, kind: str) -> bytes:
        from matplotlib import rc_context

        drawn, metadata = io.BytesIO(), {"Date": None} if kind == "svg" else None
        # a fixed salt and no date, so that the same picture is the same file
        with _drawing, rc_context({"svg.hashsalt": "flts"}):
            self.figure.savefig(drawn, format=kind, metadata=metadata)
        return drawn.getvalue()


def warm_up() -> None:
    """Import what the first picture needs, beside other work; without matplotlib that picture says so."""
    with suppress(ModuleNotFoundError):
        for name in ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.dates", "PIL.Image"):
            import_module(name)


def checked(file: Path) -> Path:
    """The file, if a picture can be written to it. Raises UsageError."""
    if file.suffix not in FORMATS:
        raise UsageError(
            f"{file}: a picture is a {' or a '.join(FORMATS)} file",
            code="picture-format",
            file=str(file),
            valid=FORMATS,
        )
    return file


def canvas(
    title: str,
    caption: str = "",
    *,
    size: tuple[float, float] = (9.0, 3.5),
    rows: int = 1,
    columns: Sequence[float] = (1,),
    inset: float = 0.9,
) -> list[list[Axes]]:
    """Empty axes [rows][columns] under a title and a caption. Raises MissingExtra without matplotlib.

    size: inches of width, and of height for each row; columns: relative widths; inset: inches left of the axes. The
    axes of a column share their dates, all axes of the first column one scale.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtra("a plot", "report") from None
    lines = textwrap.wrap(visible(caption), COLUMNS)
    width, above, below = size[0], 0.4 + LINE * len(lines) + 0.28, 0.62
    height = size[1] * rows + above + below
    # fixed margins: a layout that measures every label takes longer than drawing
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    grid = figure.add_gridspec(
        rows,
        len(columns),
        width_ratios=columns,
        wspace=0.06,
        hspace=0.28,
        left=inset / width,
        right=1.0 - 0.2 / width,
        bottom=below / height,
        top=1.0 - above / height,
    )
    first = figure.add_subplot(grid[0, 0])
    every = []
    for row in range(rows):
        shared = first if row else None
        start = first if row == 0 else figure.add_subplot(grid[row, 0], sharex=shared, sharey=shared)
        every.append([start, *(figure.add_subplot(grid[row, column]) for column in range(1, len(columns)))])
        for axes in every[-1]:
            axes.set_facecolor("white")
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize="small")
        if row < rows - 1:
            start.tick_params(labelbottom=False)
    figure.text(inset / width, 1.0 - 0.3 / height, plain(title), fontsize="large", color=INK)
    for number, line in enumerate(lines):
        figure.text(inset / width, 1.0 - (0.5 + LINE * number) / height, plain(line), fontsize="small", color="#52606d")
    return every


def finished(axes: Axes) -> Picture:
    """The picture that these axes are part of; with a legend above them where there is something to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            frameon=False,
            fontsize="small",
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=6,
            columnspacing=1.2,
        )
    figure = axes.figure
    assert figure is not None
    return Picture(figure.get_figure(root=True))


def date_axis(axes: Axes, timezone: str) -> None:
    """Dates along the axis, with their year, on the clock of a zone, which the label names."""
    from zoneinfo import ZoneInfo

    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    zone = ZoneInfo(timezone)
    dates = AutoDateLocator(minticks=3, maxticks=9, tz=zone)  # a larger minimum fits no interval to some spans
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates, tz=zone))
    scale(axes, f"time, {timezone}", across=True)


def scale(axes: Axes, text: str, *, across: bool = False) -> None:
    """Say what the scale of an axis is, the upright one unless `across`; its figures leave room for the words."""
    if across:
        axes.set_xlabel(plain(text), fontsize="small")
        return
    axes.set_ylabel(plain(text), fontsize="small")
    figure, place = axes.figure, axes.get_position()
    assert figure is not None
    left = place.x0 * figure.get_figure(root=True).get_figwidth()
    # at a fixed place: beside long figures it would leave the picture
    axes.yaxis.set_label_coords(-(left - 0.2) / (left / place.x0 * place.width), 0.5)
    axes.ticklabel_format(axis="y", scilimits=(-3, 5))


def whole_numbers(axes: Axes) -> None:
    """Ticks at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def plain(text: str) -> str:
    """Text that matplotlib writes as it is: a dollar sign begins no formula."""
    return visible(text).replace("\n", " ").replace("$", r"\$")


def named(targets: Sequence[str]) -> str:
    """The targets in a title: all of a few, else the first two and how many more there are."""
    if len(targets) <= 3:
        return ", ".join(map(short, targets))
    return f"{short(targets[0])}, {short(targets[1])} and {len(targets) - 2} more"


def short(name: str) -> str:
    """A name that fits into a picture."""
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"
