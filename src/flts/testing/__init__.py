"""For the tests of other projects: the conformance test of a model family, and small series.

    from flts.testing import ModelConformance
    from flts_drift import Drift

    class TestDrift(ModelConformance):
        family = Drift()

Needs pytest. A store and a bus in memory are `flts.backends.store.memory_store` and `flts.backends.bus_memory`.
"""

import pytest

pytest.register_assert_rewrite("flts.testing.conformance")  # pytest then shows the values of a failed assertion

from flts.testing.conformance import FamilyConformance, ModelConformance  # noqa: E402 - must follow the line above
from flts.testing.fitted import FittedFamily, blocks, fit_family, task_on, window  # noqa: E402
from flts.testing.series import hourly, split, table  # noqa: E402

__all__ = [
    "FamilyConformance",
    "FittedFamily",
    "ModelConformance",
    "blocks",
    "fit_family",
    "hourly",
    "split",
    "table",
    "task_on",
    "window",
]
