"""The doctor finds each problem and says how to fix it, and reports no problem where there is none."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.support.stored import StoppedClock

from flts import wiring
from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts.errors import BackendUnavailable, DataError, MachineFailed, UsageError
from flts.contracts.messages import TOPICS
from flts.contracts.ports import Stored
from flts.doctor import bus, here, store
from flts.doctor.examine import examine
from flts.doctor.finding import Diagnosis, exit_code, ok, refused, warning, wrong
from flts.runner.services.letters import letters, replay, send_to_dead_letters, topic_of_letters
from flts.settings import Settings, load_settings
from flts.stack.shell import UNSET, variables
from flts.stack.up import State
from flts.wiring import SystemClock


class Wrong:
    """A store in memory with some answers replaced."""

    def __init__(self, **answers: Any) -> None:
        self._store, self._answers = memory_store(), answers
        self.url = "s3://tests"

    def __getattr__(self, name: str) -> Any:
        answer = self._answers.get(name)
        return getattr(self._store, name) if answer is None else answer


def in_store(clock: Any = None, **answers: Any) -> list[Diagnosis]:
    made: Any = Wrong(**answers)
    return list(store.examine(made, clock or SystemClock()))


def raising(error: Exception) -> Any:
    def raised(*_: Any) -> None:
        raise error

    return raised


def one(findings: Sequence[Diagnosis], state: str) -> Diagnosis:
    """The only finding of a state."""
    (only,) = [finding for finding in findings if finding.state == state]
    return only


def settings(tmp_path: Path, **values: Any) -> Settings:
    return load_settings(**{"home": tmp_path / ".flts", "tracking": "off"} | values)


# findings


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([ok("a", ""), warning("b", "", "")], 0),
        ([ok("a", ""), wrong("b", "", "")], 1),
        ([wrong("b", "", ""), refused("c", UsageError("no"), "")], 1),
        ([wrong("b", "", ""), refused("c", BackendUnavailable("away"), "")], 3),
    ],
)
def test_the_exit_code_tells_wrong_from_unreachable(findings: list[Diagnosis], code: int) -> None:
    assert exit_code(findings) == code


def test_a_finding_is_one_line_and_shows_no_password_of_a_url() -> None:
    found = ok("x", "postgresql://me:hush@host/db\n  and s3://k:hush@bucket/a 'http://u@h/'").found
    assert found == "postgresql://…@host/db and s3://…@bucket/a 'http://…@h/'"


# the store


def test_what_this_machine_lacks_says_itself_what_to_do() -> None:
    read_only = MachineFailed("the disk can only be read; mount it for writing", code="no-rights")
    found = in_store(create=raising(read_only))[-1]
    assert (found.state, found.mend) == ("wrong", "")


def test_a_store_in_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    findings = list(examine(settings(tmp_path, store=(tmp_path / "objects").as_uri()), ["ridge"]))
    assert [finding.state for finding in findings if finding.about == "store"] == ["wrong"]
    assert not (tmp_path / "objects").exists()


def test_a_working_store_is_ok_and_keeps_no_object_of_the_doctor() -> None:
    made = memory_store()
    findings = list(store.examine(made, SystemClock()))
    assert [finding.state for finding in findings] == ["ok"] * 4
    assert list(made.list("")) == []


def test_a_store_that_does_not_answer_is_unreachable_and_not_asked_again() -> None:
    asked = []

    def away(prefix: str) -> None:
        asked.append(prefix)
        raise BackendUnavailable("nobody answers")

    (found,) = in_store(list=away)
    assert (found.found, found.unreachable) == ("nobody answers", True)
    assert len(asked) == 1


def test_a_missing_bucket_is_named() -> None:
    def absent(prefix: str) -> Sequence[str]:
        if prefix.startswith("models/"):
            raise UsageError("cannot list: no such bucket")
        return []

    found = one(in_store(list=absent), "wrong")
    assert "'models'" in found.mend
    assert not found.unreachable


def test_a_reason_that_all_buckets_share_is_reported_once() -> None:
    (found,) = in_store(list=raising(UsageError("wrong credentials")))
    assert found.found == "wrong credentials"


@pytest.mark.parametrize("answer", [True, False])
def test_an_endpoint_that_ignores_create_only_is_named_as_unusable(answer: bool) -> None:
    found = one(in_store(create=lambda key, data: answer), "wrong")
    assert "does not enforce If-None-Match" in found.found
    assert "cannot be used" in found.mend


def test_an_endpoint_that_lets_the_last_of_two_multipart_uploads_win_gets_the_setting_to_change() -> None:
    async def takes(key: str, chunks: AsyncIterator[bytes], *, only_new: bool) -> str:
        async for _ in chunks:
            pass
        return "etag"

    found = one(in_store(upload=takes), "wrong")
    assert "2 of 2 multipart uploads of one new object succeeded" in found.found
    assert "AWS_COPY_IF_NOT_EXISTS" in found.mend


def test_a_missing_right_to_copy_is_named() -> None:
    async def refuses(*_: Any, **__: Any) -> None:
        raise UsageError("403")

    assert "let this user copy objects too" in one(in_store(upload=refuses), "wrong").mend


@pytest.mark.parametrize(("right", "doing"), [("create", "write"), ("get", "read"), ("delete", "delete")])
def test_a_missing_right_is_named(right: str, doing: str) -> None:
    found = one(in_store(**{right: raising(UsageError("403"))}), "wrong")
    assert f"tried to {doing} an object under dataset/" in found.mend


def test_an_object_that_survives_its_deletion_is_reported() -> None:
    async def nothing(key: str) -> None:
        return None

    assert "still there" in one(in_store(delete=nothing), "wrong").found


def test_an_object_that_cannot_be_read_after_its_write_is_reported() -> None:
    assert "does not return an object" in one(in_store(get=lambda key: None), "wrong").found


@pytest.mark.parametrize(("seconds", "way"), [(300, "300 s ahead of"), (-300, "300 s behind")])
def test_a_clock_skew_is_reported_with_the_difference(seconds: float, way: str) -> None:
    async def look(key: str) -> Stored:
        return Stored(key, 1, "", StoppedClock().now() + timedelta(seconds=seconds))

    assert way in one(in_store(StoppedClock(), look=look), "warning").found


# the bus and its services


def with_members(*groups: str) -> MemoryBus:
    made = MemoryBus()
    made.ensure([*TOPICS, *map(topic_of_letters, TOPICS)])
    for group in groups:
        made.subscribe([next(iter(TOPICS))], group)
    return made


ALL = ("train-ridge", "train-gru", "evaluate", "forecast")


def test_a_bus_with_all_services_running_is_ok() -> None:
    findings = list(bus.examine(with_members(*ALL), ["gru", "ridge"]))
    assert {finding.state for finding in findings} == {"ok"}
    assert {finding.about for finding in findings} == {"bus", *ALL}


@pytest.mark.parametrize(
    ("absent", "found", "mend"),
    [
        ("train-gru", "no trainer for 'gru' is running", "start `flts worker train --model gru`"),
        ("evaluate", "no service 'evaluate' is running", "start `flts worker evaluate`"),
        ("forecast", "no service 'forecast' is running", "start `flts worker forecast`"),
    ],
)
def test_a_service_that_is_not_running_is_named_with_the_command_that_starts_it(
    absent: str, found: str, mend: str
) -> None:
    made = with_members(*(group for group in ALL if group != absent))
    made.publish("training-data", "k", b"x")
    said = one(list(bus.examine(made, ["gru", "ridge"])), "wrong")
    assert said.found.startswith(found)
    assert said.mend == mend
    assert ("training-data: 1 not handled yet" in said.found) == (absent == "train-gru")


def test_missing_topics_are_named_and_partitions_counted() -> None:
    made = MemoryBus(3)
    made.ensure([next(iter(TOPICS))])
    findings = list(bus.examine(made, []))
    absent = next(finding for finding in findings if "missing topics" in finding.found)
    assert "inference-data" in absent.found
    assert "DLQ-training-data" in absent.found
    assert "training-data (3)" in next(finding for finding in findings if "partitions" in finding.found).found


def test_dead_letters_are_counted_until_they_are_replayed() -> None:
    made = with_members(*ALL)
    for value in (b"a", b"b"):
        made.publish("training-data", "k", value)
        send_to_dead_letters(made, made.records("training-data")[-1], DataError("no"), 1, "train-gru")
    replay(made, letters(made, "training-data")[0])
    said = one(list(bus.examine(made, ["ridge"])), "warning")
    assert said.found.startswith("training-data: 1 could not be handled")
    assert "flts dlq list --topic training-data" in said.mend


def test_a_bus_that_does_not_answer_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MemoryBus()
    monkeypatch.setattr(made, "describe", raising(BackendUnavailable("no broker answers")))
    (found,) = bus.examine(made, ["ridge"])
    assert (found.found, found.unreachable) == ("no broker answers", True)


def test_a_bus_that_fails_halfway_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_members(*ALL)
    monkeypatch.setattr(made, "lag", raising(BackendUnavailable("gone")))
    assert one(list(bus.examine(made, ["ridge"])), "wrong").unreachable


# this machine


def test_a_folder_of_another_version_is_named(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert one(list(here.folder(chosen)), "ok").found.endswith("the first `flts run` creates it")
    assert not chosen.home.exists()
    chosen.home.mkdir()
    (chosen.home / "VERSION").write_text("1\n")
    assert one(list(here.folder(chosen)), "ok").found.endswith("which this flts writes")
    (chosen.home / "VERSION").write_text("99\n")
    assert "newer format '99'" in one(list(here.folder(chosen)), "wrong").found


def test_a_folder_that_cannot_be_created_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (found,) = here.folder(settings(tmp_path, home=tmp_path / "file" / ".flts"))
    assert "cannot be created" in found.found


# the stack of `flts up`


def shell(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make this process what a shell is that has read the `env` of the stack in a folder; nothing answers there."""
    nothing = {"s3": "http://127.0.0.1:1", "bus": "kafka://127.0.0.1:1", "mlflow": "http://127.0.0.1:1"}
    for name, value in variables(folder, **nothing).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kept", [True, False])
