"""What is known of the live error of a scope: the projection that `flts predictions join --write` stores."""

from __future__ import annotations

from flts.contracts import layout
from flts.contracts.ports import Store
from flts.contracts.records.base import read_record
from flts.contracts.records.live import Live


def live(store: Store, scope: str) -> Live | None:
    """The live error as it was computed last; None where it never was. Raises DamagedObject."""
    return read_record(store, layout.live(scope), Live)
