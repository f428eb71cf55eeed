"""The naive forecast that a network adds to, computed from the features of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flts.models.base import Block, ForecastTask, Indices
from flts.models.naive import last_season
from flts.preprocess.rows import Values


@dataclass(frozen=True)
class Anchor:
    """The target one season earlier, or its last value: what a baseline would forecast.

    rows [horizon] and columns [targets] point into a window [input_length, features]; factor and shift [targets] turn
    a feature into a scaled target. It repeats features, so a cell that was empty is repeated as it was filled.
    """

    season: int
    """In rows; 1 repeats the last value."""
    rows: Indices
    columns: Indices
    factor: Values
    shift: Values

    @classmethod
    def of(cls, season: int, task: ForecastTask) -> Anchor:
        """Build the anchor that repeats this season."""
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
        """Scaled forecasts [windows, horizon, targets]."""
        rows = block.origins[:, None] - task.input_length + self.rows
        past: Values = block.features[rows[..., None], self.columns] * self.factor + self.shift
        return past


def best_anchor(validation: Block, task: ForecastTask) -> Anchor:
    """Choose the better of the two baselines on the measured cells of the validation windows; on a tie the last value.

    The seasonal one is tried only if a window is as long as the season.
    """
    seasons = (1, *(season for season in task.seasons[:1] if season <= task.input_length))
    anchors = [Anchor.of(season, task) for season in seasons]
    answers = validation.answers(task)
    return min(anchors, key=lambda anchor: float(np.nanmean((anchor.forecast(validation, task) - answers) ** 2)))
