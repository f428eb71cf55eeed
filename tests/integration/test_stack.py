"""The servers of a stack start, answer, keep acknowledged writes, and leave no process behind."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.support.raising import raises
from tests.support.services import LONG

from flts.contracts.errors import BackendUnavailable, MissingExtra
from flts.stack.kafka import durable_kafka, quick_kafka
from flts.stack.mlflow import mlflow
from flts.stack.postgres import postgres
from flts.stack.s3 import S3, s3
from flts.stack.server import Server, crowd, packaged, ports, script, secret


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def bucket(server: S3, name: str) -> Any:
    """A bucket as its owner sees it."""
    from obstore.store import S3Store

    config: Any = {name.lower(): value for name, value in server.credentials.items() if name != "AWS_DEFAULT_REGION"}
    return S3Store(name, config=config, client_options={"allow_http": True})


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3]:
    """A server that may be killed."""
    with s3(tmp_path / "s3") as server:
        yield server


def test_a_server_keeps_its_ports_and_its_password(tmp_path: Path) -> None:
    first = ports(tmp_path, "a", "b")
    assert sorted(first) == ["a", "b"]
    assert len(set(first.values())) == 2
    assert ports(tmp_path, "a", "b") == first
    assert secret(tmp_path, "me") == secret(tmp_path, "me")
    assert len(secret(tmp_path, "me")) == 32
    assert (tmp_path / "me.secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "find", [lambda: packaged("a broker", "no_such_module", "x"), lambda: script("a broker", "no")]
)
def test_a_package_that_is_not_installed_is_named_by_its_extra(find: Any) -> None:
    with raises(MissingExtra, code="missing-extra", what="a broker", extra="stack"):
        find()


def test_a_server_that_cannot_start_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = Server("broken", tmp_path, ["sh", "-c", "echo no room >&2; exit 3"], "", lambda: False)
    with raises(BackendUnavailable, code="server-ended", server="broken", exit_code=3) as caught:
        server.start()
    assert str(caught.value).endswith("no room")
    with pytest.raises(RuntimeError, match="broken is not running"):
        _ = server.pid


def test_a_server_that_never_answers_is_killed_after_its_patience(tmp_path: Path) -> None:
    script = "echo $$ > pid; sleep 600"
    server = Server("slow", tmp_path, ["sh", "-c", script], "", lambda: False, patience=0.5)
    with raises(BackendUnavailable, code="no-answer", server="slow"):
        server.start()
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_server_that_does_not_listen_to_a_request_to_end_is_ended(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 600 & echo $! > child; touch ready; while :; do sleep 1; done"
    server = Server("deaf", tmp_path, ["sh", "-c", script], "", (tmp_path / "ready").exists)
    pid = server.start().pid
    server.stop(grace=0.2)
    assert not alive(pid)
    assert not alive(int((tmp_path / "child").read_text()))
    server.stop()  # stopping what is stopped is nothing


def test_a_server_ends_when_its_parent_is_killed_and_one_that_outlives_it_does_not(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from flts.stack.server import Server\n"
        "folder = Path(sys.argv[1])\n"
        "for name, outlives in (('bound', False), ('free', True)):\n"
        "    command = ['sh', '-c', f'echo $$ > {name}; exec sleep 600']\n"
        "    Server(name, folder, command, '', (folder / name).exists, outlives=outlives).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    bound, free = (int((tmp_path / name).read_text()) for name in ("bound", "free"))
    deadline = time.monotonic() + LONG
    while alive(bound) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(bound)
    assert alive(free)
    os.kill(free, signal.SIGKILL)


def test_what_s3_acknowledged_survives_a_crash(own_s3: S3) -> None:
    import obstore

    own_s3.make_buckets(["bucket"])
    obstore.put(bucket(own_s3, "bucket"), "key", b"bytes", mode="create")
    url, pid = own_s3.url, own_s3.pid
    own_s3.kill()
    assert not alive(pid)
    own_s3.start()
    own_s3.make_buckets(["bucket"])  # returns when the server is all there again
    assert own_s3.url == url
    assert bytes(obstore.get(bucket(own_s3, "bucket"), "key").bytes()) == b"bytes"
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(bucket(own_s3, "bucket"), "key", b"other", mode="create")


def test_what_postgres_committed_survives_a_crash(tmp_path: Path) -> None:
    from sqlalchemy import create_engine, text

    with postgres(tmp_path / "pg") as server:
        server.make_database("rows")
        server.make_database("rows")
        engine = create_engine(server.address("rows"))
        with engine.begin() as connection:
            connection.execute(text("create table t (x int)"))
            connection.execute(text("insert into t values (7)"))
        engine.dispose()
        server.kill()
        server.start()
        with engine.begin() as connection:
            assert connection.execute(text("select x from t")).scalar_one() == 7
        engine.dispose()


@pytest.mark.long
def test_runs_and_artifacts_of_an_mlflow_server_survive_its_crash(tmp_path: Path, own_s3: S3) -> None:
    from mlflow import MlflowClient

    with postgres(tmp_path / "pg", fsync=False) as database, mlflow(tmp_path / "mlflow", database, own_s3) as server:
        client = MlflowClient(server.url)
        run = client.create_run(client.create_experiment("e"))
        client.log_metric(run.info.run_id, "rmse", 1.5)
        client.log_text(run.info.run_id, "text", "file.txt")
        server.kill()
        server.start()
        assert client.get_run(run.info.run_id).data.metrics == {"rmse": 1.5}
        path = client.download_artifacts(run.info.run_id, "file.txt", str(tmp_path))
        assert Path(path).read_text() == "text"


@pytest.mark.parametrize("kind", ["durable", "quick"])
def test_a_broker_answers_after_a_crash_at_the_same_address(kind: str, tmp_path: Path, own_s3: S3) -> None:
    from confluent_kafka.admin import AdminClient

    folder = tmp_path / "broker"
    with durable_kafka(folder, own_s3) if kind == "durable" else quick_kafka(folder) as server:
        url = server.url
        server.kill()
        server.start()
        assert server.url == url
        brokers = AdminClient({"bootstrap.servers": url.removeprefix("kafka://")}).list_topics(timeout=LONG).brokers
        assert [f"kafka://{b.host}:{b.port}" for b in brokers.values()] == [url]


def answered(port: int, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> int | None:
    """The status of an answer; None where nothing listens, also not a while later."""
    for _ in range(20):  # some of its servers listen later than S3 does
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, target, body, headers)
            return connection.getresponse().status
        except ConnectionRefusedError:
            time.sleep(0.25)
        finally:
            connection.close()
    return None


def test_only_s3_reads_and_writes_objects_and_only_with_keys(own_s3: S3) -> None:
    """A page in a browser of this machine may send any of these requests."""
    import obstore

    own_s3.make_buckets(["bucket"])
    obstore.put(bucket(own_s3, "bucket"), "key", b"bytes", mode="create")
    form = {"Content-Type": "multipart/form-data; boundary=x", "Origin": "http://page.example"}
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nevil\r\n--x--\r\n'
    targets = ["/bucket/key", "/buckets/bucket/key", "/submit", "/dir/assign", "/vol/grow?count=1", "/1,01637037d6"]
    targets += ["/col/delete?collection=bucket", "/admin/assign_volume?volume=9"]
    for name, port in ports(own_s3.folder).items():
        for method, target in itertools.product(("GET", "POST", "PUT", "DELETE"), targets):
            status = answered(port, method, target, body if method in {"POST", "PUT"} else None, form)
            assert status is None or status >= 400, (name, method, target)
    assert bytes(obstore.get(bucket(own_s3, "bucket"), "key").bytes()) == b"bytes"
    assert (own_s3.folder / "security.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.long
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://page.example", "Content-Type": "text/plain"},
        {"Origin": "null", "Content-Type": "text/plain"},
        {"Origin": "http://page.example", "Content-Type": "application/json"},
        {"Host": "page.example", "Content-Type": "application/json"},
    ],
)
def test_a_page_in_a_browser_cannot_post_to_mlflow(mlflow_server: Server, headers: dict[str, str]) -> None:
    body = json.dumps({"name": uuid.uuid4().hex})

    def post(headers: dict[str, str]) -> int:
        connection = HTTPConnection(mlflow_server.url.removeprefix("http://"), timeout=LONG)
        connection.request("POST", "/api/2.0/mlflow/experiments/create", body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    assert post(headers) == 403
    assert post({"Content-Type": "application/json"}) == 200  # the name is free, and the request is a good one


def test_a_server_has_more_time_on_a_machine_with_more_work_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for load, times in ((0.0, 1.0), (2.0, 1.0), (7.0, 3.5)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert crowd() == times
