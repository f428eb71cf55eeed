"""The gateway stores and serves objects by its rules, and answers every error with a problem document."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from tests.support import ROOT
from tests.support.asgi import Answer, ask
from tests.support.raising import raises

from flts.backends.store import ObjectStoreAdapter, memory_store, open_store
from flts.contracts import events
from flts.contracts.errors import BackendUnavailable, FltsError, StageFailed, UsageError
from flts.contracts.layout import BUCKETS
from flts.contracts.ports import PART, Stored
from flts.gateway.app import create_app
from flts.gateway.upload import SLICE
from flts.web.security import Auth, is_loopback

TOKEN = "a-token.of~its+own/1="  # noqa: S105 - used by these tests only
DATA = b"time,load\n2026-01-01,1\n"
KEY = "/objects/dataset/raw/load.csv"
LIMIT = 1000
READ_ONLY = [bucket for bucket in BUCKETS if bucket != "dataset"]


@pytest.fixture
def store() -> ObjectStoreAdapter:
    """Empty."""
    return memory_store()


@pytest.fixture
def app(store: ObjectStoreAdapter) -> FastAPI:
    """A gateway that only this machine can reach."""
    return gateway(store)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the gateway logs."""
    stream = io.StringIO()
    events.configure("json", stream)
    yield stream
    events.configure("off")


def gateway(store: Any, token: str | None = None, limit: int = LIMIT, idle: float = 60.0) -> FastAPI:
    """A gateway to a store."""
    return create_app(store, auth=Auth("127.0.0.1", token), max_object_bytes=limit, idle_seconds=idle)


def put(app: FastAPI, target: str = KEY, data: bytes = DATA, headers: Mapping[str, str] | None = None) -> Answer:
    """Upload with a length."""
    return ask(app, "PUT", target, headers, data)


