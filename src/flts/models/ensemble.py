"""The ensemble: the weighted mean of other models.

It is a candidate and no family: nothing is fitted, and the judge makes it of the results of the others
(promotion/ensemble.py). Its bundle names their bundles, and forecasts with all of them (forecasting/ensemble.py).
"""

from __future__ import annotations

from flts.spec.models import ENSEMBLE


class Ensemble:
    """What a manifest and a hash say of it."""

    name = ENSEMBLE
    version = 2
    """Raised when the same results of the members give other weights, forecasts or intervals."""
