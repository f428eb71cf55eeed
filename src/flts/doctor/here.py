"""Checks this machine and its settings: the folder, secrets, installed libraries, MLflow."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
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
from flts.wiring import check_tracker_file

if TYPE_CHECKING:
    from flts.settings import Settings

MLFLOW_TIMEOUT = 3.0
"""Seconds an MLflow server has to answer."""


def folder(settings: Settings) -> Iterator[Diagnosis]:
    """Check the folder that holds the store and tracked runs of this machine."""
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
        yield ok("folder", f"{home} does not exist yet; the first `flts run` creates it")
    else:
        yield wrong("folder", f"{home} cannot be created in {existing}", "name another folder with FLTS_HOME")


def secrets(settings: Settings) -> Iterator[Diagnosis]:
    """Check that secrets in files can be read; their values are never shown."""
    readers = {
        "token": settings.bearer_token,
        "session_secret": settings.session_key,
        "kafka_password": settings.sasl_password,
        "kafka_key_password": settings.key_password,
    }
    for name, read in readers.items():
        try:
            value = read()
        except FltsError as error:
            yield refused("secrets", error, f"set {name}_file to a file that this user may read")
            continue
        if value == "":
            yield wrong("secrets", f"{name}_file is empty", f"write the {name} into it, on one line")


def extras(models: Sequence[str], *, elsewhere: bool) -> Iterator[Diagnosis]:
    """Check the extras of the expected models. elsewhere: trainers may run on other machines."""
    lacking: list[Diagnosis] = []
    for name in models:
        try:
            require([name])
        except MissingExtra as error:
            mend = f"pip install 'flts[{error.extra}]'"
            found = f"the model '{name}' needs the extra '{error.extra}', which is not installed here"
            if elsewhere:
                lacking.append(warning("models", found, f"{mend}, if this machine trains it"))
            else:
                lacking.append(wrong("models", found, f"{mend}, or leave it out with --models"))
        except UsageError as error:
            lacking.append(refused("models", error, "repair the package, or leave the model out with --models"))
    yield from lacking
    if not lacking:
        yield ok("models", f"all libraries are installed for: {', '.join(models)}")


def packages() -> Iterator[Diagnosis]:
    """Check the model families that other packages provide."""
    installed = discover()
    for reason in installed.refused:
        yield warning("models", reason, "uninstall it, or have its family renamed")
    for name, family in installed.families.items():
        try:
            require([name])
        except UsageError as error:
            yield warning("models", str(error), f"repair or uninstall {family.package}; other models do not need it")
        else:
            yield ok("models", f"'{name}' comes from {family.package} {family.version}")


def stack(settings: Settings, environ: Mapping[str, str]) -> Iterator[Diagnosis]:
    """Check the processes that `flts up` started, if this shell or the settings point at that stack.

    environ: the variables of the shell. Where none of the processes runs, the only finding is unreachable.
    """
    from flts.stack.shell import UNSET, pointed_at
    from flts.stack.up import read

    own, pointed = settings.home.resolve() / "stack", pointed_at(environ)
    folder = pointed or own
    try:
        state = read(folder)
    except FltsError as error:
        yield refused("flts up", error, "repair the file, or delete it")
        return
    processes = state.processes if state else []
    if pointed is None and settings.bus not in {process.url for process in processes}:
        return
    dead = [process for process in processes if not process.alive()]
    if len(dead) == len(processes):
        again = "flts up" if folder == own else f"flts up --home {shlex.quote(str(folder.parent))}"
        found = f"this shell points at the stack in {folder}, of which nothing runs"
        yield unanswered("flts up", found, f"`{again}` starts it again; or leave it with: {UNSET}")
        return
    for process in dead:
        yield wrong("flts up", f"{process.name} has ended; {process.log} says why", "`flts up` starts it again")
    if not dead:
        yield ok("flts up", f"all {len(processes)} processes run")


def tracking(settings: Settings, *, shared: bool) -> Iterator[Diagnosis]:
    """Check where runs are logged. shared: several processes log at the same time."""
    installed = find_spec("mlflow") is not None
    if settings.tracking == "off" or (settings.tracking == "auto" and not installed):
        why = "tracking is off" if settings.tracking == "off" else "MLflow is not installed"
        yield ok("mlflow", f"{why}: runs are recorded in the store only")
        return
    if not installed:
        yield wrong("mlflow", "tracking is mlflow, which is not installed", "pip install 'flts[mlflow]'")
    elif settings.tracking_uri.startswith(("http://", "https://")):
        yield from _server(settings.tracking_uri)
    else:
        yield _database(settings, shared=shared)


def _database(settings: Settings, *, shared: bool) -> Diagnosis:
    try:
        check_tracker_file(settings)
    except FltsError as error:
        return refused("mlflow", error, "delete this file; FLTS keeps its own record of every run in the store")
    if shared:
        found = f"runs go to {settings.tracking_uri}, which services on other machines do not see"
        return warning("mlflow", found, "set mlflow_uri (FLTS_MLFLOW_URI) to a server, or tracking to off")
    return ok("mlflow", f"runs go to {settings.tracking_uri}")


def _server(uri: str) -> Iterator[Diagnosis]:
    try:
        for path in ("health", "version"):
            with urlopen(f"{uri.rstrip('/')}/{path}", timeout=MLFLOW_TIMEOUT) as response:  # noqa: S310 - where runs are logged to
                version_there = response.read(100).decode(errors="replace").strip()
    except (URLError, OSError, ValueError) as error:
        mend = "start the MLflow server, or set mlflow_uri (FLTS_MLFLOW_URI)"
        yield unanswered("mlflow", f"{uri} does not answer: {error}", mend)
        return
    version_here = _installed()
    if version_there.split(".")[0] == version_here.split(".")[0]:
        yield ok("mlflow", f"{uri} answers, version {version_there}; installed here: {version_here}")
    else:
        found = f"{uri} has version {version_there}, installed here is {version_here}"
        yield warning("mlflow", found, f"install the server's: pip install 'mlflow=={version_there}'")


def _installed() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