def test_a_shell_that_points_at_an_ended_stack_is_told_so_and_nothing_about_its_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    folder = tmp_path / ".flts" / "stack"
    if kept:  # `flts down --delete` leaves no folder
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(State(bus="durable").model_dump_json())
    shell(monkeypatch, folder)
    findings = list(examine(load_settings(home=tmp_path / ".flts"), ["ridge"]))
    found = one(findings, "wrong")
    assert found.found == f"this shell points at the stack in {folder}, of which nothing runs"
    assert found.mend == f"`flts up` starts it again; or leave it with: {UNSET}"
    assert exit_code(findings) == 3
    assert not {"store", "bus", "mlflow"} & {finding.about for finding in findings}


def test_the_stack_of_another_folder_is_named_with_the_command_that_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(monkeypatch, tmp_path / "a b" / "stack")
    (found,) = here.stack(load_settings(home=tmp_path / ".flts"), os.environ)
    assert found.mend.startswith(f"`flts up --home '{tmp_path / 'a b'}'` starts it again")


def test_a_shell_that_left_the_stack_points_at_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell(monkeypatch, tmp_path)
    for name in UNSET.split()[1:]:
        monkeypatch.delenv(name)
    assert list(here.stack(load_settings(home=tmp_path / ".flts"), os.environ)) == []


