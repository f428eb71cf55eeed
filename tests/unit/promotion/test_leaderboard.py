"""The scoreboard as a table: every row of the decision, and as HTML what the terminal shows."""

from __future__ import annotations

from tests.support.boards import ODD, crowd, judged

from flts.promotion.leaderboard import as_html, leaderboard


def test_every_row_is_there_the_best_first_and_those_without_a_forecast_last() -> None:
    _, decision = judged()
    decision = decision.model_copy(update={"candidates": crowd(decision, 5)})
    board = leaderboard(decision, {"ridge": 1500})
    assert board["model"].to_list() == ["ridge", "model_2", "model_3", "seasonal_naive", "naive", "broken", "unfit"]
    assert board["rank"].to_list() == [1, 2, 3, None, None, None, None]
    assert board["reason"].to_list() == [None] * 5 + ["TrainingFailed: a reason"] * 2
    assert board["score"].null_count() == 2
    first = decision.ranked[0]
    assert first.score_interval is not None
    expected = {
        "score": first.score,
        "score_low": first.score_interval.low,
        "rmse": first.rmse,
        "mase": first.mase,
        "rmse_load": first.units["load"].rmse,
        "skill": first.skill,
        "coverage_80": (first.coverage or {})["0.8"].coverage,
        "seconds": 1.5,
    }
    assert {name: board[name][0] for name in expected} == expected


def test_html_has_the_figures_of_the_terminal_and_no_markup_of_a_name() -> None:
    _, decision = judged()
    rows = crowd(decision, 4, reason=ODD)
    board = leaderboard(decision.model_copy(update={"candidates": rows}))
    html = as_html(board, "ridge")
    assert f'<td style="text-align:right">{decision.ranked[0].score:.4f}</td>' in html
    assert "font-weight:bold" in html
    assert "naive (baseline)" in html
    assert "<b on" not in html
    assert "seconds" not in html  # nobody measured them
    assert html.count("<tr") == board.height + 1
