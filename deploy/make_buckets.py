"""Create the buckets of the store and of MLflow where they do not exist yet; runs until the store answers.

Reads the same variables as FLTS: FLTS_S3_ENDPOINT, AWS_SHARED_CREDENTIALS_FILE and AWS_REGION; also PATIENCE, the
seconds to wait for the store.
"""

from __future__ import annotations

import configparser
import os
import sys
import time
from datetime import timedelta
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import obstore
from obstore.store import S3Store

from flts.contracts.layout import BUCKETS

PAUSE = 1.0
MLFLOW = "mlflow"
"""Bucket of MLflow's artifacts."""


def main() -> int:
    """Create each bucket. Exit codes: 0 all exist, 3 the store did not answer or refused."""
    deadline = time.monotonic() + float(os.environ.get("PATIENCE", "120"))
    for name in (*BUCKETS, MLFLOW):
        refused = _create(name)
        while refused and time.monotonic() < deadline:
            time.sleep(PAUSE)
            refused = _create(name)
        if refused:
            print(f"error: the bucket {name} at {os.environ['FLTS_S3_ENDPOINT']}: {refused}", file=sys.stderr)
            return 3
        print(f"{name} exists")
    return 0


def _create(name: str) -> str:
    """Ask for the bucket; returns why it was refused, empty where it exists now."""
    keys = configparser.ConfigParser()
    keys.read(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    # obstore cannot create buckets, but it can sign the PUT that does
    store = S3Store(
        name,
        endpoint=os.environ["FLTS_S3_ENDPOINT"],
        region=os.environ["AWS_REGION"],
        access_key_id=keys["default"]["aws_access_key_id"],
        secret_access_key=keys["default"]["aws_secret_access_key"],
        client_options={"allow_http": True},
    )
    request = Request(obstore.sign(store, "PUT", "", timedelta(minutes=5)), method="PUT")  # noqa: S310 - made here
    try:
        with urlopen(request, timeout=10):  # noqa: S310 - the same
            return ""
    except HTTPError as error:
        error.close()
        return "" if error.code == 409 else f"{error.code} {error.reason}"
    except (URLError, OSError) as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