def test_an_unreadable_or_empty_secret_is_reported_and_none_is_shown(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("hush")
    absent = settings(tmp_path, token_file=tmp_path / "absent", kafka_password_file=tmp_path / "full")
    assert "No such file" in one(list(here.secrets(absent)), "wrong").found
    empty = settings(tmp_path, kafka_password_file=tmp_path / "empty")
    assert one(list(here.secrets(empty)), "wrong").found == "kafka_password_file is empty"
    assert list(here.secrets(settings(tmp_path, token="hush"))) == []  # noqa: S106 - not a real one


@pytest.mark.parametrize(("elsewhere", "state"), [(True, "warning"), (False, "wrong")])
def test_a_model_whose_library_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, elsewhere: bool, state: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = one(list(here.extras(["gru", "ridge"], elsewhere=elsewhere)), state)
    assert "'gru' needs the extra 'torch'" in found.found
    assert found.mend.startswith("pip install 'flts[torch]'")


class _Server(BaseHTTPRequestHandler):
    """The part of an MLflow server that the doctor asks."""

    version = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.version.encode() if self.path == "/version" else b"OK")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("version", "state"), [("0.1.0", "warning"), ("", "ok")])
def test_the_version_of_an_mlflow_server_is_compared_with_the_one_installed(
    tmp_path: Path, version: str, state: str
) -> None:
    ours = here._installed()
    handler = type("Server", (_Server,), {"version": version or ours})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        chosen = settings(tmp_path, tracking="mlflow", mlflow_uri=uri)
        (found,) = here.tracking(chosen, shared=True)
        server.shutdown()
    assert found.state == state
    assert ours in found.found


