"""`flts serve` as a process at its door: several tokens, TLS, and the end that loses no request."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
import trustme
from tests.support.services import LONG, wait_until

pytestmark = pytest.mark.slow

SECRET = "hunter2-hush"  # noqa: S105


@dataclass(frozen=True)
class Server:
    """A process, its first event, and every later one."""

    process: subprocess.Popen[str]
    started: dict[str, Any]
    events: list[dict[str, Any]]

    def connect(self, context: ssl.SSLContext | None = None) -> HTTPConnection:
        url = urlsplit(self.started["address"])
        assert url.hostname
        if context is None:
            return HTTPConnection(url.hostname, url.port, timeout=LONG)
        return HTTPSConnection(url.hostname, url.port, timeout=LONG, context=context)

    def ask(
        self, method: str, target: str, body: str | None = None, token: str = "", context: ssl.SSLContext | None = None
    ) -> tuple[int, str | None]:
        """Status and header Connection of one request on its own connection."""
        connection = self.connect(context)
        try:
            connection.request(method, target, body, {"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("connection")
        finally:
            connection.close()

    def probe(self) -> int:
        """The status of /readyz on the port of the probes."""
        host, _, port = self.started["probes"].rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=LONG)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        finally:
            connection.close()


@contextmanager
def serving(folder: Path, context: ssl.SSLContext | None = None, **settings: str) -> Iterator[Server]:
    """`flts serve` on what lies in the folder, ready; killed at the end where it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flts", "serve", "--port", "0", "--probe-port", "0"],
        cwd=folder,
        env={**os.environ, "FLTS_LOG_FORMAT": "json", **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    stderr, events = process.stderr, list[dict[str, Any]]()
    started = next(event for event in map(json.loads, stderr) if event["event"] == "server_started")
    reader = threading.Thread(target=lambda: events.extend(map(json.loads, stderr)))
    reader.start()
    try:
        server = Server(process, started, events)
        wait_until(lambda: server.ask("GET", "/readyz", context=context)[0] == 200, "the model")
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        stderr.close()


@pytest.fixture
def folder(served_folder: Path) -> Path:
    return served_folder


@pytest.fixture
def body(folder: Path) -> str:
    return json.dumps({"history": pl.read_csv(folder / "load_test.csv").to_dict(as_series=False)})


def entry(name: str, *rights: str) -> tuple[str, str]:
    """A new token and its entry."""
    command = [sys.executable, "-m", "flts", "token", "new", name, "--rights", ",".join(rights)]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return made.stderr.split()[-1], made.stdout


def test_tokens_change_while_it_runs_and_none_is_ever_shown(folder: Path, body: str) -> None:
    file = folder / "tokens.toml"
    (old, first), (new, second) = entry("nightly", "predict"), entry("nightly", "predict", "read")
    file.write_text(first)
    with serving(folder, FLTS_TOKENS_FILE=str(file), FLTS_TOKEN=SECRET) as server:
        assert server.started["token_needed"]
        asked = [("POST", "/predict", body), ("GET", "/model", None), ("POST", "/reload", None)]
        assert [server.ask(*one, token=old)[0] for one in asked] == [200, 403, 403]
        assert [server.ask(*one, token=SECRET)[0] for one in asked] == [200, 200, 202]
        assert [server.ask(*one)[0] for one in asked] == [401, 401, 401]
        file.write_text(first + second)
        wait_until(lambda: server.ask("GET", "/model", token=new)[0] == 200, "the new token")
        assert server.ask("POST", "/predict", body, old)[0] == 200, "both are valid at once"
        file.write_text("[[token]")

        def refused() -> bool:
            assert server.ask("POST", "/predict", body, old)[0] == 200, "the file before it stays in force"
            return any(event["event"] == "file_refused" for event in server.events)

        wait_until(refused, "the broken file")
        file.write_text(second)
        wait_until(lambda: server.ask("POST", "/predict", body, old)[0] == 401, "the end of the old token")
        assert server.ask("POST", "/predict", body, new)[0] == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LONG) == 0
    served = [event for event in server.events if event["event"] == "forecast_served"]
    assert {event["token"] for event in served} == {"nightly", "token"}
    shown = json.dumps(server.events)
    assert not any(token in shown for token in (old, new, SECRET))


def test_a_broken_file_is_one_line_and_nothing_starts(folder: Path) -> None:
    (folder / "broken.toml").write_text(entry("a", "predict")[1].replace("sha256", "sha"))
    ended = subprocess.run(
        [sys.executable, "-m", "flts", "serve", "--port", "0"],
        cwd=folder,
        env={**os.environ, "FLTS_TOKENS_FILE": "broken.toml"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: tokens_file broken.toml: entry 1 ('a'): unknown key 'sha'; did you mean 'sha256'?")


def test_a_request_in_hand_and_new_ones_are_answered_while_it_leaves(folder: Path, body: str) -> None:
    with serving(folder, FLTS_DRAIN_SECONDS="3", FLTS_REQUEST_TIMEOUT="60") as server:
        kept, slow = server.connect(), server.connect()
        kept.request("GET", "/version")
        assert kept.getresponse().read()
        slow.putrequest("POST", "/predict")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders(body[:100].encode())
        assert server.probe() == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.probe() == 503, "that it says so")
        assert server.ask("POST", "/predict", body) == (200, "close")
        assert server.ask("GET", "/readyz") == (503, "close")
        kept.request("GET", "/version")
        last = kept.getresponse()
        assert (last.status, last.getheader("connection")) == (200, "close")
        slow.send(body[100:].encode())
        assert slow.getresponse().status == 200
        for connection in (kept, slow):
            connection.close()
        assert server.process.wait(LONG) == 0
    assert server.events[-1]["event"] == "service_stopped"


def test_it_speaks_tls(folder: Path, body: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    files = {"FLTS_TLS_CERTIFICATE_FILE": str(certificate), "FLTS_TLS_KEY_FILE": str(key)}
    with serving(folder, trusting, **files) as server:
        assert server.started["address"].startswith("https://127.0.0.1:")
        assert server.ask("POST", "/predict", body, context=trusting)[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            server.ask("GET", "/readyz", context=ssl.create_default_context())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LONG) == 0
