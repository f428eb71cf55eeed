"""The Python interface, which the command line itself calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flts.contracts.errors import UsageError
from flts.home import check_home
from flts.preprocess.source import RawInput, RawTable
from flts.runner import local
from flts.runner.reporter import Quiet, Reporter
from flts.serve.follow import Champion, champion_of
from flts.settings import Settings, load_settings
from flts.spec.fields import Spec
from flts.spec.sources import load_spec, validate
from flts.wiring import open_store


def run(
    spec: Spec | Mapping[str, Any] | str | Path,
    *,
    train: Any = None,
    test: Any = None,
    folder: Path | None = None,
    settings: Settings | None = None,
    recompute: bool = False,
    wait: bool = False,
    reporter: Reporter | None = None,
) -> local.RunResult:
    """From rows to a promoted model: preprocess, train, judge, promote.

    spec: a Spec, its values as nested dictionaries, or the path of a flts.toml. train and test: tables (polars,
    pandas, Arrow, or a mapping of columns) instead of the files the Spec names; with train alone its last rows are
    the test. folder: what relative paths of the Spec start at, when it is no file itself. recompute: fit again what
    is stored and compare. wait: for another run in the same .flts to end.

    Raises SpecError, DataError, MissingExtra, Locked and BackendUnavailable; a model that fails is on the board.
    """
    if isinstance(spec, str | Path):
        loaded = load_spec(Path(spec), environ=os.environ)
        spec, folder = loaded.spec, loaded.folder
    elif not isinstance(spec, Spec):
        spec = validate(spec)
    if train is None and test is not None:
        raise UsageError("test is given and train is not; give both, or train alone to have its last rows as test")
    tables = None
    if train is not None:
        tables = RawInput(RawTable.of("train", train), None if test is None else RawTable.of("test", test))
    return local.run(
        spec,
        settings or load_settings(),
        reporter or Quiet(),
        folder=folder or Path.cwd(),
        tables=tables,
        recompute=recompute,
        wait=wait,
    )


def load_champion(scope: str = "global", *, settings: Settings | None = None) -> Champion:
    """The promoted model of a scope, after its self-test.

    Raises UsageError when nothing was promoted or another version made the folder, DamagedObject when the bundle is
    not what was judged, MissingExtra.
    """
    chosen = settings or load_settings()
    if not chosen.store:
        check_home(chosen.home)
    return champion_of(open_store(chosen.store_url), scope)
