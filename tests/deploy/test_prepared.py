"""What compose.yaml prepares, on a real S3 and a real broker: with the keys of a file, and twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.deploy.test_compose import SERVICE
from tests.support import ROOT

from flts.contracts.layout import BUCKETS
from flts.stack.s3 import REGION, S3, USER
from flts.stack.server import Server


def test_the_buckets_and_topics_are_made_once(s3_server: S3, quick_broker: Server, tmp_path: Path) -> None:
    credentials = tmp_path / "aws-credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {USER}\naws_secret_access_key = {s3_server.secret_key}\n")
    variables = SERVICE["prepare"]["environment"] | {
        "AWS_REGION": REGION,
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "FLTS_BUS": quick_broker.url,
        "FLTS_S3_ENDPOINT": s3_server.url,
        "PYTHONPATH": str(ROOT / "src"),
    }
    command = [sys.executable, "-m", "flts", *SERVICE["prepare"]["command"]]
    said = [
        subprocess.check_output(command, env=os.environ | variables, cwd=tmp_path, text=True, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert said[1].startswith("buckets made: none;")
    assert "all topics exist" in said[1]
    made = said[0].partition(": ")[2].partition(";")[0].split(", ")
    assert set(made) <= {*BUCKETS, "mlflow", "none"}
