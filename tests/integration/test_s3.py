"""An S3 that is slow, overloaded, away or forbidden: bounded retries, then a plain error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
import pytest
from tests.support.faulty import Faults, faulty
from tests.support.raising import raises
from tests.support.servers import s3_prefix

from flts.backends import large
from flts.backends import s3 as s3_backend
from flts.backends.large import STAGING
from flts.backends.store import open_store
from flts.contracts.errors import BackendUnavailable, FltsError, UsageError
from flts.contracts.ports import PART
from flts.settings import load_settings
from flts.spec.dataset import Dataset
from flts.stack.s3 import S3, s3
from flts.wiring import open_raw

BODY = b"0123456789" * 1000
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Endpoint:
    """Answers requests with what is prepared; the last answer for ever."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    asked: int = 0


def busy(request: BaseHTTPRequestHandler) -> None:
    request.send_response(503)
    request.send_header("Content-Length", "0")
    request.end_headers()


def whole(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(BODY)))
    request.send_header("ETag", '"x"')
    request.send_header("Last-Modified", "Mon, 23 Nov 2026 04:05:13 GMT")
    request.end_headers()
    request.wfile.write(BODY)


def torn(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(BODY)))
    request.send_header("ETag", '"x"')
    request.send_header("Last-Modified", "Mon, 23 Nov 2026 04:05:13 GMT")
    request.end_headers()
    request.wfile.write(BODY[: len(BODY) // 2])
    request.close_connection = True


def nowhere(code: str) -> Answer:
    """404 with this code of S3."""
    body = f"<Error><Code>{code}</Code></Error>".encode()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(404)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """An S3 that answers as a test wants."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = place.answers[min(place.asked, len(place.answers) - 1)]
            place.asked += 1
            answer(self)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    place = Endpoint(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": place.url}.items():
        monkeypatch.setenv(name, value)
    yield place
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_to_an_overloaded_store_is_retried(endpoint: Endpoint) -> None:
    endpoint.answers = [busy, busy, whole]
    assert open_store("s3://bucket").get("a/b") == BODY
    assert endpoint.asked == 3


def test_retries_on_an_overloaded_store_are_bounded(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_backend, "RETRIES", 2)
    endpoint.answers = [busy]
    with pytest.raises(BackendUnavailable, match=r"cannot read a/b in s3://bucket: .*503 Service Unavailable"):
        open_store("s3://bucket").get("a/b")
    assert endpoint.asked == 3


def test_a_truncated_answer_is_never_taken_for_the_object(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_backend, "RETRIES", 2)
    endpoint.answers = [torn]
    with pytest.raises(BackendUnavailable, match="cannot read a/b in s3://bucket"):
        open_store("s3://bucket").get("a/b")


def test_a_store_that_does_not_answer_in_time_is_unavailable(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(s3_backend, "RETRIES", 0)
    monkeypatch.setattr(s3_backend, "ANSWER_WITHIN", s3_backend.CONNECT_WITHIN / 10)

    def late(request: BaseHTTPRequestHandler) -> None:
        released.wait(60)
        busy(request)

    endpoint.answers = [late]
    try:
        with pytest.raises(BackendUnavailable, match="cannot read a/b in s3://bucket"):
            open_store("s3://bucket").get("a/b")
    finally:
        released.set()


def test_a_store_that_is_away_is_unavailable_until_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3(tmp_path) as server:
        url = s3_prefix(server, monkeypatch)
        patient = open_store(url)
        monkeypatch.setattr(s3_backend, "RETRIES", 1)
        store = open_store(url)
        store.create("a/b", b"x")
        server.kill()
        for use in (lambda: store.get("a/b"), lambda: store.create("a/c", b"y"), lambda: store.list("a/")):
            with pytest.raises(BackendUnavailable, match=r"in s3://tests/"):
                use()
        server.start()
        server.make_buckets(["tests"])
        assert patient.get("a/b") == b"x"  # it answers 500 until it is all there again
        assert store.create("a/c", b"y")


@pytest.mark.long
def test_an_object_too_slow_for_one_request_is_transferred_in_parts(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, data = s3_prefix(s3_server, monkeypatch), os.urandom(6 * PART)
    monkeypatch.setattr(s3_backend, "RETRIES", 0)
    monkeypatch.setattr(s3_backend, "ANSWER_WITHIN", timedelta(seconds=3))
    with faulty(s3_server.url, Faults(), bytes_per_second=len(data) / 4) as narrow:
        store = open_store(f"{url}?endpoint={narrow}")
        with pytest.raises(BackendUnavailable, match="cannot write a/b"):
            store.create("a/b", data)
        with monkeypatch.context() as smaller:
            smaller.setattr("flts.backends.large.ONE_REQUEST", 2 * PART)
            assert store.create("a/b", data)
            assert store.get("a/b") == data
        with pytest.raises(BackendUnavailable, match="cannot read a/b"):
            store.get("a/b")


def test_the_environment_says_how_an_endpoint_copies_without_replacing(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3_prefix(s3_server, monkeypatch)
    monkeypatch.setattr("flts.backends.large.ONE_REQUEST", PART)
    for number, way in enumerate(("", "multipart")):
        monkeypatch.setenv("AWS_COPY_IF_NOT_EXISTS", way)
        assert open_store(url).create(f"a/{number}", bytes(PART + 1))
        assert not open_store(url).create(f"a/{number}", bytes(PART + 1))
    monkeypatch.setenv("AWS_COPY_IF_NOT_EXISTS", "header-of-ours")
    with raises(UsageError, code="s3-settings"):
        open_store(url)


def test_parts_left_by_a_killed_upload_are_removed_by_the_next_one(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = open_store(s3_prefix(s3_server, monkeypatch))
    monkeypatch.setattr("flts.backends.large.ONE_REQUEST", PART)
    data = os.urandom(PART + 1)

    def left() -> Sequence[str]:
        return [str(item["path"]) for item in obstore.list(store._store).collect()]

    for before in ("the object had its name", "the object had no name"):
        with monkeypatch.context() as killed:
            killed.setattr(large, "_drop", lambda store, staged: None)
            killed.setattr(large, "_name", large._name if before == "the object had its name" else killer)
            with contextlib.suppress(KeyboardInterrupt):
                store.create(before, data)
        assert sum(path.startswith(STAGING) for path in left()) == 1
        assert store.create(before, data) == (before == "the object had no name")
        assert store.get(before) == data
        assert not any(path.startswith(STAGING) for path in left())


def killer(store: Any, staged: str, key: str) -> bool:
    """Where the process ends."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("who", ["nobody", "a reader"])
def test_a_refused_request_names_the_source_of_the_credentials(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    url = s3_prefix(s3_server, monkeypatch)
    credentials: Mapping[str, str] = s3_server.reader if who == "a reader" else {"AWS_SECRET_ACCESS_KEY": "hush"}
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    store = open_store(url)
    uses: list[Callable[[], object]] = [lambda: store.create("a/b", b"x"), lambda: store.replace("a/b", b"x")]
    if who == "nobody":
        uses += [lambda: store.get("a/b"), lambda: store.list("a/"), lambda: store.exists("a/b")]
    for use in uses:
        with raises(UsageError, code="access-denied") as caught:
            use()
        assert "hush" not in str(caught.value)
        assert "\n" not in str(caught.value)
    if who == "a reader":
        assert store.get("a/b") is None


def test_a_missing_bucket_is_named(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3_prefix(s3_server, monkeypatch)
    with raises(UsageError, code="no-bucket"):
        open_store("s3://nosuch").get("a/b")


@pytest.mark.parametrize(
    ("code", "error", "expected"),
    [("NoSuchBucket", UsageError, "no-bucket"), ("NoSuchKey", BackendUnavailable, "backend-unavailable")],
)
def test_a_write_that_finds_no_place_is_an_error_of_ours(
    endpoint: Endpoint, code: str, error: type[FltsError], expected: str
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    endpoint.answers, store = [nowhere(code)], open_store("s3://bucket")
    for write in (
        lambda: store.create("a/b", b"x"),
        lambda: store.replace("a/b", b"x"),
        lambda: asyncio.run(store.upload("a/b", chunks())),
    ):
        with raises(error, code=expected):
            write()


def test_credentials_can_come_from_a_file_and_the_endpoint_from_settings(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = s3_prefix(s3_server, monkeypatch)
    for name in s3_server.credentials:
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    key = s3_server.credentials["AWS_SECRET_ACCESS_KEY"]
    file.write_text(
        f"[default]\naws_access_key_id = no\n[flts]\naws_access_key_id = flts\naws_secret_access_key = {key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "flts")
    settings = load_settings(store=url, s3_endpoint=s3_server.url)
    assert settings.store_url == f"{url}?endpoint={s3_server.url}"
    assert open_store(settings.store_url).create("a/b", b"x")
    monkeypatch.setenv("AWS_PROFILE", "flst")
    with raises(UsageError, code="profile-missing", profile="flst"):
        open_store(settings.store_url)
    file.write_text(f"aws_secret_access_key = {key}\n")
    with raises(UsageError, code="credentials-unreadable") as caught:
        open_store(settings.store_url)
    assert key not in str(caught.value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "nosuch"))
    with raises(UsageError, code="credentials-missing"):
        open_store(settings.store_url)


def test_missing_credentials_are_an_error_that_says_how_to_provide_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3_backend, "RETRIES", 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(
        "AWS_METADATA_ENDPOINT", "http://127.0.0.1:9"
    )  # where a machine in a cloud is asked for its role
    with raises(UsageError, code="no-credentials"):
        open_store("s3://bucket?endpoint=http://127.0.0.1:9").get("a/b")


def test_an_unknown_option_of_a_url_is_named() -> None:
    with raises(UsageError, code="url-option-unknown", option="endpiont"):
        open_store("s3://bucket?endpiont=http://127.0.0.1:9")


def test_raw_rows_are_read_from_s3_with_the_same_endpoint(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    url = s3_prefix(s3_server, monkeypatch)
    settings = load_settings(s3_endpoint=s3_server.url)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    open_store(settings.at_endpoint(url)).create("rows/load.csv", b"time,load\n2026-01-01,1\n")
    raw = open_raw(Dataset(name="load", source=f"{url}/rows"), Path(), settings)
    assert raw.train.loaded().table.to_dict(as_series=False)["load"] == [1]
