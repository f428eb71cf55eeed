"""Every model family by name: candidates, and the baselines that are always scored and never promoted.

Families of other distributions (spec/installed.py) are candidates too. Each is imported when it is first looked up.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flts.contracts.errors import MissingExtra, MissingPackage, UsageError, nearest
from flts.models.autoarima import AutoArima
from flts.models.autoets import AutoEts
from flts.models.automfles import AutoMfles
from flts.models.autotbats import AutoTbats
from flts.models.autotheta import AutoTheta
from flts.models.base import Family
from flts.models.ensemble import Ensemble
from flts.models.gbm import Gbm
from flts.models.naive import Naive, SeasonalNaive
from flts.models.prophet import Prophet
from flts.models.recurrent import GRU, LSTM
from flts.models.ridge import Ridge
from flts.spec.installed import InstalledFamily, installed_families
from flts.spec.lineage import CodeVersion, Versions

_BUILT_IN: tuple[Family[Any], ...] = (
    *(GRU, LSTM, Prophet(), AutoMfles(), AutoArima(), AutoEts(), AutoTbats(), AutoTheta(), Ridge(), Gbm()),
)
_BASELINES: tuple[Family[Any], ...] = (Naive(), SeasonalNaive())

BUILT_IN: Mapping[str, Family[Any]] = {family.name: family for family in _BUILT_IN}
BASELINES: Mapping[str, Family[Any]] = {family.name: family for family in _BASELINES}


class _Candidates(Mapping[str, Family[Any]]):
    """Built-in families, then those of other distributions. Looking up one that cannot be loaded raises UsageError."""

    def __getitem__(self, name: str) -> Family[Any]:
        return BUILT_IN[name] if name in BUILT_IN else _usable(installed_families()[name])

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN or name in installed_families()

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN
        yield from installed_families()

    def __len__(self) -> int:
        return len(BUILT_IN) + len(installed_families())


CANDIDATES: Mapping[str, Family[Any]] = _Candidates()


class _CodeVersions(Mapping[str, CodeVersion]):
    """The version that enters the model_hash; for another distribution, also its name and release."""

    def __getitem__(self, name: str) -> CodeVersion:
        if name == Ensemble.name:
            return Ensemble.version
        version, package = CANDIDATES[name].version, package_of(name)
        return version if package is None else {"code": version, **package}

    def __iter__(self) -> Iterator[str]:
        yield from CANDIDATES
        yield Ensemble.name

    def __len__(self) -> int:
        return len(CANDIDATES) + 1


def versions(preprocess: int, train: int, evaluate: int) -> Versions:
    """The code versions that enter the hashes."""
    return Versions(preprocess, _CodeVersions(), train, evaluate)


def package_of(name: str) -> dict[str, str] | None:
    """The `package` and `release` of the distribution that brings a family; None for a family of FLTS."""
    family = None if name in BUILT_IN or name in BASELINES else installed_families().get(name)
    return None if family is None else {"package": family.package, "release": family.version}


def libraries_of(name: str) -> Sequence[str]:
    """Import names of the libraries that making a candidate needs; none for an ensemble."""
    return () if name == Ensemble.name else CANDIDATES[name].libraries


def require(names: Iterable[str]) -> None:
    """Check that all these models can be used here.

    Raises one MissingExtra for all models whose libraries are not installed, MissingPackage for a library that no extra
    installs, UsageError for an unknown name and for a family that cannot be loaded.
    """
    lacking: dict[str, str] = {}
    for name in names:
        if name == Ensemble.name:
            continue
        if name not in CANDIDATES:
            raise UsageError(f"unknown model '{name}'; {nearest(name, CANDIDATES)}", code="unknown-model", model=name)
        family = CANDIDATES[name]
        absent = next((library for library in family.libraries if importlib.util.find_spec(library) is None), None)
        if absent is None:
            continue
        if family.extra is None:
            raise MissingPackage(f"the model '{name}'", absent)
        lacking[name] = family.extra
    if lacking:
        models = ", ".join(f"'{name}'" for name in sorted(lacking))
        what = f"the model {models}" if len(lacking) == 1 else f"training the models {models}"
        raise MissingExtra(what, *sorted({*lacking.values()}))


def missing(family: Family[Any], library: str) -> UsageError:
    """The error that says how to install what a family needs."""
    what = f"the model '{family.name}'"
    return MissingExtra(what, family.extra) if family.extra else MissingPackage(what, library)


def _usable(installed: InstalledFamily) -> Family[Any]:
    """Check what an entry point loaded. Raises UsageError if it is not a family of that name."""
    family = installed.loaded
    if not isinstance(family, Family):
        absent = [name for name in _MEMBERS if not hasattr(family, name)]
        raise installed.broken(f"{type(family).__name__} is not a model family: it lacks {', '.join(absent)}")
    if family.name != installed.name:
        raise installed.broken(f"its name is '{family.name}'")
    return family


_MEMBERS = ("name", "parameters", "version", "extra", "libraries", "cost", "history", "fit", "load")
