"""The secrets of compose.yaml are written once, as the services read them."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import ROOT

from flts.web.security import Auth

SCRIPT = ROOT / "deploy/make_secrets.py"


def make(folder: Path) -> dict[str, str]:
    """What the script leaves."""
    subprocess.run(
        [sys.executable, str(SCRIPT)], env=os.environ | {"SECRETS": str(folder)}, check=True, capture_output=True
    )
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    assert make(tmp_path) == make(tmp_path)


def test_two_deployments_have_no_secret_in_common(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = make(tmp_path / "a"), make(tmp_path / "b")
    assert [name for name in one if one[name] and one[name] == other[name]] == []


def test_what_was_cut_off_is_written_again(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "made").unlink()
    (tmp_path / "token.part").write_text("half")
    again = make(tmp_path)
    assert "token.part" not in again
    assert len(again["token"]) == 64


def test_the_store_and_its_clients_have_the_same_keys(tmp_path: Path) -> None:
    made = make(tmp_path)
    keys = configparser.ConfigParser()
    keys.read_string(made["aws-credentials"])
    (identity,) = json.loads(made["s3.json"])["identities"]
    expected = {
        "accessKey": keys["default"]["aws_access_key_id"],
        "secretKey": keys["default"]["aws_secret_access_key"],
    }
    assert identity["credentials"] == [expected]


def test_the_database_and_its_client_have_the_same_password(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made["pgpass"] == f"postgres:5432:mlflow:mlflow:{made['postgres-password']}\n"
    assert (tmp_path / "pgpass").stat().st_mode & 0o077 == 0


def test_the_token_is_one_that_the_servers_take(tmp_path: Path) -> None:
    Auth("0.0.0.0", make(tmp_path)["token"])  # noqa: S104 - as in a container


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_user_of_the_containers_owns_the_files(tmp_path: Path) -> None:
    make(tmp_path)
    assert (tmp_path / "pgpass").stat().st_uid == 10001
