"""Write random secrets for compose.yaml into the folder SECRETS, once: a second start finds them and changes nothing.

Each client reads a file, so no list of processes or variables shows a secret.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("SECRETS", "/run/flts"))
FLTS = 10001
"""User of the containers of FLTS and of MLflow."""
ACCESS_KEY = "flts"


def contents() -> dict[str, str]:
    """Text of each file, with new secrets."""
    key, password = secrets.token_hex(32), secrets.token_hex(32)
    identity = {
        "name": ACCESS_KEY,
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return {
        "s3.json": json.dumps({"identities": [identity]}),
        "aws-credentials": f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {key}\n",
        "postgres-password": password,
        "pgpass": f"postgres:5432:mlflow:mlflow:{password}\n",
        "grafana-password": secrets.token_hex(16),
        "token": secrets.token_hex(32),
    }


def main() -> None:
    """Write the files, the last of them as the mark that all are there."""
    done = FOLDER / "made"
    if done.exists():
        print(f"{FOLDER} has its secrets; nothing changed")
        return
    for name, text in contents().items():
        # PostgreSQL's client refuses a password file that others may read; the rest have readers of several users
        _write(FOLDER / name, text, 0o400 if name == "pgpass" else 0o444)
    _write(done, "", 0o444)
    print(f"wrote new secrets to {FOLDER}")


def _write(file: Path, text: str, mode: int) -> None:
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.write_text(text)
    part.chmod(mode)
    if os.geteuid() == 0:
        os.chown(part, FLTS, FLTS)
    part.replace(file)


if __name__ == "__main__":
    sys.exit(main())
