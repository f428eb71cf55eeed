"""Buckets and topics are made once, and a pod waits for them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.support.raising import raises
from tests.support.services import LONG

from flts.contracts import layout
from flts.contracts.errors import BackendUnavailable, DataError, UsageError
from flts.deploy.prepare import prepare, wait
from flts.runner.services.host import all_topics
from flts.settings import Settings
from flts.spec.sources import load_spec
from flts.stack.s3 import S3
from flts.stack.server import Server
from flts.wiring import make_buckets, open_bus, open_store


@pytest.fixture
def keys(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the store, and its region."""
    for name, value in s3_server.credentials.items():
        monkeypatch.setenv(name, value)


def settings(prefix: str, s3_server: S3, bus: str) -> Settings:
    """A store with a bucket for each first part of a key."""
    return Settings(store=f"s3:///{prefix}", s3_endpoint=s3_server.url, bus=bus, kafka_replication=1, tracking="off")


@pytest.mark.usefixtures("keys")
def test_buckets_and_topics_are_made_once(s3_server: S3, quick_broker: Server) -> None:
    chosen = settings("once-", s3_server, quick_broker.url)
    made = prepare(chosen, ["once-mlflow"], LONG)
    assert made == [*(f"once-{name}" for name in layout.BUCKETS), "once-mlflow"]
    assert prepare(chosen, ["once-mlflow"], LONG) == []
    bus = open_bus(chosen)
    try:
        assert set(all_topics()) <= set(bus.describe().topics)
    finally:
        bus.close()
    assert open_store(chosen.store_url).get(layout.root_pointer()) is None
    wait(chosen, LONG)


@pytest.mark.usefixtures("keys")
def test_a_pod_waits_until_somebody_makes_the_buckets(s3_server: S3, quick_broker: Server) -> None:
    chosen = settings("later-", s3_server, quick_broker.url)
    with raises(UsageError, code="no-bucket"):
        wait(chosen, 0.1)
    maker = threading.Thread(target=make_buckets, args=(chosen,))
    waiter = threading.Thread(target=wait, args=(chosen, LONG))
    waiter.start()
    maker.start()
    waiter.join(LONG)
    maker.join(LONG)
    assert not waiter.is_alive()
    wait(chosen, 0.1)


@pytest.mark.usefixtures("keys")
def test_a_run_waits_until_somebody_uploads_its_rows(s3_server: S3, quick_broker: Server, tmp_path: Path) -> None:
    chosen = settings("rows-", s3_server, quick_broker.url)
    prepare(chosen, [], LONG)
    file = tmp_path / "flts.toml"
    file.write_text('v = 2\ndataset = { name = "load", source = "s3://rows-dataset/", targets = ["load"] }\n')
    rows = load_spec(file)
    with raises(DataError, code="file-missing"):
        wait(chosen, 0.1, rows)
    waiter = threading.Thread(target=wait, args=(chosen, LONG, rows))
    waiter.start()
    open_store(chosen.store_url).create("dataset/load.csv", b"time,load\n")
    waiter.join(LONG)
    assert not waiter.is_alive()
    wait(chosen, 0.1, rows)


def test_a_broker_that_is_away_is_named_after_the_limit(s3_server: S3, keys: None) -> None:
    chosen = settings("away-", s3_server, "kafka://127.0.0.1:1").model_copy(update={"kafka_timeout": 0.5})
    with pytest.raises(BackendUnavailable):
        prepare(chosen, [], 0.1)


def test_wrong_keys_are_no_reason_to_wait(s3_server: S3, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with raises(UsageError, code="access-denied"):
        prepare(settings("wrong-", s3_server, "kafka://127.0.0.1:1"), [], LONG)


def test_a_folder_needs_no_buckets() -> None:
    assert make_buckets(Settings(store="file:///somewhere")) == []
