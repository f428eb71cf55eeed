"""The command line as people see it: an exit code, stdout and stderr."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.experiments import write_experiment

from flts.contracts.errors import FltsError

Flts = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """The result of a call of the command line."""

    code: int
    out: str
    err: str
    error: FltsError | None = None
    """The error behind the message on stderr."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with flts.toml, load.csv and load_test.csv; MLflow off, its tests are elsewhere."""
    write_experiment(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLTS_TRACKING", "off")
    return tmp_path


@pytest.fixture
def ran(folder: Path, promoted_folder: Path) -> Path:
    """The working directory after `flts run`."""
    shutil.copytree(promoted_folder / ".flts", folder / ".flts")
    return folder


@pytest.fixture
def flts(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flts]:
    """Call the command line in this process."""
    from flts.cli import main as entry

    raised: list[FltsError] = []
    call_command = entry._call

    def remembering() -> int:
        try:
            return call_command()
        except FltsError as error:
            raised.append(error)
            raise

    monkeypatch.setattr(entry, "_call", remembering)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        raised.clear()
        monkeypatch.setattr(sys, "argv", ["flts", *arguments])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        shown = capfd.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, shown.out, shown.err, raised[0] if raised else None)

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
