"""An embedded MLflow database appears whole, made once, and a half-made one is named with the way out."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.raising import raises

from flts.backends.mlflow_file import file_of, make_whole
from flts.backends.tracking import MlflowTracker
from flts.contracts.errors import StageFailed

WHOLE = ("CREATE TABLE alembic_version (v)", "CREATE TABLE experiments (id)", "INSERT INTO experiments VALUES (0)")


def fill(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            database.execute(statement)


def made(uri: str) -> None:
    file = file_of(uri)
    assert file is not None
    fill(file, *WHOLE)


def test_of_many_processes_one_makes_the_database_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    folder, makers = tmp_path / "a%2F" / "b", []
    file = folder / "mlflow.db"
    seen = []

    def make(uri: str) -> None:
        makers.append(uri)
        seen.append(file.exists())
        made(uri)

    uri = f"sqlite:///{str(file).replace('%', '%25')}"
    threads = [threading.Thread(target=make_whole, args=(uri, make)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (makers, seen) == ([f"{uri}.part"], [False])
    assert list(folder.iterdir()) == [file]


def test_what_a_killed_process_left_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db.part").write_text("half")
    (tmp_path / "mlflow.db.part-journal").write_text("half")
    make_whole(f"sqlite:///{tmp_path}/mlflow.db", made)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("statements", [(), WHOLE[:1], WHOLE[:2], ("CREATE TABLE runs (id)",)])
def test_a_half_made_database_is_named_and_stays(tmp_path: Path, statements: tuple[str, ...]) -> None:
    file = tmp_path / "mlflow.db"
    file.touch()
    fill(file, *statements)
    with raises(StageFailed, code="tracker-half-made", file=str(file)):
        make_whole(f"sqlite:///{file}", lambda uri: pytest.fail("made again"))
    assert file.exists()


@pytest.mark.parametrize("statements", [WHOLE, ("CREATE TABLE mine (id)",)])
def test_a_whole_database_and_one_of_somebody_else_pass(tmp_path: Path, statements: tuple[str, ...]) -> None:
    fill(tmp_path / "mlflow.db", *statements)
    make_whole(f"sqlite:///{tmp_path}/mlflow.db", lambda uri: pytest.fail("made again"))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_file_is_left_to_mlflow(uri: str) -> None:
    make_whole(uri, lambda uri: pytest.fail("made"))


def test_the_folder_that_mlflow_makes_of_a_uri_is_gone_when_the_tracker_closes(tmp_path: Path) -> None:
    stray = tmp_path / "a%252F" / ".flts"
    (tmp_path / "other").mkdir()
    tracker = MlflowTracker(f"sqlite:///{stray}/mlflow.db", tmp_path)
    tracker._opened = cast(Any, object())  # mlflow opened a store after the first, and made the folder again
    stray.mkdir(parents=True)
    tracker.close()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