def digest(data: bytes, name: str = "sha-256") -> str:
    """A digest as RFC 9530 writes it."""
    return f"{name}=:{base64.b64encode(sha256(data).digest()).decode()}:"


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """The log, parsed."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


# --- upload and download


def test_get_returns_the_uploaded_bytes_with_size_digest_and_etag(app: FastAPI) -> None:
    created = put(app)
    hexadecimal = sha256(DATA).hexdigest()
    assert created.status == 201
    assert created.json() == {
        "bucket": "dataset",
        "key": "raw/load.csv",
        "size": len(DATA),
        "sha256": hexadecimal,
        "etag": created.headers["etag"],
    }
    assert created.headers["x-content-sha256"] == hexadecimal
    got = ask(app, "GET", KEY)
    assert (got.status, got.body, got.complete) == (200, DATA, True)
    assert got.headers["etag"] == created.headers["etag"]
    assert got.headers["content-length"] == str(len(DATA))
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["last-modified"].endswith(" GMT")
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-type-options"] == "nosniff"


def test_an_object_may_be_empty_or_arrive_in_many_chunks(app: FastAPI, store: ObjectStoreAdapter) -> None:
    assert put(app, data=b"").status == 201
    assert ask(app, "GET", KEY).body == b""
    assert ask(app, "PUT", KEY, body=[b"a", b"", b"bc"]).status == 200
    assert store.get("dataset/raw/load.csv") == b"abc"


@pytest.mark.parametrize("bucket", BUCKETS)
def test_every_bucket_can_be_read(app: FastAPI, store: ObjectStoreAdapter, bucket: str) -> None:
    store.create(f"{bucket}/a/b.json", b"{}")
    assert ask(app, "GET", f"/objects/{bucket}/a/b.json").body == b"{}"
    assert [found["key"] for found in ask(app, "GET", f"/objects/{bucket}").json()["objects"]] == ["a/b.json"]


def test_head_answers_like_get_without_the_bytes(app: FastAPI) -> None:
    put(app)
    got, head = ask(app, "GET", KEY), ask(app, "HEAD", KEY)
    assert (head.status, head.body) == (200, b"")
    for name in ("etag", "content-length", "last-modified", "accept-ranges", "content-type"):
        assert head.headers[name] == got.headers[name]


def test_delete_succeeds_also_when_the_object_is_absent(app: FastAPI) -> None:
    put(app)
    assert ask(app, "DELETE", KEY).status == 204
    assert ask(app, "GET", KEY).code == "no-object"
    assert ask(app, "HEAD", KEY).status == 404
    assert ask(app, "DELETE", KEY).status == 204


# --- ranges


@pytest.mark.parametrize(
    ("header", "expected", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-99", b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=9-9", b"9", "bytes 9-9/10"),
        ("Bytes= 2 - 3", b"23", "bytes 2-3/10"),
    ],
)
def test_a_range_is_answered_with_exactly_its_bytes(
    app: FastAPI, header: str, expected: bytes, content_range: str
) -> None:
    put(app, data=b"0123456789")
    got = ask(app, "GET", KEY, {"Range": header})
    assert (got.status, got.body, got.headers["content-range"]) == (206, expected, content_range)
    assert got.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99-100"])
def test_a_range_after_the_end_is_refused_with_the_size(app: FastAPI, header: str) -> None:
    put(app, data=b"0123456789")
    got = ask(app, "GET", KEY, {"Range": header})
    assert got.status == 416
    assert got.headers["content-range"] == "bytes */10"
    assert got.code == "requested-range-not-satisfiable"


@pytest.mark.parametrize(
    "header", ["bytes=3-1", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=-", "", "bytes=0-" + "9" * 30]
)
def test_a_header_that_is_not_a_single_range_gets_the_whole_object(app: FastAPI, header: str) -> None:
    put(app, data=b"0123456789")
    got = ask(app, "GET", KEY, {"Range": header})
    assert (got.status, got.body) == (200, b"0123456789")


def test_every_range_of_an_empty_object_is_refused(app: FastAPI) -> None:
    put(app, data=b"")
    assert ask(app, "GET", KEY, {"Range": "bytes=0-"}).status == 416


def test_a_reader_that_resumes_with_another_version_gets_the_whole_object(app: FastAPI) -> None:
    etag = put(app, data=b"0123456789").headers["etag"]
    part = {"Range": "bytes=5-"}
    assert ask(app, "GET", KEY, {**part, "If-Range": etag}).body == b"56789"
    assert ask(app, "GET", KEY, {**part, "If-Range": '"another"'}).body == b"0123456789"
    assert ask(app, "GET", KEY, {**part, "If-Range": "Wed, 21 Oct 2026 07:28:00 GMT"}).status == 200


# --- conditions


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', "*", '"x",W/{}, "y"'])
def test_a_reader_that_has_this_version_gets_304(app: FastAPI, method: str, form: str) -> None:
    etag = put(app).headers["etag"]
    got = ask(app, method, KEY, {"If-None-Match": form.format(etag)})
    assert (got.status, got.body, got.headers["etag"]) == (304, b"", etag)


def test_a_reader_that_has_another_version_gets_the_object(app: FastAPI) -> None:
    put(app)
    assert ask(app, "GET", KEY, {"If-None-Match": '"another"'}).body == DATA


def test_if_match_reads_and_replaces_only_the_version_it_names(app: FastAPI, store: ObjectStoreAdapter) -> None:
    etag = put(app).headers["etag"]
    assert ask(app, "GET", KEY, {"If-Match": etag}).status == 200
    assert ask(app, "GET", KEY, {"If-Match": f"W/{etag}"}).status == 412
    other = {"If-Match": '"another"'}
    for answer in (ask(app, "GET", KEY, other), put(app, headers=other), ask(app, "DELETE", KEY, other)):
        assert answer.status == 412
        assert answer.code == "object-differs"
    assert put(app, data=b"new", headers={"If-Match": etag}).status == 200
    assert store.get("dataset/raw/load.csv") == b"new"
    assert put(app, "/objects/dataset/none", headers={"If-Match": "*"}).status == 412


def test_with_if_match_an_object_that_changed_during_the_upload_is_not_replaced(
    app: FastAPI, store: ObjectStoreAdapter
) -> None:
    etag = put(app).headers["etag"]

    def slow() -> Iterator[bytes]:
        yield b"mine"
        store.replace("dataset/raw/load.csv", b"theirs")

    assert ask(app, "PUT", KEY, {"If-Match": etag}, slow()).status == 412
    assert store.get("dataset/raw/load.csv") == b"theirs"


def test_an_upload_replaces_an_object_unless_if_none_match_forbids_it(app: FastAPI, store: ObjectStoreAdapter) -> None:
    new = {"If-None-Match": "*"}
    first = put(app, headers=new)
    assert first.status == 201
    again = put(app, data=b"other", headers=new)
    assert again.status == 412
    assert again.code == "object-exists"
    assert store.get("dataset/raw/load.csv") == DATA
    assert put(app, data=b"other").status == 200
    assert store.get("dataset/raw/load.csv") == b"other"


def test_of_two_clients_that_create_an_object_the_slower_gets_412(app: FastAPI, store: ObjectStoreAdapter) -> None:
    def overtaken() -> Iterator[bytes]:
        yield b"mine"
        store.create("dataset/raw/load.csv", b"theirs")

    answer = ask(app, "PUT", KEY, {"If-None-Match": "*"}, overtaken())
    assert answer.status == 412
    assert answer.code == "object-exists"
    assert store.get("dataset/raw/load.csv") == b"theirs"


# --- refused uploads


@pytest.mark.parametrize("body", [b"x" * (LIMIT + 1), [b"x" * LIMIT, b"x"]], ids=["announced", "in chunks"])
def test_an_object_that_is_too_large_is_refused_and_not_stored(
    app: FastAPI, store: ObjectStoreAdapter, body: bytes | list[bytes]
) -> None:
    answer = ask(app, "PUT", KEY, body=body)
    assert answer.status == 413
    assert answer.code == "object-too-large"
    assert list(store.list("")) == []
    assert put(app, data=b"x" * LIMIT).status == 201


def test_an_upload_that_its_headers_rule_out_is_refused_before_its_body_is_read(app: FastAPI) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    assert ask(app, "PUT", KEY, {"Content-Length": "1001"}, never()).status == 413
    assert ask(app, "PUT", "/objects/models/x", body=never()).status == 403
    assert ask(app, "PUT", KEY, {"If-Match": "*"}, never()).status == 412
    assert ask(gateway(memory_store(), TOKEN), "PUT", KEY, body=never()).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Digest": digest(DATA)},
        {"Content-Digest": f"{digest(b'any', 'unixsum')}, {digest(DATA)}"},
        {"X-Content-SHA256": sha256(DATA).hexdigest()},
        {"X-Content-SHA256": sha256(DATA).hexdigest().upper()},
        {"X-Content-SHA256": sha256(DATA).hexdigest(), "Content-Digest": digest(DATA)},
    ],
)
def test_a_matching_digest_is_accepted(app: FastAPI, headers: Mapping[str, str]) -> None:
    assert put(app, headers=headers).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Digest": digest(b"other")},
        {"X-Content-SHA256": sha256(b"other").hexdigest()},
        {"X-Content-SHA256": sha256(b"other").hexdigest(), "Content-Digest": digest(DATA)},
    ],
)
def test_an_upload_with_another_digest_is_not_stored(
    app: FastAPI, store: ObjectStoreAdapter, headers: Mapping[str, str]
) -> None:
    answer = put(app, headers=headers)
    assert answer.status == 422
    assert answer.code == "digest-differs"
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Digest": "sha-256=abc"},
        {"Content-Digest": "sha-256=:abc:"},
        {"Content-Digest": "sha-256=:YWJj:"},
        {"Content-Digest": digest(DATA, "sha-512")},
        {"Content-Digest": ""},
        {"X-Content-SHA256": "abc"},
        {"X-Content-SHA256": ""},
        {"Content-Range": "bytes 0-1/2"},
    ],
)
def test_an_unsupported_or_invalid_header_is_refused(
    app: FastAPI, store: ObjectStoreAdapter, headers: Mapping[str, str]
) -> None:
    answer = put(app, headers=headers)
    assert answer.status == 400
    assert answer.code in {"digest-invalid", "digest-unsupported", "part-of-object"}
    assert list(store.list("")) == []


def test_a_compressed_body_is_refused(app: FastAPI) -> None:
    answer = put(app, headers={"Content-Encoding": "gzip"})
    assert answer.status == 415
    assert answer.code == "content-encoding"
    assert put(app, headers={"Content-Encoding": "identity"}).status == 201


def test_the_digest_of_an_object_is_computed_on_request(app: FastAPI) -> None:
    put(app)
    for wanted in ("sha-256=1", "sha-512=3, sha-256=10"):
        for method in ("GET", "HEAD"):
            assert ask(app, method, KEY, {"Want-Repr-Digest": wanted}).headers["repr-digest"] == digest(DATA)
    part = ask(app, "GET", KEY, {"Want-Repr-Digest": "sha-256=1", "Range": "bytes=0-1"})
    assert (part.body, part.headers["repr-digest"]) == (DATA[:2], digest(DATA))
    for wanted in ("sha-256=0", "sha-512=1", "sha-256", ""):
        assert "repr-digest" not in ask(app, "GET", KEY, {"Want-Repr-Digest": wanted}).headers


@pytest.mark.parametrize("sizes", [(3,), (PART, PART)], ids=["small", "large"])
def test_an_upload_whose_client_disconnects_half_way_is_not_stored(
    store: ObjectStoreAdapter, sizes: tuple[int, ...], log: io.StringIO
) -> None:
    app = gateway(store, limit=3 * PART)
    assert ask(app, "PUT", KEY, body=[bytes(size) for size in sizes], leaves=True).status == 0
    assert list(store.list("")) == []
    assert lines(log)[-1]["status"] == 499


def test_an_upload_that_stalls_is_ended_and_not_stored(store: ObjectStoreAdapter) -> None:
    answer = ask(gateway(store, idle=0.01), "PUT", KEY, body=[b"abc"], stalls=True)
    assert answer.status == 408
    assert answer.code == "request-timeout"
    assert list(store.list("")) == []


def test_an_upload_that_trickles_is_ended_and_not_stored(store: ObjectStoreAdapter) -> None:
    def trickle() -> Iterator[bytes]:
        for _ in range(1000):
            time.sleep(0.01)
            yield b"x"

    started = time.monotonic()
    answer = ask(gateway(store, limit=10_000, idle=0.1), "PUT", KEY, body=trickle())
    assert answer.code == "request-timeout"
    assert time.monotonic() - started < 5, "each byte would renew the time of a pause"
    assert list(store.list("")) == []


def test_the_time_of_an_upload_counts_anew_for_each_slice(store: ObjectStoreAdapter) -> None:
    def steady() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.2)
            yield bytes(SLICE)

    assert ask(gateway(store, limit=4 * SLICE, idle=0.5), "PUT", KEY, body=steady()).status == 201


# --- names


@pytest.mark.parametrize("bucket", READ_ONLY)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_only_raw_inputs_can_be_written(app: FastAPI, store: ObjectStoreAdapter, bucket: str, method: str) -> None:
    store.create(f"{bucket}/a.json", b"{}")
    answer = ask(app, method, f"/objects/{bucket}/a.json", body=b"other")
    assert answer.status == 403
    assert answer.code == "read-only"
    assert store.get(f"{bucket}/a.json") == b"{}"


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("/objects/dataset/../models/a", "'..'"),
        ("/objects/dataset/%2e%2e/models/a", "'..'"),
        ("/objects/dataset/%2e%2e%2fmodels%2fa", "'..'"),
        ("/objects/dataset/a/%2E%2E/b", "'..'"),
        ("/objects/dataset/%252e%252e/a", "'%2e%2e'"),
        ("/objects/dataset/a//b", "''"),
        ("/objects/dataset//etc/passwd", "''"),
        ("/objects/dataset/a/", "''"),
        ("/objects/dataset/", "''"),
        ("/objects/dataset/./a", "'.'"),
        ("/objects/dataset/.hidden", "'.hidden'"),
        ("/objects/dataset/a%00b", "'a\0b'"),
        ("/objects/dataset/a%0Ab", "'a\nb'"),
        ("/objects/dataset/%0A/..", "'\n'"),
        ("/objects/dataset/a%5Cb", "'a\\b'"),
        ("/objects/dataset/a%3Fb", "'a?b'"),
        ("/objects/dataset/a%23b", "'a#b'"),
        ("/objects/dataset/%C3%BC", "'ü'"),
        ("/objects/dataset/%ff", "'\ufffd'"),
        ("/objects/dataset/C:/a", "'C:'"),
        (f"/objects/dataset/{'a' * 201}", f"'{'a' * 100}'"),
        (f"/objects/dataset/{'a/' * 256}a", "513"),
        ("/objects/Dataset/a", "'Dataset'"),
        ("/objects/mlflow/a", "'mlflow'"),
        ("/objects/../a", "'..'"),
        ("/objects/%2e%2e", "'..'"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_name_that_could_leave_its_bucket_or_has_two_forms_is_refused_and_its_invalid_part_named(
    app: FastAPI, store: ObjectStoreAdapter, method: str, target: str, part: str
) -> None:
    if method != "GET" and target.count("/") < 3:
        return  # a bucket is only listed
    answer = ask(app, method, target, body=b"x" if method == "PUT" else None)
    assert answer.status == 400
    assert part in answer.problem
    assert list(store.list("")) == []


@pytest.mark.parametrize("key", ["a b.csv", "year=2026/month=01/x.parquet", "a+b@c", "_x", "a/" * 255 + "a", "a" * 200])
def test_usual_names_are_accepted(app: FastAPI, key: str) -> None:
    target = f"/objects/dataset/{key.replace(' ', '%20')}"
    assert put(app, target).status == 201
    assert ask(app, "GET", target).body == DATA
    assert [found["key"] for found in ask(app, "GET", "/objects/dataset").json()["objects"]] == [key]


def test_on_a_disk_the_key_of_a_folder_or_below_an_object_is_a_conflict(tmp_path: Path) -> None:
    app = gateway(open_store(tmp_path.as_uri()))
    assert put(app, "/objects/dataset/a/b").status == 201
    for target in ("/objects/dataset/a", "/objects/dataset/a/b/c"):
        answer = put(app, target)
        assert answer.status == 409
        assert answer.code == "name-taken"
        assert str(tmp_path) not in answer.problem
        assert ask(app, "GET", target).status == 404
        assert ask(app, "DELETE", target).status == 204
    assert ask(app, "GET", "/objects/dataset/a/b").body == DATA


# --- lists


def test_a_list_names_size_etag_and_time_of_each_object(app: FastAPI) -> None:
    etag = put(app).headers["etag"]
    listing = ask(app, "GET", "/objects/dataset").json()
    (found,) = listing["objects"]
    assert (found["key"], found["size"], found["etag"]) == ("raw/load.csv", len(DATA), etag)
    assert found["modified"].endswith("+00:00")
    assert (listing["bucket"], listing["prefix"], listing["next"]) == ("dataset", "", None)


def test_pages_follow_each_other_to_the_end(app: FastAPI, store: ObjectStoreAdapter) -> None:
    keys = [f"a/{number:02d}" for number in range(7)]
    for key in [*keys, "b/1"]:
        store.create(f"dataset/{key}", b"")
    store.create("models/a/99", b"")
    keys_listed, after = [], ""
    while True:
        page = ask(app, "GET", f"/objects/dataset?prefix=a/&limit=3&after={after}").json()
        assert len(page["objects"]) <= 3
        keys_listed += [item["key"] for item in page["objects"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert keys_listed == keys


def test_a_bucket_without_objects_is_an_empty_list(app: FastAPI) -> None:
    assert ask(app, "GET", "/objects/runs?prefix=abc").json()["objects"] == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("prefix=../models", "prefix: "),
        ("prefix=/", "prefix: "),
        ("after=..", "after: "),
        ("limit=0", "limit: "),
        ("limit=1001", "limit: "),
        ("limit=many", "limit: "),
        ("prefx=raw", "prefx: "),
        ("=", ": Extra inputs"),
        (f"prefix={'a/' * 300}", "prefix: "),
    ],
)
def test_an_invalid_parameter_of_a_list_is_named(app: FastAPI, query: str, named: str) -> None:
    answer = ask(app, "GET", f"/objects/dataset?{query}")
    assert answer.status == 400
    assert answer.problem.startswith(named)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_query_parameters_of_an_object_are_refused_so_that_a_part_cannot_become_the_whole(
    app: FastAPI, store: ObjectStoreAdapter, method: str
) -> None:
    store.create("dataset/raw/load.csv", DATA)
    answer = ask(app, method, f"{KEY}?partNumber=1&uploadId=x", body=b"part" if method == "PUT" else None)
    assert answer.status == 400
    assert answer.code == "query-not-allowed"
    assert store.get("dataset/raw/load.csv") == DATA


# --- access


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", KEY), ("HEAD", KEY), ("PUT", KEY), ("DELETE", KEY), ("GET", "/objects/dataset"), ("GET", "/objects/none")],
)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xff",
    ],
)
def test_without_the_token_nothing_of_the_store_is_shown(
    store: ObjectStoreAdapter, method: str, target: str, authorization: str | None
) -> None:
    store.create("dataset/raw/load.csv", DATA)
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = ask(gateway(store, TOKEN), method, target, headers, b"other" if method == "PUT" else None)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="flts"'
    assert answer.code == "token-needed"
    assert store.get("dataset/raw/load.csv") == DATA


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_objects_can_be_written_and_read(store: ObjectStoreAdapter, scheme: str) -> None:
    app, headers = gateway(store, TOKEN), {"Authorization": f"{scheme} {TOKEN}", "Host": "gateway.example"}
    assert put(app, headers=headers).status == 201
    assert ask(app, "GET", KEY, headers).body == DATA


def test_probes_and_metrics_need_no_token(store: ObjectStoreAdapter) -> None:
    app = gateway(store, TOKEN)
    for target in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert ask(app, "GET", target, {"Host": "10.0.0.7:8080"}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "10.0.0.1", "[::2]"]
)
def test_a_server_without_a_token_refuses_requests_to_other_host_names(app: FastAPI, host: str) -> None:
    answer = ask(app, "GET", KEY, {"Host": host})
    assert answer.status == 421
    assert answer.code == "other-host"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:8080", "[::1]:8080", "127.1.2.3"])
def test_a_server_without_a_token_answers_this_machine(app: FastAPI, host: str) -> None:
    assert ask(app, "GET", "/objects/dataset", {"Host": host}).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "gateway.example", "127.0.0.1.evil.example"])  # noqa: S104 - refused
def test_an_address_that_other_machines_reach_needs_a_token(host: str) -> None:
    assert not is_loopback(host)
    with raises(UsageError, code="token-needed", host=host):
        Auth(host, None)
    Auth(host, TOKEN)


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "ü", "a=b", "="])
def test_an_invalid_token_is_refused_without_being_shown(token: str) -> None:
    with raises(UsageError, code="token-invalid") as raised:
        Auth("127.0.0.1", token)
    assert len(token) < 3 or token not in str(raised.value)


# --- errors


def test_unknown_paths_and_methods_are_problem_documents(app: FastAPI) -> None:
    assert ask(app, "GET", "/").code == "not-found"
    assert ask(app, "GET", "//objects/dataset").status == 404
    for method in ("POST", "PATCH", "OPTIONS", "TRACE", "BREW"):
        answer = ask(app, method, KEY)
        assert answer.status == 405
        assert answer.headers["allow"] == "DELETE, GET, HEAD, PUT"
        assert answer.code == "method-not-allowed"
    assert ask(app, "PUT", "/objects/dataset").headers["allow"] == "GET"
    assert ask(app, "PUT", "/openapi.json").status == 405


class Broken(ObjectStoreAdapter):
    """A store that raises `error`, once it is set."""

    def __init__(self) -> None:
        whole = memory_store()
        super().__init__(whole.url, whole._store)
        self.error: Exception | None = None

    async def look(self, key: str) -> Stored | None:
        if self.error is not None:
            raise self.error
        return await super().look(key)

    async def probe(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_store_that_does_not_answer_is_503_with_retry_after_and_its_address_stays_inside(
    method: str, log: io.StringIO
) -> None:
    store = Broken()
    store.error = BackendUnavailable("cannot read it in s3://inside.example/bucket")
    answer = ask(gateway(store), method, KEY, body=b"x" if method == "PUT" else None)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.code == "backend-unavailable"
    assert lines(log)[-1]["reason"] == "cannot read it in s3://inside.example/bucket"


@pytest.mark.parametrize("error", [UsageError, StageFailed])
def test_a_store_that_refuses_the_gateway_is_503_without_retry_after(error: type[FltsError], log: io.StringIO) -> None:
    store = Broken()
    store.error = error("status code: 403; look at AWS_ACCESS_KEY_ID")
    for target in (KEY, "/readyz"):
        answer = ask(gateway(store), "GET", target)
        assert answer.status == 503
        assert "retry-after" not in answer.headers
        assert answer.code == error("").code
        assert lines(log)[-1]["reason"] == "status code: 403; look at AWS_ACCESS_KEY_ID"


def test_readiness_asks_the_store_at_every_request(tmp_path: Path) -> None:
    store = Broken()
    app = gateway(store)
    assert ask(app, "GET", "/readyz").json() == {"status": "ready"}
    store.error = BackendUnavailable("gone")
    assert ask(app, "GET", "/readyz").status == 503
    assert ask(app, "GET", "/healthz").json() == {"status": "ok"}
    store.error = None
    assert ask(app, "GET", "/readyz").status == 200
    folder = tmp_path / "objects"
    local = gateway(open_store(folder.as_uri()))
    assert ask(local, "GET", "/readyz").status == 200
    folder.rmdir()
    assert ask(local, "GET", "/readyz").status == 503


def test_a_store_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Broken):
        async def probe(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("flts.gateway.app.PROBE_SECONDS", 0.01)
    assert ask(gateway(Silent()), "GET", "/readyz").status == 503


def test_an_unexpected_error_is_500_without_details_and_the_log_has_its_traceback(log: io.StringIO) -> None:
    store = Broken()
    store.error = RuntimeError("row 7 of customer Smith")
    answer = ask(gateway(store), "GET", KEY)
    assert answer.status == 500
    assert answer.code == "internal-server-error"
    failed, served = lines(log)
    assert failed["event"] == "request_failed"
    assert failed["request_id"] == served["request_id"] == answer.headers["x-request-id"]
    assert failed["error"] == "RuntimeError"
    assert "in look" in failed["traceback"]
    assert "Smith" not in log.getvalue()


class Moving(Broken):
    """A store that replaces an object after each of the first `times` looks at it."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def look(self, key: str) -> Stored | None:
        stored = await super().look(key)
        if stored is not None and self.times:
            self.times -= 1
            self.replace(key, f"version {self.times}".encode())
        return stored


