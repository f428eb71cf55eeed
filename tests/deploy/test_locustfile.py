"""deploy/locustfile.py under Locust, where `make load` has installed it."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import ROOT

LOCUST = ROOT / ".venv-load/bin/locust"
ROWS = "time,value\n2026-01-01T00:00:00Z,1\n2026-01-01T01:00:00Z,2\n"

pytestmark = pytest.mark.skipif(not LOCUST.exists(), reason="`make load` installs Locust in .venv-load")


@pytest.fixture
def closing() -> Iterator[str]:
    """A server that reads a request and closes without an answer, as one that was killed does."""

    def close_each() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=close_each)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def loaded(folder: Path, host: str, *options: str) -> subprocess.CompletedProcess[str]:
    rows = folder / "rows.csv"
    rows.write_text(ROWS)
    usual = ("--rows", str(rows), "--history", "2", "--token-file", "", "--rate", "10", "--seconds", "1")
    command = [str(LOCUST), "--locustfile", str(ROOT / "deploy/locustfile.py"), "--headless", "--only-summary"]
    return subprocess.run(
        [*command, "--host", host, *usual, *options], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_request_that_the_server_closes_without_an_answer_is_counted_as_failed(closing: str, tmp_path: Path) -> None:
    done = loaded(tmp_path, closing)
    assert done.returncode == 1
    assert re.search(r"POST +/predict +([0-9]+) +\1\(100.00%\)", done.stderr)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rows", "absent.csv"), "cannot read absent.csv: No such file or directory"),
        (("--token-file", "absent"), "cannot read absent: No such file or directory"),
        (("--rate", "0"), "--rate 0 --seconds 1: a rate is above 0"),
        (("--seconds=-1",), "--rate 10 --seconds -1: a rate is above 0, and seconds are not below"),
    ],
)
def test_what_cannot_be_sent_ends_it_with_the_reason(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = loaded(tmp_path, "http://127.0.0.1:9", *options)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
