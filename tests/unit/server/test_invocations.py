"""MLflow's scoring protocol: every form of a history gives the rows of `/predict`; what does not fit is told."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from tests.support.asgi import Answer, ask
from tests.support.experiments import small_experiment
from tests.support.promotions import promote
from tests.support.series import hourly, table
from tests.support.serving import application, predict
from tests.support.stored import fit

from flts.backends.store import memory_store
from flts.contracts.canonical import canonical_json
from flts.contracts.ports import Store
from flts.server import invocations, sent
from flts.server.invocations import read_csv
from flts.server.wanted import Wanted

FRAME = table(hourly(300)[200:270])
HISTORY: Mapping[str, Sequence[Any]] = {
    **FRAME.drop("time").to_dict(as_series=False),
    "time": [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in FRAME["time"]],
}
ROWS = [list(row) for row in zip(*HISTORY.values(), strict=True)]
RECORDS = [dict(zip(HISTORY, row, strict=True)) for row in ROWS]
SPLIT = {"columns": list(HISTORY), "index": list(range(len(ROWS))), "data": ROWS}
CSV = "\n".join(",".join(map(str, row)) for row in [list(HISTORY), *ROWS]).encode()


@pytest.fixture(scope="module")
def store() -> Store:
    experiment, store = small_experiment()
    promote(fit(store, experiment).bundle_sha256, store=store, scope="north")
    return store


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    return application(store)


def invoke(app: FastAPI, body: Any, content_type: str | None = "application/json") -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if content_type is None else {"Content-Type": content_type}
    return ask(app, "POST", "/invocations", headers, data)


def test_a_csv_is_read_beside_the_event_loop(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def read(body: bytes, most: int) -> Wanted:
        threads.append(threading.current_thread())
        return read_csv(body, most)

    monkeypatch.setattr(invocations, "read_csv", read)
    assert invoke(app, CSV, "text/csv").status == 200
    assert threads != [threading.main_thread()]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"dataframe_split": SPLIT}, "application/json"),
        ({"dataframe_split": SPLIT, "params": None}, "application/json; charset=UTF-8"),
        ({"dataframe_records": RECORDS}, "application/json"),
        ({"instances": RECORDS, "params": {}}, "application/json"),
        ({"inputs": HISTORY}, "application/json"),
        (CSV, "text/csv"),
        (CSV, "Text/CSV;charset=utf-8"),
    ],
)
def test_every_form_of_a_history_has_the_rows_of_predict(app: FastAPI, body: Any, content_type: str) -> None:
    answer = invoke(app, body, content_type)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"predictions": predict(app, {"history": HISTORY}).json()["forecasts"]}


def test_the_parameters_are_those_of_predict(app: FastAPI) -> None:
    params = {"horizon": 2, "level": 0.5, "identifier": "north"}
    answer = invoke(app, {"dataframe_split": SPLIT, "params": params})
    assert answer.json()["predictions"] == predict(app, {"history": HISTORY, **params}).json()["forecasts"]


def without(rows: Sequence[Mapping[str, Any]], number: int, name: str) -> list[dict[str, Any]]:
    changed = [dict(row) for row in rows]
    del changed[number - 1][name]
    return changed


@pytest.mark.parametrize(
    ("body", "status", "code", "named"),
    [
        ({"inputs": {**HISTORY, "time": [1517875200000] * 70}}, 400, "cell-unfit", "date_format='iso'"),
        ({"inputs": HISTORY, "params": {"identifier": "south"}}, 404, "scope-unknown", "north"),
        ({"inputs": HISTORY, "params": {"horizn": 1}}, 400, "key-unknown", "'horizon'"),
        ({"inputs": HISTORY, "params": {"horizon": 4}}, 400, "horizon-out-of-range", "1 to 3"),
        ({"inputs": HISTORY, "params": [1]}, 400, "value-type", "params"),
        ({"inputs": HISTORY, "params": 0}, 400, "value-type", "params: the number 0"),
        ({"inputs": [[1.0]]}, 400, "value-type", "inputs"),
        ({"inputs": HISTORY, "instances": RECORDS}, 400, "key-missing", "instances and inputs"),
        ({"params": {}}, 400, "key-missing", "dataframe_split"),
        ({"dataframe_splits": SPLIT}, 400, "key-unknown", "did you mean 'dataframe_split'?"),
        ([RECORDS], 400, "body-invalid", "a list"),
        ({"instances": [*RECORDS[:1], [1.0]]}, 400, "row-unfit", "row 2"),
        ({"instances": HISTORY}, 400, "value-type", "instances"),
        ({"instances": without(RECORDS, 3, "wind")}, 400, "row-unfit", "row 3"),
        ({"instances": []}, 400, "no-rows", "at least one row"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, 400, "key-twice", "'a'"),
        ({"dataframe_split": {"columns": ["a", 1], "data": []}}, 400, "value-type", "the number 1"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, 400, "row-unfit", "row 2"),
        ({"dataframe_split": {"columns": ["a"], "rows": []}}, 400, "key-unknown", "'rows'"),
        ({"dataframe_split": {"columns": ["a"]}}, 400, "value-type", "data"),
        ({"dataframe_split": RECORDS}, 400, "value-type", "dataframe_split"),
        (b'{"inputs": {"time": [], "time": []}}', 400, "key-twice", "'time'"),
        (b'{"inputs": {"load": [NaN], "time": ["2018-02-05"], "wind": [1]}}', 400, "cell-unfit", "NaN"),
        (b"{", 400, "not-json", "JSON"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_the_form_of_mlflow(
    app: FastAPI, body: Any, status: int, code: str, named: str
) -> None:
    answer = invoke(app, body)
    document = answer.json()
    assert (answer.status, document["code"]) == (status, code), document
    assert named in document["message"]
    assert document["error_code"] == {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST"}[status]


@pytest.mark.parametrize("content_type", [None, "text/html", "text/csv; charset=latin-1", "application/json; v=1"])
def test_a_type_that_is_not_spoken_is_told(app: FastAPI, content_type: str | None) -> None:
    answer = invoke(app, CSV, content_type)
    assert (answer.status, answer.json()["code"]) == (415, "media-type-unknown")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "file-empty"),
        (b"time,load\n", "no-rows"),
        (b"time,wind\n2018-02-05,1\n", "columns-missing"),
        (b"\xff", ""),
    ],
)
def test_a_file_that_is_no_history_is_told(app: FastAPI, body: bytes, code: str) -> None:
    answer = invoke(app, body, "text/csv")
    assert answer.status == 400
    assert code in answer.json()["code"]


def test_a_file_of_too_many_rows_is_refused(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "MAX_ROWS", len(ROWS))
    assert invoke(app, CSV, "text/csv").status == 200
    answer = invoke(app, CSV + b"\n" + CSV.splitlines()[-1], "text/csv")
    assert (answer.status, answer.json()["code"]) == (413, "too-many-rows")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "zlib"])
def test_a_compressed_file_holds_no_more_than_a_body_may(store: Store, pack: Callable[[bytes], bytes]) -> None:
    most = len(CSV)
    app = application(store, max_body_bytes=most)
    assert invoke(app, pack(CSV), "text/csv").json() == invoke(app, CSV, "text/csv").json()
    answer = invoke(app, pack(CSV + b"\n"), "text/csv")
    assert (answer.status, answer.json()["code"]) == (413, "body-too-large")
    assert f"{most:,} bytes" in answer.json()["message"]


def test_rows_with_a_key_of_their_own_each_take_no_more_memory_than_they_have(app: FastAPI) -> None:
    rows = canonical_json({"instances": [{f"a{i}": 1} for i in range(50_000)]})
    assert invoke(app, rows if isinstance(rows, bytes) else rows.encode()).json()["code"] == "row-unfit"


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_a_client_of_mlflow_asks_whether_the_server_is_ready(app: FastAPI, path: str) -> None:
    assert (ask(app, "GET", path).status, ask(app, "GET", path).body) == (200, b"\n")
    assert ask(application(memory_store()), "GET", path).status == 503
