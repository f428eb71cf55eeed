"""A picture is light, small, equal when drawn again, and writes any name as it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.support.pictures import SIGNATURE, margin, panels, pixels, words
from tests.support.raising import raises
from tests.support.series import HOUR, START

from flts.contracts.errors import UsageError
from flts.drawing.figure import COLUMNS, Picture, canvas, date_axis, finished, named, scale, short
from flts.drawing.training import loss_curve

pytestmark = pytest.mark.slow


def empty(title: str = "t", caption: str = "", measure: str = "load") -> Picture:
    ((axes,),) = canvas(title, caption)
    axes.plot([0.0, 1.0], [0.0, 1e7])
    scale(axes, measure)
    return finished(axes)


def test_it_is_written_as_the_ending_says_and_shown_by_a_notebook(tmp_path: Path) -> None:
    picture = empty()
    pixels(picture)
    picture.save(tmp_path / "a.png")
    picture.save(str(tmp_path / "a.svg"))
    assert (tmp_path / "a.png").read_bytes() == picture._repr_png_() == picture.png
    assert (tmp_path / "a.svg").read_bytes() == picture.svg
    with raises(UsageError, code="picture-format", file="a.pdf"):
        picture.save("a.pdf")


@pytest.mark.parametrize(
    "name", ["", "α ü", "100 % $x_1^2$ of \\frac", "$", r"\$$\foo", "a" * 300, "line\nbreak\x1b[0m"]
)
def test_any_name_is_written_as_it_is(name: str) -> None:
    picture = empty(name, name, name)
    assert margin(picture) > 3
    assert picture.svg.count(b"\x1b") == 0
    if name == "$":
        assert words(picture)[0] == name


def test_a_caption_has_lines_of_eighty_columns() -> None:
    _, *lines = words(empty(caption="word " * 60))
    assert len(lines) > 3
    assert max(map(len, lines)) <= COLUMNS
    assert " ".join(lines).split() == ["word"] * 60


def test_names_are_shortened_and_many_are_counted() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named(list("abcd")) == "a, b and 2 more"
    assert short("x" * 41) == "x" * 39 + "…"


def dates(axes: Axes) -> tuple[list[str], str]:
    """The dates along an axis, and the part that they share."""
    formatter = axes.xaxis.get_major_formatter()
    shown = formatter.format_ticks(list(axes.xaxis.get_majorticklocs()))
    return [text for text in shown if text], formatter.get_offset()


@pytest.mark.parametrize("step", [1, 60, 3_600, 86_400, 31 * 86_400])
@pytest.mark.parametrize("steps", [2, 130])
def test_every_span_of_time_has_ticks_that_fit_and_a_year(step: int, steps: int) -> None:
    ((axes,),) = canvas("t")
    axes.plot((START + step * 10**9 * np.arange(steps)).astype("datetime64[ns]"), np.arange(float(steps)))
    date_axis(axes, "Europe/Madrid")
    shown, beside = dates(axes)
    assert 2 <= len(shown) <= 12
    assert any("20" in text for text in (*shown, beside))
    assert axes.get_xlabel() == "time, Europe/Madrid"


def test_dates_are_those_of_the_clock_of_the_zone() -> None:
    ((axes,),) = canvas("t")
    axes.plot((START + HOUR * np.arange(5)).astype("datetime64[ns]"), np.arange(5.0))
    date_axis(axes, "Asia/Tokyo")
    assert dates(axes) == (
        ["19:00", "20:00", "21:00", "22:00", "23:00"],
        "2018-Feb-07",
    )  # the first row is at 10:00 UTC


def test_pictures_drawn_from_several_threads_are_those_drawn_alone() -> None:
    curve = [(1.0, 2.0), (0.5, 1.0)]
    alone = [empty().png, loss_curve(curve, title="t").png]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda n: (loss_curve(curve, title="t") if n % 2 else empty()).png, range(4)))
    assert drawn == alone * 2
    assert drawn[0].startswith(SIGNATURE)


def test_rows_share_their_dates_and_their_scale() -> None:
    rows = canvas("t", rows=2)
    rows[0][0].plot([0.0, 1.0], [0.0, 5.0])
    rows[1][0].plot([0.0, 9.0], [0.0, 50.0])
    assert rows[0][0].get_ylim() == rows[1][0].get_ylim()
    assert rows[0][0].get_xlim() == rows[1][0].get_xlim()
    assert len(panels(finished(rows[0][0]))) == 2