@pytest.mark.parametrize("headers", [{}, {"Want-Repr-Digest": "sha-256=1"}])
def test_an_object_replaced_before_its_first_byte_is_read_in_one_version(headers: Mapping[str, str]) -> None:
    store = Moving(2)
    store.create("dataset/raw/load.csv", DATA)
    answer = ask(gateway(store), "GET", KEY, headers)
    assert (answer.status, answer.body) == (200, b"version 0")
    always = Moving(99)
    always.create("dataset/raw/load.csv", DATA)
    assert ask(gateway(always), "GET", KEY).status == 503
    assert ask(gateway(always), "HEAD", KEY, {"Want-Repr-Digest": "sha-256=1"}).status == 503


def test_an_answer_that_fails_half_way_stays_incomplete(log: io.StringIO) -> None:
    class Breaking(Broken):
        async def stream(self, stored: Stored, start: int, end: int) -> AsyncIterator[bytes]:
            async def chunks() -> AsyncIterator[bytes]:
                yield b"half"
                raise BackendUnavailable("the connection broke")

            return chunks()

    store = Breaking()
    store.create("dataset/raw/load.csv", DATA)
    answer = ask(gateway(store), "GET", KEY)
    assert (answer.status, answer.body, answer.complete) == (200, b"half", False)
    failed, served = lines(log)
    assert (failed["event"], failed["error"]) == ("request_failed", "BackendUnavailable")
    assert served["reason"] == "the connection broke"


