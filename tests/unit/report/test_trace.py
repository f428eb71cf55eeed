"""A trace follows an answer to the rows of its model, and names the first object that is not as it was."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.support.answered import Server, put_answers, put_batch
from tests.support.experiments import small_spec
from tests.support.raising import raises
from tests.support.series import hourly, split, table
from tests.support.stored import copy

import flts
from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.errors import UsageError
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.contracts.request_ids import uuid7
from flts.promotion.log import read_log
from flts.report.trace import Trace, trace
from flts.settings import load_settings
from flts.wiring import open_store

SERIES = table(hourly(300))
STEPS = ["answer", "promotion", "decision", "bundle", "model", "data", "run"]


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """What a run leaves, with a champion in 'global'."""
    home = tmp_path_factory.mktemp("home")
    train, test = split(hourly(300), 60)
    flts.run(small_spec(), train=train, test=test, settings=load_settings(home=home, tracking="off"))
    return open_store((home / "objects").as_uri())


@pytest.fixture
def server(promoted: Store) -> Server:
    """Answers of that champion, in a store of its own."""
    store = memory_store()
    copy(promoted, store)
    return Server(store)


def answered(server: Server) -> str:
    """The id of an answer that is stored among others."""
    asked = [server.ask(SERIES[:end]) for end in (250, 260, 270)]
    put_answers(server.store, *asked)
    return asked[1].answered.request_id


def states(found: Trace) -> dict[str, bool]:
    return {step.what: step.state == "ok" for step in found.steps}


def test_every_step_of_an_answer_is_named_with_its_digest(server: Server) -> None:
    found = trace(server.store, answered(server))
    assert [step.what for step in found.steps] == STEPS
    assert found.intact
    assert all(step.key is not None and server.store.exists(step.key) for step in found.steps)
    assert all(step.sha256 is not None for step in found.steps)
    (entry,) = read_log(server.store, "global")
    by_name = {step.what: step for step in found.steps}
    assert by_name["promotion"].key == layout.log_entry("global", 1)
    assert by_name["decision"].sha256 == entry.decision_sha256
    assert by_name["bundle"].sha256 == entry.champion.bundle_sha256
    assert by_name["data"].said["data_hash"] == entry.champion.data_hash
    assert by_name["run"].said["run"] == 1


def test_a_batch_is_traced_as_a_request_is(server: Server) -> None:
    request_id = put_batch(server.store, server, SERIES)
    found = trace(server.store, request_id)
    assert found.intact
    assert len(found.lines) > 100
    assert {line.request_id for line in found.lines} == {request_id}


def test_an_answer_is_found_wherever_its_part_is_in_the_day(server: Server) -> None:
    first = answered(server)
    for _ in range(3):
        answered(server)
    day = first[:8]
    server.store.create(layout.inference_log("global", day, "notes"), b'{"of": "somebody"}\n')
    server.store.create(layout.inference_log("global", day, uuid7(1)), b"\n")
    assert trace(server.store, first).intact


def test_an_answer_that_is_stored_twice_is_one_answer(server: Server) -> None:
    asked = server.ask(SERIES)
    put_answers(server.store, asked, asked)
    assert trace(server.store, asked.answered.request_id).intact


def overwrite(store: Store, key: str, change: Callable[[bytes], bytes]) -> None:
    store.replace(key, change(store.get(key) or b""))


def flipped(data: bytes) -> bytes:
    """The same bytes but one digit."""
    at = next(index for index in range(len(data) // 2, len(data)) if data[index : index + 1].isdigit())
    return data[:at] + b"%d" % ((int(data[at : at + 1]) + 1) % 10) + data[at + 1 :]


def damaged(entry: LogEntry) -> dict[str, str]:
    """A stored object of each step, by the step that finds it damaged."""
    champion = entry.champion
    return {
        "decision": layout.decision("global", entry.decision_id),
        "bundle": layout.bundle(champion.bundle_sha256, "manifest.json"),
        "model": layout.model_result(champion.model_hash),
        "data": layout.train_rows(champion.data_hash),
        "run": layout.run_part(champion.config_hash, 1, "judge"),
    }


@pytest.mark.parametrize("step", ["decision", "bundle", "model", "data", "run"])
def test_an_object_that_is_gone_is_named_by_its_step_and_the_others_are_still_checked(
    step: str, server: Server
) -> None:
    request_id = answered(server)
    key = damaged(read_log(server.store, "global")[0])[step]
    server.store.erase(key)
    found = trace(server.store, request_id)
    assert [name for name, intact in states(found).items() if not intact] == [step]
    assert key in next(each for each in found.steps if each.what == step).state or step == "run"


@pytest.mark.parametrize("step", ["decision", "bundle", "data"])
def test_a_changed_byte_is_named_by_its_step(step: str, server: Server) -> None:
    request_id = answered(server)
    overwrite(server.store, damaged(read_log(server.store, "global")[0])[step], flipped)
    found = trace(server.store, request_id)
    assert [name for name, intact in states(found).items() if not intact] == [step]


@pytest.mark.parametrize(("step", "also"), [("model", []), ("data", ["run"])])
def test_a_changed_record_is_named_by_its_step_as_the_decision_knows_its_digest(
    step: str, also: list[str], server: Server
) -> None:
    """The run knows that of the description of the rows, too."""
    request_id = answered(server)
    champion = read_log(server.store, "global")[0].champion
    key = layout.model_result(champion.model_hash) if step == "model" else layout.meta(champion.data_hash)
    overwrite(server.store, key, lambda data: data + b"\n")
    assert [name for name, intact in states(trace(server.store, request_id)).items() if not intact] == [step, *also]


def test_a_log_that_was_replaced_under_the_same_number_is_noticed(server: Server) -> None:
    asked = server.ask(SERIES)
    key = put_answers(server.store, asked)
    line = json.loads(server.store.get(key) or b"")
    server.store.replace(key, json.dumps({**line, "model_hash": "0" * 64}).encode() + b"\n")
    found = trace(server.store, asked.answered.request_id)
    assert not states(found)["promotion"]
    assert "a person replaced it" in found.steps[1].state


def test_another_entry_of_the_same_model_under_the_same_number_is_noticed(server: Server) -> None:
    request_id = answered(server)
    key = layout.log_entry("global", 1)
    overwrite(server.store, key, lambda data: data.replace(b'"actor":"', b'"actor":"other '))
    found = trace(server.store, request_id)
    assert not states(found)["promotion"]
    assert f"{key} in {server.store.url} is damaged" in found.steps[1].state


def test_an_entry_that_was_taken_out_leaves_the_bundle_that_the_line_names(server: Server) -> None:
    request_id = answered(server)
    server.store.erase(layout.log_entry("global", 1))
    wrong = [name for name, intact in states(trace(server.store, request_id)).items() if not intact]
    assert wrong == ["promotion", "decision", "data", "run"]


def test_lines_that_say_different_things_under_one_id_are_noticed(server: Server) -> None:
    asked = server.ask(SERIES)
    key = put_answers(server.store, asked, asked)
    first, second = (server.store.get(key) or b"").splitlines()
    changed = json.dumps({**json.loads(second), "level": 0.5}).encode()
    server.store.replace(key, first + b"\n" + changed + b"\n")
    assert not states(trace(server.store, asked.answered.request_id))["answer"]


@pytest.mark.parametrize("text", ["", "x", "20260102", "20260102-north", "../../x"])
def test_a_text_that_is_no_id_is_refused(text: str, promoted: Store) -> None:
    with raises(UsageError, code="request-id-invalid", request_id=text):
        trace(promoted, text)


@pytest.mark.parametrize(
    "request_id", ["20260102-global-01a22b57-fc14-7c4a-9fff-93126606bc2f", "7f9c2ba4-e88f-4a7e-9a3f-1d2c3b4a5f6e"]
)
def test_an_answer_that_is_not_stored_is_refused_with_where_it_may_be(request_id: str, promoted: Store) -> None:
    with raises(UsageError, code="request-unknown", request_id=request_id):
        trace(promoted, request_id)
