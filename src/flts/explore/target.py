"""Which column a person means to forecast who names none."""

from __future__ import annotations

import numpy as np

from flts.explore.grid import holds_value
from flts.preprocess.fit import INDEX, counts_rows
from flts.preprocess.rows import Rows


def guess_target(train: Rows) -> tuple[str | None, str]:
    """The first column that can be forecast, None when there is none; and the reason."""
    held, ramps = holds_value(train), []
    for i, name in enumerate(train.columns):
        column = train.values[held, i]
        values = column[~np.isnan(column)]
        if len(values) * 2 < len(column) or len(values) < 2 or np.ptp(values) == 0.0:
            continue
        if not counts_rows(values):
            return name, "the first numeric column that varies"
        ramps += [] if INDEX.fullmatch(name) else [name]
    if ramps:
        return ramps[0], "the first numeric column that varies, though by the same amount in every row"
    return None, "no numeric column varies"
