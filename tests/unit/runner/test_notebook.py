"""In the kernel of a notebook a run shows its progress in the cell; anywhere else it shows nothing."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flts.runner import notebook
from flts.runner.progress import LiveTable
from flts.runner.reporter import Quiet


class Output:
    """The output of a cell: what it showed, each time as text."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, table: Any) -> None:
        self.shown.append(table._repr_mimebundle_([], [])["text/plain"])


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Output:
    """Stands in for IPython within a kernel."""
    output = Output()

    def display(table: Any, *, display_id: bool) -> Output:
        assert display_id
        output.update(table)
        return output

    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    shown: Any = ModuleType("IPython.display")
    shown.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    monkeypatch.setattr(notebook, "REFRESH_SECONDS", 0.01)
    return output


def test_the_cell_shows_the_table_from_its_start_to_its_end(kernel: Output) -> None:
    with notebook.reporter(["ridge"]) as shown:
        assert isinstance(shown, LiveTable)
        shown.stage("preprocess", "done", "240 train rows")
    first, last = kernel.shown[0], kernel.shown[-1]
    assert "waiting" in first
    assert "240 train rows" in last
    assert "ridge" in last


def test_a_run_that_fails_leaves_what_it_had_shown(kernel: Output) -> None:
    def fails() -> None:
        with notebook.reporter(["ridge"]) as shown:
            shown.stage("preprocess", "done", "240 train rows")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert "240 train rows" in kernel.shown[-1]


@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["a script", "a terminal"])
def test_elsewhere_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, shell: Any) -> None:
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    with notebook.reporter(["ridge"]) as shown:
        assert isinstance(shown, Quiet)
