"""What this machine and its settings bring: the folder, secrets, installed libraries, MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from flts.contracts.errors import FltsError, MissingExtra, UsageError
from flts.doctor.finding import Diagnosis, ok, refused, unanswered, warning, wrong
from flts.home import VERSION, open_home
from flts.models.registry import require
from flts.spec.installed import discover

if TYPE_CHECKING:
    from flts.settings import Settings

SECONDS = 3.0
"""An MLflow server has to answer."""


def folder(settings: Settings) -> Iterator[Diagnosis]:
    """The folder of a machine that keeps things itself."""
    home = settings.home
    if (home / "VERSION").exists():
        try:
            open_home(home)
        except FltsError as error:
            yield refused("folder", error, "use the flts that made it, or name another folder with FLTS_HOME")
            return
        yield ok("folder", f"{home} has format {VERSION}, which this flts writes")
        return
    existing = next(parent for parent in (home.absolute(), *home.absolute().parents) if parent.exists())
    if os.access(existing, os.W_OK | os.X_OK) and existing.is_dir():
        yield ok("folder", f"there is no {home} yet; the first `flts run` makes it")
    else:
        yield wrong("folder", f"{home} cannot be made in {existing}", "name another folder with FLTS_HOME")


def secrets(settings: Settings) -> Iterator[Diagnosis]:
    """Secrets in files can be read; what they are is nobody's business."""
    given_by = {
        "token": settings.bearer_token,
        "kafka_password": settings.sasl_password,
        "kafka_key_password": settings.key_password,
    }
    for name, read in given_by.items():
        try:
            given = read()
        except FltsError as error:
            yield refused("secrets", error, f"let {name}_file name a file that this user may read")
            continue
        if given == "":
            yield wrong("secrets", f"{name}_file is empty", f"put the {name} into it, on one line")


def extras(models: Sequence[str], *, elsewhere: bool) -> Iterator[Diagnosis]:
    """What the expected models need. elsewhere: trainers may run on other machines, which have what they need."""
    lacking: list[Diagnosis] = []
    for name in models:
        try:
            require([name])
        except MissingExtra as error:
            mend = f"pip install 'flts[{error.extra}]'"
            found = f"the model '{name}' needs the extra '{error.extra}', which is not installed here"
            if elsewhere:
                lacking.append(warning("models", found, f"{mend}, if this machine is to train it"))
            else:
                lacking.append(wrong("models", found, f"{mend}, or leave it out with --models"))
        except UsageError as error:
            lacking.append(refused("models", error, "mend it, or leave the model out with --models"))
    yield from lacking
    if not lacking:
        yield ok("models", f"all libraries are installed for: {', '.join(models)}")


def packages() -> Iterator[Diagnosis]:
    """Model families that other distributions bring."""
    found = discover()
    for said in found.refused:
        yield warning("models", said, "uninstall it, or have its family renamed")
    for name, family in found.families.items():
        try:
            require([name])
        except UsageError as error:
            yield warning("models", str(error), f"mend or uninstall {family.package}; other models do not need it")
        else:
            yield ok("models", f"'{name}' comes from {family.package} {family.version}")


def stack(settings: Settings) -> Iterator[Diagnosis]:
    """What `flts up` started in this folder, where the settings are those of that stack."""
    from flts.stack.up import read

    try:
        state = read(settings.home.resolve() / "stack")
    except FltsError as error:
        yield refused("flts up", error, "look at the file, or delete it")
        return
    if state is None or settings.bus not in {process.url for process in state.processes}:
        return
    dead = [process for process in state.processes if not process.alive()]
    for process in dead:
        yield wrong("flts up", f"{process.name} has ended; {process.log} says why", "`flts up` starts it again")
    if not dead:
        yield ok("flts up", f"all {len(state.processes)} processes run")


def tracking(settings: Settings, *, shared: bool) -> Iterator[Diagnosis]:
    """Where runs are logged to. shared: several processes log at the same time."""
    installed = find_spec("mlflow") is not None
    if settings.tracking == "off" or (settings.tracking == "auto" and not installed):
        why = "tracking is off" if settings.tracking == "off" else "MLflow is not installed"
        yield ok("mlflow", f"{why}: runs are kept in the store alone")
        return
    if not installed:
        yield wrong("mlflow", "tracking is mlflow, which is not installed", "pip install 'flts[mlflow]'")
    elif settings.tracking_uri.startswith(("http://", "https://")):
        yield from _server(settings.tracking_uri)
    elif shared:
        found = f"runs go to {settings.tracking_uri}, which services on other machines do not see"
        yield warning("mlflow", found, "set mlflow_uri (FLTS_MLFLOW_URI) to a server, or tracking to off")
    else:
        yield ok("mlflow", f"runs go to {settings.tracking_uri}")


def _server(uri: str) -> Iterator[Diagnosis]:
    try:
        for path in ("health", "version"):
            with urlopen(f"{uri.rstrip('/')}/{path}", timeout=SECONDS) as response:  # noqa: S310 - where runs are logged to
                said = response.read(100).decode(errors="replace").strip()
    except (URLError, OSError, ValueError) as error:
        mend = "start the MLflow server, or set mlflow_uri (FLTS_MLFLOW_URI)"
        yield unanswered("mlflow", f"{uri} does not answer: {error}", mend)
        return
    ours = _installed()
    if said.split(".")[0] == ours.split(".")[0]:
        yield ok("mlflow", f"{uri} answers, version {said}; installed here: {ours}")
    else:
        found = f"{uri} has version {said}, installed here is {ours}"
        yield warning("mlflow", found, f"install the server's: pip install 'mlflow=={said}'")


def _installed() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
