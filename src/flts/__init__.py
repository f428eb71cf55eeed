"""FLTS: from rows of a time series to a judged, promoted and served forecast.

    result = flts.run("flts.toml")
    flts.forecast(history)

    flts.Client("http://127.0.0.1:8000").forecast(history)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flts.version import __version__ as __version__

if TYPE_CHECKING:
    from flts.api import compare, forecast, init, inspect, load_champion, promote, rollback, run, runs, verify
    from flts.client import AsyncClient, Client
    from flts.contracts.errors import (
        BackendUnavailable,
        ClientError,
        DamagedObject,
        DataError,
        DeadlineExceeded,
        FltsError,
        Interrupted,
        Locked,
        MachineFailed,
        MissingExtra,
        MissingPackage,
        NameTaken,
        NoChampion,
        NotApplicable,
        RequestRefused,
        ServiceUnavailable,
        SpecError,
        StageFailed,
        Terminal,
        TrainingFailed,
        Transient,
        UsageError,
    )
    from flts.runner.local import RunResult
    from flts.serve.follow import Champion
    from flts.settings import Settings
    from flts.spec.fields import Spec
    from flts.spec.sources import load_spec

__all__ = [
    "AsyncClient",
    "BackendUnavailable",
    "Champion",
    "Client",
    "ClientError",
    "DamagedObject",
    "DataError",
    "DeadlineExceeded",
    "FltsError",
    "Interrupted",
    "Locked",
    "MachineFailed",
    "MissingExtra",
    "MissingPackage",
    "NameTaken",
    "NoChampion",
    "NotApplicable",
    "RequestRefused",
    "RunResult",
    "ServiceUnavailable",
    "Settings",
    "Spec",
    "SpecError",
    "StageFailed",
    "Terminal",
    "TrainingFailed",
    "Transient",
    "UsageError",
    "compare",
    "forecast",
    "init",
    "inspect",
    "load_champion",
    "load_spec",
    "promote",
    "rollback",
    "run",
    "runs",
    "verify",
]

if not TYPE_CHECKING:  # a type checker that saw this function would take any name for a public one
    _HOMES = {
        "flts.api": (
            "compare",
            "forecast",
            "init",
            "inspect",
            "load_champion",
            "promote",
            "rollback",
            "run",
            "runs",
            "verify",
        ),
        "flts.client": ("AsyncClient", "Client"),
        "flts.contracts.errors": (
            "BackendUnavailable",
            "ClientError",
            "DamagedObject",
            "DataError",
            "DeadlineExceeded",
            "FltsError",
            "Interrupted",
            "Locked",
            "MachineFailed",
            "MissingExtra",
            "MissingPackage",
            "NameTaken",
            "NoChampion",
            "NotApplicable",
            "RequestRefused",
            "ServiceUnavailable",
            "SpecError",
            "StageFailed",
            "Terminal",
            "TrainingFailed",
            "Transient",
            "UsageError",
        ),
        "flts.runner.local": ("RunResult",),
        "flts.serve.follow": ("Champion",),
        "flts.settings": ("Settings",),
        "flts.spec.fields": ("Spec",),
        "flts.spec.sources": ("load_spec",),
    }

    def __getattr__(name):
        import importlib

        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module 'flts' has no attribute '{name}'")
        return getattr(importlib.import_module(home), name)

    def __dir__():
        return [*__all__, "__version__"]
