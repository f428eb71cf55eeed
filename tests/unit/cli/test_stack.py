"""`flts down` in a shell that has read the `env` of the stack."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Flts

from flts.stack.shell import UNSET, variables


@pytest.mark.parametrize("own", [True, False])
def test_down_says_how_this_shell_leaves_the_stack(
    flts: Flts, folder: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    stack = folder / ".flts" / "stack"
    stack.mkdir(parents=True)
    for name, value in variables(stack if own else folder, s3="", bus="kafka://127.0.0.1:1", mlflow="").items():
        monkeypatch.setenv(name, value)
    said = flts("down").out.splitlines()
    assert said == ["nothing runs", *([f"this shell still points at the stack; leave it with: {UNSET}"] if own else [])]
