"""All models of a decision are compared in one picture, with the baselines and those that have no forecast."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.boards import judged
from tests.support.pictures import panels, pixels, words

from flts.contracts.records.decision import UnrankedRow
from flts.drawing.models import models

pytestmark = pytest.mark.slow


def test_every_score_is_drawn_with_its_interval_best_first() -> None:
    _, decision = judged()
    failed = UnrankedRow(status="FAILED", rank=None, model="gru", model_hash="a" * 64, reason="no memory")
    decision = decision.model_copy(update={"candidates": [*decision.candidates, failed]})
    picture = models(decision)
    (axes,) = panels(picture)
    rows = sorted([*decision.ranked, *decision.ranked_baselines], key=lambda row: row.score)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [row.model if row.model == "ridge" else f"{row.model} (baseline)" for row in rows]
    points = [one.get_xydata().tolist() for one in axes.lines if one.get_marker() == "o"]  # type: ignore[union-attr]
    assert points == [[[row.score, place]] for place, row in enumerate(rows)]
    spans = [np.asarray(one.get_xdata()).tolist() for one in axes.lines if one.get_linewidth() == 2.0]
    assert spans == [[row.score_interval.low, row.score_interval.high] for row in rows if row.score_interval]
    title, caption = words(picture)
    assert "load" in title
    assert f"{decision.windows.count} test windows" in caption
    assert "no forecast by gru" in caption
    assert axes.texts[0].get_text().startswith(f"{rows[0].score:.4f}")
    pixels(picture)
