"""Keys, passwords and tokens of a deployment: made once within the cluster, so that no values hold them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from flts.contracts.errors import BackendUnavailable, UsageError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the token, the CA and the namespace of a pod."""
S3_USER = "flts"
RANDOM = ("s3-secret-key", "postgres-password", "serve-token", "gateway-token")
"""Hexadecimal, because some of them become parts of a URL."""
SECONDS = 30.0


@dataclass(frozen=True)
class Api:
    """The API server of the cluster, as a pod sees it."""

    url: str
    namespace: str
    token: str = field(repr=False)
    ca: Path

    @classmethod
    def of_this_pod(cls, account: Path = ACCOUNT) -> Api:
        """From what Kubernetes puts into a pod. Raises UsageError outside of one."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (account / "token").is_file():
            raise UsageError(
                "this is no pod with the token of a service account; the job of the chart runs this command",
                code="not-in-a-pod",
            )
        named = f"[{host}]" if ":" in host else host
        texts = [(account / name).read_text().strip() for name in ("namespace", "token")]
        return cls(f"https://{named}:{port}", texts[0], texts[1], account / "ca.crt")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer, an error included. Raises BackendUnavailable without an answer."""
        request = Request(  # noqa: S310 - always https
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        trusted = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urlopen(request, timeout=SECONDS, context=trusted) as answer:  # noqa: S310 - always https
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, None
        except (URLError, OSError) as error:
            raise BackendUnavailable(f"the API server at {self.url} does not answer: {error}") from None


def make_secret(api: Api, name: str) -> bool:
    """Create the Secret unless it exists; says whether it did. An existing one is never changed.

    Raises UsageError for missing rights and for an existing Secret without one of the keys.
    """
    folder = f"/api/v1/namespaces/{api.namespace}/secrets"
    status, found = api.ask("GET", f"{folder}/{name}")
    if status == HTTPStatus.NOT_FOUND:
        status, found = api.ask("POST", folder, _new(name))
        if status == HTTPStatus.CREATED:
            return True
        if status == HTTPStatus.CONFLICT:  # another pod of the job was quicker
            status, found = api.ask("GET", f"{folder}/{name}")
    if status != HTTPStatus.OK:
        raise _refused(api, name, status)
    absent = sorted({"s3-access-key", *RANDOM} - set(found.get("data") or {}))
    if absent:
        raise UsageError(
            f"the Secret {name} lacks {', '.join(absent)}; add them, or delete it and all that was made with it",
            code="secret-incomplete",
            name=name,
            absent=absent,
        )
    return False


def _new(name: str) -> dict[str, Any]:
    values = {"s3-access-key": S3_USER, **{key: secrets.token_hex(32) for key in RANDOM}}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "flts"}}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}


def _refused(api: Api, name: str, status: int) -> Exception:
    said = f"the API server answered {status} for the Secret {name} in {api.namespace}"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return UsageError(f"{said}; give the service account get and create of Secrets", code="access-denied")
    return BackendUnavailable(said)
