"""A bundle as an MLflow model: `loader_module = flts.serve.pyfunc`; its files are data, and nothing in them runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject
from flts.forecasting.bundle import MANIFEST, Bundle, assemble, parse_manifest
from flts.serve.answer import answer

if TYPE_CHECKING:
    import pandas as pd


class BundleModel:
    """What mlflow.pyfunc calls."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, history: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One history in (time and columns, original units), the rows of /predict out."""
        import pandas as pd

        found = answer(self.bundle, history, float((params or {}).get("level", 0.8)))
        width = len(found.targets)
        return pd.DataFrame(
            {
                "time": pd.DatetimeIndex(found.times.repeat(width)),
                "target": list(found.targets) * len(found.times),
                "mean": found.mean.reshape(-1),
                "lower": found.lower.reshape(-1),
                "upper": found.upper.reshape(-1),
            }
        )


def _load_pyfunc(path: str) -> BundleModel:
    """The bundle in a folder, digests checked and self-test passed."""
    folder = Path(path)
    data = (folder / MANIFEST).read_bytes()
    manifest = parse_manifest(data, str(folder / MANIFEST))
    files = {name: (folder / name).read_bytes() for name in manifest.files}
    for name, file in manifest.files.items():
        if sha256(files[name]) != file.sha256:
            raise DamagedObject(f"{folder / name} is damaged: its digest is not the manifest's")
    bundle = assemble(sha256(data), manifest, files)
    bundle.self_test()
    return BundleModel(bundle)
