"""Ctrl-C and SIGTERM end a run at once, with its children, and lose nothing that was finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.children import carrying
from tests.unit.cli.conftest import Flts

pytestmark = pytest.mark.slow

SLOW = ["--models", "ridge,gru", "--set", "models.gru.epochs=100000", "--set", "train.patience=100000"]


def running(marker: str) -> list[str]:
    """Processes of flts.runner.child that carry this value of FLTS_ENVIRONMENT."""
    return [command for command in carrying(f"FLTS_ENVIRONMENT={marker}") if "flts.runner.child" in command]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_leaves_no_child_and_can_be_run_again(
    flts: Flts, folder: Path, number: signal.Signals
) -> None:
    pytest.importorskip("torch")
    marker = f"stop-{os.getpid()}-{int(number)}"
    with subprocess.Popen(
        [sys.executable, "-m", "flts", "run", *SLOW],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"FLTS_ENVIRONMENT": marker},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "gru: epoch 1/" in line:
                break
        assert running(marker)
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert running(marker) == []
    assert flts("run").code == 0
