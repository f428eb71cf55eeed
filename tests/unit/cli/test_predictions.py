"""`flts predictions join` and `flts trace`, as people see them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.support.answered import Server, put_answers, put_batch
from tests.support.counted import requests
from tests.unit.cli.conftest import Flts

from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.ports import Store

WIDTH = 80


@pytest.fixture
def store(ran: Path) -> Store:
    """What a run leaves, with a champion."""
    return open_store((ran / ".flts/objects").as_uri())


@pytest.fixture
def asked(store: Store, folder: Path) -> list[str]:
    """The ids of two answers that are stored."""
    rows = pl.concat([pl.read_csv(folder / name, try_parse_dates=True) for name in ("load.csv", "load_test.csv")])
    server = Server(store)
    answers = [server.ask(rows[:end]) for end in (260, 280)]
    put_answers(store, *answers)
    rows.write_csv(folder / "truth.csv")
    return [one.answered.request_id for one in answers]


def test_a_join_shows_errors_coverage_and_skill_in_80_columns(
    flts: Flts, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    done = flts("predictions", "join", "--truth", "truth.csv")
    assert done.code == 0
    assert "2 requests of 'global' in 1 part\n" in done.out
    assert "80% intervals hold" in done.out
    assert "against seasonal_naive, season of 24 rows, on 6 of 6 cells" in done.out
    rows = [line.split() for line in done.out.splitlines() if line.startswith("load ")]
    assert [(row[1], row[2]) for row in rows] == [("all", "6"), ("1", "2"), ("2", "2"), ("3", "2")]
    assert max(map(len, done.out.splitlines())) <= WIDTH


def test_a_join_of_a_period_reads_only_its_days(
    flts: Flts, asked: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = (key for key in store.list("inference-logs/") if layout.inference_part(key))
    data, today = store.get(key) or b"", asked[0][:8]
    for day in ("20260101", "20260102"):
        store.create(layout.inference_log("global", day, "earlier"), data.replace(asked[0].encode(), day.encode()))
    whole = json.loads(flts("predictions", "join", "--truth", "truth.csv", "--json").out)
    assert list(whole["days"]) == ["20260101", "20260102", today]
    day = f"{today[:4]}-{today[4:6]}-{today[6:]}"
    for options, days in (
        (["--since", "2026-01-02"], ["20260102", today]),
        (["--until", "2026-01-01"], ["20260101"]),
        (["--since", "2026-01-02", "--until", "2026-01-02"], ["20260102"]),
    ):
        assert (
            list(json.loads(flts("predictions", "join", "--truth", "truth.csv", "--json", *options).out)["days"])
            == days
        )
    with requests(monkeypatch) as counted:
        flts("predictions", "join", "--truth", "truth.csv", "--since", day)
    for number in range(50):
        store.create(layout.inference_log("global", "20260103", f"part-{number}"), data)
    with requests(monkeypatch) as again:
        flts("predictions", "join", "--truth", "truth.csv", "--since", day)
    assert again == counted
    none = flts("predictions", "join", "--truth", "truth.csv", "--since", "2026-01-04", "--until", "2026-01-05")
    assert (none.code, "since 20260104 until 20260105" in none.err) == (2, True)
    assert flts("predictions", "join", "--truth", "truth.csv", "--since", "yesterday").code == 2


def test_a_join_is_one_json_document_and_is_stored_where_that_is_asked_for(
    flts: Flts, asked: list[str], store: Store
) -> None:
    done = flts("predictions", "join", "--truth", "truth.csv", "--json")
    assert json.loads(done.out)["errors"]["cells"] == 6
    assert store.get(layout.live("global")) is None
    flts("predictions", "join", "--truth", "truth.csv", "--write")
    assert json.loads(store.get(layout.live("global")) or b"")["errors"] == json.loads(done.out)["errors"]


def test_a_join_before_any_truth_says_what_it_waits_for(flts: Flts, asked: list[str], folder: Path) -> None:
    pl.read_csv(folder / "load.csv").write_csv(folder / "early.csv")
    done = flts("predictions", "join", "--truth", "early.csv")
    assert done.code == 0
    assert "all 6 cells: no logged forecast has truth yet" in done.out


def test_a_join_without_its_file_or_without_forecasts_ends_in_one_line(flts: Flts, store: Store) -> None:
    missing = flts("predictions", "join", "--truth", "none.csv")
    assert (missing.code, missing.error and missing.error.code) == (4, "file-missing")
    none = flts("predictions", "join", "--truth", "load_test.csv")
    assert (none.code, none.error and none.error.code) == (2, "no-predictions")
    assert none.err.splitlines()[0] == "scope: 'global', of flts.toml"
    assert len(none.err.splitlines()) == 2


def test_a_trace_shows_every_step_with_its_digest(flts: Flts, asked: list[str], store: Store) -> None:
    done = flts("trace", asked[1])
    assert done.code == 0
    steps = [line.split()[:2] for line in done.out.splitlines()[1:] if not line.startswith(" ")]
    assert steps == [[what, "ok"] for what in ("answer", "promotion", "decision", "bundle", "model", "data", "run")]
    document = json.loads(flts("trace", asked[0], "--json").out)
    assert document["request_id"] == asked[0]
    assert [step["state"] for step in document["steps"]] == ["ok"] * 7


def test_a_trace_of_a_batch_shows_how_many_forecasts_it_holds(flts: Flts, store: Store, folder: Path) -> None:
    rows = pl.read_csv(folder / "load_test.csv", try_parse_dates=True)
    request_id = put_batch(store, Server(store), rows)
    done = flts("trace", request_id)
    assert done.code == 0
    assert "forecasts " in done.out.splitlines()[0]


def test_a_trace_that_does_not_hold_ends_with_1(flts: Flts, asked: list[str], store: Store) -> None:
    (key,) = [key for key in store.list("runs/") if key.endswith("judge.json")]
    store.erase(key)
    done = flts("trace", asked[0])
    assert done.code == 1
    assert "run       NOT OK" in done.out


def test_an_unknown_id_ends_in_one_line(flts: Flts, store: Store) -> None:
    done = flts("trace", "nothing")
    assert (done.code, done.error and done.error.code) == (2, "request-id-invalid")
    assert len(done.err.splitlines()) == 1
