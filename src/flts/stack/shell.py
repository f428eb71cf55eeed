"""The variables by which a shell uses the stack: `flts up` writes them into `env`, and how to unset them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flts.stack.s3 import REGION

USER_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
"""Variables of the user's shell that would override the credentials of the stack."""
NAME = "stack"
"""Name of the environment that a stack is."""
CREDENTIALS = "credentials"
"""Name of the file of credentials in the folder of a stack."""


def variables(folder: Path, *, s3: str, bus: str, mlflow: str) -> dict[str, str]:
    """The variables of a client of the stack in a folder, whose servers have these addresses."""
    return {
        "FLTS_STORE": "s3:///",
        "FLTS_S3_ENDPOINT": s3,
        "FLTS_BUS": bus,
        "FLTS_KAFKA_REPLICATION": "1",
        "FLTS_TRACKING": "mlflow",
        "FLTS_MLFLOW_URI": mlflow,
        "FLTS_ENVIRONMENT": NAME,
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / CREDENTIALS),
        "AWS_REGION": REGION,
    }


def pointed_at(environ: Mapping[str, str]) -> Path | None:
    """The folder of the stack that these variables of a shell belong to; None where they belong to none."""
    file = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE", ""))
    return file.parent if environ.get("FLTS_ENVIRONMENT") == NAME and file.name == CREDENTIALS else None


UNSET = f"unset {' '.join(variables(Path(), s3='', bus='', mlflow=''))}"
"""The command of a shell that uses the stack no longer."""
