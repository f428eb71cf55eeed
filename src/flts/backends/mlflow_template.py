"""An empty MLflow database for each set of versions, made by MLflow once and then copied: to make one takes seconds.

It lies in the cache folder of the user, and holds no experiment. MLflow adds its experiment Default to every copy, with
the time and the place of that copy.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from flts.backends.mlflow_lock import alone

LIBRARIES = ("mlflow", "sqlalchemy", "alembic")
"""What decides which tables a new database has, beside SQLite itself."""
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def template_here() -> Path | None:
    """The file of the template for the versions that are installed, whether it exists or not; None without a place."""
    cache, versions = os.environ.get("XDG_CACHE_HOME", ""), [f"sqlite-{sqlite3.sqlite_version}"]
    try:
        folder = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
        for name in LIBRARIES:
            found = version(name)
            if "dev" in found or "+" in found:  # the tables of two such builds may differ under one version
                return None
            versions.append(f"{name}-{found}")
    except (PackageNotFoundError, RuntimeError):  # a user without a home
        return None
    return folder / "flts" / f"{'-'.join(versions)}.db"


def copy_of(template: Path, place: Path) -> bool:
    """Copy the template to a place that is free; False where no whole one is there that this user alone can write."""
    try:
        for path in (template.parent, template):
            found = path.stat()
            if found.st_uid != os.geteuid() or found.st_mode & OTHERS_MAY_WRITE:
                return False
        with closing(_opened(template)) as source, closing(sqlite3.connect(place)) as copy:
            source.backup(copy)
            whole = copy.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            return whole and copy.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    except (OSError, sqlite3.Error):
        return False


def keep(made: Path, template: Path) -> None:
    """Keep a copy of a database that MLflow has just made. Where that cannot be, MLflow makes the next one, too."""
    with suppress(OSError, sqlite3.Error):
        template.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(template.parent):
            part = template.with_name(f"{template.name}.part")
            for left in (part, part.with_name(f"{part.name}-journal")):  # by a process that was killed
                left.unlink(missing_ok=True)
            part.touch(mode=0o600)
            with closing(_opened(made)) as source, closing(sqlite3.connect(part)) as copy, copy:
                source.backup(copy)
                copy.execute("DELETE FROM experiments")
            part.replace(template)


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)
