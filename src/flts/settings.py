"""Where things are and how many run side by side: values that cannot change a number, and are never hashed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from flts.errors import UsageError, nearest


class Settings(BaseSettings):
    """Precedence: defaults < settings file < environment (FLTS_JOBS=2) < command line.

    The settings file is `flts-settings.toml` in the working directory, or what FLTS_SETTINGS_FILE names.
    """

    model_config = SettingsConfigDict(
        env_prefix="FLTS_", frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    home: Path = Path(".flts")
    """Folder of everything a run leaves behind."""
    store: str = ""
    """URL of the object store; empty means the folder `objects` in `home`."""
    environment: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    """Name of this place, written into every record."""
    tracking: Literal["auto", "mlflow", "off"] = "auto"
    """MLflow runs: auto means when MLflow is installed, and the output says which."""
    mlflow_uri: str = ""
    """MLflow server; empty means the file `mlflow.db` in `home`."""
    train_timeout: float = Field(default=3600.0, gt=0)
    """Seconds after which a fit is ended and recorded as failed."""
    jobs: int = Field(default=0, ge=0)
    """Trainers side by side; 0 means cores divided by the threads of a trainer."""
    log_format: Literal["auto", "json", "text", "off"] = "auto"
    """Events on stderr: auto means JSON where stderr is no terminal, otherwise none."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, file, in this order of strength."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())

    @property
    def store_url(self) -> str:
        """The store, with its default filled in."""
        return self.store or (self.home.resolve() / "objects").as_uri()

    @property
    def tracking_uri(self) -> str:
        """The MLflow database or server, with its default filled in."""
        return self.mlflow_uri or f"sqlite:///{self.home.resolve() / 'mlflow.db'}"


def settings_file() -> Path:
    """The file settings are read from. Raises UsageError when the one that is named is not there."""
    named = os.environ.get("FLTS_SETTINGS_FILE")
    if named is not None and not Path(named).is_file():
        raise UsageError(f"{named}: no such file; FLTS_SETTINGS_FILE names it")
    return Path(named or "flts-settings.toml")


def load_settings(**flags: Any) -> Settings:
    """Settings from all sources; flags that are None are as if not given. Raises UsageError naming the setting."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            name = ".".join(map(str, fault["loc"]))
            if fault["type"] == "extra_forbidden":
                lines.append(f"unknown setting '{name}'; {nearest(name, Settings.model_fields)}")
            else:
                lines.append(f"setting {name}: {fault['msg']} (found {fault['input']!r})")
        raise UsageError("\n".join(lines)) from None
    except ValueError as error:  # the settings file is no TOML
        raise UsageError(f"{settings_file()}: {error}") from None


def setting_origins(flags: dict[str, Any]) -> dict[str, str]:
    """Where each setting came from: default, file, environment or flag."""
    in_file = TomlConfigSettingsSource(Settings, settings_file())()
    variables = {name.upper() for name in os.environ}  # pydantic-settings takes them in any case
    origins = {}
    for name in Settings.model_fields:
        if flags.get(name) is not None:
            origins[name] = "flag"
        elif f"FLTS_{name.upper()}" in variables:
            origins[name] = f"environment FLTS_{name.upper()}"
        elif name in in_file:
            origins[name] = f"file {settings_file()}"
        else:
            origins[name] = "default"
    return origins
