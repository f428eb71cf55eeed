"""FLTS: from rows of a time series to a judged, promoted and served forecast.

    result = flts.run("flts.toml")
    flts.load_champion().forecast(history)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flts.version import __version__ as __version__

if TYPE_CHECKING:
    from flts.api import load_champion, run
    from flts.contracts.errors import DataError, FltsError, SpecError
    from flts.runner.local import RunResult
    from flts.serve.follow import Champion
    from flts.settings import Settings
    from flts.spec.fields import Spec
    from flts.spec.sources import load_spec

__all__ = [
    "Champion",
    "DataError",
    "FltsError",
    "RunResult",
    "Settings",
    "Spec",
    "SpecError",
    "load_champion",
    "load_spec",
    "run",
]

_HOMES = {
    "Champion": "flts.serve.follow",
    "DataError": "flts.contracts.errors",
    "FltsError": "flts.contracts.errors",
    "RunResult": "flts.runner.local",
    "Settings": "flts.settings",
    "Spec": "flts.spec.fields",
    "SpecError": "flts.contracts.errors",
    "load_champion": "flts.api",
    "load_spec": "flts.spec.sources",
    "run": "flts.api",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'flts' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
