"""The picture of what comes next shows the history, the forecast from its origin on, and a band for each level."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.pictures import band, bands, panels, pixels, times, values
from tests.support.series import HOUR, START

from flts.drawing.ahead import Ahead, ahead

pytestmark = pytest.mark.slow


def shown(rows: int = 50, steps: int = 3, bounds: float = 1.0) -> Ahead:
    later = START + HOUR * np.arange(rows, rows + steps)
    mean = 10.0 + np.arange(float(steps))
    ends = {level: (mean - level * bounds, mean + level * bounds) for level in (0.5, 0.95)}
    return Ahead(START + HOUR * np.arange(rows), np.arange(float(rows)), later, mean, ends)


def test_every_number_is_drawn_where_it_belongs() -> None:
    given = shown()
    picture = ahead(given, target="load", title="t", caption="c", timezone="UTC")
    (axes,) = panels(picture)
    assert values(axes, "history").tolist() == given.values.tolist()
    assert times(axes, "history").tolist() == given.times.tolist()
    assert values(axes, "forecast").tolist() == given.mean.tolist()
    assert times(axes, "forecast").tolist() == given.later.tolist()
    assert bands(axes) == ["95 %", "50 %"]
    assert band(axes, "95 %") == pytest.approx((9.05, 12.95))
    assert band(axes, "50 %") == pytest.approx((9.5, 12.5))
    assert axes.get_ylabel() == "load"
    pixels(picture)


@pytest.mark.parametrize(("rows", "steps", "bounds"), [(5, 1, 1.0), (1, 1, np.nan), (0, 3, np.nan), (60, 3, np.nan)])
def test_one_step_no_band_and_no_history_can_be_drawn(rows: int, steps: int, bounds: float) -> None:
    picture = ahead(shown(rows, steps, bounds), target="load", title="t", caption="", timezone="UTC")
    pixels(picture)
    assert bands(panels(picture)[0]) == []
    assert values(panels(picture)[0], "forecast").tolist() == shown(rows, steps).mean.tolist()
