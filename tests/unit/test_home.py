"""One folder, one format, one process that appends to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.contracts.errors import Locked, UsageError
from flts.home import VERSION, check_home, locked, open_home

HOLD = """
import sys, time
from pathlib import Path
from flts.home import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return open_home(tmp_path / "deep" / ".flts")


def holder(home: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its stdin closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_new_home_is_made_with_its_version_and_nothing_else(tmp_path: Path) -> None:
    home = open_home(tmp_path / "a" / "b")
    assert [path.name for path in home.iterdir()] == ["VERSION"]
    assert (home / "VERSION").read_text() == f"{VERSION}\n"


def test_a_home_is_opened_again_as_it_is(home: Path) -> None:
    before = (home / "VERSION").stat()
    assert open_home(home) == home
    assert (home / "VERSION").stat().st_mtime_ns == before.st_mtime_ns


def test_a_version_that_was_cut_off_while_it_was_written_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("")
    open_home(tmp_path)
    assert (tmp_path / "VERSION").read_text() == f"{VERSION}\n"


@pytest.mark.parametrize(
    ("found", "age"), [(str(int(VERSION) + 1), "newer"), ("0", "older or unknown"), ("x", "older or unknown")]
)
def test_a_home_of_another_format_is_refused_and_left_as_it_is(home: Path, found: str, age: str) -> None:
    (home / "VERSION").write_text(found)
    with raises(UsageError, code="home-format", folder=str(home), found=found, expected=VERSION) as raised:
        open_home(home)
    assert f"the {age} format '{found}'" in str(raised.value)
    assert (home / "VERSION").read_text() == found


def test_a_reader_refuses_another_format_and_accepts_a_folder_that_was_never_used(home: Path, tmp_path: Path) -> None:
    check_home(home)
    check_home(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    (home / "VERSION").write_text("0\n")
    with raises(UsageError, code="home-format", found="0"):
        check_home(home)


def test_a_lock_that_cannot_be_opened_is_refused(home: Path) -> None:
    (home / "lock").mkdir()
    with raises(UsageError, code="home-unusable", folder=str(home)), locked(home):
        pass


def test_a_home_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with raises(UsageError, code="home-unusable", folder=str(home)):
            open_home(home)


def test_a_second_holder_is_refused_with_the_name_of_the_first(home: Path) -> None:
    process = holder(home)
    name = f"process {process.pid}"
    with process, raises(Locked, code="locked", folder=str(home), found=name) as raised, locked(home):
        pass
    assert raised.value.exit_code == 2


def test_the_lock_is_free_after_its_holder_ended(home: Path) -> None:
    with holder(home):
        pass
    with locked(home):
        assert (home / "lock").read_text() == f"process {os.getpid()}"
    with locked(home):
        pass
    assert (home / "lock").read_text() == ""


def test_the_lock_is_free_after_its_holder_failed(home: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), locked(home):
        raise RuntimeError("inside")
    with locked(home):
        assert (home / "lock").read_text() == f"process {os.getpid()}"


def test_the_lock_is_free_after_its_holder_was_killed(home: Path) -> None:
    with holder(home) as process:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with locked(home):
            assert (home / "lock").read_text() == f"process {os.getpid()}"


def test_waiting_takes_the_lock_once_the_holder_lets_it_go(home: Path) -> None:
    order: list[str] = []
    tried = threading.Event()

    def wait() -> None:
        tried.set()
        with locked(home, wait=True):
            order.append("second")

    with locked(home):
        second = threading.Thread(target=wait)
        second.start()
        tried.wait()
        order.append("first")
    second.join()
    assert order == ["first", "second"]
