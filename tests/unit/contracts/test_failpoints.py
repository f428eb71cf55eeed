"""An armed failpoint ends the process, or raises, exactly at its name and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flts.contracts.failpoints import ENV, arm, failpoint

TWO_PASSAGES = """
from flts.contracts.failpoints import failpoint
print("start", flush=True)
failpoint("other")
failpoint("here")
print("once", flush=True)
failpoint("here")
print("end", flush=True)
"""


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def run(armed: str) -> subprocess.CompletedProcess[str]:
    """A process that passes `here` twice."""
    return subprocess.run(
        [sys.executable, "-c", TWO_PASSAGES],
        env={**os.environ, ENV: armed},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("action", "number"), [("kill", signal.SIGKILL), ("term", signal.SIGTERM), ("int", signal.SIGINT)]
)
def test_an_armed_point_ends_the_process_with_its_signal(action: str, number: signal.Signals) -> None:
    ended = run(f"here={action}")
    assert (ended.returncode, ended.stdout) == (-number, "start\n")


@pytest.mark.parametrize(
    ("action", "number"), [("kill", signal.SIGKILL), ("term", signal.SIGTERM), ("int", signal.SIGINT)]
)
def test_an_armed_point_in_a_child_ends_the_parent_and_waits(action: str, number: signal.Signals) -> None:
    parent = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE).wait()\n"
    )
    child = (
        "import os, sys, threading\n"
        "threading.Thread(target=lambda: (sys.stdin.buffer.raw.read(1), os._exit(0))).start()\n" + TWO_PASSAGES
    )
    ended = subprocess.run(
        [sys.executable, "-c", parent, child],
        env={**os.environ, ENV: f"here=parent-{action}"},
        capture_output=True,  # waits for the end of the child too
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (-number, "start\n")


def test_an_armed_point_stops_the_process_until_it_is_continued() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TWO_PASSAGES], env={**os.environ, ENV: "here=stop"}, stdout=subprocess.PIPE, text=True
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.communicate()[0] == "start\nonce\nend\n"


def test_only_the_armed_passage_acts() -> None:
    ended = run("here=kill@2")
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "start\nonce\n")


@pytest.mark.parametrize("armed", ["", "elsewhere=kill", "here=kill@3"])
def test_a_point_that_is_not_armed_or_not_reached_does_nothing(armed: str) -> None:
    ended = run(armed)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "start\nonce\nend\n", "")


def test_an_armed_error_is_raised_once_and_names_the_point() -> None:
    arm("here=error")
    failpoint("there")
    with pytest.raises(OSError, match="failpoint here"):
        failpoint("here")
    failpoint("here")


def test_an_armed_error_waits_for_its_passage() -> None:
    arm("here=error@3")
    failpoint("here")
    failpoint("here")
    with pytest.raises(OSError, match="failpoint here"):
        failpoint("here")


def test_arming_replaces_the_points_armed_before() -> None:
    arm("here=error")
    arm(" there=error , also=error,")
    failpoint("here")
    for name in ("there", "also"):
        with pytest.raises(OSError, match=f"failpoint {name}"):
            failpoint(name)


@pytest.mark.parametrize(
    "text", ["here", "here=", "here=explode", "here=parent-error", "here=parent-stop", "=", "here=kill,there"]
)
def test_a_point_without_an_action_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid action"):
        arm(text)
