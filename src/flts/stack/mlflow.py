"""An MLflow server that keeps runs in PostgreSQL and artifacts in S3."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from flts.contracts.errors import MissingExtra
from flts.stack.postgres import Postgres
from flts.stack.s3 import S3
from flts.stack.server import HOST, Server, answers, ports

DATABASE = "mlflow"
BUCKET = "mlflow"


def mlflow(folder: Path, database: Postgres, storage: S3) -> Server:
    """An MLflow server, not started, on a running database and S3. Raises MissingExtra."""
    if any(find_spec(module) is None for module in ("mlflow", "psycopg2", "boto3")):
        raise MissingExtra("an MLflow server", "stack")
    database.make_database(DATABASE)
    storage.make_buckets([BUCKET])
    port = ports(folder, "mlflow")["mlflow"]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--artifacts-destination", f"s3://{BUCKET}/artifacts"),
    ]
    environment = {
        **storage.credentials,
        "MLFLOW_S3_ENDPOINT_URL": storage.url,
        "MLFLOW_BACKEND_STORE_URI": database.address(
            DATABASE
        ),  # on the command line every user could read its password
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    url = f"http://{HOST}:{port}"
    return Server("mlflow", folder, command, url, lambda: answers(f"{url}/health"), environment)