# --- log, metrics and description


def test_every_request_is_one_line_without_token_or_data(store: ObjectStoreAdapter, log: io.StringIO) -> None:
    app, headers = gateway(store, TOKEN), {"Authorization": f"Bearer {TOKEN}"}
    put(app, headers=headers)
    ask(app, "GET", KEY, {"Authorization": "Bearer wrong-secret"})
    ask(app, "GET", "/objects/dataset/..%2f..%2fetc", headers)
    ask(app, "GET", "/objects/dataset?prefix=raw", headers)
    ask(app, "GET", "/elsewhere/private", headers)
    logged = lines(log)
    assert {line["service"] for line in logged} == {"gateway"}
    assert {line["event"] for line in logged} == {"request_served"}
    route = "/objects/{bucket}/{key}"
    assert [(line["method"], line["route"], line["status"], line.get("object_key")) for line in logged] == [
        ("PUT", route, 201, "dataset/raw/load.csv"),
        ("GET", route, 401, None),
        ("GET", route, 400, None),
        ("GET", "/objects/{bucket}", 200, None),
        ("GET", "none", 404, None),
    ]
    assert (logged[0]["received"], logged[0]["sent"] > 0, logged[0]["duration_ms"] >= 0) == (len(DATA), True, True)
    for secret in (TOKEN, "wrong-secret", "private", "2026-01-01", "etc"):
        assert secret not in log.getvalue()


