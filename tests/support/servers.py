"""Real servers, one of each per test process, started when the first test asks for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from flts.backends.bus_kafka import KafkaBus
from flts.backends.kafka_client import KafkaOptions
from flts.stack.kafka import durable_kafka, quick_kafka
from flts.stack.mlflow import mlflow
from flts.stack.postgres import Postgres, postgres
from flts.stack.s3 import S3, s3
from flts.stack.server import Server

AWAY = 20.0
"""Seconds for which a server is down in a test."""


def kafka_bus(broker: Server, **options: Any) -> KafkaBus:
    """A bus on a broker."""
    return KafkaBus(KafkaOptions(broker.url.removeprefix("kafka://"), **{"partitions": 3, "replication": 1} | options))


def s3_prefix(server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty prefix on an S3 server for this test, which gets the credentials."""
    for name, value in server.credentials.items():
        monkeypatch.setenv(name, value)
    server.make_buckets(["tests"])
    return f"s3://tests/a%20prefix/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """SeaweedFS."""
    with s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def durable_broker(tmp_path_factory: pytest.TempPathFactory, s3_server: S3) -> Iterator[Server]:
    """Tansu on SeaweedFS."""
    with durable_kafka(tmp_path_factory.mktemp("tansu"), s3_server) as server:
        yield server


@pytest.fixture(scope="session")
def quick_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """noida-db."""
    with quick_kafka(tmp_path_factory.mktemp("noida")) as server:
        yield server


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """PostgreSQL."""
    with postgres(tmp_path_factory.mktemp("postgres"), fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_server(
    tmp_path_factory: pytest.TempPathFactory, database_server: Postgres, s3_server: S3
) -> Iterator[Server]:
    """An MLflow server on PostgreSQL, its artifacts in SeaweedFS."""
    with mlflow(tmp_path_factory.mktemp("mlflow"), database_server, s3_server) as server:
        yield server
