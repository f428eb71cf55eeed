"""The scope that is meant where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.errors import SpecError, UsageError
from flts.contracts.ports import Store
from flts.runner.scope import unnamed_scope


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLTS_SPEC__DATASET__IDENTIFIER", raising=False)
    return tmp_path


def store_with(*scopes: str) -> Store:
    """A store in which each of these scopes has a promotion."""
    store = memory_store()
    for scope in scopes:
        store.create(layout.log_entry(scope, 1), b"{}")
    return store


def test_it_is_that_of_the_experiment_in_the_folder_whatever_else_there_is(here: Path) -> None:
    (here / "flts.toml").write_text('[dataset]\nidentifier = "load"\n[models.not_installed]')
    for store in (store_with(), store_with("north"), store_with("load", "north")):
        assert unnamed_scope(store) == ("load", "of flts.toml")
    (here / "flts.toml").write_text("[task]\nhorizon = 3")
    assert unnamed_scope(store_with("north")) == ("global", "of flts.toml")


def test_the_environment_comes_before_the_file_as_it_does_for_a_run(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLTS_SPEC__DATASET__IDENTIFIER", "south")
    for text in (None, '[dataset]\nidentifier = "load"'):
        if text is not None:
            (here / "flts.toml").write_text(text)
        assert unnamed_scope(store_with("north")) == ("south", "of environment FLTS_SPEC__DATASET__IDENTIFIER")


def test_without_an_experiment_it_is_the_only_one_and_several_are_listed() -> None:
    assert unnamed_scope(store_with("north")).name == "north"
    assert unnamed_scope(store_with()).name == "global"
    assert unnamed_scope(store_with("north", "south"), lambda: ["east"]).name == "east"
    with raises(UsageError, code="scope-missing", valid=["north", "south"]):
        unnamed_scope(store_with("south", "north"))


@pytest.mark.parametrize(
    ("text", "code"),
    [("[dataset", "not-toml"), ("dataset = 1", "value-invalid"), ('[dataset]\nidentifier = "../x"', "value-invalid")],
)
def test_an_experiment_that_names_no_scope_is_refused_where_it_is_damaged(here: Path, text: str, code: str) -> None:
    (here / "flts.toml").write_text(text)
    with raises(SpecError, code=code):
        unnamed_scope(store_with())
