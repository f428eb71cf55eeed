"""The gateway as a process: sockets, signals, memory, and a store that is a real S3."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
from tests.support.gateways import Running, running

from flts.backends.store import open_store
from flts.stack.s3 import S3

MEBI = 2**20
LARGE = 200
"""Mebibytes: several times what the process may grow by."""
MAY_GROW = 60


def files(folder: Path) -> list[str]:
    """Every file of the store below a folder."""
    store = folder / ".flts" / "objects"
    return sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())


def block(number: int) -> bytes:
    """One mebibyte, another one for each number."""
    return hashlib.sha256(str(number).encode()).digest() * (MEBI // 32)


def peak(process: subprocess.Popen[bytes]) -> int:
    """The most memory the process had so far, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_an_object_is_streamed_both_ways_without_being_held_in_memory(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        status, _ = gateway.ask("PUT", "/objects/dataset/small", block(0))
        assert status == 201
        assert gateway.ask("GET", "/objects/dataset/small")[1] == block(0)
        before = peak(gateway.process)
        status, said = gateway.ask("PUT", "/objects/dataset/large", (block(number) for number in range(LARGE)))
        assert status == 201
        expected = hashlib.sha256()
        for number in range(LARGE):
            expected.update(block(number))
        assert json.loads(said)["sha256"] == expected.hexdigest()
        assert json.loads(said)["size"] == LARGE * MEBI
        connection = gateway.connect()
        connection.request("GET", "/objects/dataset/large")
        answer = connection.getresponse()
        for number in range(LARGE):
            assert answer.read(MEBI) == block(number)
        assert answer.read() == b""
        connection.close()
        assert peak(gateway.process) - before < MAY_GROW


def test_a_body_that_ends_too_early_or_is_too_large_leaves_no_file(tmp_path: Path) -> None:
    with running(tmp_path, FLTS_MAX_OBJECT_BYTES=str(20 * MEBI)) as gateway:
        connection = gateway.connect()
        connection.putrequest("PUT", "/objects/dataset/a")
        connection.putheader("Content-Length", str(15 * MEBI))
        connection.endheaders()
        for number in range(12):
            connection.send(block(number))
        connection.close()
        status, said = gateway.ask("PUT", "/objects/dataset/b", (block(number) for number in range(30)))
        assert status == 413
        assert json.loads(said)["code"] == "object-too-large"
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait() == 0
        assert files(tmp_path) == []
        statuses = {line.get("object_key"): line["status"] for line in gateway.lines() if "status" in line}
        assert statuses == {"dataset/a": 499, "dataset/b": 413}


@pytest.mark.parametrize("target", ["/objects/dataset/../../x", "/objects/../x", "/objects/dataset/%2e%2e/%2e%2e/x"])
def test_a_path_is_not_normalized(tmp_path: Path, target: str) -> None:
    with running(tmp_path) as gateway:
        status, said = gateway.ask("PUT", target, b"x")
        assert status == 400
        assert "'..'" in json.loads(said)["detail"]
        assert not (tmp_path / "x").exists()
        assert files(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stopped_gateway_finishes_requests_in_hand(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running(tmp_path) as gateway:
        connection = gateway.connect()
        connection.putrequest("PUT", "/objects/dataset/a")
        connection.putheader("Content-Length", str(8 * MEBI))
        connection.endheaders()
        for part in range(7):
            connection.send(block(part))
        gateway.process.send_signal(number)
        connection.send(block(7))
        assert connection.getresponse().status == 201
        connection.close()
        assert gateway.process.wait() == code
    assert files(tmp_path) == ["dataset/a"]
    assert "Traceback" not in gateway.log.read_text()


def test_a_gateway_with_a_token_shows_it_nowhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("very-secret\n")
    with running(tmp_path, "--host", "127.0.0.1", "--token-file", "token") as gateway:
        assert gateway.ask("GET", "/objects/dataset")[0] == 401
        assert gateway.ask("GET", "/objects/dataset", headers={"Authorization": "Bearer very-secret"})[0] == 200
        started, *_ = gateway.lines()
        assert (started["event"], started["token_needed"]) == ("server_started", True)
        assert "very-secret" not in gateway.log.read_text()


def refused(folder: Path, *options: str) -> str:
    """The one message with which a gateway does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "flts", "gateway", *options], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost.example"])  # noqa: S104 - refused
def test_a_public_address_without_a_token_is_refused_before_anything_is_created(tmp_path: Path, host: str) -> None:
    error = refused(tmp_path, "--host", host)
    assert error.startswith(f"error: a token is needed, because other machines can reach {host}: set FLTS_TOKEN_FILE")
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refused(tmp_path, "--port", str(port)).startswith(f"error: cannot listen on 127.0.0.1:{port}: Address")


def test_a_missing_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert refused(tmp_path) == ("error: flts gateway needs the extra 'serve': pip install 'flts[serve]'")


@pytest.fixture
def on_s3(tmp_path: Path, s3_server: S3) -> Iterator[Running]:
    """A gateway whose store is a bucket of its own on a real S3."""
    bucket = f"gateway-{uuid.uuid4().hex}"
    s3_server.make_buckets([bucket])
    with running(tmp_path, FLTS_STORE=f"s3://{bucket}/here", **s3_server.credentials) as gateway:
        yield gateway


def test_on_s3_objects_of_any_size_come_and_go_by_the_same_rules(on_s3: Running) -> None:
    large = [block(number) for number in range(12)]
    assert on_s3.ask("GET", "/readyz")[0] == 200
    status, said = on_s3.ask("PUT", "/objects/dataset/a/large", iter(large))
    assert status == 201
    assert json.loads(said)["sha256"] == hashlib.sha256(b"".join(large)).hexdigest()
    etag = json.loads(said)["etag"]
    assert on_s3.ask("GET", "/objects/dataset/a/large") == (200, b"".join(large))
    part = {"Range": f"bytes={5 * MEBI - 3}-{10 * MEBI + 2}"}
    assert on_s3.ask("GET", "/objects/dataset/a/large", headers=part) == (
        206,
        b"".join(large)[5 * MEBI - 3 : 10 * MEBI + 3],
    )
    assert on_s3.ask("GET", "/objects/dataset/a/large", headers={"If-None-Match": etag}) == (304, b"")
    assert on_s3.ask("PUT", "/objects/dataset/a", b"x")[0] == 201, "S3 has no folders that could be in the way"
    assert on_s3.ask("PUT", "/objects/dataset/a", b"y", {"If-None-Match": "*"})[0] == 412
    assert on_s3.ask("PUT", "/objects/dataset/a", b"y", {"If-Match": etag})[0] == 412
    listed = json.loads(on_s3.ask("GET", "/objects/dataset?limit=1")[1])
    assert ([item["key"] for item in listed["objects"]], listed["next"]) == (["a"], "a")
    (found,) = json.loads(on_s3.ask("GET", "/objects/dataset?after=a")[1])["objects"]
    assert (found["key"], found["size"], found["etag"]) == ("a/large", 12 * MEBI, etag)
    assert on_s3.ask("DELETE", "/objects/dataset/a/large")[0] == 204
    assert on_s3.ask("GET", "/objects/dataset/a/large")[0] == 404


def test_on_s3_a_body_with_a_wrong_digest_leaves_nothing(on_s3: Running) -> None:
    wrong = {"X-Content-SHA256": hashlib.sha256(b"another").hexdigest()}
    assert on_s3.ask("PUT", "/objects/dataset/large", (block(number) for number in range(12)), wrong)[0] == 422
    assert on_s3.ask("PUT", "/objects/dataset/small", b"small", wrong)[0] == 422
    assert json.loads(on_s3.ask("GET", "/objects/dataset")[1])["objects"] == []


def test_on_s3_one_of_several_concurrent_creates_wins(on_s3: Running) -> None:
    def first(number: int) -> int:
        return on_s3.ask("PUT", "/objects/dataset/x", str(number).encode(), {"If-None-Match": "*"})[0]

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(first, range(8)))
    assert sorted(statuses) == [201] + [412] * 7
    assert on_s3.ask("GET", "/objects/dataset/x")[1] == str(statuses.index(201)).encode()


def test_on_s3_a_refusal_reveals_no_internals(tmp_path: Path, s3_server: S3) -> None:
    bucket = f"gateway-{uuid.uuid4().hex}"
    s3_server.make_buckets([bucket])
    credentials = {**s3_server.credentials, "AWS_SECRET_ACCESS_KEY": "not-its-key"}
    with running(tmp_path, FLTS_STORE=f"s3://{bucket}", **credentials) as gateway:
        for method, target in (("GET", "/readyz"), ("GET", "/objects/dataset"), ("PUT", "/objects/dataset/a")):
            status, said = gateway.ask(method, target, b"x" if method == "PUT" else None)
            assert status == 503
            assert json.loads(said)["code"] == "access-denied"
        assert gateway.ask("GET", "/healthz")[0] == 200
        assert "not-its-key" not in gateway.log.read_text()


@pytest.mark.parametrize(
    ("point", "method", "left"),
    [
        ("gateway.upload.before", "PUT", b"old"),
        ("gateway.upload.after", "PUT", b"new"),
        ("gateway.delete.before", "DELETE", b"old"),
        ("gateway.delete.after", "DELETE", None),
    ],
)
def test_a_gateway_that_is_killed_beside_a_write_leaves_the_old_object_or_the_new_one(
    tmp_path: Path, point: str, method: str, left: bytes | None
) -> None:
    store = open_store((tmp_path / ".flts" / "objects").as_uri())
    store.create("dataset/a", b"old")
    with running(tmp_path, FLTS_FAILPOINTS=f"{point}=kill") as gateway:
        with pytest.raises((HTTPException, OSError)):
            gateway.ask(method, "/objects/dataset/a", b"new" if method == "PUT" else None)
        assert gateway.process.wait() == -signal.SIGKILL
    assert store.get("dataset/a") == left


def test_a_gateway_that_is_killed_in_an_upload_leaves_no_object_and_the_next_one_takes_it(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:

        def cut_off() -> Iterator[bytes]:
            for number in range(30):
                yield block(number)
            gateway.process.kill()
            gateway.process.wait()
            yield block(30)

        with pytest.raises((HTTPException, OSError)):
            gateway.ask("PUT", "/objects/dataset/a", cut_off())
    with running(tmp_path) as gateway:
        assert json.loads(gateway.ask("GET", "/objects/dataset")[1])["objects"] == []
        assert gateway.ask("GET", "/objects/dataset/a")[0] == 404
        assert gateway.ask("PUT", "/objects/dataset/a", block(1))[0] == 201
        assert gateway.ask("GET", "/objects/dataset/a")[1] == block(1)
