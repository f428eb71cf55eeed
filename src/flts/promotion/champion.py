"""Whose bundle is damaged: a bundle says nothing of the experiment that makes it again, the promotion log does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flts.contracts.errors import DamagedObject
from flts.contracts.records.log import Promoted


@contextmanager
def named_if_damaged(champion: Promoted) -> Iterator[None]:
    """Raise a DamagedObject about the champion's bundle again, with its experiment and what serves in the meantime."""
    try:
        yield
    except DamagedObject as damage:
        if not str(damage.data.get("key")).startswith("bundles/"):
            raise
        config = champion.config_hash[:12]
        raise DamagedObject(
            f"{damage}; it is the champion {champion.model} of the experiment {config} (`flts runs show {config}`);"
            " `flts promotions rollback` returns to the champion before it",
            code=damage.code,
            **damage.data,
        ) from None
