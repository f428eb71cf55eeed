"""Every family by name: the candidates of a Spec, and the referees that are always scored and never promoted."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping

from flts.contracts.errors import MissingExtra, UsageError, nearest
from flts.models.base import Family
from flts.models.naive import Naive, SeasonalNaive
from flts.models.prophet import Prophet
from flts.models.recurrent import GRU, LSTM
from flts.models.ridge import Ridge
from flts.models.statistical import AutoMfles
from flts.spec.lineage import Versions

_CANDIDATES: tuple[Family, ...] = (GRU, LSTM, Prophet(), AutoMfles(), Ridge())
_REFEREES: tuple[Family, ...] = (Naive(), SeasonalNaive())

CANDIDATES: Mapping[str, Family] = {family.name: family for family in _CANDIDATES}
REFEREES: Mapping[str, Family] = {family.name: family for family in _REFEREES}


def versions(preprocess: int, train: int, evaluate: int) -> Versions:
    """The code versions that enter the hashes."""
    return Versions(preprocess, {name: family.version for name, family in CANDIDATES.items()}, train, evaluate)


def require(names: Iterable[str]) -> None:
    """Raise one MissingExtra for all models whose libraries are not installed, UsageError for an unknown name."""
    lacking: dict[str, str] = {}
    for name in names:
        if name not in CANDIDATES:
            raise UsageError(f"'{name}' is no model; {nearest(name, CANDIDATES)}")
        family = CANDIDATES[name]
        if family.extra and any(importlib.util.find_spec(library) is None for library in family.libraries):
            lacking[name] = family.extra
    if lacking:
        models = ", ".join(f"'{name}'" for name in sorted(lacking))
        what = f"the model {models}" if len(lacking) == 1 else f"training the models {models}"
        raise MissingExtra(what, *sorted({*lacking.values()}))