def test_an_mlflow_server_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    chosen = settings(tmp_path, tracking="mlflow", mlflow_uri="http://127.0.0.1:1")
    (found,) = here.tracking(chosen, shared=True)
    assert found.unreachable


def test_a_tracking_file_is_ok_on_one_machine_and_a_warning_with_services(tmp_path: Path) -> None:
    chosen = settings(tmp_path, tracking="mlflow")
    assert [finding.state for finding in here.tracking(chosen, shared=False)] == ["ok"]
    assert [finding.state for finding in here.tracking(chosen, shared=True)] == ["warning"]


def test_without_mlflow_tracking_mlflow_is_wrong_and_auto_is_ok(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "find_spec", lambda name: None)
    assert [f.state for f in here.tracking(settings(tmp_path, tracking="mlflow"), shared=False)] == ["wrong"]
    assert [f.state for f in here.tracking(settings(tmp_path, tracking="auto"), shared=False)] == ["ok"]


# all of it


def test_one_machine_without_any_configuration_is_ok_and_nothing_is_created(tmp_path: Path) -> None:
    findings = list(examine(settings(tmp_path), ["ridge"]))
    assert {finding.state for finding in findings} == {"ok"}
    assert "not needed" in next(finding for finding in findings if finding.about == "bus").found
    assert list(tmp_path.iterdir()) == []


def test_the_store_of_one_machine_is_checked_once_it_exists(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    wiring.open_store(chosen.store_url)
    findings = list(examine(chosen, ["ridge"]))
    assert sum(finding.about == "store" for finding in findings) == 4


def test_a_bus_without_a_store_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.doctor.examine.open_bus", lambda _: with_members(*ALL))
    found = one(list(examine(settings(tmp_path, bus="kafka://127.0.0.1:1"), ["ridge"])), "wrong")
    assert "services share both" in found.found


def test_settings_with_which_no_backend_opens_are_findings(tmp_path: Path) -> None:
    chosen = settings(tmp_path, store="ftp://x", bus="kafka://h:1", kafka_options={"acks": "0"})
    said = {finding.about: finding.found for finding in examine(chosen, ["ridge"]) if finding.state == "wrong"}
    assert said.keys() == {"store", "bus"}
    assert "invalid store URL" in said["store"]
    assert "'acks' is fixed by FLTS" in said["bus"]


def test_a_half_made_mlflow_database_is_wrong_and_named(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    chosen = settings(tmp_path, tracking="mlflow")
    assert [found.state for found in here.tracking(chosen, shared=False)] == ["ok"]
    chosen.home.mkdir()
    (chosen.home / "mlflow.db").touch()
    (found,) = here.tracking(chosen, shared=False)
    assert (found.state, "half-made" in found.found, "delete this file" in found.mend) == ("wrong", True, True)
