"""Damage beside the objects of one experiment's own run: the champion's, and tables whose commit point is lost."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.experiments import RIDGE, write_experiment

import flts
from flts.contracts import layout
from flts.contracts.errors import DamagedObject
from flts.promotion.log import read_log
from flts.runner.local import RunResult
from flts.settings import load_settings
from flts.wiring import open_store

FIRST, SECOND = "flts.toml", "second.toml"


@dataclass(frozen=True)
class Folder:
    """An experiment whose ridge is champion, and a second one that was judged against it."""

    path: Path
    first: RunResult
    second: RunResult

    def file(self, key: str) -> Path:
        return self.path / ".flts/objects" / key

    def trouble(self, experiment: str) -> str | None:
        """What a run says of a damaged object; None when there is nothing to say."""
        try:
            (row,) = run(self.path, experiment).decision.candidates
        except DamagedObject as damage:
            return str(damage)
        reason: str | None = getattr(row, "reason", None)
        return reason


def run(path: Path, experiment: str, *, recompute: bool = False) -> RunResult:
    """Run an experiment of this folder."""
    return flts.run(path / experiment, settings=load_settings(home=path / ".flts", tracking="off"), recompute=recompute)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("judged")
    write_experiment(path)
    (path / SECOND).write_text(RIDGE.replace("input_length = 12", "input_length = 6") + "alphas = [1e9]\n")
    judged = Folder(path, run(path, FIRST), run(path, SECOND))
    assert (judged.first.promoted, judged.second.promoted) == (True, False)
    return judged


@pytest.fixture
def folder(judged: Folder, tmp_path: Path) -> Folder:
    """A copy, to be damaged."""
    path = tmp_path / "copy"
    shutil.copytree(judged.path, path)
    return Folder(path, judged.first, judged.second)


def own(name: Callable[[str, str], str]) -> Callable[[Folder], str]:
    """An object of the first experiment's model on its own windows."""
    return lambda folder: name(folder.first.identity.model_hashes["ridge"], folder.first.identity.windows_hash)


def champions(name: Callable[[str, str], str]) -> Callable[[Folder], str]:
    """An object of the champion on the windows of the second experiment, of which it is no candidate."""
    return lambda folder: name(folder.first.identity.model_hashes["ridge"], folder.second.identity.windows_hash)


def bundle(folder: Folder) -> str:
    """A file of the champion's bundle."""
    (entry,) = read_log(open_store(f"file://{folder.path}/.flts/objects"), "global")
    return layout.bundle(entry.champion.bundle_sha256, "coefficients.safetensors")


Places = dict[str, tuple[str, Callable[[Folder], str]]]
"""By name: the experiment whose run needs an object, and its key."""

DAMAGED: Places = {
    "forecasts": (FIRST, own(layout.forecasts)),
    "the champion's windows": (SECOND, champions(layout.windows_result)),
    "the champion's forecasts": (SECOND, champions(layout.forecasts)),
    "the champion's bundle": (SECOND, bundle),
}
LOST: Places = {
    "forecasts": DAMAGED["forecasts"],
    "the champion's forecasts": DAMAGED["the champion's forecasts"],
    "the champion's bundle": (FIRST, bundle),
}
TABLES: Places = {
    "train rows": (FIRST, lambda folder: layout.train_rows(folder.first.identity.data_hash)),
    "test rows": (FIRST, lambda folder: layout.test_rows(folder.first.identity.data_hash)),
    "forecasts": DAMAGED["forecasts"],
    "the champion's forecasts": DAMAGED["the champion's forecasts"],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_advised_about_a_damaged_object_makes_it_again(folder: Folder, kind: str) -> None:
    experiment, named = DAMAGED[kind]
    key = named(folder)
    whole = folder.file(key).read_bytes()
    folder.file(key).write_bytes(b"")
    advice = layout.mend(key)
    assert advice in (folder.trouble(experiment) or "")
    own = FIRST if "of its own experiment" in advice else experiment
    follow(folder, own, key, advice)
    assert folder.trouble(experiment) is None
    assert folder.file(key).read_bytes() == whole


@pytest.mark.slow
def test_a_damaged_bundle_of_a_champion_that_is_no_candidate_is_told_with_its_experiment(folder: Folder) -> None:
    key = bundle(folder)
    folder.file(key).write_bytes(b"")
    said = folder.trouble(SECOND) or ""
    assert key in said
    assert f"`flts runs show {folder.first.identity.config_hash[:12]}`" in said
    assert "`flts promotions rollback`" in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOST)
def test_what_is_advised_about_a_lost_object_makes_it_again(folder: Folder, kind: str) -> None:
    experiment, named = LOST[kind]
    key = named(folder)
    whole = folder.file(key).read_bytes()
    folder.file(key).unlink()
    advice = layout.restore(key)
    assert advice in (folder.trouble(experiment) or "")
    follow(folder, experiment, key, advice.removeprefix("restore it from a backup, or "))
    assert folder.trouble(experiment) is None
    assert folder.file(key).read_bytes() == whole


def follow(folder: Folder, experiment: str, key: str, advice: str) -> None:
    """Delete what the advice names, and run as it says."""
    if "delete it" in advice:
        folder.file(key).unlink()
    for other in re.findall(r"models/[\w/.]+", advice):
        folder.file(other).unlink()
    run(folder.path, experiment, recompute="--recompute" in advice)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TABLES)
def test_a_damaged_table_whose_commit_point_is_lost_is_never_committed(folder: Folder, kind: str) -> None:
    experiment, named = TABLES[kind]
    table = folder.file(named(folder))
    whole = table.read_bytes()
    commit = table.parent / ("meta.json" if kind.endswith("rows") else "result.json")
    commit.unlink()
    table.write_bytes(whole[:-1])
    assert named(folder) in (folder.trouble(experiment) or "")
    assert not commit.exists()
    table.unlink()
    assert folder.trouble(experiment) is None
    assert table.read_bytes() == whole
