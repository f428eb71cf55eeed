"""A bundle as an MLflow model of plain data, whose code is flts itself.

It is written by MLflow's description of a model. `mlflow.pyfunc.save_model` writes the same, after it has looked at
every file of every installed package for requirements that are not met, which takes as long as to fit a ridge.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flts.forecasting.intervals import STORED_LEVEL

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

LOADER = "flts.serve.pyfunc"
FLAVOR, DATA = "python_function", "data/bundle"
REQUIREMENTS, CONDA, VIRTUALENV = "requirements.txt", "conda.yaml", "python_env.yaml"


def write_model(folder: Path, bundle: Mapping[str, bytes], columns: Sequence[str], requirements: Sequence[str]) -> None:
    """Write a model to a folder that is absent. columns: of a history; requirements: beside MLflow itself."""
    from mlflow.models import Model
    from mlflow.version import VERSION

    for name, data in bundle.items():
        file = folder / DATA / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    model = Model(signature=signature_of(columns), model_size_bytes=sum(map(len, bundle.values())))
    model.add_flavor(
        FLAVOR,
        loader_module=LOADER,
        data=DATA,
        code=None,
        env={"conda": CONDA, "virtualenv": VIRTUALENV},
        python_version=platform.python_version(),
        streamable=False,
    )
    model.save(str(folder / "MLmodel"))
    _write_environment(folder, [f"mlflow=={VERSION}", *requirements])


def signature_of(columns: Sequence[str]) -> ModelSignature:
    """The signature of a served model: history rows in, forecast rows out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    answer: list[Any] = [ColSpec("datetime", "time"), ColSpec("string", "target")]
    answer += [ColSpec("double", name) for name in ("mean", "lower", "upper")]
    history: list[Any] = [ColSpec("datetime", "time"), *(ColSpec("double", name) for name in columns)]
    level = ParamSchema([ParamSpec("level", "double", STORED_LEVEL)])
    return ModelSignature(inputs=Schema(history), outputs=Schema(answer), params=level)


def _write_environment(folder: Path, requirements: Sequence[str]) -> None:
    """What pip, conda and virtualenv need to make an environment in which the model can be loaded."""
    import yaml

    python, pip = platform.python_version(), _installed("pip")
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", f"pip<={pip}" if pip else "pip", {"pip": list(requirements)}],
        "name": "mlflow-env",
    }
    built = [f"{name}=={found}" if (found := _installed(name)) else name for name in ("pip", "setuptools", "wheel")]
    virtualenv = {"python": python, "build_dependencies": built, "dependencies": [f"-r {REQUIREMENTS}"]}
    (folder / REQUIREMENTS).write_text("\n".join(requirements))
    (folder / CONDA).write_text(yaml.safe_dump(conda, default_flow_style=False))
    (folder / VIRTUALENV).write_text(yaml.safe_dump(virtualenv, sort_keys=False, default_flow_style=False))


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
