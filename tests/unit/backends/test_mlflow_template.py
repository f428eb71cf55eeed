"""A database that is copied from the template is the one that MLflow would make, and a bad template costs only time."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from flts.backends import mlflow_template
from flts.backends.mlflow_file import file_of, make_whole
from flts.backends.mlflow_template import copy_of, keep, template_here

EMPTY = ("CREATE TABLE alembic_version (v)", "CREATE TABLE experiments (id)")


def fill(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            database.execute(statement)


def content(file: Path) -> list[str]:
    """What makes the tables again, and their rows; a time is whether there is one."""
    with closing(sqlite3.connect(file)) as database:
        return [re.sub(r"\b\d{13}\b", "a time", line) for line in database.iterdump()]


class Made:
    """Fills a database as MLflow does: the tables where there are none, then its experiment."""

    def __init__(self, refused: str = "") -> None:
        self.whole: list[str] = []
        """URIs of the databases whose tables it made."""
        self._refused = refused

    def __call__(self, uri: str) -> None:
        if self._refused and uri.endswith(self._refused):
            raise sqlite3.DatabaseError("out of date")
        file = file_of(uri)
        assert file is not None
        if not file.exists():
            self.whole.append(uri)
            fill(file, *EMPTY)
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("INSERT INTO experiments VALUES (?)", [uri])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [row for (row,) in database.execute("SELECT id FROM experiments")]


def test_only_the_first_database_is_made_and_every_one_has_its_own_experiment(tmp_path: Path) -> None:
    template, made = tmp_path / "cache" / "one.db", Made()
    for name in ("a", "b", "c"):
        make_whole(f"sqlite:///{tmp_path / name}/mlflow.db", made, template)
        assert names(tmp_path / name) == ["mlflow.db"]
    assert made.whole == [f"sqlite:///{tmp_path}/a/mlflow.db.part"]
    assert names(template.parent) == ["one.db"]
    assert rows(template) == []
    assert rows(tmp_path / "b/mlflow.db") == [f"sqlite:///{tmp_path}/b/mlflow.db.copy"]
    assert (template.parent.stat().st_mode & 0o777, template.stat().st_mode & 0o777) == (0o700, 0o600)


def test_processes_that_begin_at_once_leave_one_whole_template(tmp_path: Path) -> None:
    template, made = tmp_path / "cache" / "one.db", Made()
    uris = [f"sqlite:///{tmp_path / str(number)}/mlflow.db" for number in range(5)]
    threads = [threading.Thread(target=make_whole, args=(uri, made, template)) for uri in uris]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(template.parent) == ["one.db"]
    assert copy_of(template, tmp_path / "copy.db")
    assert [len(rows(tmp_path / str(number) / "mlflow.db")) for number in range(5)] == [1] * 5


@pytest.mark.parametrize("bytes_of", [b"", b"no database", None])
def test_a_template_that_is_torn_is_replaced(tmp_path: Path, bytes_of: bytes | None) -> None:
    template, made = tmp_path / "one.db", Made()
    fill(tmp_path / "whole.db", *EMPTY, "CREATE INDEX twice ON experiments (id)")
    whole = (tmp_path / "whole.db").read_bytes()
    template.write_bytes(whole[:4096] + b"\xff" * 4096 if bytes_of is None else bytes_of)
    template.parent.chmod(0o700)
    template.chmod(0o600)
    make_whole(f"sqlite:///{tmp_path}/a/mlflow.db", made, template)
    make_whole(f"sqlite:///{tmp_path}/b/mlflow.db", made, template)
    assert made.whole == [f"sqlite:///{tmp_path}/a/mlflow.db.part"]
    assert names(tmp_path / "b") == ["mlflow.db"]


def test_a_template_that_mlflow_refuses_is_replaced(tmp_path: Path) -> None:
    template = tmp_path / "cache" / "one.db"
    template.parent.mkdir(mode=0o700)
    fill(template, "CREATE TABLE old (v)")
    template.chmod(0o600)
    made = Made(refused=".copy")
    make_whole(f"sqlite:///{tmp_path}/a/mlflow.db", made, template)
    assert made.whole == [f"sqlite:///{tmp_path}/a/mlflow.db.part"]
    assert names(tmp_path / "a") == ["mlflow.db"]
    assert rows(template) == []


def test_what_a_killed_process_left_beside_the_template_is_made_anew(tmp_path: Path) -> None:
    fill(tmp_path / "made.db", *EMPTY)
    (tmp_path / "one.db.part").write_text("half")
    (tmp_path / "one.db.part-journal").write_text("half")
    keep(tmp_path / "made.db", tmp_path / "one.db")
    assert names(tmp_path) == ["made.db", "one.db"]
    assert rows(tmp_path / "one.db") == []


@pytest.mark.parametrize("who", ["group", "others", "folder", "owner"])
def test_a_template_that_another_user_may_have_written_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    template = tmp_path / "cache" / "one.db"
    fill(tmp_path / "made.db", *EMPTY)
    keep(tmp_path / "made.db", template)
    assert copy_of(template, tmp_path / "before.db")
    match who:
        case "group":
            template.chmod(0o660)
        case "others":
            template.chmod(0o602)
        case "folder":
            template.parent.chmod(0o777)
        case _:
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not copy_of(template, tmp_path / "after.db")


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    made = Made()
    for name in ("a", "b"):
        make_whole(f"sqlite:///{tmp_path / name}/mlflow.db", made, tmp_path / "cache" / "one.db")
    assert len(made.whole) == 2
    assert names(tmp_path / "a") == ["mlflow.db"]


def test_the_template_is_that_of_the_versions_in_the_cache_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"mlflow": "3.5.0", "sqlalchemy": "2.0.1", "alembic": "1.2"}
    monkeypatch.setattr(mlflow_template, "version", versions.__getitem__)
    name = f"sqlite-{sqlite3.sqlite_version}-mlflow-3.5.0-sqlalchemy-2.0.1-alembic-1.2.db"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert template_here() == tmp_path / "flts" / name
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert template_here() == tmp_path / "me/.cache/flts" / name
    versions["mlflow"] = "3.6.0.dev0"
    assert template_here() is None


def test_a_user_without_a_home_has_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", none)
    assert template_here() is None


@pytest.mark.slow
def test_a_copy_with_what_mlflow_adds_is_equal_to_a_database_that_mlflow_makes(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    asked: list[str] = []

    def make(uri: str) -> None:
        asked.append(uri.rpartition(".")[2])
        mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments()

    for name in ("direct", "copied"):
        make_whole(f"sqlite:///{tmp_path / name}/mlflow.db", make, tmp_path / "cache" / "one.db")
    assert asked == ["part", "copy"]
    direct, copied = (content(tmp_path / name / "mlflow.db") for name in ("direct", "copied"))
    assert sum("INSERT INTO" in line and "'Default'" in line for line in direct) == 1
    assert len(direct) > 100
    assert copied == direct