def test_the_metrics_count_requests_and_bytes_under_few_labels(app: FastAPI) -> None:
    put(app)
    ask(app, "GET", KEY)
    for number in range(20):
        ask(app, f"METHOD{number}", f"/objects/dataset/{number}")
        ask(app, "GET", f"/nowhere/{number}")
        ask(app, "GET", f"/objects/bucket{number}/x")
    page = ask(app, "GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=")
    text = page.body.decode()
    route = 'route="/objects/{bucket}/{key}"'
    assert f'flts_gateway_requests_total{{method="PUT",{route},status="201"}} 1.0' in text
    assert f'flts_gateway_requests_total{{method="other",{route},status="405"}} 20.0' in text
    assert 'flts_gateway_requests_total{method="GET",route="none",status="404"} 20.0' in text
    assert f'flts_gateway_bytes_total{{direction="received"}} {float(len(DATA))}' in text
    assert f'flts_gateway_request_seconds_count{{method="GET",{route}}} 21.0' in text
    assert "nowhere" not in text
    assert "METHOD" not in text
    assert text.count("flts_gateway_requests_total{") == 5


def test_the_openapi_document_describes_every_route_and_its_problems(app: FastAPI) -> None:
    described = ask(app, "GET", "/openapi.json").json()
    methods = {path: set(operations) for path, operations in described["paths"].items()}
    assert methods["/objects/{bucket}/{key}"] == {"get", "head", "put", "delete"}
    assert methods["/objects/{bucket}"] == {"get"}
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == path.startswith("/objects/")
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert set(response["content"]) == {"application/problem+json"}
    assert set(described["components"]["schemas"]) == {"Health", "Listing", "Problem", "StoredObject", "Uploaded"}


