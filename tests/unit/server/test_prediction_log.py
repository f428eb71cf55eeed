"""Every answer becomes a line in the store, whatever happens to the store, and no request waits for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs
from tests.support.answered import Asked, Server
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import hourly, table
from tests.support.services import LONG, wait_until
from tests.support.stored import chain, contents, fit, promoted, put_log

from flts.backends.store import memory_store
from flts.contracts.canonical import digest
from flts.contracts.errors import BackendUnavailable
from flts.contracts.layout import inference_part
from flts.contracts.listing import Listed
from flts.contracts.ports import Store
from flts.contracts.records.answer import LINES, AnswerLine
from flts.contracts.request_ids import parse_request_id
from flts.preprocess.grid import Grid
from flts.promotion.log import next_entry
from flts.server import prediction_log
from flts.server.prediction_log import PredictionLog
from flts.server.spool import Spool
from flts.spec.steps import Step

HISTORY = table(hourly(280))
OpenLog = Callable[..., PredictionLog]


class Away(Listed):
    """A store that does not answer while it is told so; the calls that it then gets are counted."""

    def __init__(self, store: Store) -> None:
        self._store, self.url = store, store.url
        self.away, self.calls = True, 0
        self.hang: threading.Event | None = None

    def get(self, key: str) -> bytes | None:
        return self._store.get(key)

    def create(self, key: str, data: bytes) -> bool:
        self.calls += 1
        if self.hang is not None:
            self.hang.wait()
        if self.away:
            raise BackendUnavailable("the store does not answer")
        return self._store.create(key, data)

    def replace(self, key: str, data: bytes) -> None:
        self._store.replace(key, data)

    def erase(self, key: str) -> None:
        self._store.erase(key)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def list(self, prefix: str) -> Sequence[str]:
        return self._store.list(prefix)


@pytest.fixture(scope="module")
def server() -> Server:
    """Answers with a ridge that was promoted in scope 'north'."""
    experiment, store = small_experiment(small_spec())
    bundle = fit(store, experiment).bundle_sha256
    champion = promoted("ridge", bundle_sha256=bundle)
    put_log(
        store, [next_entry(chain([]), "north", "promote", champion, digest("d"), "tests", "2026-01-02T03:04:05+00:00")]
    )
    return Server(store, "north")


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[OpenLog]:
    """Starts logs that share a folder; closes those that a test has not closed."""
    with ExitStack() as opened:

        def start(store: Store, *, rows: bool = False, part_bytes: int = 1, limit: int = 2**30) -> PredictionLog:
            spool = Spool(tmp_path / "spool", limit, part_bytes=part_bytes)
            log = PredictionLog(store, spool, rows=rows)
            log.start()
            opened.callback(log.close, LONG)
            return log

        yield start


def say(log: PredictionLog, asked: Asked, **more: Any) -> str:
    log.record(asked.answered, asked.level, **more)
    return asked.answered.request_id


def lines(store: Store) -> list[AnswerLine]:
    """Every stored line, in the order of the parts."""
    found = []
    for key, data in contents(store, "inference-logs/").items():
        named = inference_part(key)
        assert named is not None
        for text in data.splitlines():
            line = LINES.validate_json(text)
            assert isinstance(line, AnswerLine)
            asked = parse_request_id(line.request_id)
            assert asked is not None
            assert (asked.scope, asked.day) == (named.scope, named.day)
            found.append(line)
    return found


def test_a_line_says_what_was_answered_by_which_model_to_whom(server: Server, open_log: OpenLog) -> None:
    store = memory_store()
    log, asked = open_log(store), server.ask(HISTORY, 0.9)
    say(log, asked, token="nightly", caller_id="order-7")  # noqa: S106 - the name of a token
    log.close(LONG)
    (line,) = lines(store)
    made, champion = asked.answered.answer, server.champion
    assert (line.request_id, line.token, line.caller_id) == (asked.answered.request_id, "nightly", "order-7")
    assert (line.promotion, line.model_type, line.model_hash) == (1, "RIDGE", champion.entry.champion.model_hash)
    assert (line.bundle_sha256, line.entry_sha256) == (champion.bundle.sha256, asked.answered.served.entry_sha256)
    assert (line.level, line.interval, line.targets) == (0.9, made.interval, ["load"])
    assert line.mean == made.mean.tolist()
    assert (line.lower, line.upper) == (made.lower.tolist(), made.upper.tolist())
    assert [f"{np.datetime64(int(time), 's')}Z" for time in made.times // 10**9] == line.times
    assert line.origin == f"{HISTORY['time'][-1]:%Y-%m-%dT%H:%M:%S}Z"
    assert line.history is None


def test_with_rows_a_line_holds_a_history_that_gives_the_same_answer(server: Server, open_log: OpenLog) -> None:
    store, history = memory_store(), HISTORY.with_columns(wind=HISTORY["wind"].scatter(279, None))
    log, asked = open_log(store, rows=True), server.ask(history)
    say(log, asked, rows=server.rows(history))
    log.close(LONG)
    (line,) = lines(store)
    assert line.history is not None
    assert line.history.keys() == {"time", "load", "wind"}
    assert len(line.history["time"]) == server.champion.bundle.rows_used
    assert line.history["wind"][-1] is None
    again = server.champion.answer(line.history)
    assert again.mean.tolist() == line.mean
    assert again.lower.tolist() == line.lower


def test_rows_are_not_kept_where_only_forecasts_are_asked_for(server: Server, open_log: OpenLog) -> None:
    store = memory_store()
    log = open_log(store)
    say(log, server.ask(HISTORY), rows=server.rows(HISTORY))
    log.close(LONG)
    assert lines(store)[0].history is None


def test_lines_are_stored_while_the_server_runs(server: Server, open_log: OpenLog) -> None:
    store = memory_store()
    log = open_log(store)
    ids = [say(log, server.ask(HISTORY)) for _ in range(3)]
    wait_until(lambda: len(lines(store)) == 3, "three lines")
    assert [line.request_id for line in lines(store)] == ids
    assert (log.state().lines, log.state().dropped, log.state().spooled_bytes) == (3, {}, 0)


def test_a_store_that_is_away_costs_no_line_and_is_told_once(server: Server, open_log: OpenLog) -> None:
    store, below = Away(memory := memory_store()), memory
    with capture_logs() as logged:
        log = open_log(store)
        ids = [say(log, server.ask(HISTORY))]
        wait_until(lambda: store.calls >= 2, "a second attempt")
        ids.append(say(log, server.ask(HISTORY)))
        state = log.state()
        assert state.behind_since is not None
        assert state.reason == "the store does not answer"
        store.away = False
        wait_until(lambda: len(lines(below)) == 2, "both lines")
        log.close(LONG)
    assert [line.request_id for line in lines(below)] == ids
    names = [event["event"] for event in logged]
    assert names.count("prediction_log_behind") == 1
    assert names.count("prediction_log_caught_up") == 1
    assert log.state().behind_since is None


def test_a_store_that_hangs_holds_up_neither_an_answer_nor_the_end(server: Server, open_log: OpenLog) -> None:
    store, below = Away(memory := memory_store()), memory
    store.away, store.hang = False, threading.Event()
    log = open_log(store)
    ids = [say(log, server.ask(HISTORY)) for _ in range(2)]
    wait_until(lambda: store.calls == 1, "an upload")
    log.close(0.0)
    assert lines(below) == []
    heir = open_log(below)
    wait_until(lambda: len(lines(below)) == 2, "the lines that the first one left")
    store.hang.set()
    heir.close(LONG)
    assert [line.request_id for line in lines(below)] == ids


def test_the_end_stores_what_was_answered_just_before(server: Server, open_log: OpenLog) -> None:
    store = memory_store()
    log = open_log(store, part_bytes=2**20)
    ids = [say(log, server.ask(HISTORY)) for _ in range(5)]
    log.close(LONG)
    assert [line.request_id for line in lines(store)] == ids
    assert len(contents(store, "inference-logs/")) == 1


def test_a_process_that_ends_between_line_and_store_leaves_each_line_once(
    server: Server, open_log: OpenLog, tmp_path: Path
) -> None:
    store = Away(memory := memory_store())
    log = open_log(store)
    ids = [say(log, server.ask(HISTORY)) for _ in range(2)]
    wait_until(lambda: log.state().lines == 2 and store.calls > 0, "the lines on the disk")
    log.close(0.0)
    # as after an upload whose answer was lost: the object is there, and so is the file
    file = min((tmp_path / "spool").glob("*/north/*/*.jsonl"), key=lambda path: path.name)
    memory.create(f"inference-logs/north/{file.parent.name}/{file.name}", file.read_bytes())
    heir = open_log(memory)
    wait_until(lambda: heir.state().spooled_bytes == 0 and len(lines(memory)) == 2, "both lines")
    assert [line.request_id for line in lines(memory)] == ids


def test_a_part_whose_name_holds_other_bytes_is_stored_under_another_one(
    server: Server, open_log: OpenLog, tmp_path: Path
) -> None:
    store = Away(memory := memory_store())
    log = open_log(store)
    asked = say(log, server.ask(HISTORY))
    wait_until(lambda: store.calls > 0, "an attempt")
    log.close(0.0)
    (file,) = (tmp_path / "spool").glob("*/north/*/*.jsonl")
    key = f"inference-logs/north/{file.parent.name}/{file.name}"
    memory.create(key, b"other\n")
    heir = open_log(memory)
    wait_until(lambda: len(contents(memory, "inference-logs/")) == 2, "a second part")
    heir.close(LONG)
    second = contents(memory, "inference-logs/")
    assert second.pop(key) == b"other\n"
    assert [json.loads(data)["request_id"] for data in second.values()] == [asked]


def test_what_the_queue_cannot_take_is_counted_and_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = server.ask(HISTORY)
    size = len(prediction_log.line(asked.answered, asked.level))
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 2 * size + size // 2)
    store = memory_store()
    log = PredictionLog(store, Spool(tmp_path / "spool", 2**30))
    for _ in range(5):
        say(log, asked)
    with capture_logs() as logged:
        log.start()
        log.close(LONG)
    assert log.state().dropped == {"queue-full": 3}
    assert len(lines(store)) == 2
    assert [(event["reason"], event["count"]) for event in logged if event["event"] == "predictions_dropped"] == [
        ("queue-full", 3)
    ]


def test_an_answer_that_cannot_be_written_is_counted_and_the_next_one_is_kept(
    server: Server, open_log: OpenLog
) -> None:
    store = memory_store()
    log = open_log(store)
    say(log, server.ask(HISTORY, request_id="\ud800"))
    kept = say(log, server.ask(HISTORY))
    log.close(LONG)
    assert log.state().dropped == {"error": 1}
    assert [line.request_id for line in lines(store)] == [kept]


def test_the_metrics_say_how_the_log_does(server: Server, open_log: OpenLog) -> None:
    log, registry = open_log(memory_store()), CollectorRegistry()
    registry.register(log)
    say(log, server.ask(HISTORY))
    say(log, server.ask(HISTORY, request_id="\ud800"))
    log.close(LONG)
    page = generate_latest(registry).decode()
    for line in (
        "flts_serve_log_lines_total 1.0",
        "flts_serve_log_parts_total 1.0",
        "flts_serve_log_spooled_bytes 0.0",
        "flts_serve_log_behind_seconds 0.0",
        'flts_serve_log_dropped_total{reason="error"} 1.0',
        'flts_serve_log_dropped_total{reason="queue-full"} 0.0',
    ):
        assert line in page


@pytest.mark.parametrize(
    ("step", "local", "times"),
    [
        ("1h", False, ["2018-03-25T00:00:00Z", "2018-03-25T01:00:00Z"]),
        ("1d", True, ["2018-03-24T23:00:00Z", "2018-03-25T22:00:00Z"]),  # the day that has 23 hours in Madrid
        ("1mo", True, ["2018-02-28T23:00:00Z", "2018-03-31T22:00:00Z"]),
    ],
)
def test_the_origin_of_a_line_is_one_step_of_the_clock_before_its_first_time(
    step: str, local: bool, times: list[str]
) -> None:
    grid = Grid(Step.parse(step), "Europe/Madrid", local)
    origin, first = np.array([time[:-1] for time in times], dtype="datetime64[ns]").view(np.int64).tolist()
    before = prediction_log._before(grid, first)
    assert (before, prediction_log._moment(before)) == (origin, times[0])
    assert grid.after(np.array([before]), 1)[0].tolist() == [first]
