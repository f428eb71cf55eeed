"""What other servers' clients see of `flts serve`: MLflow's scoring server and client, a client of Open Inference."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import polars as pl
import pytest
from tests.support.asgi import ask
from tests.support.gateways import Running, running
from tests.support.promotions import promote, two_bundles
from tests.support.series import hourly, table
from tests.support.services import wait_until
from tests.support.stored import copy

import flts
from flts.backends.store import open_store
from flts.forecasting.bundle import load_bundle
from flts.serve.pyfunc import BundleModel

pytestmark = pytest.mark.slow

FRAME = table(hourly(300)[200:270])
TIMES = [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in FRAME["time"]]
TEXT = FRAME.with_columns(time=pl.Series(TIMES))
COLUMNS: dict[str, list[Any]] = TEXT.to_dict(as_series=False)
SPLIT = {"columns": list(COLUMNS), "data": [list(row) for row in TEXT.iter_rows()]}
NUMBERS = ["mean", "lower", "upper"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a promotion in scope `north`."""
    folder = tmp_path_factory.mktemp("served")
    memory, first, _ = two_bundles()
    store = open_store((folder / "objects").as_uri())
    copy(memory, store)
    promote(first, store=store, scope="north")
    options = ("--probe-port", "0")
    with running(folder, *options, command="serve", FLTS_STORE=store.url, FLTS_REQUEST_TIMEOUT="60") as server:
        wait_until(lambda: server.ask("GET", "/readyz")[0] == 200, "readiness")
        yield server


def predicted(served: Running, **keys: Any) -> pd.DataFrame:
    """What `/predict` answers."""
    status, body = served.ask("POST", "/predict", json.dumps({"history": COLUMNS, **keys}))
    assert status == 200, body
    return pd.DataFrame(json.loads(body)["forecasts"])


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", {"dataframe_split": SPLIT}),
        ("application/json", {"dataframe_records": TEXT.to_dicts()}),
        ("application/json", {"inputs": COLUMNS}),
        ("application/json", {"instances": TEXT.to_dicts()}),
        ("application/json", {"dataframe_split": SPLIT, "params": {"level": 0.5}}),
        ("text/csv", TEXT.write_csv()),
    ],
    ids=["split", "records", "inputs", "instances", "params", "csv"],
)
def test_the_scoring_server_of_mlflow_answers_the_same(served: Running, content_type: str, body: Any) -> None:
    from mlflow.pyfunc import scoring_server

    store, first, _ = two_bundles()
    metadata = SimpleNamespace(get_input_schema=lambda: None)
    model: Any = SimpleNamespace(predict=BundleModel(load_bundle(store, first)).predict, metadata=metadata)
    data = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": content_type}
    theirs = ask(scoring_server.init(model), "POST", "/invocations", headers, data.encode())
    status, ours = served.ask("POST", "/invocations", data, headers)
    assert (theirs.status, status) == (200, 200), (theirs.body, ours)
    expected, found = pd.DataFrame(theirs.json()["predictions"]), pd.DataFrame(json.loads(ours)["predictions"])
    assert list(expected.columns) == list(found.columns)
    assert list(pd.to_datetime(found["time"], utc=True)) == list(pd.to_datetime(expected["time"], utc=True))
    assert list(found["target"]) == list(expected["target"])
    pd.testing.assert_frame_equal(found[NUMBERS], expected[NUMBERS], rtol=1e-9)


def test_an_error_is_one_that_mlflow_can_name(served: Running) -> None:
    from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS

    from flts.server.invocations import CODES

    headers = {"Content-Type": "application/json"}
    status, body = served.ask("POST", "/invocations", "{}", headers)
    assert (status, json.loads(body)["error_code"]) == (400, "BAD_REQUEST")
    assert {code: ERROR_CODE_TO_HTTP_STATUS[code] for code in CODES.values()} == {
        code: int(status) for status, code in CODES.items()
    }


def test_the_client_of_mlflow_is_answered(served: Running) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    address = urlsplit(served.address)
    connected: Any = ScoringServerClient
    client = connected(address.hostname, address.port)
    client.wait_server_ready(60)
    answer = client.invoke(TEXT.to_pandas(), params={"horizon": 2, "level": 0.9})
    expected = predicted(served, horizon=2, level=0.9)
    pd.testing.assert_frame_equal(answer.get_predictions()[NUMBERS], expected[NUMBERS])


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the client needs pydantic.v1, which Python 3.14 lacks")
def test_a_published_client_of_open_inference_is_answered(served: Running) -> None:
    import httpx
    from open_inference.openapi import BadRequestError, InferenceRequest, NotFoundError
    from open_inference.openapi.client import OpenInferenceClient

    http = httpx.Client(timeout=60)
    client: Any = OpenInferenceClient(base_url=served.address, httpx_client=http)
    with http:
        client.check_server_liveness()
        client.check_server_readiness()
        assert client.read_server_metadata().name == "flts"
        client.check_model_readiness("north")
        client.check_model_version_readiness("north", "1")
        described = client.read_model_metadata("north")
        assert (described.name, described.versions) == ("north", ["1"])
        assert client.read_model_version_metadata("north", "1") == described
        inputs = [
            {"name": one.name, "datatype": one.datatype, "shape": [len(TIMES)], "data": COLUMNS[one.name]}
            for one in described.inputs
        ]
        asked = {
            "id": "a-1",
            "inputs": inputs,
            "outputs": [{"name": "mean"}, {"name": "upper"}],
            "parameters": {"level": 0.5, "horizon": 2},
        }
        request = InferenceRequest.parse_obj(asked)
        answer = client.model_version_infer("north", "1", request=request)
        expected = predicted(served, horizon=2, level=0.5)
        assert answer.id == "a-1"
        assert [(one.name, one.shape) for one in answer.outputs] == [("mean", [2, 1]), ("upper", [2, 1])]
        assert [one.data.__root__ for one in answer.outputs] == [list(expected["mean"]), list(expected["upper"])]
        with pytest.raises(BadRequestError) as refused:
            client.model_infer("north", request=InferenceRequest.parse_obj({**asked, "parameters": {"level": 2.0}}))
        assert "level" in refused.value.body["error"]
        with pytest.raises(NotFoundError):
            client.check_model_version_readiness("north", "2")


def test_the_client_of_flts_is_answered(served: Running) -> None:
    with flts.Client(served.address, timeout=60.0) as client:
        forecast = client.forecast(FRAME, horizon=2)
        again = client.forecast(FRAME.to_pandas(), horizon=2)
    assert [row.mean for row in forecast.rows] == list(predicted(served, horizon=2)["mean"])
    assert forecast.rows == again.rows
