"""The buckets of compose.yaml on a real S3: made once, found the second time, and a wrong key is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

from flts.contracts.layout import BUCKETS
from flts.stack.s3 import REGION, S3, USER

SCRIPT = ROOT / "deploy/make_buckets.py"


def make(server: S3, key: str, folder: Path, patience: str = "120") -> subprocess.CompletedProcess[str]:
    credentials = folder / "aws-credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {USER}\naws_secret_access_key = {key}\n")
    variables = {
        "AWS_REGION": REGION,
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "FLTS_S3_ENDPOINT": server.url,
        "PATIENCE": patience,
        "PYTHONPATH": str(ROOT / "src"),
    }
    command = [sys.executable, str(SCRIPT)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def test_every_bucket_of_a_key_exists_afterwards(s3_server: S3, tmp_path: Path) -> None:
    for _ in range(2):
        made = make(s3_server, s3_server.secret_key, tmp_path)
        assert (made.returncode, made.stderr) == (0, "")
        assert made.stdout.split("\n")[:-1] == [f"{name} exists" for name in (*BUCKETS, "mlflow")]


def test_a_wrong_key_is_refused_with_the_name_of_the_bucket(s3_server: S3, tmp_path: Path) -> None:
    made = make(s3_server, "wrong", tmp_path, patience="0")
    assert made.returncode == 3
    assert f"the bucket {BUCKETS[0]}" in made.stderr
    assert "403" in made.stderr
    assert "wrong" not in made.stderr
