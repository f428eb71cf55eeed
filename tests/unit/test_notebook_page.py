"""The code of docs/notebook.md runs from its first line to its last, in a folder with the rows alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.support.series import hourly, table

CODE = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notebook.md").read_text(), re.DOTALL)


@pytest.mark.slow
def test_every_cell_runs_and_leaves_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLTS_TRACKING", "off")
    table(hourly(400)).write_csv(tmp_path / "load.csv")
    names: dict[str, Any] = {}
    for cell in CODE:
        exec(cell, names)  # noqa: S102 - code of this repository
    assert len(CODE) == 5
    bounds = [f"{end}_{level}" for level in (50, 80, 95) for end in ("lower", "upper")]
    assert names["forecasts"].columns == ["time", "target", "mean", *bounds, "q10", "q90"]
    assert (tmp_path / "next.png").stat().st_size > 1_000
    assert (tmp_path / "forecast.svg").stat().st_size > 1_000
    (said,) = re.findall(r"print\(error\)  # (.*)", CODE[-1])
    assert capsys.readouterr().out.strip() == said
