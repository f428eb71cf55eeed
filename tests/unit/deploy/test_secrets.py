"""The Secret of a deployment is made once and never changed, on a server that speaks as the API of Kubernetes does."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.raising import raises
from tests.support.services import LONG

from flts.contracts.errors import BackendUnavailable, UsageError
from flts.deploy import prepare
from flts.deploy.secrets import RANDOM, Api, make_secret

FOLDER = "/api/v1/namespaces/forecasts/secrets"


class Cluster:
    """An API server that knows Secrets and one token."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {}
        self.asked: list[str] = []
        self.starting = 0
        """How often it still has to be asked before it is there."""
        self.quicker: dict[str, Any] = {}
        """What another pod creates just before a POST."""

    def answer(self, method: str, path: str, authorization: str, body: Any) -> tuple[int, Any]:
        self.asked.append(method)
        if self.starting:
            self.starting -= 1
            return 503, {}
        if authorization != "Bearer right":
            return 403, {}
        if method == "POST":
            assert path == FOLDER
            self.secrets |= self.quicker
            name = body["metadata"]["name"]
            if name in self.secrets:
                return 409, {}
            self.secrets[name] = body
            return 201, body
        name = path.removeprefix(f"{FOLDER}/")
        return (200, self.secrets[name]) if name in self.secrets else (404, {})


@pytest.fixture
def cluster() -> Cluster:
    """An empty cluster."""
    return Cluster()


@pytest.fixture
def api(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The cluster as a pod sees it: an address, a token and a CA in files."""

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, found = cluster.answer(self.command, self.path, self.headers["Authorization"], body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        do_GET = do_POST = _respond  # noqa: N815 - names of the library

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "namespace").write_text("forecasts")
    (tmp_path / "token").write_text("right\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_address[1]))
    yield Api.of_this_pod(tmp_path)
    server.shutdown()
    thread.join()
    server.server_close()


def values(cluster: Cluster) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in cluster.secrets["generated"]["data"].items()}


def test_it_is_made_once_and_then_left_alone(cluster: Cluster, api: Api) -> None:
    assert make_secret(api, "generated") is True
    first = values(cluster)
    assert set(first) == {"s3-access-key", *RANDOM}
    assert len({first[name] for name in RANDOM}) == len(RANDOM)
    assert all(len(bytes.fromhex(first[name])) == 32 for name in RANDOM)
    assert make_secret(api, "generated") is False
    assert values(cluster) == first
    assert cluster.asked == ["GET", "POST", "GET"]


def test_an_api_server_that_does_not_answer_yet_is_asked_again(
    cluster: Cluster, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "FIRST_PAUSE", 0.01)
    cluster.starting = 2
    assert prepare.patiently(lambda: make_secret(api, "generated"), LONG) is True
    assert cluster.asked == ["GET", "GET", "GET", "POST"]


def test_of_two_pods_the_quicker_one_makes_it(cluster: Cluster, api: Api) -> None:
    data = dict.fromkeys(["s3-access-key", *RANDOM], "eA==")
    cluster.quicker = {"generated": {"data": data}}
    assert make_secret(api, "generated") is False
    assert cluster.secrets["generated"]["data"] == data


def test_a_secret_without_one_of_the_keys_is_named_and_not_changed(cluster: Cluster, api: Api) -> None:
    cluster.secrets["generated"] = {"data": dict.fromkeys(RANDOM, "eA==")}
    with raises(UsageError, code="secret-incomplete", absent=["s3-access-key"]):
        make_secret(api, "generated")
    assert "POST" not in cluster.asked


def test_missing_rights_are_named(api: Api) -> None:
    with raises(UsageError, code="access-denied"):
        make_secret(Api(api.url, api.namespace, "wrong", api.ca), "generated")


def test_a_server_that_another_ca_signed_is_not_believed(api: Api, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(BackendUnavailable):
        make_secret(Api(api.url, api.namespace, "right", other), "generated")


def test_outside_of_a_pod_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with raises(UsageError, code="not-in-a-pod"):
        Api.of_this_pod(tmp_path)


def test_the_token_is_in_no_text_about_it(api: Api) -> None:
    assert "right" not in repr(api)
