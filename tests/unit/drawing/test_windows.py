"""Test windows are drawn apart, with their origins, each model in a panel of its own, all on one scale."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.pictures import band, line, panels, pixels, times, values
from tests.support.series import HOUR, START

from flts.drawing.figure import Picture
from flts.drawing.windows import ShownWindows, WindowForecasts, windows

pytestmark = pytest.mark.slow
NAN = float("nan")


def drawn(count: int = 3, steps: int = 4, models: int = 2, empty: bool = False) -> tuple[Picture, ShownWindows]:
    origins = START + 10 * HOUR * np.arange(count)
    at = origins[:, None] + HOUR * np.arange(1, steps + 1)
    truth = np.arange(float(count * steps)).reshape(count, steps)
    rows = START + HOUR * np.arange(10 * (count - 1) + steps + 1)
    line = np.arange(float(len(rows))) * (NAN if empty else 1.0)
    shown = ShownWindows(origins, at, -np.arange(float(count)), rows, line)
    forecasts = [
        WindowForecasts(f"model {n}", truth + 100.0 * n, truth + 100.0 * n - 2.0, truth + 100.0 * n + 2.0)
        for n in range(models)
    ]
    return windows(shown, forecasts, target="load", title="t", caption="c", timezone="UTC"), shown


def test_every_window_is_drawn_for_every_model_on_one_scale() -> None:
    picture, shown = drawn()
    first, second = panels(picture)
    for axes, shift in ((first, 0.0), (second, 100.0)):
        assert values(axes, "forecast").tolist() == (np.arange(12.0) + shift).tolist()
        assert times(axes, "forecast").tolist() == shown.times.reshape(-1).tolist()
        assert values(axes, "origin").tolist() == shown.before.tolist()
        assert times(axes, "origin").tolist() == shown.origins.tolist()
        assert values(axes, "truth").tolist() == shown.truth.tolist()
        assert times(axes, "truth").tolist() == shown.truth_times.tolist()
        assert band(axes, "80 % interval") == pytest.approx((shift - 2.0, shift + 13.0))
    assert first.get_ylim() == second.get_ylim()
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["model 0", "model 1"]
    pixels(picture)


def test_no_line_joins_two_windows() -> None:
    picture, _ = drawn()
    found = np.asarray(line(panels(picture)[0], "forecast").get_ydata(), dtype=float)
    assert np.flatnonzero(np.isnan(found)).tolist() == [4, 9, 14]


@pytest.mark.parametrize(("count", "steps", "empty"), [(1, 1, False), (60, 1, False), (1, 5, True), (1, 300, False)])
def test_any_windows_can_be_drawn(count: int, steps: int, empty: bool) -> None:
    picture, shown = drawn(count, steps, 1, empty)
    pixels(picture)
    assert values(panels(picture)[0], "forecast").size == shown.times.size
