"""A store of this version or of the one before can be read, shown, served from and continued."""

from __future__ import annotations

import json
import re
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.golden import store as golden
from tests.golden.outputs import differences
from tests.support.families import has_libraries
from tests.support.raising import raises

from flts import api
from flts.contracts import layout
from flts.contracts.errors import DataError
from flts.contracts.messages import ModelSelected
from flts.contracts.records.base import parse_record
from flts.contracts.records.model import MadeOn, ModelResult
from flts.models.registry import CANDIDATES
from flts.spec.sources import VERSION, validate_as_stored
from flts.train.determinism import made_on

MODELS = ("automfles", "gru", "prophet", "ridge")
OTHER_VERSIONS = golden.other_versions(golden.NEWEST)
repeatable = pytest.mark.skipif(OTHER_VERSIONS is not None, reason=str(OTHER_VERSIONS))
"""For tests that repeat what the newest store holds."""
Flts = Callable[..., str]


@pytest.fixture(params=list(golden.WRITTEN_WITH))
def archive(request: pytest.FixtureRequest) -> str:
    """The name of a stored folder; `of` limits a test to one."""
    return str(request.param)


def of(archive: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("archive", [archive])


@pytest.fixture
def folder(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The unpacked folder as the working directory."""
    monkeypatch.chdir(golden.unpack(archive, tmp_path))
    monkeypatch.setenv("FLTS_TRACKING", "off")
    monkeypatch.setenv("FLTS_ENVIRONMENT", "golden")
    return tmp_path


@pytest.fixture
def flts(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flts]:
    """Call the command line in this process and return what it prints."""
    from flts.cli.main import main

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*words: str, ends_with: int = 0) -> str:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["flts", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        assert (ended.value.code or 0) == ends_with, printed.err
        return printed.out

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


def stored(folder: Path, under: str = "") -> dict[str, bytes]:
    """Every object in the folder's store."""
    root = folder / golden.OBJECTS
    return {
        str(file.relative_to(root)): file.read_bytes() for file in sorted((root / under).rglob("*")) if file.is_file()
    }


def made_here(archive: str) -> bool:
    """Whether libraries, processor and kernels here are those that made the golden models."""
    records = golden.records(archive)
    results = [parse_record(ModelResult, data, key) for key, kind, data in records if kind is ModelResult]
    return all(has_libraries(result.model) and result.made_on in _here(result.model) for result in results)


def _here(model: str) -> tuple[MadeOn, MadeOn]:
    """What made a model here, and the same as version 1 recorded it, without kernels."""
    here = made_on(CANDIDATES[model].libraries)
    return here, here.model_copy(update={"kernels": None})


def test_every_object_is_of_a_known_kind_and_no_kind_is_missing(archive: str) -> None:
    patterns = [*golden.KINDS, *golden.LINES, *golden.OTHERS]
    for key in golden.objects(archive):
        assert any(re.fullmatch(pattern, key) for pattern in patterns), key
    assert {kind for _, kind, _ in golden.records(archive)} == set(golden.KINDS.values()) - golden.LATER[archive]


def test_pointers_specs_and_forecast_lines_can_be_read(archive: str) -> None:
    lines = 0
    for key, data in golden.objects(archive).items():
        if key.endswith("current.json"):
            assert ModelSelected.parse(data).to_bytes() == data
        elif key.startswith("specs/"):
            assert validate_as_stored(json.loads(data)).v == VERSION
        elif key.endswith(".jsonl"):
            for line in data.splitlines():
                golden.LINES["inference-logs/.+.jsonl"].model_validate_json(line)
                lines += 1
    assert lines > 100


def test_runs_and_promotions_are_listed_and_shown(flts: Flts) -> None:
    runs = json.loads(flts("runs", "list", "--json"))
    assert len(runs) == 3
    assert "promote" in flts("runs", "list")
    for run in runs:
        shown = json.loads(flts("runs", "show", run["config_hash"][:12], "--json"))
        assert shown["claim"]["run"] == 1
        flts("runs", "show", run["config_hash"][:12])
    promotions = json.loads(flts("promotions", "list", "--json"))
    assert sorted(entry["number"] for entry in promotions) == [1, 2, 3, 4]
    assert "rollback of 1" in flts("promotions", "list")
    for number in ("1", "2", "3", "4"):
        json.loads(flts("promotions", "show", number, "--json"))
        assert "seasonal_naive" in flts("promotions", "show", number)


def test_configurations_are_compared_with_each_other_and_with_files(flts: Flts, archive: str) -> None:
    runs = json.loads(flts("runs", "list", "--json"))
    _, second, first = (run["config_hash"][:12] for run in runs)
    assert "task.input_length" in flts("config", "diff", first, second, ends_with=1)
    if archive == golden.OLDEST:
        flts("config", "upgrade")
    assert "dataset.name" not in flts("config", "diff", first, "flts.toml"), "where the data lies is no difference"


def test_the_champion_forecasts_the_same_bytes(flts: Flts, folder: Path, archive: str) -> None:
    expected = json.loads((folder / "forecast.json").read_text())
    found = json.loads(flts("forecast", "--input", "load_test.csv", "--json"))
    if "interval" not in expected:  # the flts that made the older archives did not say it
        assert found.pop("interval") in {"adaptive", "static"}
    if made_here(archive):
        assert json.dumps(found) == json.dumps(expected)
    else:  # other kernels add in another order, so the last bits differ
        assert list(differences(expected, found)) == []


@of(golden.OLDEST)
def test_the_champion_still_needs_every_row_of_its_window(folder: Path) -> None:
    champion = api.load_champion()
    rows = pl.read_csv("load_test.csv")
    assert not champion.bundle.model.task.fitted.placed
    with raises(DataError, code="history-gap", expected="1h"):
        champion.forecast(rows[:-3].vstack(rows[-2:]))
    assert champion.forecast(rows[:10].vstack(rows[20:])).height == 3


@of(golden.OLDEST)
def test_the_champion_is_judged_on_new_windows(folder: Path) -> None:
    spec = tomllib.loads(Path("flts.toml").read_text())
    del spec["v"]
    spec |= {"models": {"ridge": {}}, "preprocess": {"hash_salt": "new"}}
    decision = api.run(spec).decision
    assert decision.champion is not None
    difference = decision.gates["champion"].numbers["mean_difference"]
    assert isinstance(difference, float)
    assert 0.0 < abs(difference) < 0.01


@of(golden.NEWEST)
@repeatable
@pytest.mark.parametrize("file", ["flts.toml", "second.toml"])
def test_a_repeated_run_fits_nothing_and_changes_no_stored_object(flts: Flts, folder: Path, file: str) -> None:
    for name in MODELS:
        if not has_libraries(name):
            pytest.skip(f"needs the extra '{CANDIDATES[name].extra}'")
    before = stored(folder)
    result: dict[str, Any] = json.loads(flts("run", file, "--json"))
    after = stored(folder)
    assert result["run"] == 2
    assert result["reused"]
    pointers = {key for key in before if key.endswith("current.json")}
    assert {key for key in before if after[key] != before[key]} <= pointers
    fresh = {key.partition("/")[0] for key in set(after) - set(before)}
    assert fresh <= {"runs", "model-promotion"}
    if file == "flts.toml":  # its ridge was promoted by hand; second.toml has gate = always
        assert {key for key in before if after[key] != before[key]} == set()
        assert not any("/log/" in key for key in set(after) - set(before))


@of(golden.NEWEST)
@repeatable
def test_a_promotion_that_was_rolled_back_is_not_applied_again_by_its_run(flts: Flts, folder: Path) -> None:
    """Its decision was stored without the digests that a decision names now, and they are no part of its id."""
    (folder / golden.OBJECTS / layout.log_entry("global", 4)).unlink()  # up to here, the newest entry is the rollback
    before = stored(folder)
    result: dict[str, Any] = json.loads(flts("run", "second.toml", "--json"))
    assert (result["repeated"], result["champion"]["kind"]) == (True, "rollback")
    after = stored(folder)
    for folder_of in (layout.log("global"), layout.decisions("global")):
        assert {key: data for key, data in after.items() if key.startswith(folder_of)} == {
            key: data for key, data in before.items() if key.startswith(folder_of)
        }


@pytest.mark.long
@of(golden.NEWEST)
@repeatable
@pytest.mark.skipif(
    not made_here(golden.NEWEST), reason="the golden models were made with other libraries or another processor"
)
def test_a_run_of_the_same_experiments_in_an_empty_store_makes_the_same_models(flts: Flts, folder: Path) -> None:
    (folder / ".flts").rename(folder / "before")
    flts("run")
    flts("run", "second.toml")
    made = stored(folder)
    for prefix in ("processed-data/", "bundles/", "models/", "specs/"):
        expected = {key: data for key, data in golden.objects(golden.NEWEST).items() if key.startswith(prefix)}
        found = {key: data for key, data in made.items() if key.startswith(prefix)}
        if prefix == "specs/":  # one more Spec belongs to the experiment that failed
            expected = {key: data for key, data in expected.items() if key in found}
            assert len(expected) == 2
        if prefix == "models/":  # latency is measured
            expected, found = (
                {key: data for key, data in side.items() if not key.endswith("latency.json")}
                for side in (expected, found)
            )
        assert found == expected, prefix
