"""Random requests to the gateway: every answer is a documented one, and no key leaves its bucket."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import schemathesis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection
from tests.support.asgi import ask

from flts.backends.store import memory_store, open_store
from flts.contracts.layout import BUCKETS, checked_key
from flts.gateway.app import create_app
from flts.gateway.conditions import byte_range
from flts.web.problem import Problem
from flts.web.security import Auth

TOKEN = "only-for-this-test"  # noqa: S105 - used by this test only
LIMIT = 10_000
SCHEMA = schemathesis.openapi.from_asgi(
    "/openapi.json",
    create_app(memory_store(), auth=Auth("127.0.0.1", TOKEN), max_object_bytes=LIMIT),
)
HOSTILE = [
    "..",
    ".",
    "",
    "%2e%2e",
    "..%2f",
    "%2F",
    "\\",
    "\0",
    "~",
    "C:",
    "nul",
    "a#1",
    "a b",
    "A" * 300,
    "é",
    "\ud800",
]
PARTS = st.sampled_from([*HOSTILE, *BUCKETS, "a", "b.csv"]) | st.text(max_size=8)
PATHS = st.lists(PARTS, min_size=1, max_size=6).map("/".join)


@SCHEMA.parametrize()
@settings(max_examples=30, deadline=None)
def test_every_answer_fits_the_openapi_document(case: schemathesis.Case[Any]) -> None:
    # schemathesis judges a request before it becomes a URL, which drops an empty list of values, and before the token
    # is added; so its check of refusals is left out, and unit tests name what must be refused
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=[negative_data_rejection])


@given(name=st.text(min_size=1).filter(lambda name: name not in {"prefix", "after", "limit"}), value=st.text())
@example(name="=", value="")
@example(name="prefx", value="raw")
@settings(deadline=None)
def test_a_list_refuses_unknown_parameters(name: str, value: str) -> None:
    query = f"{quote(name, safe='', errors='surrogatepass')}={quote(value, safe='', errors='surrogatepass')}"
    app = create_app(memory_store(), auth=Auth("127.0.0.1", None), max_object_bytes=LIMIT)
    assert ask(app, "GET", f"/objects/dataset?{query}").status == 400


@given(path=PATHS, encode=st.booleans(), method=st.sampled_from(["PUT", "DELETE", "GET", "HEAD"]))
@example(path="dataset/../../outside", encode=False, method="PUT")
@example(path="dataset/../models/inside", encode=True, method="PUT")
@example(path="dataset/../models/inside", encode=True, method="DELETE")
@example(path="dataset/a/b", encode=False, method="PUT")
@example(path="models/inside/a", encode=False, method="PUT")
@settings(max_examples=300, deadline=None)
def test_no_request_writes_reads_or_removes_a_file_outside_its_bucket(path: str, encode: bool, method: str) -> None:
    target = "/objects/" + quote(path, safe="" if encode else "/.%", errors="surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = open_store((root / "objects").as_uri())
        for key in ("models/inside", "model-promotion/current.json", "dataset/there"):
            store.create(key, b"secret of " + key.encode())
        (root / "outside").write_bytes(b"secret outside")
        before = contents(root)
        app = create_app(store, auth=Auth("127.0.0.1", None), max_object_bytes=LIMIT)
        answer = ask(app, method, target, body=b"new" if method == "PUT" else None)
        assert answer.status < 500
        changed = {name for name, data in contents(root).items() ^ before.items()}
        assert all(name.startswith("objects/dataset/") for name in changed)
        assert b"secret outside" not in answer.body
        if answer.status == 200 and method == "GET" and b"secret" in answer.body:
            assert answer.body == b"secret of " + path.replace("%2F", "/").encode()


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@given(bucket=st.sampled_from(BUCKETS) | PARTS, key=PATHS)
def test_a_valid_name_has_one_form_and_stays_in_its_bucket(bucket: str, key: str) -> None:
    try:
        whole = checked_key(bucket, key)
    except ValueError:
        return
    assert whole == f"{bucket}/{key}"
    assert bucket in BUCKETS
    assert whole.isascii()
    assert whole.isprintable()
    assert not {"", ".", ".."} & set(whole.split("/"))
    assert not set(whole) & set("\\%#?:*<>|~$\"'")


@given(
    header=st.from_regex(r"(bytes|x)?\s?=?\s?\d{0,5}-?\d{0,5}(,\d-\d)?", fullmatch=True) | st.text(),
    size=st.integers(0, 9),
)
def test_a_range_lies_within_the_object_or_is_refused_or_ignored(header: str, size: int) -> None:
    try:
        start, end = byte_range(header, size) or (0, max(size, 1))
    except Problem:
        return
    assert 0 <= start < end <= max(size, 1)


@given(data=st.binary(max_size=300), first=st.integers(0, 300), last=st.integers(0, 300))
@settings(deadline=None, max_examples=50)
def test_a_range_equals_a_slice(data: bytes, first: int, last: int) -> None:
    app = create_app(memory_store(), auth=Auth("127.0.0.1", None), max_object_bytes=LIMIT)
    ask(app, "PUT", "/objects/dataset/x", body=data)
    answer = ask(app, "GET", "/objects/dataset/x", {"Range": f"bytes={first}-{last}"})
    if last < first:
        assert (answer.status, answer.body) == (200, data)
    elif first >= len(data):
        assert answer.status == 416
    else:
        assert (answer.status, answer.body) == (206, data[first : last + 1])
