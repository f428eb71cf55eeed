"""Model families of other distributions, found by the entry points of the group `flts.models`.

    [project.entry-points."flts.models"]
    drift = "flts_drift:Drift"

Names and versions are read from the metadata of installed distributions; a family is imported when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points

from flts.contracts.errors import UsageError

GROUP = "flts.models"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""A name that is valid in a TOML table, an environment variable, a group of the bus and a path."""
LONGEST = 40
BASELINES = ("naive", "seasonal_naive")
"""The baselines of FLTS; they have no table in a Spec."""


@dataclass(frozen=True)
class InstalledFamily:
    """A family of another distribution, not imported yet."""

    name: str
    package: str
    """Name of the distribution."""
    version: str
    """Version of the distribution; part of the model_hash."""
    entry: EntryPoint = field(repr=False, compare=False)

    @cached_property
    def loaded(self) -> object:
        """The object of the entry point, or an instance of a class. Raises UsageError that names the distribution."""
        try:
            family: object = self.entry.load()
            return family() if isinstance(family, type) else family
        except Exception as error:  # code of others may raise anything; it is raised again with who is to blame
            raise self.broken(f"{type(error).__name__}: {error}") from error

    def broken(self, reason: str) -> UsageError:
        """The error to raise for a family that cannot be used."""
        return UsageError(
            f"the model '{self.name}' of {self.package} {self.version} cannot be loaded: {reason};"
            f" upgrade or uninstall {self.package}",
            code="family-broken",
            model=self.name,
            package=self.package,
            version=self.version,
        )


@dataclass(frozen=True)
class Discovered:
    """The families that installed distributions declare. refused: one sentence per declaration that is not accepted."""

    families: Mapping[str, InstalledFamily]
    refused: tuple[str, ...]


def built_in() -> frozenset[str]:
    """Names of FLTS itself, which no other distribution can take: the tables of the Spec, and the baselines."""
    from flts.spec.models import Models  # which is made with this module

    return frozenset({*Models.model_fields, *BASELINES})


def installed_families() -> Mapping[str, InstalledFamily]:
    """The families of other distributions by name."""
    return discover().families


@cache
def discover() -> Discovered:
    """Read the entry points, once per process. A name of FLTS, or one declared twice, is refused."""
    declared: dict[str, list[InstalledFamily]] = {}
    for entry in entry_points(group=GROUP):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else (entry.module, "unknown")
        declared.setdefault(entry.name, []).append(InstalledFamily(entry.name, package, version, entry))
    families: dict[str, InstalledFamily] = {}
    refused = []
    reserved = built_in()
    for name, claims in sorted(declared.items()):
        packages = " and ".join(sorted(f"{family.package} {family.version}" for family in claims))
        if name in reserved:
            refused.append(f"{packages}: '{name}' is the name of a built-in model, which is used instead")
        elif len(claims) > 1:
            refused.append(f"{packages} both bring a model '{name}', so neither is used; uninstall one of them")
        elif not NAME.fullmatch(name) or len(name) > LONGEST:
            refused.append(f"{packages}: invalid model name '{name}'; use lower-case words joined by '_'")
        else:
            families[name] = claims[0]
    return Discovered(families, tuple(refused))
