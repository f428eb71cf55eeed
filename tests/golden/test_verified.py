"""Stores of every format are verified for ever; what an earlier FLTS computed is left to it, and never called false."""

from __future__ import annotations

import pytest
from tests.support.stored import golden_store

from flts.report.evidence import newest_first
from flts.verification.claims import BAD
from flts.verification.report import examine


@pytest.mark.parametrize(
    ("archive", "code"), [("store-1.zip", 3), ("store-2.zip", 0), ("store-3.zip", 0), ("store-4.zip", 0)]
)
def test_every_golden_run_is_verified(archive: str, code: int) -> None:
    store = golden_store(archive)
    rows = newest_first(store)
    assert len(rows) >= 3
    for row in rows:
        report = examine(store, row.config_hash, row.run)
        assert [claim.id for claim in report.claims if claim.state in BAD] == []
        assert report.exit_code == code