def test_the_page_about_http_names_every_route_and_every_status_of_an_error(app: FastAPI) -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    for path, operations in ask(app, "GET", "/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            assert f"`{method.upper()} {path}" in page
            for status in operation["responses"]:
                assert int(status) < 400 or status in page, status


# --- wording


@pytest.mark.parametrize(
    ("method", "target", "headers", "words"),
    [
        ("GET", KEY, {}, "object not found: raw/load.csv in dataset"),
        ("GET", "/nowhere", {}, "not found: /nowhere; see /openapi.json for what there is"),
        ("POST", KEY, {}, f"POST is not allowed for {KEY}; allowed: DELETE, GET, HEAD, PUT"),
        ("PUT", "/objects/models/a", {}, "models is read-only here; only dataset can be written"),
        ("PUT", KEY, {"If-Match": '"x"'}, "If-Match does not match: the object does not exist"),
        (
            "PUT",
            KEY,
            {"Content-Encoding": "gzip"},
            "unsupported Content-Encoding 'gzip'; objects are stored as sent",
        ),
        ("PUT", KEY, {"Content-Length": "5000"}, "object too large; the limit is 1000 bytes"),
        (
            "GET",
            KEY,
            {"Host": "evil.example"},
            "this server has no token, so it answers only requests to 127.0.0.1",
        ),
    ],
)
def test_a_problem_says_what_is_wrong_and_what_is_valid(
    app: FastAPI, method: str, target: str, headers: Mapping[str, str], words: str
) -> None:
    assert ask(app, method, target, headers).problem.startswith(words)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BackendUnavailable("s3://inside.example"), "the object store does not answer; try again in 5 s"),
        (
            StageFailed("s3://inside.example"),
            "the object store refused the request; see the log",
        ),
    ],
)
def test_the_problem_of_a_failing_store_does_not_show_its_address(error: FltsError, words: str) -> None:
    store = Broken()
    store.error = error
    assert ask(gateway(store), "GET", KEY).problem.startswith(words)
