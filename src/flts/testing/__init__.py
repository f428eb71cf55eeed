"""What tests of other projects may import: the conformance test of a model family, and small series.

    from flts.testing import ModelConformance
    from flts_drift import Drift

    class TestDrift(ModelConformance):
        family = Drift()

Needs pytest. A store and a bus in memory are `flts.backends.store.memory_store` and `flts.backends.bus_memory`.
"""

import pytest

pytest.register_assert_rewrite("flts.testing.conformance")  # so that a failed assertion shows its values

from flts.testing.conformance import FamilyConformance, ModelConformance  # noqa: E402 - after the line above
from flts.testing.fitted import Subject, blocks, fit_subject, task_on, window  # noqa: E402
from flts.testing.series import hourly, split, table  # noqa: E402

__all__ = [
    "FamilyConformance",
    "ModelConformance",
    "Subject",
    "blocks",
    "fit_subject",
    "hourly",
    "split",
    "table",
    "task_on",
    "window",
]
