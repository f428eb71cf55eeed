"""The forecast a network starts from: what a window says plainly, on the scale of the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flts.models.base import Block, ForecastTask, Indices
from flts.models.naive import last_season
from flts.preprocess.rows import Values


@dataclass(frozen=True)
class Anchor:
    """The baseline's forecast that a network adds to: the target one season before, or its last value.

    rows [horizon] and columns [targets] say where in a window [input_length, features]; factor and shift [targets]
    take a feature to the scale of the answers.
    """

    season: int
    """In rows; 1 repeats the last value."""
    rows: Indices
    columns: Indices
    factor: Values
    shift: Values

    @classmethod
    def of(cls, season: int, task: ForecastTask) -> Anchor:
        """What the baseline of this season answers."""
        fitted = task.fitted
        minimum, width = fitted.target_range
        columns = [fitted.columns[i] for i in fitted.target_index]
        scale, center = (np.array([getattr(column, name) for column in columns]) for name in ("scale", "center"))
        return cls(
            season,
            task.input_length + last_season(season, task.horizon),
            fitted.target_index.astype(np.int64),
            scale / width,
            (center - fitted.constant - minimum) / width,
        )

    def forecast(self, block: Block, task: ForecastTask) -> Values:
        """[windows, horizon, targets]."""
        rows = block.origins[:, None] - task.input_length + self.rows
        past: Values = block.features[rows[..., None], self.columns] * self.factor + self.shift
        return past


def best_anchor(tail: Block, task: ForecastTask) -> Anchor:
    """The better of the two baselines on the tail, if a window holds the season; the last value on a tie."""
    seasons = (1, *(season for season in task.seasons[:1] if season <= task.input_length))
    anchors = [Anchor.of(season, task) for season in seasons]
    return min(anchors, key=lambda anchor: float(((anchor.forecast(tail, task) - tail.answers(task)) ** 2).mean()))
