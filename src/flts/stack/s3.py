"""SeaweedFS as an S3 endpoint: conditional writes are atomic, and acknowledged writes survive SIGKILL.

Only S3 reads and writes, with keys. The other servers of SeaweedFS would ask for nothing, and a page in a browser of
this machine could post to them: filer and master answer over gRPC only, which a page cannot speak, and the volume
server wants tokens that they alone can sign.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from flts.contracts.errors import BackendUnavailable
from flts.stack.server import HOST, POLL_SECONDS, Server, answers, ports, script, secret

REGION = "us-east-1"
USER = "flts"
READER = "reader"
"""A user that may read everything and write nothing."""
LASTS = "expires_after_seconds = 3600"
"""Of the tokens between the servers: by default a request that waits 10 s on a busy machine would be refused."""
PATIENCE = 10.0
"""Seconds after a start in which creating a bucket is retried."""


@dataclass
class S3(Server):
    """An S3 endpoint and the keys of its users."""

    secret_key: str = ""
    reader_key: str = ""

    @property
    def credentials(self) -> Mapping[str, str]:
        """Environment variables of a client with all rights."""
        return _variables(self.url, USER, self.secret_key)

    @property
    def reader(self) -> Mapping[str, str]:
        """Environment variables of a client that may only read."""
        return _variables(self.url, READER, self.reader_key)

    def make_buckets(self, names: Iterable[str]) -> None:
        """Create the buckets that do not exist. Raises BackendUnavailable."""
        import obstore
        from obstore.store import S3Store

        for name in names:
            # obstore cannot create buckets, but it can sign the PUT that does
            store = S3Store(
                name,
                endpoint=self.url,
                region=REGION,
                access_key_id=USER,
                secret_access_key=self.secret_key,
                client_options={"allow_http": True},
            )
            _put(f"{self.name} at {self.url}: the bucket {name}", obstore.sign(store, "PUT", "", timedelta(hours=1)))


def s3(folder: Path) -> S3:
    """SeaweedFS with its data in a folder, not started. Raises MissingExtra."""
    program = script("an S3 server", "weed")
    port = ports(folder, "s3", "master", "volume", "filer", "admin")
    keys = {USER: secret(folder, USER), READER: secret(folder, READER)}
    actions = {USER: ["Admin", "Read", "Write", "List", "Tagging"], READER: ["Read", "List"]}
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": key}], "actions": actions[name]}
        for name, key in keys.items()
    ]
    config = folder / "s3.json"
    _write_private(config, json.dumps({"identities": identities}))
    signing = {section: secret(folder, section) for section in ("jwt.signing", "jwt.signing.read")}
    # read from the folder in which the server starts
    _write_private(
        folder / "security.toml", "".join(f'[{name}]\nkey = "{key}"\n{LASTS}\n' for name, key in signing.items())
    )
    (folder / "data").mkdir(exist_ok=True)
    url = f"http://{HOST}:{port['s3']}"
    command = [
        *(str(program), "mini", f"-dir={folder / 'data'}", f"-ip={HOST}", f"-ip.bind={HOST}"),
        *(f"-{name}.port={number}" for name, number in port.items()),
        *(f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        # each bucket needs volumes of its own; the default limit is as many full volumes as fit on the disk
        *("-master.telemetry=false", "-volume.max=1000", "-disableHttp"),
    ]
    return S3(
        "seaweedfs",
        folder,
        command,
        url,
        lambda: answers(f"{url}/healthz") and _finds_objects(port["master"], port["volume"]),
        secret_key=keys[USER],
        reader_key=keys[READER],
    )


def _finds_objects(master: int, volume: int) -> bool:
    """Whether the master knows its volume server; for up to 5 s after a crash it does not, and S3 answers 500.

    It says so on a page, the only thing that is left of its HTTP.
    """
    try:
        with urlopen(f"http://{HOST}:{master}/", timeout=5) as response:
            return f">{HOST}:{volume}<" in response.read().decode()
    except (URLError, OSError):
        return False


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _variables(url: str, user: str, key: str) -> Mapping[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": user,
        "AWS_SECRET_ACCESS_KEY": key,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
    }


def _put(what: str, url: str) -> None:
    """Send an empty PUT. It is refused for some seconds after a start; 409 means that the bucket exists."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(Request(url, method="PUT"), timeout=10):  # noqa: S310 - an address that this package made
                return
        except HTTPError as error:
            error.close()
            if error.code == 409:
                return
            reason = f"{error.code} {error.reason}"
        except (URLError, OSError) as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise BackendUnavailable(f"{what} could not be created: {reason}", code="bucket-not-created")
        time.sleep(POLL_SECONDS)
