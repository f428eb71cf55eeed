"""The progress of a run: a live table that fits a terminal, plain lines in a pipe, nothing for a program."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from rich.console import Console

from flts.contracts.errors import Interrupted
from flts.contracts.messages import ModelTraining
from flts.runner.progress import LiveTable, PlainLines, reporter
from flts.runner.reporter import Estimated


def ended(status: Literal["SUCCESS", "FAILED"], error: str | None = None) -> ModelTraining:
    return ModelTraining(
        ts=datetime.now(UTC),
        identifier="global",
        config_hash="c" * 64,
        data_hash="d" * 64,
        run=1,
        model="gru",
        model_hash="e" * 64,
        model_type="GRU",
        status=status,
        duration_ms=1500,
        error=error,
    )


def screen(table: LiveTable, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table.shown.get_renderable())
    return console.export_text().splitlines()


def test_the_live_table_shows_stage_state_progress_and_time_to_go() -> None:
    now = [100.0]
    table = LiveTable(["ridge", "gru"], lambda: now[0])
    table.stage("preprocess", "running")
    table.stage("preprocess", "done", "240 train rows")
    gru = table.model("gru")
    gru.phase("fit")
    for epoch in (1, 2):
        now[0] += 60.0
        gru.epoch(epoch, 4, 0.5, 0.25)
    rows = {line.split()[0]: line for line in screen(table)}
    assert list(rows) == ["preprocess", "ridge", "gru", "evaluate"]
    assert "done" in rows["preprocess"]
    assert "240 train rows" in rows["preprocess"]
    assert "waiting" in rows["ridge"]
    assert rows["gru"].split()[1:4] == ["fit", "0:02:00", "0:02:00"]
    assert "epoch 2/4, validation loss 0.25" in rows["gru"]


def test_a_reason_is_cut_off_where_a_terminal_ends_and_its_brackets_stay() -> None:
    table = LiveTable(["gru"])
    table.ended("gru", ended("FAILED", "TrainingFailed: look at [evaluate] " + 20 * "and on "))
    (row,) = (line for line in screen(table) if line.startswith("gru"))
    assert len(row) <= 80
    assert "no result" in row
    assert "[evaluate]" in row
    assert row.rstrip().endswith("…")


def test_a_model_that_ended_keeps_its_last_detail() -> None:
    table = LiveTable(["gru"])
    table.model("gru").phase("fit")
    table.model("gru").epoch(4, 4, 0.5, 0.25)
    table.ended("gru", ended("SUCCESS"))
    (row,) = (line for line in screen(table) if line.startswith("gru"))
    assert "done" in row
    assert "epoch 4/4" in row


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(["gru"], quiet=False) as shown:
        assert isinstance(shown, PlainLines)
        shown.stage("preprocess", "running")
        shown.stage("preprocess", "done", "240 train rows")
        shown.model("gru").phase("fit")
        shown.model("gru").phase("validate")
        shown.model("gru").epoch(1, 4, 0.5, 0.25)
        shown.ended("gru", ended("SUCCESS"))
    lines = [line.split("s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "preprocess: done, 240 train rows",
        "gru: fit",
        "gru: epoch 1/4, train loss 0.5, validation loss 0.25",
        "gru: done in 1.5 s",
    ]


def test_a_terminal_gets_the_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with reporter([], quiet=False) as shown:
        assert isinstance(shown, LiveTable)


def outcome(*places: str) -> Any:
    return SimpleNamespace(places=dict.fromkeys(places, ""))


def test_a_result_is_printed_below_the_table_which_ends_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    shown: list[tuple[Any, bool]] = []

    def board(result: Any) -> None:
        shown.append((result, table.shown.live.is_started))

    with reporter(["gru"], quiet=False, board=board) as found:
        assert isinstance(found, LiveTable)
        table = found
        table.judged(outcome("store", "mlflow"))
    assert shown == [(outcome("store", "mlflow"), False)]
    assert "MLflow: runs and pictures" in err.getvalue()


@pytest.mark.parametrize("quiet", [False, True])
def test_a_pipe_and_a_program_get_the_result_when_it_is_there(quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Flushed()
    monkeypatch.setattr(sys, "stdout", out)
    with reporter(["gru"], quiet=quiet, board=lambda result: print("the board")) as shown:
        shown.judged(outcome("mlflow"))
        assert (out.getvalue(), out.flushed) == ("the board\n", len("the board\n"))


class Flushed(io.StringIO):
    """Knows how much a reader at the other end of a pipe would have."""

    flushed = 0

    def flush(self) -> None:
        self.flushed = len(self.getvalue())


def test_a_program_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(["gru"], quiet=True) as shown:
        shown.stage("preprocess", "done", "240 train rows")
        shown.model("gru").epoch(1, 4, 0.5, 0.25)
        shown.ended("gru", ended("SUCCESS"))
    assert capsys.readouterr().out == ""


HOURS = {"gru": 10800.0, "ridge": 5.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_estimates_are_lines_in_a_pipe_and_details_in_the_live_table(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines().expect(Estimated({"gru": 600.0, "ridge": 5.0}, limit=60.0))
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("estimated, of CPU: gru 10 min, ridge 5 s")
    assert said[1].endswith(
        "a fit is ended after 60 s, and gru may take longer: FLTS_TRAIN_TIMEOUT=1200 gives up to 20 min"
    )
    table = LiveTable(["gru"])
    table.expect(Estimated({"gru": 600.0}))
    assert "about 10 min of CPU" in "".join(screen(table))


def test_a_search_says_how_many_fits_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines().expect(Estimated({"gru": 600.0}, ["drift"], {"gru": 4, "drift": 2}))
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("a grid each: gru 4 fits, drift 2 fits")
    assert said[1].endswith("estimated, of CPU: gru 10 min")
    table = LiveTable(["gru", "drift"])
    table.expect(Estimated({"gru": 600.0}, ["drift"], {"gru": 4, "drift": 2}))
    shown = "".join(screen(table))
    assert "4 fits, about 10 min of CPU" in shown
    assert "2 fits" in shown


@pytest.mark.parametrize("answer", ["y\n", "n\n", ""])
def test_a_run_of_hours_asks_where_stdin_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with reporter(["gru", "ridge"], quiet=False, yes=False) as shown:
        if answer == "y\n":
            shown.expect(Estimated(HOURS))
        else:
            with pytest.raises(Interrupted, match="nothing was started"):
                shown.expect(Estimated(HOURS))
    said = capsys.readouterr().out
    assert "without gru about 5 s: --models ridge" in said
    assert said.endswith("start it? [y/N] ")


@pytest.mark.parametrize(("stdin", "yes"), [(Terminal("n"), True), (io.StringIO("n"), False), (None, False)])
def test_nothing_waits_in_a_pipe_or_where_yes_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stdin: io.StringIO | None, yes: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with reporter(["gru", "ridge"], quiet=False, yes=yes) as shown:
        shown.expect(Estimated(HOURS))
    said = capsys.readouterr().out
    assert "this run takes about 3 h of CPU" in said
    assert "start it?" not in said
