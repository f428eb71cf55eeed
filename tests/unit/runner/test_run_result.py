"""The result of a run shows itself: in a line, as a table, as HTML and as pictures."""

from __future__ import annotations

import dataclasses

import pytest
from tests.support.experiments import write_experiment
from tests.support.pictures import panels, values, words
from tests.support.raising import raises

import flts
from flts.contracts.errors import UsageError
from flts.runner.local import RunResult
from flts.settings import load_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("result")
    return flts.run(write_experiment(folder), settings=load_settings(home=folder / ".flts", tracking="off"))


def test_a_line_says_where_it_is_and_which_model_is_best(result: RunResult) -> None:
    score = result.decision.ranked[0].score
    said = f"<RunResult {result.config_hash[:12]} #1 in 'global': ridge is best, score {score:.4f}, promoted>"
    assert repr(result) == said


def test_the_leaderboard_is_that_of_the_decision(result: RunResult) -> None:
    board = result.leaderboard()
    rows = [*result.decision.ranked, *result.decision.ranked_baselines]
    assert board["model"].to_list() == [row.model for row in rows]
    assert board["score"].to_list() == [row.score for row in rows]
    assert board["rmse_load"].to_list() == [row.units["load"].rmse for row in rows]
    assert board["baseline"].to_list() == [False, True, True]
    assert board["seconds"][0] == (result.durations_ms["ridge"] or 0) / 1000


def test_a_notebook_shows_reasons_scoreboard_and_forecast(result: RunResult) -> None:
    html = result._repr_html_()
    assert result.decision.reasons[0].replace("'", "&#x27;") in html
    assert f"{result.decision.ranked[0].score:.4f}" in html
    assert "data:image/png;base64," in html
    assert len(html) < 200_000


def test_every_kind_of_picture_can_be_drawn_from_the_store(result: RunResult) -> None:
    titles = {kind: words(result.plot(kind))[0] for kind in ("forecast", "models", "next", "error_per_step")}
    assert titles == {
        "forecast": "load: forecast and truth",
        "models": "load: which model forecasts best",
        "next": "load: the next 3 steps, by ridge",
        "error_per_step": "load: error of each step ahead",
    }
    (axes,) = panels(result.plot())
    assert len(values(axes, "forecast")) == 60
    with raises(UsageError, code="picture-unknown", valid=sorted(titles)):
        result.plot("loss")  # type: ignore[arg-type]
    with raises(UsageError, code="target-unknown", found="wind"):
        result.plot(target="wind")


def test_the_store_is_no_part_of_the_outcome(result: RunResult) -> None:
    assert "store" not in dataclasses.asdict(result)
