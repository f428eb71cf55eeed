"""A server that is killed loses what it answered at the very end; the next one stores all that it had written."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from tests.support.gateways import Running, running
from tests.support.points import SIDES
from tests.support.services import LONG, wait_until
from tests.support.stored import contents

from flts.backends.store import open_store
from flts.contracts.failpoints import ENV
from flts.contracts.ports import Store

pytestmark = pytest.mark.slow

LAST = 20
"""Answers that are given just before the end, within the time that may be lost."""


class Serving:
    """A server in its own process, ready."""

    def __init__(self, server: Running) -> None:
        self.process, self.lines, self._server = server.process, server.lines, server
        wait_until(lambda: server.ask("GET", "/readyz")[0] == 200, "the model")

    def predict(self, history: dict[str, list[object]]) -> str:
        """The id of an answer."""
        status, answer = self._server.ask("POST", "/predict", json.dumps({"history": history}))
        assert status == 200, answer
        return str(json.loads(answer)["request_id"])


@contextmanager
def serving(folder: Path, failpoints: str = "") -> Iterator[Serving]:
    """`flts serve` on what lies in the folder; killed at the end where it still runs."""
    with running(folder, command="serve", **{ENV: failpoints}) as server:
        yield Serving(server)


@pytest.fixture
def folder(served_folder: Path) -> Path:
    return served_folder


@pytest.fixture
def history(folder: Path) -> dict[str, list[object]]:
    return pl.read_csv(folder / "load_test.csv").to_dict(as_series=False)


def stored_ids(store: Store) -> list[str]:
    """The id of every stored line."""
    parts = [data for key, data in contents(store, "inference-logs/").items() if key.endswith(".jsonl")]
    return [json.loads(line)["request_id"] for data in parts for line in data.splitlines()]


def spooled_lines(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in (folder / ".flts/spool").glob("*/*/*/*.jsonl"))


def test_what_was_answered_before_the_last_moment_outlives_a_kill(
    folder: Path, history: dict[str, list[object]]
) -> None:
    store = open_store((folder / ".flts/objects").as_uri())
    before = set(stored_ids(store))
    with serving(folder) as server:
        safe = [server.predict(history) for _ in range(10)]
        wait_until(lambda: spooled_lines(folder) == 10, "ten lines on the disk")
        last = [server.predict(history) for _ in range(LAST)]
        server.process.kill()
    with serving(folder) as heir:
        wait_until(lambda: set(safe) <= set(stored_ids(store)), "what the killed server left")
        heir.process.send_signal(signal.SIGTERM)
        assert heir.process.wait(LONG) == 0
    found = [request_id for request_id in stored_ids(store) if request_id not in before]
    assert set(safe) <= set(found) <= {*safe, *last}
    assert len(found) == len(set(found))


def test_a_server_that_is_asked_to_stop_stores_all_that_it_answered(
    folder: Path, history: dict[str, list[object]]
) -> None:
    store = open_store((folder / ".flts/objects").as_uri())
    with serving(folder) as server:
        asked = [server.predict(history) for _ in range(5)]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LONG) == 0
    assert [line["event"] for line in server.lines()][-6:] == [*["forecast_served"] * 5, "service_stopped"]
    assert set(asked) <= set(stored_ids(store))
    assert spooled_lines(folder) == 0


@pytest.mark.parametrize("name", ["spool.lines", "spool.part", "spool.forget"])
@pytest.mark.parametrize("side", SIDES)
def test_a_server_that_is_killed_at_a_write_stores_each_line_once_in_the_end(
    name: str, side: str, folder: Path, history: dict[str, list[object]]
) -> None:
    store = open_store((folder / ".flts/objects").as_uri())
    with serving(folder, f"{name}.{side}=kill") as server:
        asked = server.predict(history)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LONG) == -signal.SIGKILL
    with serving(folder) as heir:
        wait_until(lambda: spooled_lines(folder) == 0, "an empty spool")
        heir.process.send_signal(signal.SIGTERM)
        assert heir.process.wait(LONG) == 0
    written = f"{name}.{side}" != "spool.lines.before"
    assert stored_ids(store).count(asked) == int(written)
