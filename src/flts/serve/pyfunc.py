"""A bundle as an MLflow model: MLflow calls `_load_pyfunc` here, and nothing in the files of a bundle is executed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject
from flts.forecasting.bundle import MANIFEST, Bundle, assemble, read_files
from flts.serve.answer import answer

if TYPE_CHECKING:
    import pandas as pd


class BundleModel:
    """The model object that mlflow.pyfunc calls."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, history: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Forecast from a history (time and columns in original units); params: the `level` of the interval.

        Times are UTC without a zone where the train rows were in UTC, else local with their zone.
        """
        import pandas as pd

        forecasts = answer(self.bundle, history, float((params or {}).get("level", 0.8)))
        for warning in forecasts.warnings:
            logging.getLogger(__name__).warning("%s", warning)
        width = len(forecasts.targets)
        times = pd.DatetimeIndex(forecasts.times.repeat(width))
        if forecasts.timezone != "UTC":
            times = times.tz_localize("UTC").tz_convert(forecasts.timezone)
        return pd.DataFrame(
            {
                "time": times,
                "target": list(forecasts.targets) * len(forecasts.times),
                "mean": forecasts.mean.reshape(-1),
                "lower": forecasts.lower.reshape(-1),
                "upper": forecasts.upper.reshape(-1),
            }
        )


def _load_pyfunc(path: str) -> BundleModel:
    """Load the bundle in a folder, after its digests and its self-test."""
    folder = Path(path)

    def read(bundle_sha256: str, name: str, digest: str) -> bytes:
        data = (folder / name).read_bytes()
        if sha256(data) != digest:
            raise DamagedObject(
                f"{folder / name} is damaged: its digest differs from the one in the manifest",
                code="digest-differs",
                key=layout.bundle(bundle_sha256, name.rpartition("/")[2]),
                file=str(folder / name),
            )
        return data

    bundle_sha256 = sha256((folder / MANIFEST).read_bytes())
    bundle = assemble(bundle_sha256, *read_files(bundle_sha256, read, str(folder)))
    bundle.self_test()
    return BundleModel(bundle)
