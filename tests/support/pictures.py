"""What a picture shows, read back from it: the data of its lines and bands, its words, its pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from flts.drawing.figure import Picture
from flts.preprocess.rows import Times, Values

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def panels(picture: Picture) -> Sequence[Axes]:
    return picture.figure.axes


def line(axes: Axes, label: str) -> Line2D:
    """The line with this label."""
    (found,) = (one for one in axes.lines if one.get_label() == label)
    return found


def values(axes: Axes, label: str) -> Values:
    """Its values, without the gaps between windows."""
    drawn = np.asarray(line(axes, label).get_ydata(), dtype=float)
    known: Values = drawn[~np.isnan(drawn)]
    return known


def times(axes: Axes, label: str) -> Times:
    """Its times in UTC ns, without the gaps."""
    drawn = np.asarray(line(axes, label).get_xdata()).astype("datetime64[ns]")
    known: Times = drawn[~np.isnat(drawn)].astype(np.int64)
    return known


def band(axes: Axes, label: str) -> tuple[float, float]:
    """The lowest and the highest end of a band."""
    (found,) = (one for one in axes.collections if isinstance(one, PolyCollection) and one.get_label() == label)
    ends = np.concatenate([path.vertices for path in found.get_paths()])[:, 1]
    return float(np.nanmin(ends)), float(np.nanmax(ends))


def bands(axes: Axes) -> list[str]:
    return [str(one.get_label()) for one in axes.collections if isinstance(one, PolyCollection)]


def words(picture: Picture) -> list[str]:
    """Title and caption."""
    return [text.get_text().replace(r"\$", "$") for text in picture.figure.texts]


def pixels(picture: Picture) -> Values:
    """The PNG decoded, [height, width, 3]; asserts that both formats are whole, light and small."""
    from matplotlib.image import imread

    svg = ElementTree.fromstring(picture.svg)  # noqa: S314 - we drew it
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    png = picture.png
    assert png.startswith(SIGNATURE)
    assert len(png) < 100_000
    assert len(picture.svg) < 500_000
    decoded = np.asarray(imread(io.BytesIO(png)))[..., :3]
    assert decoded.shape[0] > 200
    assert decoded.shape[1] > 400
    assert decoded[0, 0].min() > 0.99
    assert (decoded.min(axis=2) < 0.9).mean() > 0.001
    return decoded


def margin(picture: Picture) -> int:
    """Columns of pixels at the left that are empty: words that leave the picture leave none."""
    inked = (pixels(picture).min(axis=2) < 0.9).any(axis=0)
    return int(np.argmax(inked))
