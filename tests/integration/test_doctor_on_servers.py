"""`flts doctor` from the command line, on real servers: all well, and each server away or refusing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.servers import kafka_bus

from flts.contracts import layout
from flts.contracts.messages import TOPICS
from flts.runner.services.letters import topic_of_letters
from flts.stack.s3 import S3
from flts.stack.server import Server

GROUPS = ("train-ridge", "evaluate", "forecast")


@dataclass(frozen=True)
class Said:
    """What a call came to."""

    code: int
    out: str
    findings: list[Mapping[str, Any]]

    def wrong(self) -> dict[str, str]:
        """What is wrong, by what it is about."""
        return {one["about"]: one["found"] for one in self.findings if one["state"] == "wrong"}


def doctor(tmp_path: Path, **environment: str) -> Said:
    """`flts doctor --models ridge` with these settings and no others."""
    done = subprocess.run(
        [sys.executable, "-m", "flts", "doctor", "--models", "ridge", "--json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"FLTS_TRACKING": "off", "FLTS_KAFKA_TIMEOUT": "5"} | environment,
    )
    return Said(done.returncode, done.stdout + done.stderr, json.loads(done.stdout))


@pytest.fixture
def well(s3_server: S3, quick_broker: Server) -> dict[str, str]:
    """Settings of servers that are all there."""
    s3_server.make_buckets(layout.BUCKETS)
    return {"FLTS_STORE": "s3:///", "FLTS_BUS": quick_broker.url, **s3_server.credentials}


def test_all_is_ok_where_servers_answer_and_services_run(
    tmp_path: Path, well: dict[str, str], quick_broker: Server, mlflow_server: Server
) -> None:
    bus = kafka_bus(quick_broker)
    bus.ensure([*TOPICS, *map(topic_of_letters, TOPICS)])
    members = [bus.subscribe([next(iter(TOPICS))], group) for group in GROUPS]
    for member in members:
        member.poll(3.0)
    tracked = {"FLTS_TRACKING": "mlflow", "FLTS_MLFLOW_URI": mlflow_server.url}
    said = doctor(tmp_path, **well, **tracked)
    for member in members:
        member.close()
    bus.close()
    assert (said.code, said.wrong()) == (0, {}), said.out
    assert {finding["about"] for finding in said.findings} >= {"store", "bus", "mlflow", *GROUPS}
    assert [f["state"] for f in said.findings if f["about"] == "mlflow"] == ["ok"]
    assert list(tmp_path.iterdir()) == []


def test_missing_services_are_wrong_and_the_commands_named(tmp_path: Path, well: dict[str, str]) -> None:
    said = doctor(tmp_path, **well)
    assert said.code == 1
    assert said.wrong().keys() >= set(GROUPS)


@pytest.mark.parametrize(
    ("setting", "about"), [("FLTS_BUS", "bus"), ("FLTS_STORE", "store"), ("FLTS_MLFLOW_URI", "mlflow")]
)
def test_a_backend_that_cannot_be_reached_is_named_and_the_code_is_3(
    tmp_path: Path, well: dict[str, str], setting: str, about: str
) -> None:
    nowhere = {
        "FLTS_BUS": "kafka://127.0.0.1:9",
        "FLTS_STORE": "s3://bucket?endpoint=http://127.0.0.1:9",
        "FLTS_MLFLOW_URI": "http://127.0.0.1:9",
    }
    said = doctor(tmp_path, **well | {setting: nowhere[setting], "FLTS_TRACKING": "mlflow"})
    assert said.code == 3
    assert about in said.wrong()


def test_a_reader_and_a_stranger_are_told_which_rights_they_lack(
    tmp_path: Path, well: dict[str, str], s3_server: S3
) -> None:
    reader = doctor(tmp_path, **well | dict(s3_server.reader))
    assert "cannot write" in reader.wrong()["store"]
    stranger = doctor(tmp_path, **well | {"AWS_SECRET_ACCESS_KEY": "hush-hush"})
    assert "look at AWS_ACCESS_KEY_ID" in stranger.wrong()["store"]
    assert stranger.code == 1
    assert "hush-hush" not in stranger.out
    absent = doctor(tmp_path, **well | {"FLTS_STORE": "s3:///absent-"})
    assert "NoSuchBucket" in absent.wrong()["store"]
    unreadable = {"AWS_ACCESS_KEY_ID": "", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "absent")}
    assert "AWS_SHARED_CREDENTIALS_FILE: file not found" in doctor(tmp_path, **well | unreadable).wrong()["store"]
