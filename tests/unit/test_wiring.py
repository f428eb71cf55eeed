"""Backends opened from Settings, under the lock of their folder."""

from __future__ import annotations

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.experiments import small_experiment
from tests.support.raising import raises
from tests.support.services import LONG
from tests.support.stored import contents
from tests.support.tracking import RecordingTracker, context_of

from flts.contracts.errors import (
    DataError,
    Locked,
    MissingExtra,
    UsageError,
)
from flts.home import VERSION, locked, open_home
from flts.settings import Settings, load_settings
from flts.spec.dataset import Dataset
from flts.train.determinism import cores
from flts.wiring import SystemClock, existing_store, locked_context, open_raw, open_store, open_tracker, store_at

pytestmark = pytest.mark.slow


def settings(home: Path, **values: Any) -> Settings:
    return load_settings(home=home, **{"tracking": "off", **values})


def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else found(name))


def test_tracking_is_off_when_it_is_switched_off_or_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_tracker(settings(tmp_path, tracking="off")) is None
    without_mlflow(monkeypatch)
    assert open_tracker(settings(tmp_path, tracking="auto")) is None


def test_tracking_without_mlflow_installed_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_mlflow(monkeypatch)
    with raises(MissingExtra, code="missing-extra", extra="mlflow"):
        open_tracker(settings(tmp_path, tracking="mlflow"))


def test_a_context_holds_the_lock_of_its_folder_until_it_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    with locked_context(settings(home)) as context:
        assert context.store.create("a/b", b"x")
        assert (home / "objects" / "a" / "b").read_bytes() == b"x"
        assert (context.environment, context.train_timeout, context.tracker) == ("local", 3600.0, None)
        with pytest.raises(Locked), locked_context(settings(home)):
            pass
    assert context.children.cancelled
    with locked_context(settings(home)) as again:
        assert again.store.get("a/b") == b"x"


def test_a_context_waits_for_the_lock_on_request(tmp_path: Path) -> None:
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(open_home(tmp_path)):
            held.set()
            released.wait(timeout=LONG)

    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(hold)
        held.wait(timeout=LONG)

        def enter() -> bool:
            with locked_context(settings(tmp_path), wait=True):
                return released.is_set()

        waiting = pool.submit(enter)
        released.set()
        holder.result()
        assert waiting.result() is True


@pytest.mark.parametrize(
    ("jobs", "threads", "expected"), [(0, 1, cores()), (0, 10_000, 1), (3, 1, 3), (3, 8, 3), (1, 1, 1)]
)
def test_jobs_or_else_the_cores_limit_the_fits_that_run_at_once(
    tmp_path: Path, jobs: int, threads: int, expected: int
) -> None:
    with locked_context(settings(tmp_path, jobs=jobs), threads=threads) as context:
        taken = 0
        while context.children.slots.acquire(blocking=False):
            taken += 1
        assert taken == expected


def test_a_store_in_memory_is_refused_because_no_child_process_could_read_it(tmp_path: Path) -> None:
    with raises(UsageError, code="store-not-shared"), locked_context(settings(tmp_path, store="memory:")):
        pass


def test_the_clock_is_aware_utc() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert SystemClock().now() - now < timedelta(hours=1)


def test_raw_files_are_found_by_relative_path_and_by_url(tmp_path: Path) -> None:
    (tmp_path / "da ta").mkdir()
    (tmp_path / "da ta" / "x.csv").write_text("time,load\n2018-01-01,1\n")
    for source in ("da ta", "da ta/", "./da ta", str(tmp_path / "da ta"), (tmp_path / "da ta").as_uri()):
        raw = open_raw(Dataset(name="x", source=source), tmp_path)
        assert raw.train.name == "x.csv"
        assert raw.train.loaded().table["load"].to_list() == [1]
        assert raw.test is None


def test_a_missing_file_is_an_error_that_names_the_searched_folder(tmp_path: Path) -> None:
    with raises(DataError, code="file-missing", file="y", folder=str(tmp_path / "data")):
        open_raw(Dataset(name="y", source="data"), tmp_path)


def test_closing_a_context_ends_fits_and_tracker() -> None:
    _, store = small_experiment()
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    context.close()
    assert context.children.cancelled
    assert tracker.closed == 1
    assert contents(store) != {}


def test_a_store_is_named_by_a_url_a_folder_or_the_folder_of_everything_a_run_leaves_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    chosen = settings(tmp_path / "own", s3_endpoint="http://127.0.0.1:1")
    home = tmp_path / "other"
    (home / "objects/specs").mkdir(parents=True)
    (home / "VERSION").write_text(f"{VERSION}\n")
    inside = (home / "objects").as_uri()
    assert [store_at(where, chosen).url for where in (str(home), str(home / "objects"), inside)] == [inside] * 3
    assert store_at("s3://bucket/runs", chosen).url == open_store("s3://bucket/runs?endpoint=http://127.0.0.1:1").url
    with raises(UsageError, code="no-home"):
        store_at("", chosen)
    with raises(UsageError, code="no-store", folder=str(tmp_path)):
        store_at(str(tmp_path), chosen)
    (home / "VERSION").write_text("99\n")
    with raises(UsageError, code="home-format"):
        store_at(str(home), chosen)


def test_reading_a_store_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with raises(UsageError, code="no-store", folder=str(tmp_path / "objects")):
        existing_store(load_settings(home=tmp_path / ".flts", store=(tmp_path / "objects").as_uri()))
    assert list(tmp_path.iterdir()) == []
