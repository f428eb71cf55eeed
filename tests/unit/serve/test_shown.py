"""A champion shows itself: in a line, as HTML with its scoreboard, and as a picture of what it answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.boards import ODD
from tests.support.pictures import bands, panels, times, values, words
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.stored import without

from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.errors import UsageError
from flts.promotion.log import decision_of
from flts.serve.follow import Champion, champion_of

pytestmark = pytest.mark.slow
HISTORY = table(hourly(290))


@pytest.fixture(scope="module")
def champion(promoted_folder: Path) -> Champion:
    return champion_of(open_store((promoted_folder / ".flts/objects").as_uri()), "global")


def test_a_line_says_what_it_is(champion: Champion) -> None:
    day = champion.entry.time[:10]
    assert repr(champion) == f"<Champion ridge of 'global': promotion 1, {day}; load, 3 steps from 12 rows>"


def test_a_notebook_shows_the_scoreboard_and_a_forecast(champion: Champion) -> None:
    assert champion.store is not None
    html = champion._repr_html_()
    score = decision_of(champion.store, champion.entry).ranked[0].score
    for said in ("ridge is champion of &#x27;global&#x27;", f"{score:.4f}", "needs time and load", "<img alt="):
        assert said in html, said
    assert html.count("<tr") == 4  # headings, ridge, two baselines
    assert len(html) < 200_000


def test_what_it_is_called_is_no_markup(champion: Champion) -> None:
    odd = replace(champion, entry=champion.entry.model_copy(update={"scope": ODD, "actor": ODD}), store=None)
    assert "<b on" not in odd._repr_html_()
    assert "&lt;b onmouseover" in odd._repr_html_()


def test_a_decision_that_is_gone_is_said_where_the_scoreboard_would_be(champion: Champion) -> None:
    assert champion.store is not None
    key = layout.decision("global", champion.entry.decision_id)
    html = replace(champion, store=without(champion.store, key))._repr_html_()
    assert "is absent" in html
    assert "<table" not in html
    assert "<img" in html


def test_a_plot_draws_the_history_and_the_answer(champion: Champion) -> None:
    picture = champion.plot(HISTORY, level=(0.5, 0.9), horizon=2)
    made = champion.answer(HISTORY, (0.5, 0.9), 2)
    (axes,) = panels(picture)
    assert values(axes, "forecast").tolist() == made.mean[:, 0].tolist()
    assert times(axes, "forecast").tolist() == made.times.tolist()
    shown = values(axes, "history")
    assert shown.tolist() == HISTORY["load"].to_list()[-len(shown) :]
    assert len(shown) >= 60
    assert bands(axes) == ["90 %", "50 %"]
    title, *caption = words(picture)
    assert title == "load: the next 2 steps, by ridge"
    assert "adaptive intervals" in " ".join(caption)
    np.testing.assert_array_equal(times(axes, "history")[-1:], HISTORY["time"].tail(1).dt.timestamp("ns").to_numpy())
    with raises(UsageError, code="target-unknown", found="wind", valid=["load"]):
        champion.plot(HISTORY, target="wind")
