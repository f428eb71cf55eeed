"""A command as a process ends with its own code, whatever libraries do at the end of an interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import atexit, sys, threading, time

class Kept:
    def __del__(self):
        print("taken apart", flush=True)

kept = Kept()
sys.argv = ["flts", *sys.argv[1:]]
from flts.__main__ import program
import flts.cli.main as cli
called = cli.main

def main():
    threading.Thread(target=lambda: (time.sleep(0.2), print("joined"))).start()
    atexit.register(print, "registered")
    called()

cli.main = main
program()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["runs", "nothing"], 2)])
def test_a_command_ends_with_its_code_after_its_threads_and_before_the_interpreter(
    arguments: list[str], code: int
) -> None:
    ended = run(*arguments)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout.splitlines()[-2:] == ["joined", "registered"]
    assert ended.stderr.startswith("error: ") == (code == 2)


@pytest.mark.slow
def test_output_that_no_disk_takes_is_no_success(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "flts", "config", "schema"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode != 0
    assert "No space left" in ended.stderr
